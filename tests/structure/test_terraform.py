"""What Terraform's own tests (terraform/tests) can't say of its files."""

import re
from dataclasses import fields

import pytest

from shared.config.manifest import ROOT, Function, manifest
from shared.config.settings import Settings

FOLDER = ROOT / "terraform"
FILES = {file.name: file.read_text() for file in FOLDER.glob("*.tf")}
FRAMEWORKS = {"FUNCTION_SOURCE", "FUNCTION_TARGET", "PYTHONPATH", "THREADS"}
FUNCTIONS = list(manifest().functions.values())


def test_there_are_no_basic_roles() -> None:
    text = "\n".join(FILES.values())
    assert len(re.findall(r'"roles/', text)) > 10
    assert not re.findall(r"roles/(?:owner|editor|viewer|browser)\b", text)
    assert "google_project_iam_binding" not in text and "google_project_iam_policy" not in text


def test_every_grant_says_why() -> None:
    """Above it; where a list says the roles, there."""
    for name, text in FILES.items():
        for grant in re.finditer(
            r'^(.*)\nresource "google_\w+_iam_member" "(\w+)" \{((?:\n.*)*?)\n\}', text, re.MULTILINE
        ):
            assert grant[1].startswith("#") or not re.search(r'role *= "', grant[3]), f"{name}: {grant[2]}"


def test_every_setting_of_a_function_is_one_that_the_code_knows() -> None:
    given = set(re.findall(r"^\s*([A-Z][A-Z_]+)\s*=", FILES["functions.tf"] + FILES["migrations.tf"], re.MULTILINE))
    assert given > FRAMEWORKS
    assert given - FRAMEWORKS <= {field.name.upper() for field in fields(Settings)}


@pytest.mark.parametrize("example", ["staging", "prod"])
def test_the_examples_set_variables_that_there_are(example: str) -> None:
    declared = set(re.findall(r'^variable "(\w+)"', FILES["variables.tf"], re.MULTILINE))
    text = (FOLDER / f"{example}.tfvars").read_text()
    given = set(re.findall(r"^(?:# )?(\w+)\s*=", text, re.MULTILINE))
    assert {"environment", "admin_email"} <= given <= declared
    assert f'environment = "{example}"' in re.sub(" +", " ", text)
    assert len(text.splitlines()) <= 12


def test_every_validated_variable_names_the_valid_values() -> None:
    for block in re.split(r"^(?=variable )", FILES["variables.tf"], flags=re.MULTILINE)[1:]:
        assert "description" in block
        if "bool" not in block:
            assert "error_message" in block, block.splitlines()[0]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_the_manifest_names_each_functions_provider(function: Function) -> None:
    called = re.findall(r"engines\.(payments|shipping|notifications)\b", function.source.read_text())
    assert called == ([function.calls] if function.calls else [])


def test_the_readme_says_how_many_connections_the_functions_may_open() -> None:
    stores = {"event_store", "command_database"}
    most = sum(one.max_instances * one.pool_size * len(stores & {*one.uses}) for one in FUNCTIONS)
    text = (FOLDER / "README.md").read_text()
    assert re.findall(r"at their `max_instances` \| (\d+) \|", text) == [str(most)]
    assert re.findall(r"\| reserved for people and migrations \| (\d+) \|", text) == ["30"]


def test_a_users_name_in_postgresql_fits() -> None:
    longest = max(len(function.name) for function in FUNCTIONS)
    assert len("shop-") + longest <= 30  # a service account's
    assert len("shop-") + longest + len("@") + 30 + len(".iam") <= 63  # with a project of the longest name

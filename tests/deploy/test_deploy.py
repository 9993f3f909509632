"""scripts/deploy as an operator runs it, with fakes of gcloud and terraform."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from compileall import compile_dir
from copy import deepcopy
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import copy2, copytree
from typing import Any

import pytest

from scripts.local.deploy import FOR_THE_BUILD, FOR_THE_MIGRATION
from scripts.local.deploy_adopt import SIGN_IN
from scripts.local.deploy_checks import RIGHTS
from scripts.local.deploy_health import READINESS_JOB
from scripts.local.deploy_image import CONSOLE, copy_sources, tag
from scripts.local.deploy_options import DEFAULTS
from scripts.local.deploy_terraform import OVERRIDE
from shared.config.manifest import ROOT
from tests.deploy.fake_tools import BUILD, DATA, MIGRATION, SERVICE, SOON, tools

PROJECT = "shop-test-1"
Json = dict[str, Any]
NEW: dict[str, Any] = {
    "calls": [],
    "fail": "",
    "slow": "",
    "busy": False,
    "ended_well": False,
    "signed_in": True,
    "account": "ann@example.com",
    "projects": [PROJECT],
    "billing": True,
    "terraform": "1.11.4",
    "bucket": None,
    "images": {},
    "applied": {},
    "executed": [],
    "variables": {},
    "careless": False,
    "sign_in": False,
    "services": ["shop-graphql", "shop-create-order"],
    "stale": [],
    "new": {},
    "objects": {},
    "revision": 0,
    "traffic": {},
    "unready": {},
    "peering": False,
}


class Google(BaseHTTPRequestHandler):
    """Answers which rights the caller has, for the deployed shop, and as Identity Platform.

    A test sets `rights`, `ready`, `users` and `failing`: the method of Identity Platform that
    fails.
    """

    rights: list[str]
    ready: int
    users: list[Json]
    asked: list[tuple[str, Json]]
    failing = ""
    sign_in = 404

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith(":testIamPermissions"):
            self.answer(200, {"permissions": [one for one in body["permissions"] if one in self.rights]})
            return
        assert self.path.startswith(f"/v1/projects/{PROJECT}/accounts")
        assert (self.headers["Authorization"], self.headers["X-Goog-User-Project"]) == ("Bearer token", PROJECT)
        method = self.path.rpartition("/")[2]
        self.asked.append((method, body))
        if method == self.failing:
            self.answer(403, {"error": {"message": "PERMISSION_DENIED"}})
        else:
            self.answer(200, self.identity(method, body))

    def identity(self, method: str, body: Json) -> Json:
        match method:
            case "accounts:lookup":
                found = [user for user in self.users if user["email"] in body["email"]]
                return {"users": found} if found else {}
            case "accounts":
                self.users.append({"localId": body["email"], **body})
                return {"localId": body["email"]}
            case "accounts:update":
                (user,) = [user for user in self.users if user["localId"] == body["localId"]]
                gone = set(body.pop("deleteProvider", []))
                user["providerUserInfo"] = [
                    one for one in user.get("providerUserInfo", []) if one["providerId"] not in gone
                ]
                user.update(body)
                return {"localId": user["localId"]}
            case "accounts:sendOobCode":
                assert (body["requestType"], body["returnOobLink"]) == ("PASSWORD_RESET", True)
                return {"oobLink": f"https://{PROJECT}.firebaseapp.com/?oobCode={body['email']}"}
            case _:
                raise AssertionError(method)

    def do_GET(self) -> None:
        known = {"/health/ready": self.ready, f"/v2/projects/{PROJECT}/config": self.sign_in}
        self.answer(known.get(self.path, 404), {"status": "UNHEALTHY"})

    def answer(self, status: int, body: object) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Cloud:
    """The resources of the project; deploys into it from a copy of the repository."""

    root: Path
    bin: Path
    google: type[Google]
    address: str
    there: Json

    def __getitem__(self, name: str) -> Any:
        return deepcopy(self.there[name])

    def set(self, **changes: Any) -> None:
        self.there.update(deepcopy(changes))

    def environment(self, path: str = "") -> dict[str, str]:
        return os.environ | {
            "PATH": path or f"{self.bin}:{os.environ['PATH']}",
            "DEPLOY_PATIENCE_SECONDS": os.environ.get("DEPLOY_PATIENCE_SECONDS", "20"),
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDRESOURCEMANAGER": f"{self.address}/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_IDENTITYTOOLKIT": f"{self.address}/",
        }

    def deploy(self, *arguments: str, typed: str | None = None, path: str = "") -> "subprocess.CompletedProcess[str]":
        """`typed`: the answer to each question; None for no input."""
        self.set(calls=[])
        return subprocess.run(
            [sys.executable, self.root / "scripts" / "deploy", PROJECT, *arguments],
            input=typed or "",
            env=self.environment(path),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def called(self, *beginnings: str) -> list[str]:
        """Return which of these were called, in order."""
        return [found for call in self["calls"] for found in beginnings if plainly(call).startswith(found)]


def plainly(call: str) -> str:
    return " ".join(word for word in call.split() if not word.startswith("-"))


RUN = ["scripts/deploy", "scripts/bootstrap.py", "scripts/local/deploy*.py", "terraform/*"]
PUT_INTO_THE_IMAGE = [
    *["schema.graphql", "pyproject.toml", "requirements.txt", ".python-version", "functions/manifest.yaml"],
    *["functions/graphql/main.py", f"{CONSOLE}/package*.json", "shared/config/*.py"],
]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of what a deployment runs, compiled, and of some files of each kind that it
    only puts into the image: every deployment here copies them all."""
    copy = tmp_path_factory.mktemp("sources")
    for source in (file for pattern in RUN + PUT_INTO_THE_IMAGE for file in ROOT.glob(pattern) if file.is_file()):
        target = copy / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        copy2(source, target)
    compile_dir(copy / "scripts", quiet=1)
    return copy


@pytest.fixture
def cloud(tmp_path: Path, sources: Path) -> Iterator[Cloud]:
    google = type("Google", (Google,), {"rights": [*RIGHTS], "ready": 200, "users": [], "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), google) as server:
        thread = threading.Thread(target=server.serve_forever, args=(SOON,))
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        made = Cloud(tmp_path / "shop", tmp_path / "bin", google, address, deepcopy(NEW) | {"url": address})
        copytree(sources, made.root, copy_function=os.link)  # a deployment changes no file of the sources
        with tools(made.bin, made.there):
            yield made
        server.shutdown()
        thread.join()


STEPS = (
    "gcloud services enable",
    "gcloud storage buckets create",
    "terraform init",
    "gcloud builds submit",
    "terraform apply",
    "gcloud run jobs execute",
)


def test_an_empty_project_gets_the_whole_system_in_order(cloud: Cloud) -> None:
    done = cloud.deploy("--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    enable, bucket, init, build, apply, job = STEPS
    assert cloud.called(*STEPS) == [enable, bucket, init, apply, build, apply, job, apply, job, job]
    assert [one["job"] for one in cloud["executed"]] == ["shop-migrate", "shop-readiness", "shop-smoke"]
    assert cloud["bucket"] == {"name": f"{PROJECT}-terraform-state", "versioned": True}
    assert cloud["variables"]["admin_email"] == "ann@example.com"
    assert re.fullmatch(r".*/functions@sha256:[0-9a-f]{64}", cloud["applied"][SERVICE])
    assert f"{cloud.address}/graphql" in done.stdout


def test_the_databases_are_migrated_with_the_new_code_while_the_old_one_serves(
    cloud: Cloud,
) -> None:
    assert cloud.deploy("--yes").returncode == 0
    old = cloud["applied"][SERVICE]
    cloud.set(images={"another": ""}, executed=[])  # as after a change of the code
    done = cloud.deploy("--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    migrated, _, smoked = cloud["executed"]
    assert (migrated["job"], migrated["serving"]) == ("shop-migrate", old)
    assert migrated["image"] != old
    assert (smoked["job"], smoked["serving"]) == ("shop-smoke", migrated["image"])


def test_a_second_run_builds_nothing_and_changes_nothing(cloud: Cloud) -> None:
    assert cloud.deploy("--yes").returncode == 0
    before = cloud["applied"]
    done = cloud.deploy()  # it does not ask, because nothing would change
    assert done.returncode == 0, done.stdout + done.stderr
    assert not cloud.called("gcloud builds submit", "gcloud storage buckets create")
    assert "nothing to build" in done.stdout
    assert "Nothing differs" in done.stdout
    assert cloud["applied"] == before


@pytest.mark.parametrize(
    "failing",
    [
        "gcloud services enable",
        "gcloud storage buckets list",
        "gcloud storage buckets create",
        "gcloud storage buckets update",
        "terraform init",
        "terraform output",
        "terraform plan",
        "terraform show",
        "terraform apply",
        "npm ci",
        "npm run build",
        "gcloud builds submit",
        "gcloud run jobs execute shop-migrate",
        "gcloud run jobs execute shop-readiness",
        "gcloud run jobs execute shop-smoke",
        "gcloud run services list",
        "gcloud storage ls",
        "gcloud storage cp",
    ],
)
def test_after_a_failure_at_any_step_it_says_what_to_do_and_the_next_run_finishes(cloud: Cloud, failing: str) -> None:
    cloud.set(fail=failing)
    failed = cloud.deploy("--yes")
    assert failed.returncode == 1
    assert failed.stderr.strip()
    assert "Traceback" not in failed.stderr
    again = cloud.deploy("--yes")
    assert again.returncode == 0, again.stdout + again.stderr
    assert cloud["applied"][SERVICE] == cloud["applied"][MIGRATION]
    assert cloud["bucket"]["versioned"]


@pytest.mark.parametrize(
    "new", ["gcloud builds submit", "terraform apply", "gcloud run jobs execute shop-migrate", "terraform plan"]
)
def test_what_google_does_not_know_yet_is_tried_again_for_minutes(cloud: Cloud, new: str) -> None:
    cloud.set(new={new: 3})
    done = cloud.deploy("--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Google may not know yet what was made just before") == 3
    assert cloud["new"] == {new: 0}


def test_a_right_that_is_really_missing_ends_the_deployment_in_the_end(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPLOY_PATIENCE_SECONDS", "2")
    cloud.set(new={"gcloud builds submit": 1000})
    done = cloud.deploy("--yes")
    assert done.returncode == 1
    assert "PERMISSION_DENIED" in done.stderr and "The build failed" in done.stderr
    assert cloud["new"]["gcloud builds submit"] < 999


def test_another_failure_is_not_repeated(cloud: Cloud) -> None:
    cloud.set(fail="gcloud builds submit")
    assert cloud.deploy("--yes").returncode == 1
    assert cloud.called("gcloud builds submit") == ["gcloud builds submit"]


def test_a_deployment_fails_with_the_functions_that_are_not_ready_and_can_be_rolled_back(cloud: Cloud) -> None:
    assert cloud.deploy("--yes").returncode == 0
    cloud.set(
        images={"another": ""}, unready={"create_order": "503 event_store is not up to date", "fail_order": "403 no"}
    )
    done = cloud.deploy("--yes")
    assert done.returncode == 1
    assert (
        "  create_order is not ready: 503 event_store is not up to date\n  fail_order is not ready: 403 no"
        in done.stderr
    )
    assert f"scripts/deploy {PROJECT} --rollback" in done.stderr
    assert "shop-smoke" not in [one["job"] for one in cloud["executed"][3:]]
    back = cloud.deploy("--rollback", "--yes")
    assert back.returncode == 0, back.stdout + back.stderr
    assert cloud["traffic"] == {name: f"{name}-1" for name in cloud["services"]}


def deployed(cloud: Cloud, times: int) -> None:
    """Deploy other code each time."""
    for number in range(times):
        cloud.set(images={f"image {n}": "" for n in range(number)})
        done = cloud.deploy("--yes")
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_rollback_sends_the_traffic_to_the_deployment_before_and_a_second_one_to_the_one_before_that(
    cloud: Cloud,
) -> None:
    deployed(cloud, 3)
    assert cloud["traffic"] == {}
    for revision in (2, 1):
        done = cloud.deploy("--rollback", "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        assert cloud["traffic"] == {name: f"{name}-{revision}" for name in cloud["services"]}
        assert cloud["executed"][-1]["job"] == "shop-readiness"
        assert not cloud.called(
            "gcloud builds", "terraform plan", "terraform apply", "gcloud run jobs execute shop-migrate"
        )
    last = cloud.deploy("--rollback", "--yes")
    assert last.returncode == 1
    assert "No earlier deployment" in last.stderr and "Deploy the old commit" in last.stderr


def test_a_rollback_asks_first(cloud: Cloud) -> None:
    deployed(cloud, 2)
    assert cloud.deploy("--rollback", typed="no\n").returncode == 1
    assert cloud["traffic"] == {}
    asked = cloud.deploy("--rollback", typed="yes\n")
    assert asked.returncode == 0, asked.stdout + asked.stderr
    assert "shop-create-order: shop-create-order-2 -> shop-create-order-1" in asked.stdout
    assert cloud["traffic"] == {name: f"{name}-1" for name in cloud["services"]}


def test_after_a_rollback_the_next_deployment_serves_its_own_code_and_goes_back_to_the_last_good_one(
    cloud: Cloud,
) -> None:
    deployed(cloud, 2)
    assert cloud.deploy("--rollback", "--yes").returncode == 0
    cloud.set(images={f"image {n}": "" for n in range(2)})
    assert cloud.deploy("--yes").returncode == 0
    assert cloud["traffic"] == {}
    assert cloud.deploy("--rollback", "--yes").returncode == 0
    assert cloud["traffic"] == {name: f"{name}-1" for name in cloud["services"]}


def test_a_rollback_that_fails_half_way_is_continued_by_the_next(cloud: Cloud) -> None:
    deployed(cloud, 2)
    cloud.set(fail="gcloud run services update-traffic shop-create-order")
    failed = cloud.deploy("--rollback", "--yes")
    assert failed.returncode == 1 and "Run this again to continue" in failed.stderr
    assert cloud["traffic"] == {"shop-graphql": "shop-graphql-1"}
    assert cloud.deploy("--rollback", "--yes").returncode == 0
    assert cloud["traffic"] == {name: f"{name}-1" for name in cloud["services"]}


def test_where_nothing_was_deployed_there_is_nothing_to_roll_back_to(cloud: Cloud) -> None:
    assert "There is no shop" in cloud.deploy("--rollback", "--yes").stderr
    deployed(cloud, 1)
    assert "No earlier deployment" in cloud.deploy("--rollback", "--yes").stderr


def test_a_failed_migration_leaves_the_old_code_serving(cloud: Cloud) -> None:
    assert cloud.deploy("--yes").returncode == 0
    old = cloud["applied"][SERVICE]
    cloud.set(images={"another": ""}, fail="gcloud run jobs execute shop-migrate")
    failed = cloud.deploy("--yes")
    assert failed.returncode == 1
    assert "no new code serves yet" in failed.stderr
    assert cloud["applied"][SERVICE] == old != cloud["applied"][MIGRATION]


def test_an_interrupt_lets_terraform_finish(cloud: Cloud) -> None:
    cloud.set(slow="terraform apply")
    command = [sys.executable, str(cloud.root / "scripts" / "deploy"), PROJECT, "--yes"]
    with subprocess.Popen(command, env=cloud.environment(), start_new_session=True, stderr=subprocess.PIPE) as running:
        while not cloud["busy"]:
            assert running.poll() is None
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does
        _, told = running.communicate(timeout=60)
    assert running.returncode == 1
    assert b"run this again" in told
    assert cloud["ended_well"]
    assert cloud.deploy("--yes").returncode == 0


def test_nothing_is_done_before_everything_that_is_missing_is_said(cloud: Cloud, tmp_path: Path) -> None:
    nowhere = tmp_path / "empty"
    nowhere.mkdir()
    done = cloud.deploy("--yes", path=str(nowhere))
    assert done.returncode == 1
    assert "gcloud is not installed. Get it from https://" in done.stderr
    assert "terraform is not installed. Get it from https://" in done.stderr


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"signed_in": False}, "gcloud auth login"),
        ({"signed_in": False}, "gcloud auth application-default login"),
        ({"projects": []}, f"gcloud projects create {PROJECT}"),
        ({"billing": False}, f"gcloud billing projects link {PROJECT}"),
        ({"terraform": "1.8.5"}, "terraform is 1.8, and 1.9 is needed"),
        ({"account": ""}, "--admin-email"),
        ({"account": "ci@shop-test-1.iam.gserviceaccount.com"}, "--admin-email"),
    ],
)
def test_every_missing_requirement_is_reported_with_the_command_that_provides_it(
    cloud: Cloud, change: Any, told: str
) -> None:
    cloud.set(**change)
    done = cloud.deploy("--yes")
    assert done.returncode == 1
    assert told in done.stderr
    assert not cloud["applied"]


def test_rights_that_are_missing_are_said_with_the_roles_that_have_them(cloud: Cloud) -> None:
    cloud.google.rights = [one for one in RIGHTS if one not in ("run.services.create", "run.jobs.run")]
    done = cloud.deploy("--yes")
    assert done.returncode == 1
    assert "run.services.create, run.jobs.run" in done.stderr
    binding = f"gcloud projects add-iam-policy-binding {PROJECT} --member=user:ann@example.com --role=roles/run.admin"
    assert done.stderr.count(binding) == 1
    assert not cloud.called("gcloud services enable")


def test_it_asks_before_it_changes_anything_and_takes_only_yes(cloud: Cloud) -> None:
    for typed in ("no\n", "y\n", "\n", None):
        assert cloud.deploy(typed=typed).returncode == 1
        assert set(cloud["applied"]) == set(BUILD)
    assert cloud.deploy(typed="yes\n").returncode == 0
    assert SERVICE in cloud["applied"]


def test_in_prod_no_order_is_placed_unless_asked_for(cloud: Cloud) -> None:
    assert cloud.deploy("--yes", "--environment", "prod").returncode == 0
    assert [one["job"] for one in cloud["executed"]] == ["shop-migrate", "shop-readiness"]
    assert cloud.deploy("--yes", "--smoke").returncode == 0  # what is deployed is prod, still
    assert cloud["variables"]["environment"] == "prod"
    assert [one["job"] for one in cloud["executed"]][-1] == "shop-smoke"


def test_options_are_remembered(cloud: Cloud) -> None:
    said = ("--region", "europe-west1", "--environment", "prod", "--admin-email", "boss@example.com")
    assert cloud.deploy("--yes", *said).returncode == 0
    cloud.set(account="ci@shop-test-1.iam.gserviceaccount.com")
    assert cloud.deploy("--yes").returncode == 0
    known = {name: cloud["variables"][name] for name in ("region", "environment", "admin_email")}
    assert known == {"region": "europe-west1", "environment": "prod", "admin_email": "boss@example.com"}


@pytest.mark.parametrize("failing", ["gcloud builds submit", "nothing"])
def test_a_shop_does_not_move_to_another_region_by_accident(cloud: Cloud, failing: str) -> None:
    cloud.set(fail=failing)
    cloud.deploy("--yes", "--region", "europe-west1")
    done = cloud.deploy("--yes", "--region", "us-central1")
    assert done.returncode == 1
    assert "has its shop in europe-west1" in done.stderr
    assert cloud.deploy("--yes").returncode == 0
    assert cloud["variables"]["region"] == "europe-west1"


def test_a_dry_run_prints_every_command_and_calls_none(cloud: Cloud, tmp_path: Path) -> None:
    done = cloud.deploy("--dry-run", path=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert cloud["calls"] == []
    printed = [plainly(line.removeprefix("$ ")) for line in done.stdout.splitlines() if line.startswith("$ ")]
    found = [step for line in printed for step in STEPS if line.startswith(step)]
    enable, bucket, init, build, apply, job = STEPS
    assert found == [enable, bucket, init, apply, build, apply, job, apply, job, job]
    assert "nothing was done" in done.stdout
    assert "missing here: gcloud is not installed" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("--region", "asia-northeast1-a"),
        ("--admin-email", "ann"),
        ("--environment", "test"),
        ("--with-data",),
        ("--rollback", "--destroy"),
    ],
)
def test_invalid_options_are_refused_before_any_change(cloud: Cloud, arguments: tuple[str, ...]) -> None:
    done = cloud.deploy("--dry-run", *arguments)
    assert done.returncode == 2
    assert "error: " in done.stderr
    assert cloud["calls"] == []


def test_a_shop_that_does_not_get_well_is_told(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPLOY_PATIENCE_SECONDS", "1")
    cloud.google.ready = 503
    done = cloud.deploy("--yes")
    assert done.returncode == 1
    assert "/health/ready is not ready" in done.stderr
    assert "UNHEALTHY" in done.stderr


def test_code_that_did_not_start_is_told_although_terraform_sees_nothing(cloud: Cloud) -> None:
    cloud.set(stale=["shop-create-order"])
    for _ in range(2):
        done = cloud.deploy("--yes")
        assert done.returncode == 1
        assert "The newest code of shop-create-order did not start" in done.stderr
        assert "gcloud run services describe shop-create-order" in done.stderr
    cloud.set(stale=[])
    assert cloud.deploy("--yes").returncode == 0


def test_sign_in_that_the_project_has_had_before_is_taken_over(cloud: Cloud) -> None:
    cloud.set(sign_in=True)
    cloud.google.sign_in = 200
    done = cloud.deploy("--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert cloud.called("terraform import") == ["terraform import"]
    assert cloud.deploy().returncode == 0
    assert cloud.called("terraform import") == []


def claims(user: Json) -> Json:
    found: Json = json.loads(user.get("customAttributes", "{}"))
    return found


LINK = f"https://{PROJECT}.firebaseapp.com/?oobCode=ann@example.com"


def test_the_admin_is_created_once_and_gets_a_link_to_choose_a_password(cloud: Cloud) -> None:
    done = cloud.deploy("--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    (user,) = cloud.google.users
    assert (user["email"], claims(user)) == ("ann@example.com", {"role": "admin"})
    assert done.stdout.count(LINK) == 1
    assert user["password"] not in done.stdout + done.stderr
    cloud.google.asked.clear()
    again = cloud.deploy("--yes")
    assert again.returncode == 0
    assert "is an admin already" in again.stdout
    assert LINK not in again.stdout
    assert [method for method, _ in cloud.google.asked] == ["accounts:lookup"]


def test_an_account_that_an_attacker_registered_first_is_locked_before_it_becomes_admin(
    cloud: Cloud,
) -> None:
    providers = [
        {"providerId": "password", "email": "ann@example.com"},
        {"providerId": "google.com", "email": "mallory@example.com"},
        {"providerId": "phone"},
    ]
    mallory = {
        "localId": "m",
        "email": "ann@example.com",
        "emailVerified": True,
        "password": "mallory's",
        "providerUserInfo": providers,
        "customAttributes": '{"tier": "gold"}',
    }
    cloud.google.users.append(mallory)
    before = int(time.time())
    done = cloud.deploy("--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "was registered already" in done.stdout
    assert LINK in done.stdout
    (user,) = cloud.google.users
    assert user["password"] != "mallory's" and len(user["password"]) > 30
    assert int(user["validSince"]) >= before
    assert [one["providerId"] for one in user["providerUserInfo"]] == ["password"]
    assert claims(user) == {"tier": "gold", "role": "admin"}
    locked, claimed = [body for method, body in cloud.google.asked if method == "accounts:update"]
    assert "password" in locked and "customAttributes" not in locked
    assert "customAttributes" in claimed


def test_the_admins_own_google_account_stays(cloud: Cloud) -> None:
    own = {"providerId": "google.com", "email": "Ann@example.com"}
    cloud.google.users.append({"localId": "a", "email": "ann@example.com", "providerUserInfo": [own]})
    assert cloud.deploy("--yes").returncode == 0
    (user,) = cloud.google.users
    assert user["providerUserInfo"] == [own]
    assert claims(user) == {"role": "admin"}


@pytest.mark.parametrize("failing", ["accounts:lookup", "accounts", "accounts:sendOobCode", "accounts:update"])
def test_an_admin_that_could_not_be_created_is_created_by_the_next_run_with_a_link(cloud: Cloud, failing: str) -> None:
    cloud.google.failing = failing
    failed = cloud.deploy("--yes")
    assert failed.returncode == 1
    assert "The admin ann@example.com could not be created: 403" in failed.stderr
    assert "run this again" in failed.stderr
    assert all(claims(user) == {} for user in cloud.google.users)
    cloud.google.failing = ""
    done = cloud.deploy("--yes")
    assert done.returncode == 0, done.stderr
    assert [claims(user) for user in cloud.google.users] == [{"role": "admin"}]
    assert LINK in done.stdout


def test_a_workflows_log_gets_no_link_to_the_admins_password(cloud: Cloud) -> None:
    cloud.set(account="ci@shop-test-1.iam.gserviceaccount.com")
    done = cloud.deploy("--yes", "--admin-email", "ann@example.com")
    assert done.returncode == 0, done.stderr
    assert [claims(user) for user in cloud.google.users] == [{"role": "admin"}]
    assert "oobCode" not in done.stdout + done.stderr
    assert "terraform/README.md" in done.stdout


def test_another_admin_address_gets_a_user_of_its_own(cloud: Cloud) -> None:
    assert cloud.deploy("--yes").returncode == 0
    assert cloud.deploy("--yes", "--admin-email", "boss@example.com").returncode == 0
    assert [user["email"] for user in cloud.google.users] == ["ann@example.com", "boss@example.com"]


def test_taking_it_down_needs_the_projects_name_and_leaves_the_data(cloud: Cloud) -> None:
    assert cloud.deploy("--yes").returncode == 0
    before = cloud["applied"]
    for typed in ("yes\n", "shop\n", "\n", None):
        done = cloud.deploy("--destroy", "--yes", typed=typed)
        assert done.returncode == 1
        assert cloud["applied"] == before
    done = cloud.deploy("--destroy", typed=f"{PROJECT}\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(cloud["applied"]) == {*DATA, SIGN_IN, "google_apikeys_key.web"}
    assert cloud.deploy("--yes").returncode == 0
    assert cloud["applied"] == before


def test_a_plan_that_would_take_data_along_is_not_carried_out(cloud: Cloud) -> None:
    assert cloud.deploy("--yes").returncode == 0
    before = cloud["applied"]
    cloud.set(careless=True)
    done = cloud.deploy("--destroy", typed=f"{PROJECT}\n")
    assert done.returncode == 1
    assert "google_sql_database_instance.postgres" in done.stderr
    assert cloud["applied"] == before


def test_data_goes_only_for_the_right_words(cloud: Cloud) -> None:
    assert cloud.deploy("--yes").returncode == 0
    before = cloud["applied"]
    for typed in (f"{PROJECT}\n", "yes\n", None):
        assert cloud.deploy("--destroy", "--with-data", "--yes", typed=typed).returncode == 1
        assert cloud["applied"] == before
    cloud.set(fail="terraform apply")
    assert cloud.deploy("--destroy", "--with-data", typed=f"delete all data of {PROJECT}\n").returncode == 1
    done = cloud.deploy("--destroy", "--with-data", typed=f"delete all data of {PROJECT}\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert cloud["applied"] == {}
    assert not cloud["peering"]
    assert not (cloud.root / OVERRIDE.relative_to(ROOT)).exists()


def test_leftovers_of_a_deletion_do_not_endanger_a_deployment(cloud: Cloud) -> None:
    (cloud.root / OVERRIDE.relative_to(ROOT)).write_text("# left by a killed run")
    assert cloud.deploy("--yes").returncode == 0
    assert not (cloud.root / OVERRIDE.relative_to(ROOT)).exists()


def test_where_there_is_no_shop_there_is_nothing_to_take_down(cloud: Cloud) -> None:
    done = cloud.deploy("--destroy", typed=f"{PROJECT}\n")
    assert done.returncode == 1
    assert "There is no shop" in done.stderr
    assert cloud["bucket"] is None


def test_an_image_is_named_after_its_content(tmp_path: Path) -> None:
    copy_sources(tmp_path)
    assert tag(tmp_path) == tag(ROOT)
    (tmp_path / "shared" / "__pycache__").mkdir()
    (tmp_path / "shared" / "__pycache__" / "settings.pyc").write_bytes(b"made by Python")
    assert tag(tmp_path) == tag(ROOT)
    (tmp_path / "functions" / "graphql" / "main.py").write_text("changed")
    assert tag(tmp_path) != tag(ROOT)


def test_the_targets_of_the_first_apply_exist() -> None:
    declared = "".join(file.read_text() for file in (ROOT / "terraform").glob("*.tf"))
    for target in [*FOR_THE_BUILD, *FOR_THE_MIGRATION, SIGN_IN]:
        kind, _, name = target.partition(".")
        assert f'resource "{kind}" "{name}"' in declared
    for output in ("artifact_registry", "builds_bucket", "build_service_account", "graphql_url", "dashboard_url"):
        assert f'output "{output}"' in declared
    for job in ("shop-migrate", "shop-smoke", READINESS_JOB):
        assert re.search(rf'name += "{job}"', declared)


def test_terraform_and_the_script_take_the_same_region_by_default() -> None:
    variables = (ROOT / "terraform" / "variables.tf").read_text()
    (region,) = re.findall(r'variable "region" \{.*?default += "(.*?)"', variables, re.DOTALL)
    assert region == DEFAULTS["region"]

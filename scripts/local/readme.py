"""Write what is generated: the tables, diagrams, quoted code and glossary of the pages, and the
texts of --help."""

import argparse
import ast
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from scripts.local import diagrams, usage
from scripts.local.cost import report
from scripts.local.pages import glossary, pages, quoted, translation
from shared.config.manifest import ROOT, Function, manifest
from shared.monitoring.metrics import Metric, label_values, metrics

README = ROOT / "README.md"
FUNCTIONS_PAGE = ROOT / "functions" / "README.md"
API_PAGE = ROOT / "shared" / "api" / "README.md"
MONITORING_PAGE = ROOT / "shared" / "monitoring" / "README.md"
TERRAFORM_PAGE = ROOT / "terraform" / "README.md"
GLOSSARY_PAGE = ROOT / "shared" / "glossary.md"
_UNITS = {"1": "number", "s": "seconds"}


def table() -> str:
    rows = [_row(function) for function in manifest().functions.values()]
    return "\n".join(["| function | service | trigger | what it does |", "|---|---|---|---|", *rows]) + "\n"


def _row(function: Function) -> str:
    link = f"[{function.name}]({function.source.relative_to(FUNCTIONS_PAGE.parent).as_posix()})"
    return f"| {link} | {function.service} | {trigger(function)} | {purpose(function)} |"


def trigger(function: Function) -> str:
    """Return in a few words what calls the function."""
    if function.schedule:
        return f"schedule {function.schedule.cron}"
    if function.dead_letters:
        return "every dead-letter topic"
    return ", ".join(function.topics) or "HTTP"


def purpose(function: Function) -> str:
    """Return the docstring of the function's file, on one line. Raise ValueError without one."""
    docstring = ast.get_docstring(ast.parse(function.source.read_text()))
    if not docstring:
        raise ValueError(f"{function.source} has no docstring; add one sentence that says what the function does")
    return " ".join(docstring.split())


def metrics_table() -> str:
    rows = [_metric_row(metric) for metric in metrics().values()]
    head = ["| metric | kind | unit | labels (values) | series at most | what it is |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *rows]) + "\n"


def _metric_row(metric: Metric) -> str:
    """Return the metric's row, its name in italics when it belongs to one process."""
    labels = ", ".join(f"`{label}` ({len(label_values()[label]) + 1})" for label in metric.labels)
    name = f"*`{metric.name}`*" if metric.known_to == "process" else f"`{metric.name}`"
    unit = _UNITS[metric.unit]
    return f"| {name} | {metric.kind} | {unit} | {labels} | {metric.most_series} | {metric.help} |"


_METRIC = re.compile(r"\b(shop_[a-z_]+?)(_bucket|_sum|_count)?(?:\{([^}]*)\})?(?![a-z_{])")


def in_the_cloud(query: str) -> str:
    """Return a PromQL query with the names that the shop's metrics have in Cloud Monitoring. Raise
    LookupError for a metric that is not there."""

    def selector(found: re.Match[str]) -> str:
        name, part, labels = found[1], found[2] or "", f",{found[3]}" if found[3] else ""
        metric = metrics()[name]
        if metric.known_to == "stores":
            return f'custom_googleapis_com:{name}{part}{{monitored_resource="global"{labels}}}'
        if metric.logged:
            return f'logging_googleapis_com:user_{name}{part}{{monitored_resource="cloud_run_revision"{labels}}}'
        raise LookupError(f"{name} is not exported to Cloud Monitoring: give it `logged` in metrics.yaml")

    return _METRIC.sub(selector, query)


def queries_to_look_at(page: str) -> list[str]:
    """Return the PromQL queries of the page's table of symptoms."""
    _, _, section = page.partition("\n## What to look at\n")
    rows = [line for line in section.partition("\n## ")[0].partition("<!--")[0].splitlines() if line.startswith("|")]
    return list(dict.fromkeys(re.findall(r"`([^`]*\bshop_[^`]*)`", "\n".join(rows))))


def cloud_queries_table() -> str:
    rows = [f"| `{query}` | `{in_the_cloud(query)}` |" for query in queries_to_look_at(MONITORING_PAGE.read_text())]
    return "\n".join(["| with `scripts/dev --observe` | in the cloud |", "|---|---|", *rows]) + "\n"


def connections_table() -> str:
    """Return how many connections to PostgreSQL there may be, from the manifest and Terraform's
    files."""
    stores, folder = {"event_store", "command_database"}, TERRAFORM_PAGE.parent
    most = sum(one.max_instances * one.pool_size * len(stores & {*one.uses}) for one in manifest().functions.values())
    (reserved,) = re.findall(r"connections_reserved = (\d+)", (folder / "database.tf").read_text())
    variable = r'variable "database_max_connections" {.*?default +=\s*(\d+)'
    (limit,) = re.findall(variable, (folder / "variables.tf").read_text(), re.DOTALL)
    rows = {
        "the functions of the manifest, all at their `max_instances`": most,
        "reserved for people and migrations": reserved,
    }
    rows["`database_max_connections`, unless it is set"] = limit
    return (
        "\n".join(["| | connections |", "|---|---|", *(f"| {what} | {number} |" for what, number in rows.items())])
        + "\n"
    )


def cost_table() -> str:
    return f"{report('prod', 1e6)}\n"


TABLES: dict[Path, dict[str, Callable[[], str]]] = {
    FUNCTIONS_PAGE: {"topology": diagrams.topology, "functions": table},
    MONITORING_PAGE: {"metrics": metrics_table, "queries in the cloud": cloud_queries_table},
    TERRAFORM_PAGE: {"cost": cost_table, "connections": connections_table},
    **{page: {"words": partial(glossary, page)} for page in (GLOSSARY_PAGE, translation(GLOSSARY_PAGE))},
}
"""Each page with generated parts of its own: by the name in the part's markers, the function that
makes it."""

DIAGRAMS: dict[str, Callable[[], str]] = {"saga": diagrams.saga, "order states": diagrams.order_states}
"""The diagrams that any page may show."""

_BEGIN = re.compile(r"^<!-- (.+): written by scripts/readme -->$", re.MULTILINE)


def up_to_date(page: Path) -> str:
    """Return the page's text with its parts generated again. Raise ValueError when the page lacks a
    part's markers, and LookupError when it quotes code that is not there."""
    text = page.read_text()
    for name in dict.fromkeys([*TABLES.get(page, ()), *_BEGIN.findall(text)]):
        begin, end = f"<!-- {name}: written by scripts/readme -->\n", f"<!-- end of {name} -->\n"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"{page} must contain the lines {begin.strip()!r} and {end.strip()!r}")
        text = before + begin + _part(page, name) + end + after
    return text


def _part(page: Path, name: str) -> str:
    makers = {**DIAGRAMS, **TABLES.get(page, {})}
    return makers[name]() if name in makers else quoted(name)


def generated() -> list[Path]:
    """Return the pages with generated parts."""
    return [page for page in pages() if page in TABLES or _BEGIN.search(page.read_text())]


if __name__ == "__main__":
    argparse.ArgumentParser(prog="scripts/readme", description=__doc__).parse_args()
    usage.FILE.write_text(usage.written())
    for outdated in generated():
        outdated.write_text(up_to_date(outdated))
        sys.stdout.write(f"{outdated.relative_to(ROOT)} is up to date\n")

"""Write the README's tables: of functions and metrics, from what the code says of them; and of what it all costs."""

import ast
import sys

from scripts.local.cost import report
from shared.config.manifest import ROOT, Function, manifest
from shared.monitoring.metrics import METRICS, Metric, label_values

README = ROOT / "README.md"
_UNITS = {"1": "number", "s": "seconds"}


def table() -> str:
    rows = [_row(function) for function in manifest().functions.values()]
    return "\n".join(["| function | service | trigger | what it does |", "|---|---|---|---|", *rows]) + "\n"


def _row(function: Function) -> str:
    link = f"[{function.name}]({function.source.relative_to(ROOT).as_posix()})"
    return f"| {link} | {function.service} | {function.trigger} | {purpose(function)} |"


def purpose(function: Function) -> str:
    """The docstring of the function's file. Raises ValueError when there is none."""
    docstring = ast.get_docstring(ast.parse(function.source.read_text()))
    if not docstring:
        raise ValueError(f"{function.source} has no docstring to say what it does")
    return docstring


def metrics_table() -> str:
    rows = [_metric_row(metric) for metric in METRICS.values()]
    head = ["| metric | kind | unit | labels (values) | series at most | what it is |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *rows]) + "\n"


def _metric_row(metric: Metric) -> str:
    """A process's own metrics in italics."""
    labels = ", ".join(f"`{label}` ({len(label_values()[label]) + 1})" for label in metric.labels)
    name = f"*`{metric.name}`*" if metric.known_to == "process" else f"`{metric.name}`"
    unit = _UNITS[metric.unit]
    return f"| {name} | {metric.kind} | {unit} | {labels} | {metric.most_series} | {metric.help} |"


def with_tables(readme: str) -> str:
    """The README with the tables as they should be."""
    for what, rows in (("functions", table()), ("metrics", metrics_table()), ("cost", f"{report('prod', 1e6)}\n")):
        begin, end = f"<!-- {what}: written by scripts/readme -->\n", f"<!-- end of {what} -->\n"
        before, _, rest = readme.partition(begin)
        _, _, after = rest.partition(end)
        readme = before + begin + rows + end + after
    return readme


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text()))
    sys.stdout.write("README.md is up to date\n")

"""The measurement of an order counts each sample for the part whose code runs."""

import pytest

from scripts.local.bench_order import part_of
from shared.config.manifest import ROOT

SERVED = "run (/x/.venv/lib/python3.13/site-packages/gunicorn/app/base.py:71);inner (/x/lib/python3.13/functools.py:3)"


@pytest.mark.parametrize(
    ("frames", "part"),
    [
        ("", "HTTP server"),
        (f";execute (/x/shared/runtime/execute.py:5);decrypt ({ROOT}/shared/erasure/cipher.py:18)", "the shop"),
        (f";main ({ROOT}/functions/graphql/main.py:1);dumps (/x/lib/python3.13/json/__init__.py:231)", "JSON"),
        (
            f";use ({ROOT}/shared/postgres/pool.py:1);fetch ({ROOT}/.venv/lib/python3.13/site-packages/psycopg/cursor.py:9)",
            "PostgreSQL's library",
        ),
    ],
)
def test_a_sample_counts_for_its_innermost_known_frame(frames: str, part: str) -> None:
    assert part_of(SERVED + frames) == part


def test_what_no_part_has_is_python_s_own() -> None:
    assert part_of("wait (/x/lib/python3.13/threading.py:1)") == "Python and others"

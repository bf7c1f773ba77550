"""Where tables are cut into parts: by the rows alone, and evenly."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from recsys.spark import SparkEngine, _datasets
from recsys.spark._datasets import PART, in_parts, ranges

PART_ROWS, ROWS = 1_000, 10_000


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_datasets, "PART_ROWS", PART_ROWS)
    monkeypatch.setattr(_datasets, "_SAMPLED", 1_000)


def log(share: float, busy: str) -> pa.Table:
    """Listens of 300 listeners, of which one has a share."""
    rng = np.random.default_rng(3)
    users = [f"l{number:03}" for number in rng.integers(0, 300, ROWS)]
    theirs = rng.random(ROWS) < share
    return pa.table({"user": np.where(theirs, busy, users), "at": np.arange(ROWS)})


@pytest.mark.parametrize(
    ("share", "busy"), [(0.0, "l150"), (0.02, "l007"), (0.1, "l150"), (0.3, "l298")]
)
def test_who_listens_without_end_makes_no_other_part_large_or_empty(
    spark_engine: SparkEngine, share: float, busy: str
) -> None:
    table = log(share, busy)
    rows = spark_engine.session.createDataFrame(table)
    by = ranges(rows, "user", count=ROWS, apart=["at"])
    counts = in_parts(rows, by).groupBy(PART, (rows.user == busy).alias("busy")).count().collect()
    others = {row[PART]: row["count"] for row in counts if not row["busy"]}
    assert by.count <= 12
    assert max(others.values()) < 1.6 * PART_ROWS
    assert sum(rows < 0.4 * PART_ROWS for rows in others.values()) <= 2  # theirs, and the last


def test_the_same_rows_in_any_order_are_cut_alike(spark_engine: SparkEngine) -> None:
    table = log(0.1, "l150")
    shuffled = table.take(np.random.default_rng(5).permutation(ROWS))
    made = [
        ranges(
            spark_engine.session.createDataFrame(one).repartition(n),
            "user", count=ROWS, apart=["at"],
        )
        for n, one in enumerate((table, shuffled), start=2)
    ]  # fmt: skip
    assert made[0] == made[1]
    assert made[0].count > 1

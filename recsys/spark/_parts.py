"""Work on the parts of a dataset, one part a task: by Spark, in Python, on Arrow.

A part is read from the disk that driver and executors share, and what is made of it is written
there under the same number. What comes back to the driver is a few counts.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from recsys._threads import share_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@contextlib.contextmanager
def scratch(out: Path) -> Iterator[Path]:
    """A folder that executors may write to, gone in the end: late attempts of a task find none."""
    with tempfile.TemporaryDirectory(dir=out, prefix=".spill-") as folder:
        yield Path(folder)


def for_each_part(spark: SparkSession, parts: int, work: Callable[[int], Any]) -> list[Any]:
    """Call ``work`` with the number of each part, in a task of its own.

    A task may run more than once, also at the same time as another attempt at it: what it writes
    must be put into place in one step (:func:`place`), and be the same each time.

    Args:
        spark: where.
        parts: how many there are.
        work: runs in an executor, on as many cores as Spark gives a task.

    Returns:
        What it returned, a JSON value, by part.
    """

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext

        context = TaskContext.get()
        with share_of(context.cpus() if context else 1):
            for batch in batches:
                for part in batch.column(0).to_pylist():
                    said = json.dumps(work(part))
                    yield pa.RecordBatch.from_pydict({"part": [part], "said": [said]})

    if not parts:
        return []
    numbers = spark.range(0, parts, 1, parts)
    said = numbers.mapInArrow(run, "part long, said string").toArrow().sort_by("part")
    return [json.loads(one) for one in said["said"].to_pylist()]


def place(path: Path, spill: Path, write: Callable[[Path], None]) -> None:
    """Write a file aside, and put it into place in one step."""
    aside = spill / uuid.uuid4().hex
    write(aside)
    aside.replace(path)

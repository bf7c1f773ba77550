"""A table that is one part anyway: made by the function of one machine, in one task.

Spark asks a few jobs and shuffles of every table, seconds whatever its size. Where there is
nothing to divide, an executor calls what one machine calls.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pyspark.sql import SparkSession

from recsys import errors
from recsys._tables import part_files
from recsys.errors import RecsysError
from recsys.spark._parts import for_each_part, scratch

#: So much of a log is read by one task, as it is stored.
TASK_BYTES: Final = 64 << 20
#: And so many rows of a taste state.
TASK_ROWS: Final = 2_000_000
#: Memory of DuckDB there; more goes to disk.
MEMORY: Final = "512MB"


def stored_bytes(tables: Sequence[Path]) -> int:
    """How much tables take as they are stored."""
    return sum(file.stat().st_size for table in tables for file in part_files(table))


def in_one_task(
    session: SparkSession, out: Path, work: Callable[[Path], Mapping[str, Any]]
) -> Mapping[str, Any]:
    """Let an executor write files into a folder that it is given, and put them into ``out``.

    Args:
        session: where.
        out: the folder for what was written.
        work: given the folder, returns what JSON can hold.

    Raises:
        RecsysError: what the work raised; another attempt would say the same.
    """
    with scratch(out) as spill:

        def attempt(_: int) -> dict[str, Any]:
            folder = Path(tempfile.mkdtemp(dir=spill))
            try:
                return {"said": work(folder), "folder": str(folder)}
            except RecsysError as error:
                return {"error": type(error).__name__, "why": str(error)}

        (made,) = for_each_part(session, 1, attempt)
        if "error" in made:
            raise getattr(errors, made["error"])(made["why"])
        for file in Path(made["folder"]).iterdir():
            file.rename(out / file.name)
    said: Mapping[str, Any] = made["said"]
    return said

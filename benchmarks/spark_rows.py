"""What a row costs in each stage on Spark, and what skew costs: one even log and one that is not.

    python -m benchmarks.spark_rows [--master MASTER] [--rows N]
    python -m benchmarks.spark_rows --scaling

Both logs are one day of so many rows. In the even one listeners and tracks are drawn alike; in the
other one listener and one track have half of the rows each. Days are divided as large ones are,
whatever their size. The stages run once on a small log, so that all is compiled, and then on both
in turn. Prints JSON by stage and log: ``seconds``, ``cpu`` (of all processes) and ``rows``; a table
of them goes into docs/benchmarks.md. With ``--scaling`` the even log goes through on one executor,
and on two.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import _page
from benchmarks._measure import processor_seconds, python, run
from benchmarks.ours_spark import settings_of
from recsys import models
from recsys._tables import rows_of
from recsys.listens import list_log
from recsys.settings import ListensSettings, Settings
from recsys.spark import SparkEngine, _one_task
from recsys.spark._lists import find_candidates
from recsys.spark._train import train_cold

DAY: Final = date(2026, 11, 14)
LISTENERS, TRACKS = 20_000, 20_000
_FILES: Final = 4
#: Fewer rows are a trial, and stay out of the page.
_LEAST: Final = 500_000
_ITERATIONS: Final = (1, 3)
_HALF_LIFE: Final = 20.0

Record = dict[str, Any]


def write_log(folder: Path, rows: int, *, skewed: bool) -> ListensSettings:
    """A day of listens in some files."""
    rng = np.random.default_rng(7)
    day = folder / f"date={DAY}"
    day.mkdir(parents=True)
    for number in range(_FILES):
        count = rows // _FILES
        users, tracks = rng.integers(0, LISTENERS, count), rng.integers(0, TRACKS, count)
        if skewed:
            users[rng.random(count) < 0.5] = 0
            tracks[rng.random(count) < 0.5] = 0
        start = int(datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC).timestamp() * 1000)
        at = start + rng.integers(0, 86_400_000, count)
        table = {
            "user_id": _ids("l", users),
            "track_id": _ids("t", tracks),
            "listened_at": pa.array(at, pa.timestamp("ms", "UTC")),
            "artist_ids": pa.array([[f"a{track // 10}"] for track in tracks]),
            "ms_played": pa.array(rng.integers(20_000, 240_000, count)),
            "duration_ms": pa.array(np.full(count, 240_000)),
            "track_name": _ids("Track ", tracks),
            "artist_name": _ids("Artist ", tracks // 10),
        }
        pq.write_table(pa.table(table), day / f"{number}.parquet", compression="zstd")
    return ListensSettings(source=str(folder))


def _ids(prefix: str, numbers: np.ndarray) -> pa.Array:
    return pa.array([f"{prefix}{number:08}" for number in numbers])


def stages(
    engine: SparkEngine, settings: Settings, out: Path
) -> Iterator[tuple[str, Callable[[], Any], Callable[[], int]]]:
    """Each stage's name, its work, and how many rows that is, in their order."""
    listens, plays, tracks = (out / f"{name}.parquet" for name in ("listens", "plays", "tracks"))
    taste, told, offer = (out / f"{name}.parquet" for name in ("taste", "told", "offer"))
    matrix, model = out / "matrix", out / "model"
    matrix.mkdir(parents=True)
    model.mkdir()
    cutoff, spark, log = DAY + timedelta(days=1), engine.session, settings.listens
    files = list_log(log).days[DAY]
    yield "clean", lambda: engine.clean_day(log, DAY, files, [], out), lambda: rows_of(listens)
    yield "plays", lambda: engine.daily_plays(listens, out), lambda: rows_of(listens)
    yield (
        "taste",
        lambda: engine.roll_taste(None, [plays], cutoff, _HALF_LIFE, taste),
        lambda: rows_of(plays),
    )
    yield "catalogue", lambda: engine.roll_catalogue(None, [tracks], told), lambda: rows_of(tracks)
    engine.edition_catalogue(told, [], offer, explicit=True)
    yield (
        "matrix",
        lambda: engine.build_matrix(
            taste, offer, cutoff=cutoff, active_days=28, weights=log, forgotten=(), out=matrix
        ),
        lambda: rows_of(taste),
    )
    for iterations in _ITERATIONS:
        asked = replace(settings, als=replace(settings.als, iterations=iterations))

        def train(asked: Settings = asked) -> None:
            shutil.rmtree(model)
            model.mkdir()
            models.save(train_cold(spark, matrix, asked), model)

        yield f"training, {iterations} iterations", train, lambda: rows_of(taste)
    yield (
        "candidates",
        lambda: find_candidates(spark, matrix, model, cooling=(), blocked=(), out=out),
        lambda: rows_of(matrix / "listeners.parquet"),
    )


def measured(engine: SparkEngine, settings: Settings, out: Path) -> Record:
    """The stages of a log, one after another."""
    found: Record = {}
    for name, work, rows in stages(engine, settings, out):
        began, cpu = time.perf_counter(), processor_seconds()
        work()
        seconds, cpu = time.perf_counter() - began, processor_seconds() - cpu
        found[name] = {"seconds": round(seconds, 2), "cpu": round(cpu, 2), "rows": rows()}
    return found


def main() -> None:
    """Measure both logs in one session, or one of them with one executor and with two."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--master", default="local[2]")
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--only", choices=["even", "skewed"], help="one of the logs")
    parser.add_argument("--scaling", action="store_true", help="an executor, and two")
    given = parser.parse_args()
    if given.scaling:
        asked = ["benchmarks.spark_rows", "--rows", given.rows, "--only", "even", "--master"]
        done = [run(python(*asked, f"local-cluster[{n},1,1024]")).said["even"] for n in (1, 2)]
        _page.put("spark-scaling", scaling(*done, given.rows))
        return
    _one_task.TASK_BYTES = _one_task.TASK_ROWS = 0  # type: ignore[misc] - all days are large
    logs = [given.only] if given.only else ["even", "skewed"]
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        settings = settings_of(home, home, given.master)
        engine = SparkEngine(settings)
        found: Record = {"master": given.master}
        for log, rows in (("small", 20_000), *((log, given.rows) for log in logs)):
            source = write_log(home / log / "log", rows, skewed=log == "skewed")
            mine = replace(settings, listens=source)
            found[log] = measured(engine, mine, home / log)
        engine.close()
    print(json.dumps(found))
    if given.rows >= _LEAST and not given.only:
        _page.put("spark-rows", table(found, given.rows))


def scaling(one: Record, two: Record, rows: int) -> str:
    """Markdown: what each stage takes of one executor, and of two."""
    lines = [
        f"{rows:,} rows, `local-cluster[1,1,1024]` and `[2,1,1024]`, {_page.machine()}:",
        "",
        "| stage | seconds, one | two | times as fast | processor s, one | two |",
        "|---|---|---|---|---|---|",
    ]
    for stage, alone in one.items():
        both = two[stage]
        gain = f"{alone['seconds'] / both['seconds']:.2f}"
        cells = [stage, alone["seconds"], both["seconds"], gain, alone["cpu"], both["cpu"]]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def table(found: Record, rows: int) -> str:
    """Markdown: a row for each stage."""
    lines = [
        f"{rows:,} rows on `{found['master']}`, {_page.machine()}:",
        "",
        "| stage | rows, even | skewed | processor s, even | skewed | µs a row, even "
        "| seconds, even | skewed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for stage, even in found["even"].items():
        skewed = found["skewed"][stage]
        cells = [
            stage, f"{even['rows']:,}", f"{skewed['rows']:,}", even["cpu"], skewed["cpu"],
            f"{1e6 * even['cpu'] / even['rows']:.1f}", even["seconds"], skewed["seconds"],
        ]  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

"""The stage of the candidates on Spark, from the same factors, ours or Spark's own.

    python -m benchmarks.spark_stages prepare LOG_SOURCE FOLDER
    python -m benchmarks.spark_stages ours|spark FOLDER OUT

Prints JSON: ``seconds`` and ``cpu`` (of all processes) of the stage alone, in a session that is
open and has run a job. Both write the best 30 unheard tracks of every active listener; ours folds
the listeners in first, and Spark's is handed their factors, too.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks._logs import CUTOFF
from benchmarks._measure import processor_seconds
from benchmarks.ours_spark import settings_of, write_lists
from benchmarks.peers.spark_candidates import recommend
from recsys import models
from recsys._slices import FOLDER, write_slices
from recsys.candidates import rank_unheard
from recsys.spark import SparkEngine
from recsys.spark._parts import for_each_part

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: A part of the matrix for each of so many.
_USERS_A_PART: Final = 5_000
_METADATA: Final = {
    "class": "org.apache.spark.ml.recommendation.ALSModel",
    "timestamp": 0,
    "uid": "ALS_prepared",
    "paramMap": {"userCol": "user", "itemCol": "track"},
    "defaultParamMap": {
        "blockSize": 4096,
        "coldStartStrategy": "nan",
        "predictionCol": "prediction",
    },
}


def prepare(source: Path, folder: Path) -> Path:
    """Count a log and train on it, and write what either side begins with."""
    from benchmarks.ours import read
    from recsys.settings import AlsSettings

    if (folder / "als" / "metadata").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    matrix = read(source, str(CUTOFF))
    model = models.train(matrix, AlsSettings(), seed=1).without_users().folded(matrix)
    first = np.zeros(1, np.int32)
    rank_unheard(model, matrix, first, np.ones(1, np.int64))  # what is compiled here is kept
    never, always = pa.nulls(len(matrix.users), pa.date32()), np.ones(len(matrix.songs), bool)
    matrix = replace(
        matrix,
        users=matrix.users.append_column("last_heard", never),
        songs=matrix.songs.append_column("available", pa.array(always)),
    )
    for name in ("matrix", "model", "als"):
        (folder / name).mkdir(parents=True)
    write_slices(matrix, folder / "matrix", _USERS_A_PART)
    models.save(model.without_users(), folder / "model")
    users, tracks = (codes.astype(np.int32) for codes in matrix.strength.nonzero())
    active = np.flatnonzero(matrix.users["eligible"].to_numpy()).astype(np.int32)
    pq.write_table(pa.table({"user": users, "track": tracks}), folder / "heard.parquet")
    pq.write_table(pa.table({"user": active}), folder / "active.parquet")
    _write_factors(model.user_factors, folder / "als" / "userFactors")
    _write_factors(model.item_factors, folder / "als" / "itemFactors")
    (folder / "als" / "metadata").mkdir()
    about = _METADATA | {
        "sparkVersion": metadata.version("pyspark"),
        "rank": model.item_factors.shape[1],
    }
    (folder / "als" / "metadata" / "part-00000").write_text(json.dumps(about) + "\n")
    return folder


def _write_factors(factors: npt.NDArray[np.floating[Any]], folder: Path) -> None:
    """As Spark saves them."""
    folder.mkdir()
    values = pa.array(factors.astype(np.float32).ravel())
    rows = pa.FixedSizeListArray.from_arrays(values, factors.shape[1]).cast(pa.list_(pa.float32()))
    ids = pa.array(range(len(factors)), pa.int32())
    pq.write_table(pa.table({"id": ids, "features": rows}), folder / "part-00000.parquet")


def _ours(spark: SparkSession, folder: Path, out: Path) -> Path:
    lists = out / "lists.parquet"
    write_lists(spark, folder / "matrix", folder / "model", lists)
    return lists


def _spark(spark: SparkSession, folder: Path, out: Path) -> Path:
    lists = out / "lists"
    recommend(spark, folder / "als", folder / "heard.parquet", folder / "active.parquet", lists)
    return lists


def _named(lists: Path, folder: Path) -> pa.Table:
    """Spark's lists with the names of users and tracks."""
    users = pq.read_table(folder / "matrix" / FOLDER, columns=["user_id"])["user_id"]
    songs = pq.read_table(folder / "matrix" / "songs.parquet")["track_id"].combine_chunks()
    rows = pq.read_table(lists).combine_chunks()
    listed = rows["tracks"].chunk(0)
    names = pa.ListArray.from_arrays(listed.offsets, songs.take(listed.values))
    return pa.table({"user_id": users.take(rows["user"]), "track_ids": names})


def main(contender: str, folder: Path, out: Path) -> None:
    """Run the stage."""
    with tempfile.TemporaryDirectory(dir=out.parent) as name:
        home = Path(name)
        engine = SparkEngine(settings_of(home, folder))
        spark = engine.session
        for_each_part(spark, 2, lambda part: part)  # Java and Python are up
        work = {"ours": _ours, "spark": _spark}[contender]
        began, cpu = time.perf_counter(), processor_seconds()
        lists = work(spark, folder, home)
        seconds, cpu = time.perf_counter() - began, processor_seconds() - cpu
        made = pq.read_table(lists) if contender == "ours" else _named(lists, folder)
        pq.write_table(made, out)
        engine.close()
    print(json.dumps({"seconds": seconds, "cpu": cpu}))


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        prepare(*map(Path, sys.argv[2:]))
    else:
        main(sys.argv[1], *map(Path, sys.argv[2:]))

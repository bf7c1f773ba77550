"""The peers' work and no more, by the Spark engine: count, matrix, train, 30 unheard tracks, write.

It takes and writes what ``benchmarks/peers/spark_als.py`` does, on the same cores. From the counts
on it is the engine of the product, with ``[spark] training = implicit`` or ``spark``. The days,
taste and catalogue that a weekly run keeps are not made here, since no peer makes them.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from datetime import date
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from benchmarks.peers._steps import (
    ACTIVE_DAYS,
    ALPHA,
    FACTORS,
    ITERATIONS,
    LENGTH,
    MASTER,
    MEMORY,
    REGULARIZATION,
    Steps,
)
from recsys import models, schemas
from recsys._slices import FOLDER, part_name, read_listeners, slice_of
from recsys._tables import part_files
from recsys.candidates import rank_unheard
from recsys.settings import IMPLICIT, Settings, load_settings
from recsys.spark import SparkEngine
from recsys.spark._datasets import read, write
from recsys.spark._lists import _shared as shared
from recsys.spark._parts import for_each_part, place

_CONFIG: Final = """\
[recsys]
home = {home}
[listens]
source = {log}
[engine]
name = spark
[spark]
master = {master}
training = {training}
spark.driver.memory = {memory}
spark.sql.shuffle.partitions = 4
spark.local.dir = {home}
[als]
factors = {factors}
iterations = {iterations}
regularization = {regularization}
regularization_exponent = 0.0
unobserved_weight = 1.0
alpha = {alpha}
"""
_COUNTS: Final = """
    SELECT user_id, track_id, CAST(count(*) AS DOUBLE) AS plays, 0D AS part_plays, 0D AS skips,
        0D AS saves, 0D AS likes, 0D AS dislikes, true AS heard, false AS disliked,
        CAST(max(listened_at) AS DATE) AS last_heard
    FROM {{listens}}
    WHERE date < DATE '{cutoff}' AND event = 'play' AND private IS NOT TRUE
        AND user_id IS NOT NULL AND track_id IS NOT NULL AND listened_at IS NOT NULL
    GROUP BY user_id, track_id
    ORDER BY user_id, track_id
"""
_CATALOGUE: Final = """
    SELECT track_id, track_id AS track_name, '' AS artist_name, '' AS album_name,
        CAST(array() AS ARRAY<STRING>) AS artist_ids,
        CAST(array() AS ARRAY<STRING>) AS artist_names, CAST(NULL AS BIGINT) AS duration_ms,
        true AS available, CAST(NULL AS BOOLEAN) AS explicit, track_id AS song_key
    FROM (SELECT DISTINCT track_id FROM {taste}) ORDER BY track_id
"""


def main(log: Path, cutoff: str, out: Path, training: str = IMPLICIT) -> None:
    """Read, count, train, recommend, write."""
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        home = Path(folder)
        steps = Steps()
        settings = settings_of(home, log, training=training)
        engine = SparkEngine(settings)
        spark = engine.session
        steps.done("start")

        listens = spark.read.parquet(str(log))
        taste = spark.sql(_COUNTS.format(cutoff=cutoff), listens=listens)
        write(taste, home / "taste.parquet", schemas.TASTE)
        counted = read(spark, [home / "taste.parquet"], schemas.TASTE)
        write(
            spark.sql(_CATALOGUE, taste=counted).coalesce(1),
            home / "catalogue.parquet",
            schemas.CATALOGUE,
        )
        matrix = home / "matrix"
        matrix.mkdir()
        engine.build_matrix(
            home / "taste.parquet",
            home / "catalogue.parquet",
            cutoff=date.fromisoformat(cutoff),
            active_days=ACTIVE_DAYS,
            weights=settings.listens,
            forgotten=(),
            out=matrix,
        )
        steps.done("read and count")

        trained = engine.train(matrix, settings, parent=None, on_iteration=_quiet)
        models.save(trained.model, home)
        steps.done("train")

        write_lists(spark, matrix, home, out)
        steps.done("recommend and write")
        engine.close()
    steps.tell()


def write_lists(spark: SparkSession, matrix: Path, model: Path, out: Path) -> None:
    """Fold in, rank, and write 30 tracks of everyone, a part of the matrix a task."""
    parts = part_files(matrix / FOLDER)
    lists = out.with_suffix(".parts")
    shutil.rmtree(lists, ignore_errors=True)
    lists.mkdir()

    def work(number: int) -> int:
        songs, tracks, learnt = shared(matrix, model)
        rows = read_listeners([parts[number]])
        known = slice_of(rows.filter(rows["eligible"]), songs, tracks)
        users = np.arange(len(known.users), dtype=np.int32)
        limits = np.full(len(users), LENGTH)
        found = rank_unheard(learnt.folded(known), known, users, limits)
        listed = songs["track_id"].combine_chunks().take(pa.array(found.songs))
        names = pa.ListArray.from_arrays(pa.array(found.offsets, pa.int32()), listed)
        table = pa.table({"user_id": known.users["user_id"], "track_ids": names})
        place(lists / part_name(number), lists, partial(pq.write_table, table))
        return len(users)

    for_each_part(spark, len(parts), work)
    pq.write_table(pq.read_table(lists), out)


def _quiet(*_told: object) -> None:
    """Say nothing of an iteration."""


def settings_of(home: Path, log: Path, master: str = MASTER, training: str = IMPLICIT) -> Settings:
    """The settings of the engine, in ``home``."""
    config = home / "spark.cfg"
    config.write_text(
        _CONFIG.format(
            home=home, log=log, master=master, memory=MEMORY, training=training, factors=FACTORS,
            iterations=ITERATIONS, regularization=REGULARIZATION, alpha=ALPHA,
        )
    )  # fmt: skip
    return load_settings([config])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), *sys.argv[4:])

"""Spark's ALS on one machine. It cannot leave out what was heard, so more is asked for."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["PYSPARK_PYTHON"] = sys.executable

from pyspark.ml.feature import StringIndexer
from pyspark.ml.recommendation import ALS
from pyspark.sql import SparkSession
from pyspark.sql import functions as f

from benchmarks.peers._steps import (
    ACTIVE_DAYS,
    ALPHA,
    FACTORS,
    ITERATIONS,
    MASTER,
    MEMORY,
    REGULARIZATION,
    Steps,
)
from benchmarks.peers.spark_candidates import unheard


def main(log: Path, cutoff: str, out: Path) -> None:
    """Read, count, train, recommend, write."""
    steps = Steps()
    spark = (
        SparkSession.builder.master(MASTER)
        .config("spark.driver.memory", MEMORY)
        .config("spark.sql.shuffle.partitions", 4)
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    steps.done("start")

    counts = (
        spark.read.parquet(str(log))
        .where(f.col("date") < f.lit(cutoff).cast("date"))
        .dropna(subset=["user_id", "track_id", "listened_at"])
        .where((f.col("event") == "play") & ~f.coalesce(f.col("private"), f.lit(False)))
        .groupBy("user_id", "track_id")
        .agg(f.count("*").alias("listens"), f.max("listened_at").alias("last"))
    )
    indexer = StringIndexer(inputCols=["user_id", "track_id"], outputCols=["user", "track"])
    indexed = indexer.fit(counts)
    counts = (
        indexed.transform(counts)
        .withColumn("user", f.col("user").cast("int"))
        .withColumn("track", f.col("track").cast("int"))
        .withColumn("strength", f.log1p("listens"))
        .cache()
    )
    counts.count()
    steps.done("read and count")

    als = ALS(
        rank=FACTORS,
        maxIter=ITERATIONS,
        regParam=REGULARIZATION / 100,  # Spark multiplies it by the listener's number of tracks
        alpha=ALPHA,
        implicitPrefs=True,
        userCol="user",
        itemCol="track",
        ratingCol="strength",
        seed=1,
    )
    model = als.fit(counts)
    steps.done("train")

    since = f.lit(cutoff).cast("timestamp") - f.expr(f"INTERVAL {ACTIVE_DAYS} DAYS")
    active = counts.where(f.col("last") >= since).select("user").distinct()
    found = unheard(model, counts, active)
    names = [spark.createDataFrame(enumerate(labels), [column, name]) for labels, column, name in (
        (indexed.labelsArray[0], "user", "user_id"), (indexed.labelsArray[1], "track", "track_id"),
    )]  # fmt: skip
    lists = (
        found.join(names[0], "user")
        .join(f.broadcast(names[1]), "track")
        .groupBy("user_id")
        .agg(f.array_sort(f.collect_list(f.struct("place", "track_id"))).alias("listed"))
        .select("user_id", f.col("listed.track_id").alias("track_ids"))
    )
    lists.coalesce(1).write.mode("overwrite").parquet(f"{out}.parts")
    next(Path(f"{out}.parts").glob("part-*.parquet")).rename(out)
    steps.done("recommend and write")
    steps.tell()
    spark.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))

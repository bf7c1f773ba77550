"""Spark's own way to candidates: recommend more than is wanted, and take away what was heard."""

from __future__ import annotations

from pathlib import Path

from pyspark.ml.recommendation import ALSModel
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as f

from benchmarks.peers._steps import LENGTH


def recommend(spark: SparkSession, factors: Path, heard: Path, active: Path, out: Path) -> None:
    """Write the best unheard tracks of active users: ``user`` and ``tracks``, best first.

    Args:
        spark: where.
        factors: a saved ``ALSModel``.
        heard: Parquet with ``user`` and ``track``.
        active: Parquet with the ``user`` of everyone who gets a list.
        out: the folder to write.
    """
    model = ALSModel.load(str(factors))
    listens = spark.read.parquet(str(heard))
    lists = (
        unheard(model, listens, spark.read.parquet(str(active)))
        .groupBy("user")
        .agg(f.array_sort(f.collect_list(f.struct("place", "track"))).alias("listed"))
        .select("user", f.col("listed.track").alias("tracks"))
    )
    lists.write.parquet(str(out))


def unheard(model: ALSModel, heard: DataFrame, users: DataFrame) -> DataFrame:
    """The first 30 of each user that were not heard: user, track, place.

    Most users have heard far less than the few who have heard most, so these are asked apart.

    Args:
        model: of ``user`` and ``track``.
        heard: ``user`` and ``track``.
        users: the ``user`` of everyone who is wanted.
    """
    counts = heard.groupBy("user").agg(f.count("*").alias("heard"))
    counts = counts.join(users, "user", "left_semi").cache()
    most = counts.approxQuantile("heard", [0.95], 0.0)[0]
    top = counts.agg(f.max("heard")).first()[0]
    few, many = counts.where(f.col("heard") <= most), counts.where(f.col("heard") > most)
    asked = model.recommendForUserSubset(few, LENGTH + int(most)).union(
        model.recommendForUserSubset(many, LENGTH + int(top))
    )
    place = Window.partitionBy("user").orderBy(f.desc("score"), "track")
    return (
        asked.select("user", f.explode("recommendations").alias("one"))
        .select("user", f.col("one.track").alias("track"), f.col("one.rating").alias("score"))
        .join(heard.select("user", "track"), ["user", "track"], "left_anti")
        .withColumn("place", f.row_number().over(place))
        .where(f.col("place") <= LENGTH)
        .select("user", "track", "place")
    )

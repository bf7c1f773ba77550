"""Polars, lazily, and implicit."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # implicit asks for it: faster by half

import numpy as np
import polars as pl
from implicit.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix

from benchmarks.peers._steps import (
    ACTIVE_DAYS,
    ALPHA,
    FACTORS,
    ITERATIONS,
    LENGTH,
    REGULARIZATION,
    Steps,
)


def main(log: Path, cutoff: str, out: Path) -> None:
    """Read, count, train, recommend, write."""
    steps = Steps()
    days = sorted(day for day in log.glob("date=*") if day.name < f"date={cutoff}")
    since = datetime.fromisoformat(cutoff).replace(tzinfo=UTC) - timedelta(days=ACTIVE_DAYS)
    counts = (
        pl.scan_parquet([day / "listens.parquet" for day in days])
        .drop_nulls(["user_id", "track_id", "listened_at"])
        .filter(pl.col("event") == "play", ~pl.col("private").fill_null(value=False))
        .group_by("user_id", "track_id")
        .agg(pl.len().alias("listens"), pl.col("listened_at").max().alias("last"))
        .collect(engine="streaming")
    )
    users = counts["user_id"].unique().sort()
    tracks = counts["track_id"].unique().sort()
    user = counts["user_id"].cast(pl.Enum(users)).to_physical().to_numpy()
    track = counts["track_id"].cast(pl.Enum(tracks)).to_physical().to_numpy()
    confidence = (1 + ALPHA * np.log1p(counts["listens"].to_numpy())).astype(np.float32)
    matrix = csr_matrix((confidence, (user, track)))
    rows = np.unique(user[(counts["last"] >= since).to_numpy()])
    steps.done("read and count")

    model = AlternatingLeastSquares(
        factors=FACTORS,
        regularization=REGULARIZATION,
        alpha=1.0,
        iterations=ITERATIONS,
        random_state=1,
    )
    model.fit(matrix, show_progress=False)
    steps.done("train")

    ids, _ = model.recommend(rows, matrix[rows], N=LENGTH, filter_already_liked_items=True)
    steps.done("recommend")

    listed = tracks.gather(ids.ravel()).reshape((len(rows), LENGTH))
    table = pl.DataFrame({"user_id": users.gather(rows), "track_ids": listed})
    table.with_columns(pl.col("track_ids").arr.to_list()).write_parquet(out)
    steps.done("write")
    steps.tell()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))

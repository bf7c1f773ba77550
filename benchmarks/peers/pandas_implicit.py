"""pandas and implicit, as in implicit's quickstart."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # implicit asks for it: faster by half

import numpy as np
import pandas as pd
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

COLUMNS = ["user_id", "track_id", "listened_at", "event", "private"]


def main(log: Path, cutoff: str, out: Path) -> None:
    """Read, count, train, recommend, write."""
    steps = Steps()
    days = sorted(day for day in log.glob("date=*") if day.name < f"date={cutoff}")
    listens = pd.concat(pd.read_parquet(day / "listens.parquet", columns=COLUMNS) for day in days)
    listens = listens.dropna(subset=["user_id", "track_id", "listened_at"])
    listens = listens[(listens["event"] == "play") & ~listens["private"].fillna(False)]
    since = pd.Timestamp(cutoff, tz="UTC") - pd.Timedelta(days=ACTIVE_DAYS)
    active = listens.loc[listens["listened_at"] >= since, "user_id"].unique()
    counts = listens.groupby(["user_id", "track_id"]).size().reset_index(name="listens")
    users = counts["user_id"].astype("category").cat
    tracks = counts["track_id"].astype("category").cat
    confidence = (1 + ALPHA * np.log1p(counts["listens"].to_numpy())).astype(np.float32)
    matrix = csr_matrix((confidence, (users.codes, tracks.codes)))
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

    rows = users.categories.get_indexer(active)
    ids, _ = model.recommend(rows, matrix[rows], N=LENGTH, filter_already_liked_items=True)
    steps.done("recommend")

    listed = np.asarray(tracks.categories)[ids]
    pd.DataFrame({"user_id": active, "track_ids": list(listed)}).to_parquet(out)
    steps.done("write")
    steps.tell()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))

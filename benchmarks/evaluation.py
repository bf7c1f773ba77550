"""Our model and the baselines on real listening: the table of docs/evaluation.md.

    python benchmarks/evaluation.py FOLDER

FOLDER holds HetRec 2011 Last.fm (`user_artists.dat`, https://grouplens.org/datasets/hetrec-2011/).
The listeners, the artists and who plays whom how much are real. The days are not, since HetRec has
no clock: a seed thins the counts to some 250,000 listens, deals them out over 35 days, and lets a
third of the pairs begin in the last three weeks. An artist stands for a song.
"""

from __future__ import annotations

import argparse
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from recsys.evaluation import evaluate
from recsys.settings import AlsSettings

DAYS = 35
LISTENS = 250_000
LAST_DAY = date(2011, 5, 14)


def spread(folder: Path, seed: int) -> pa.Table:
    """One row a listen: user_id, track_id, artist_ids, listened_at."""
    rng = np.random.default_rng(seed)
    user, artist, count = np.loadtxt(
        folder / "user_artists.dat", np.int64, skiprows=1, delimiter="\t"
    ).T
    times = np.maximum(rng.binomial(count, LISTENS / count.sum()), 1)
    late = rng.random(len(user)) < 1 / 3
    begin = np.where(late, rng.integers(DAYS - 21, DAYS, len(user)), 0)
    user, artist, begin = (np.repeat(column, times) for column in (user, artist, begin))
    day = begin + (rng.random(len(user)) * (DAYS - begin)).astype(int)
    first = np.datetime64(LAST_DAY - timedelta(days=DAYS - 1))
    credited = pa.ListArray.from_arrays(
        np.arange(len(artist) + 1, dtype=np.int32), pa.array(artist).cast(pa.string())
    )
    return pa.table(
        {
            "user_id": user,
            "track_id": artist,
            "artist_ids": credited,
            "listened_at": pa.array(first + day * np.timedelta64(1, "D")),
        }
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where user_artists.dat is")
    parser.add_argument("--seed", type=int, default=20110511, help="of the days and the models")
    given = parser.parse_args()
    found = evaluate(
        spread(given.folder, given.seed),
        {"ours": AlsSettings()},
        cutoff=LAST_DAY - timedelta(days=6),
        seed=given.seed,
    )
    print(found)
    for name, segment in found.segments.items():
        means = ", ".join(f"{m} {v['ndcg_at_30'].mean:.4f}" for m, v in segment.metrics.items())
        print(f"\nndcg@30, {name} ({segment.listeners} listeners): {means}")
    for name, one in found.paired.items():
        print(f"\n{name}: {one.mean:+.4f} ({one.low:+.4f} to {one.high:+.4f})")


if __name__ == "__main__":
    main()

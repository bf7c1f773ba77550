"""ImplicitALS against implicit's own ALS: one matrix, one objective, in pairs in one run.

    python -m benchmarks.solver [--train TRAIN.parquet] [--factors 64 128] [--rounds 3]

Both train from the same first factors under implicit's objective (unobserved weight 1, no scaling
by frequency), and both losses are measured by the same code. A round is one training of each.
Printed are one JSON line a training, and a table: the median seconds an iteration, wall and CPU,
how much faster ours is in its slowest, median and fastest round, and the loss each ends at. The
first call of our solver in this process, compilation or its cache included, is told apart.

Without ``--train`` (columns ``user``, ``item``, maybe ``weight``) the matrix is drawn by a seed:
20,000 users, 20,000 items, 1 million pairs, as skewed as listening is.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for implicit, before numpy is there

import argparse
import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix

from benchmarks.interactions import read_pairs
from recsys._threads import cores
from recsys.models import ImplicitALS

OURS, THEIRS = "ImplicitALS", "implicit"
ALPHA = REGULARIZATION = 2.0


def drawn(
    users: int = 20_000, items: int = 20_000, pairs: int = 1_150_000, seed: int = 1
) -> csr_matrix:
    """Confidences of listeners of one of 64 kinds, of skewed activity, on songs of skewed fame."""
    rng = np.random.default_rng(seed)
    kinds = 64
    activity = rng.gamma(1.2, size=users)
    user = np.repeat(np.arange(users), rng.poisson(activity / activity.sum() * pairs))
    item = (items * rng.random(len(user)) ** 2.5).astype(np.int64)
    own = rng.random(len(user)) < 0.7
    item = np.where(own, item // kinds * kinds + user % kinds, item) % items
    times = rng.permutation(items)[item]
    counts = csr_matrix((np.ones(len(user), np.float32), (user, times)), (users, items))
    counts.sum_duplicates()
    counts.data = 1 + ALPHA * np.log1p(counts.data * rng.gamma(1.0, size=counts.nnz)).astype("f4")
    return counts


def train(kind: str, matrix: csr_matrix, factors: int, iterations: int, threads: int) -> Any:
    """One training: the model, and its wall and CPU seconds an iteration."""
    settings: dict[str, Any] = {
        "factors": factors, "regularization": REGULARIZATION, "iterations": iterations,
        "num_threads": threads, "random_state": 1,
    }  # fmt: skip
    model = ImplicitALS(**settings) if kind == OURS else AlternatingLeastSquares(**settings)
    wall: list[float] = []
    cpu = [time.process_time()]

    def after(_: int, seconds: float, __: float | None) -> None:
        wall.append(seconds)
        cpu.append(time.process_time())

    model.fit(matrix, show_progress=False, callback=after)
    return model, median(wall), median(np.diff(cpu).tolist())


def measured(model: Any, matrix: csr_matrix) -> float:
    """The loss, by our measure."""
    ruler = ImplicitALS(model.factors, REGULARIZATION)
    ruler.user_factors, ruler.item_factors = model.user_factors, model.item_factors
    return ruler.loss(matrix)


def main() -> None:
    """Print the JSON lines and the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", type=Path, help="a matrix of your own")
    parser.add_argument("--factors", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=cores())
    given = parser.parse_args()
    matrix = drawn() if given.train is None else read_pairs(given.train).confidences(ALPHA)
    started = time.perf_counter()
    train(OURS, matrix[:300], 8, 1, given.threads)
    print(json.dumps({"cold_seconds": round(time.perf_counter() - started, 2)}))
    table = []
    for factors in given.factors:
        wall: dict[str, list[float]] = defaultdict(list)
        cpu: dict[str, list[float]] = defaultdict(list)
        losses: dict[str, float] = {}
        for n in range(given.rounds):
            for kind in (OURS, THEIRS) if n % 2 else (THEIRS, OURS):
                model, seconds, work = train(kind, matrix, factors, given.iterations, given.threads)
                wall[kind].append(seconds)
                cpu[kind].append(work)
                losses[kind] = measured(model, matrix)
                line = {"model": kind, "factors": factors, "round": n, "loss": losses[kind]}
                times = {"seconds": round(seconds, 4), "cpu_seconds": round(work, 4)}
                print(json.dumps(line | times), flush=True)
        faster = sorted(b / a for a, b in zip(wall[OURS], wall[THEIRS], strict=True))
        table.append(
            f"| {factors} | {median(wall[OURS]):.3f} | {median(wall[THEIRS]):.3f} | "
            f"{faster[0]:.2f} / {median(faster):.2f} / {faster[-1]:.2f} | "
            f"{median(cpu[OURS]):.3f} | {median(cpu[THEIRS]):.3f} | "
            f"{losses[OURS]:.6f} | {losses[THEIRS]:.6f} |"
        )
    users, items = matrix.shape
    print(
        f"\n{users} users, {items} items, {matrix.nnz} pairs; {given.iterations} iterations, "
        f"{given.threads} threads\n\n"
        "| factors | s/iteration, ours | implicit | times faster (least / median / most) | "
        "CPU s, ours | implicit | loss, ours | implicit |\n|---|---|---|---|---|---|---|---|"
    )
    print("\n".join(table))


if __name__ == "__main__":
    sys.exit(main())

"""How good the model can be on any data: recall and nDCG on a test file, beside two baselines.

    python benchmarks/quality.py --train TRAIN.parquet --test TEST.parquet
                                 [--k 20] [--factors F] [--budget SECONDS]

Columns ``user``, ``item`` (integers or strings) and, if there is one, ``weight``. The settings are
chosen on a split of the training file (:mod:`benchmarks.search`), within about half of the budget;
the test file is looked at once, at the end. Without ``--factors`` they are doubled for as long as
that pays, and the budget allows it.

Every user of the test file that the training file knows is ranked all items but those of their
training, and scored as LightGCN's table is: recall = hits / test items, nDCG with the ideal over
min(k, test items), means over users. Progress goes to stderr; one JSON line goes to stdout.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for implicit, before numpy is there

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix

from benchmarks.interactions import read_pairs, read_wanted
from benchmarks.search import Search, judged, popular, trained
from recsys.errors import MissingDataError, RecsysError

LARGEST = 2048


def quality(
    train: Path, test: Path, *, k: int, factors: int | None, budget: float, seed: int
) -> dict[str, Any]:
    """The JSON line.

    Raises:
        BadLogError: a file is not what it should be.
        MissingDataError: there is nothing to learn, or nothing to find.
    """
    started = time.perf_counter()
    known = read_pairs(train)
    wanted, unknown = read_wanted(test, known)
    if not wanted.nnz:
        raise MissingDataError(
            f"{test} holds no pair that could be found: each is of a user or an item that {train} "
            "does not know, or is in it already."
        )
    search = Search(known.strength, k=k, weighted=known.weighted, seed=seed, seconds=budget)
    setting, path = search.run(factors)
    chosen = time.perf_counter()
    model = trained(known.strength, setting, seed)
    fitted = time.perf_counter()
    ours = judged(model.user_factors, model.item_factors, known.strength, wanted, k)
    return {
        f"recall_at_{k}": round(ours.recall, 5),
        f"ndcg_at_{k}": round(ours.ndcg, 5),
        "settings": asdict(setting),
        "seconds": {
            "search": round(chosen - started, 1),
            "fit": round(fitted - chosen, 1),
            "all": round(time.perf_counter() - started, 1),
        },
        "validation": [
            {
                "factors": one.setting.factors,
                f"recall_at_{k}": one.judgement.recall,
                f"ndcg_at_{k}": one.judgement.ndcg,
                "seconds_per_iteration": round(one.seconds, 3),
            }
            for one in path
        ],
        "trials": search.trials,
        "users": int((np.diff(wanted.indptr) > 0).sum()),
        "unknown_pairs": unknown,
        **baselines(known.strength, wanted, k, seed),
    }


def baselines(strength: csr_matrix, wanted: csr_matrix, k: int, seed: int) -> dict[str, Any]:
    """Popularity, and implicit's model as it comes."""
    default = AlternatingLeastSquares(random_state=seed)
    weights = strength.copy()
    weights.data = np.expm1(strength.data) if (strength.data != 1).any() else strength.data
    default.fit(weights, show_progress=False)
    found = {
        "popularity": judged(*popular(strength), strength, wanted, k),
        "implicit_defaults": judged(
            default.user_factors, default.item_factors, strength, wanted, k
        ),
    }
    return {
        name: {f"recall_at_{k}": round(one.recall, 5), f"ndcg_at_{k}": round(one.ndcg, 5)}
        for name, one in found.items()
    }


def main() -> int:
    """Print the line, or what is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--k", type=int, default=20, help="the length of the lists")
    parser.add_argument("--factors", type=int, help="so many, and no search for their number")
    parser.add_argument("--budget", type=float, default=600, help="seconds, 600 without")
    parser.add_argument("--seed", type=int, default=20260101)
    given = parser.parse_args()
    if given.k < 1 or given.budget <= 0 or not 1 <= (given.factors or 1) <= LARGEST:
        parser.error(
            f"expected --k from 1, --budget above 0 and --factors from 1 to {LARGEST}; got "
            f"{given.k}, {given.budget:g} and {given.factors}"
        )
    try:
        line = quality(
            given.train, given.test, k=given.k, factors=given.factors,
            budget=given.budget, seed=given.seed,
        )  # fmt: skip
    except RecsysError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(line))
    return 0


if __name__ == "__main__":
    sys.exit(main())

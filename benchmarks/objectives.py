"""Objectives of the model side by side: the evidence for the defaults of [als] in docs/model.md.

    python benchmarks/objectives.py simulated [--seed 5]
    python benchmarks/objectives.py hetrec --data FOLDER [--seed 5]

Each is trained on the same matrix, with the week held back, and scored on it: all songs, the tail,
and the paired difference of ndcg@30 to the first row, implicit's objective.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from held_out import HeldOut, from_hetrec, from_log

from recsys.evaluation import compare, recommend, recommend_als_defaults, truth
from recsys.evaluation._rankers import recommend_popular
from recsys.models import train
from recsys.settings import AlsSettings, ListensSettings
from recsys.simulate import Truth, World, simulate

SEED = 20260101
FIRST = "alpha 2, w0 1, nu 0, r 2"
#: alpha, unobserved weight, exponent, regularization.
TRIED: list[tuple[float, float, float, float]] = [
    (2, 1, 0, 2),
    (1, 1, 0, 16),
    (1, 0.3, 0, 8),
    (1, 0.3, 0.5, 0.2),
    (1, 0.3, 1, 0.01),
    (1, 0.1, 0.5, 0.2),
]


def table(case: HeldOut, factors: int) -> str:
    """The Markdown table of a case."""
    heard = truth(case.base, case.plays)
    rankings = {
        "popularity": recommend_popular(case.base, heard.users),
        "implicit's defaults": recommend_als_defaults(case.base, heard.users, seed=SEED),
    }
    for alpha, weight, exponent, regularization in TRIED:
        settings = AlsSettings(
            factors=factors,
            alpha=alpha,
            unobserved_weight=weight,
            regularization_exponent=exponent,
            regularization=regularization,
        )
        name = f"alpha {alpha:g}, w0 {weight:g}, nu {exponent:g}, r {regularization:g}"
        rankings[name] = recommend(train(case.base, settings, SEED), case.base, heard.users)
    pairs = [(name, FIRST) for name in rankings if name != FIRST]
    found = compare(case.base, heard, rankings, pairs=pairs, seed=SEED)
    lines = [
        f"{case.name}, {found.listeners} listeners\n",
        "| | recall@30 | ndcg@30 | of the tail | ndcg@30 less that of the first objective (95%) |",
        "|---|---|---|---|---|",
    ]
    for name, metrics in found.metrics.items():
        tail = found.segments["tail"].metrics[name]["ndcg_at_30"].mean
        cells = [f"{metrics[of].mean:.4f}" for of in ("recall_at_30", "ndcg_at_30")]
        less = found.paired.get(f"{name}_over_{FIRST}")
        said = f"{less.mean:+.4f} ({less.low:+.4f} to {less.high:+.4f})" if less else ""
        lines.append(f"| {name} | {' | '.join(cells)} | {tail:.4f} | {said} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table of one case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("simulated", "hetrec"))
    parser.add_argument("--data", type=Path, help="where HetRec's user_artists.dat is")
    parser.add_argument("--seed", type=int, default=World().seed)
    parser.add_argument("--factors", type=int, default=64)
    given = parser.parse_args()
    if given.what == "hetrec" and given.data is None:
        parser.error("hetrec needs --data")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if given.what == "hetrec":
            case = from_hetrec(given.data, work, given.seed)
        else:
            simulate(World(seed=given.seed)).write(work / "world")
            settings = ListensSettings(source=str(work / "world" / "log"), format="jsonl")
            open_truth = Truth.open(work / "world" / "truth")
            case = from_log("simulated", settings, work / "days", open_truth)
        print(table(case, given.factors))


if __name__ == "__main__":
    main()

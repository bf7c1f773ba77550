"""What each doubling of the factors costs and brings: the figure of docs/model.md.

    python -m benchmarks.factors run --train T.parquet --test T.parquet --out FILE.jsonl
    python -m benchmarks.factors run --hetrec FOLDER --out FILE.jsonl
    python -m benchmarks.factors plot NAME=FILE.jsonl [NAME=FILE.jsonl] --svg docs/factors.svg

``run`` chooses the settings for each number of factors on a split of the training part
(:mod:`benchmarks.search`), trains on all of it, and scores the test part once. HetRec has no test
part: a fifth of each listener's artists is drawn by a seed. ``plot`` needs matplotlib, which the
extra ``bench`` brings.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.interactions import read_pairs, read_wanted
from benchmarks.search import Search, judged, trained

SEED = 20260101
K = 20


def run(train: Path, test: Path, out: Path, most: int, seconds: float) -> None:
    """Write a JSON line for each number of factors."""
    known = read_pairs(train)
    wanted, _ = read_wanted(test, known)
    search = Search(known.strength, k=K, weighted=known.weighted, seed=SEED, seconds=seconds)
    for found in search.doublings(most):
        model = trained(known.strength, found.setting, SEED)
        on_test = judged(model.user_factors, model.item_factors, known.strength, wanted, K)
        line = {
            "factors": found.setting.factors,
            "recall": on_test.recall,
            "ndcg": on_test.ndcg,
            "seconds_per_iteration": round(found.seconds, 4),
            "settings": asdict(found.setting),
        }
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def split_hetrec(folder: Path, into: Path) -> tuple[Path, Path]:
    """HetRec as a training and a test file."""
    user, artist, count = np.loadtxt(
        folder / "user_artists.dat", np.int64, skiprows=1, delimiter="\t"
    ).T
    test = np.random.default_rng(SEED).random(len(user)) < 0.2
    files = into / "train.parquet", into / "test.parquet"
    for file, kept in zip(files, (~test, test), strict=True):
        table = {"user": user[kept], "item": artist[kept], "weight": count[kept]}
        pq.write_table(pa.table(table), file)
    return files


def plot(series: dict[str, Path], svg: Path) -> None:
    """Recall and nDCG, and seconds an iteration, over the number of factors."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "recsys", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot as plt

    figure, (brings, costs) = plt.subplots(1, 2, figsize=(9, 3.4))
    for (name, file), color in zip(series.items(), ("C0", "C3", "C2"), strict=False):
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        factors = [line["factors"] for line in lines]
        for measure, style in (("recall", "o-"), ("ndcg", "s--")):
            values = [line[measure] for line in lines]
            brings.plot(factors, values, style, color=color, label=f"{name}, {measure}@{K}")
        seconds = [line["seconds_per_iteration"] for line in lines]
        costs.plot(factors, seconds, "o-", color=color, label=name)
    for panel in (brings, costs):
        panel.set_xscale("log", base=2)
        panel.set_xlabel("factors")
        panel.grid(alpha=0.3)
        panel.legend(frameon=False, fontsize=7)
    brings.set_ylim(0)
    brings.set_title("what they bring, on the test part")
    costs.set_yscale("log")
    costs.set_title("what they cost, seconds an iteration")
    figure.tight_layout()
    figure.savefig(svg, metadata={"Date": None, "Creator": None})


def main() -> None:
    """Run or plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, dest="command")
    running = commands.add_parser("run")
    running.add_argument("--train", type=Path)
    running.add_argument("--test", type=Path)
    running.add_argument("--hetrec", type=Path)
    running.add_argument("--out", type=Path, required=True)
    running.add_argument("--most", type=int, default=1024)
    running.add_argument("--budget", type=float, default=3600)
    plotting = commands.add_parser("plot")
    plotting.add_argument("series", nargs="+")
    plotting.add_argument("--svg", type=Path, required=True)
    given = parser.parse_args()
    if given.command == "plot":
        pairs = (one.split("=", 1) for one in given.series)
        plot({name: Path(file) for name, file in pairs}, given.svg)
        return
    if given.hetrec is not None:
        given.train, given.test = split_hetrec(given.hetrec, given.out.parent)
    run(given.train, given.test, given.out, given.most, given.budget)


if __name__ == "__main__":
    main()

"""What each doubling of the factors costs and brings: the figure of docs/model.md.

    python benchmarks/quality.py --train T.parquet --test T.parquet --factors 1024 > NAME.json
    python -m benchmarks.factors NAME.json [NAME.json] --svg docs/factors.svg

It draws what ``quality.py`` has found on its way, on the part of the training file that it held
back. ``--hetrec FOLDER --split INTO`` makes the two files of HetRec 2011 Last.fm, which has no test
part: a fifth of each listener's artists, drawn by a seed. The figure needs matplotlib, which the
extra ``bench`` brings.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SEED = 20260101


def split_hetrec(folder: Path, into: Path) -> None:
    """HetRec as a training and a test file."""
    user, artist, count = np.loadtxt(
        folder / "user_artists.dat", np.int64, skiprows=1, delimiter="\t"
    ).T
    test = np.random.default_rng(SEED).random(len(user)) < 0.2
    for name, kept in (("train", ~test), ("test", test)):
        table = {"user": user[kept], "item": artist[kept], "weight": count[kept]}
        pq.write_table(pa.table(table), into / f"{name}.parquet")


def plot(series: dict[str, list[dict[str, Any]]], svg: Path) -> None:
    """Recall and nDCG, and seconds an iteration, over the number of factors."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "recsys", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot as plt

    figure, (brings, costs) = plt.subplots(1, 2, figsize=(9, 3.4))
    for (name, found), color in zip(series.items(), ("C0", "C3", "C2"), strict=False):
        factors = [one["factors"] for one in found]
        for measure in sorted({*found[0]} - {"factors", "seconds_per_iteration"}):
            style = "s--" if measure.startswith("ndcg") else "o-"
            label = f"{name}, {re.sub('_at_', '@', measure)}"
            brings.plot(factors, [one[measure] for one in found], style, color=color, label=label)
        seconds = [one["seconds_per_iteration"] for one in found]
        costs.plot(factors, seconds, "o-", color=color, label=name)
    for panel in (brings, costs):
        panel.set_xscale("log", base=2)
        panel.set_xlabel("factors")
        panel.grid(alpha=0.3)
        panel.legend(frameon=False, fontsize=7)
    brings.set_ylim(0)
    brings.set_title("what they bring")
    costs.set_yscale("log")
    costs.set_title("what they cost, seconds an iteration")
    figure.tight_layout()
    figure.savefig(svg, metadata={"Date": None, "Creator": None})


def main() -> None:
    """Draw, or split HetRec."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lines", nargs="*", type=Path)
    parser.add_argument("--svg", type=Path, default=Path("docs/factors.svg"))
    parser.add_argument("--hetrec", type=Path)
    parser.add_argument("--split", type=Path)
    given = parser.parse_args()
    if given.hetrec is not None and given.split is not None:
        split_hetrec(given.hetrec, given.split)
    if given.lines:
        read = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in given.lines}
        plot({name: line["validation"] for name, line in read.items()}, given.svg)


if __name__ == "__main__":
    main()

"""What each rule that can be argued about costs and brings: tables and figure of docs/rules.md.

    python benchmarks/rules.py simulated
    python benchmarks/rules.py hetrec --data FOLDER
    python benchmarks/rules.py log --data FOLDER --format jsonl
    python benchmarks/rules.py plot --data HETREC_FOLDER --out docs/recommended-vs-popularity.svg

Playlists are made as the product makes them, without a part of the listening, once with all of
these rules off and once by each variant, and held against what was kept back. ``plot`` needs
matplotlib, which the extra ``bench`` brings.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from held_out import HeldOut, from_hetrec, from_log
from scipy.sparse import csr_matrix

from recsys.candidates import Candidates, find_candidates
from recsys.eligibility import barred_songs, eligible_users
from recsys.evaluation import paired, recommend_popular, score, truth
from recsys.evaluation._beyond import BeyondAccuracy
from recsys.models import ALSModel, Ranking, train
from recsys.playlists import (
    Artists,
    Lists,
    artist_codes,
    make_lists,
    playlist_batches,
    popular_songs,
)
from recsys.rerank import rerank
from recsys.schemas import CODED_PLAYLISTS, PLAYLISTS
from recsys.settings import AlsSettings, ListensSettings, PlaylistsSettings
from recsys.simulate import Truth, World, simulate

SEED = 20260101
OFF = "all off"
#: What is switched on.
VARIANTS: list[dict[str, float]] = [
    *({"popularity_exponent": x} for x in (-0.5, -0.2, 0.1, 0.2, 0.5)),
    *({"diversity": x} for x in (0.1, 0.3, 0.5)),
    *({"familiar_at_most": x} for x in (0.5, 0.2)),
    *({"familiar_at_least": x} for x in (0.5, 0.8)),
    *({"freshness": x} for x in (0.2, 0.5, 1.0)),
]
#: Heading -> key of `BeyondAccuracy.of`.
BEYOND = {
    "coverage": "coverage",
    "Gini": "gini",
    "novelty": "novelty",
    "unheard artists": "unheard_artists",
    "diversity": "intra_list_diversity",
}


@dataclasses.dataclass(frozen=True)
class Ready:
    """A held-out case with all that does not depend on the variant."""

    case: HeldOut
    model: ALSModel
    candidates: Candidates
    artists: Artists
    barred: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, case: HeldOut, model: AlsSettings | None = None) -> Ready:
        """Train, and find the candidates."""
        trained = train(case.base, model or AlsSettings(), SEED)
        barred = barred_songs(case.base, ())
        found = find_candidates(trained, case.base, eligible_users(case.base), barred=barred)
        return cls(case, trained, found, artist_codes(case.base.songs), barred)

    def lists(self, **rules: Any) -> Lists:
        """The playlists under some rules."""
        settings = PlaylistsSettings(**rules)
        base, found, seen = self.case.base, self.candidates, self.case.first_seen
        excluded = base.excluded[found.users]
        return make_lists(
            rerank(
                found,
                base,
                self.model.item_factors,
                artists=self.artists,
                new=None if seen is None else seen <= settings.fresh_days,
                settings=settings,
            ),
            popular=popular_songs(base.songs),
            popularity=base.songs["popularity"].to_numpy(),
            artists=self.artists,
            excluded=excluded,
            barred=self.barred,
            cooling=csr_matrix(excluded.shape, dtype=bool),
            settings=settings,
        )


def table(ready: Ready) -> str:
    """The Markdown table of a case."""
    base, truth_known = ready.case.base, ready.case.truth is not None
    heard = truth(base, ready.case.plays)
    users = ready.candidates.users
    beyond = BeyondAccuracy(base, users, popular=recommend_popular(base, users))
    listeners = base.songs["listeners"].to_numpy()
    headings = ["recall@30", "nDCG@30", "nDCG less that of the first row (95%)"]
    headings += ["liked"] * truth_known + [*BEYOND, "listeners"]
    lines = [f"| | {' | '.join(headings)} |", f"|---|{'---|' * len(headings)}"]
    baseline = None
    for rules in [{}, *(one for one in VARIANTS if applies(ready, one))]:
        lists = ready.lists(**rules)
        metrics = score(ranking_of(lists, heard.users), heard)
        baseline = metrics.ndcg if baseline is None else baseline
        gain = paired(metrics.ndcg, baseline, SEED)
        cells = [f"{metrics.recall.mean():.4f}", f"{metrics.ndcg.mean():.4f}"]
        cells.append(f"{gain.mean:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})" if rules else "")
        if truth_known:
            cells.append(f"{liked(ready, lists):.4f}")
        measured = beyond.of(ranking_of(lists, users))
        cells += [f"{measured[key]:.3f}" for key in BEYOND.values()]
        cells.append(f"{listeners[lists.songs].mean():.1f}")
        name = ", ".join(f"`{key} = {value}`" for key, value in rules.items()) or OFF
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def applies(ready: Ready, rules: dict[str, float]) -> bool:
    """Whether the data can tell: HetRec has no clock, and no artist with two tracks."""
    if "freshness" in rules:
        return ready.case.first_seen is not None
    one_each = ready.artists[1].max() + 1 == len(ready.case.base.songs)
    return not (one_each and any(key.startswith("familiar") for key in rules))


def ranking_of(lists: Lists, users: npt.NDArray[np.int32]) -> Ranking:
    """The lists of some of their users."""
    at = np.searchsorted(lists.users, users)
    lengths = np.diff(lists.offsets)[at]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    rows = np.arange(offsets[-1]) + np.repeat(lists.offsets[at] - offsets[:-1], lengths)
    return Ranking(offsets, lists.songs[rows], lists.scores[rows])


def liked(ready: Ready, lists: Lists) -> float:
    """The chance that a listener really likes a track of theirs."""
    case = ready.case
    assert case.truth is not None
    because, spares_because = (
        np.full(len(picks.songs), -1, np.int32) for picks in (lists, lists.spares)
    )
    batches = playlist_batches(lists, case.base, because, spares_because, case.week)
    playlists = pa.Table.from_batches(batches, CODED_PLAYLISTS).cast(PLAYLISTS)
    return case.truth.score(playlists).affinity


def plot(cases: list[HeldOut], out: Path) -> None:
    """How often a song is recommended against its popularity, beside how often it is heard."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "recsys", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(cases), figsize=(9, 3.6), sharey=True)
    for panel, case in zip(panels, cases, strict=True):
        ready, sharp = Ready.of(case), Ready.of(case, AlsSettings(alpha=40.0))
        heard = truth(case.base, case.plays)
        counts = {
            "heard for the first time": np.asarray(heard.songs.sum(axis=0)).ravel(),
            "recommended": times(ready.lists(), case),
            "recommended, alpha = 40": times(sharp.lists(), case),
            "recommended, popularity_exponent = 0.2": times(
                ready.lists(popularity_exponent=0.2), case
            ),
        }
        print(f"{case.name}: share of all places by popularity\n\n{by_popularity(case, counts)}\n")
        listeners = case.base.songs["listeners"].to_numpy()
        edges = np.unique(np.geomspace(1, listeners.max() + 1, 15).round())
        at = np.digitize(listeners, edges) - 1
        for (name, value), style in zip(counts.items(), ("k--", "C0-", "C3-", "C2-"), strict=True):
            in_bin = [at == k for k in range(len(edges) - 1)]
            in_bin = [songs for songs in in_bin if songs.any()]
            shares = [value[songs].mean() / value.sum() * 1000 for songs in in_bin]
            places = [np.exp(np.log(listeners[songs]).mean()) for songs in in_bin]
            panel.plot(places, shares, style, label=name, linewidth=1.3)
        panel.set(xscale="log", yscale="log", title=case.name, xlabel="listeners of the song")
        panel.set_ylim(1e-3, 20)
    panels[0].set_ylabel("share of a song, per mille")
    panels[0].legend(frameon=False, fontsize=7)
    figure.tight_layout()
    figure.savefig(out, metadata={"Date": None, "Creator": None})


def times(lists: Lists, case: HeldOut) -> npt.NDArray[np.int64]:
    """How often each song is recommended."""
    return np.bincount(lists.songs, minlength=len(case.base.songs))


def by_popularity(case: HeldOut, counts: dict[str, npt.NDArray[np.int64]]) -> str:
    """The figure in a few numbers, as Markdown."""
    order = np.argsort(-case.base.songs["listeners"].to_numpy(), kind="stable")
    ranks = [0, 10, 50, 200, 1000, 5000, len(order)]
    lines = [f"| songs by popularity | {' | '.join(counts)} |", f"|---|{'---|' * len(counts)}"]
    for start, stop in pairwise(ranks):
        shares = (value[order[start:stop]].sum() / value.sum() for value in counts.values())
        lines.append(f"| {start + 1}–{stop} | {' | '.join(f'{one:.3f}' for one in shares)} |")
    return "\n".join(lines)


def open_case(name: str, arguments: argparse.Namespace, work: Path) -> HeldOut:
    """What the command line asks for."""
    if name == "hetrec":
        return from_hetrec(arguments.data, work / "hetrec", SEED)
    if name == "log":
        settings = ListensSettings(source=str(arguments.data), format=arguments.format)
        return from_log(arguments.data.name, settings, work / "log", None)
    simulate(World(seed=arguments.seed)).write(work / "world")
    settings = ListensSettings(source=str(work / "world" / "log"), format="jsonl")
    return from_log("simulated", settings, work / "days", Truth.open(work / "world" / "truth"))


def main() -> None:
    """Print the table of one case, or draw the figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("simulated", "hetrec", "log", "plot"))
    parser.add_argument("--data", type=Path, help="of hetrec, log and plot: where it is")
    parser.add_argument("--format", default="parquet", help="of the log")
    parser.add_argument("--seed", type=int, default=World().seed, help="of the simulated world")
    parser.add_argument("--out", type=Path, default=Path("docs/recommended-vs-popularity.svg"))
    arguments = parser.parse_args()
    if arguments.what in ("hetrec", "log", "plot") and arguments.data is None:
        parser.error(f"{arguments.what} needs --data")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if arguments.what == "plot":
            plot(
                [open_case(one, arguments, work) for one in ("simulated", "hetrec")], arguments.out
            )
        else:
            print(table(Ready.of(open_case(arguments.what, arguments, work))))


if __name__ == "__main__":
    main()

"""Several models on one week: every measure, with its interval, in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from recsys.evaluation._beyond import BeyondAccuracy
from recsys.evaluation._intervals import Interval, intervals
from recsys.evaluation._metrics import CUTOFF, Scores, score
from recsys.evaluation._rankers import POPULARITY
from recsys.evaluation._segments import listener_segments, song_segments
from recsys.evaluation._truth import Truth
from recsys.matrix import TasteMatrix
from recsys.models import Ranking

ByModel = dict[str, dict[str, Interval]]


@dataclass(frozen=True)
class Segment:
    """A part of the listeners, or of the songs that they went on to hear."""

    listeners: int
    metrics: ByModel


@dataclass(frozen=True)
class Comparison:
    """How models did on one week.

    Attributes:
        k: the length of the lists.
        listeners: listeners scored.
        metrics: model -> metric (``ndcg_at_30`` and so on) -> mean and interval.
        beyond: model -> measure -> value, as :meth:`BeyondAccuracy.of` defines them.
        beyond_intervals: the same with intervals, of the measures that are means over listeners
            (all but ``coverage`` and ``gini``, which are of all lists together).
        segments: ``new``, ``light``, ``heavy`` listeners; ``head`` and ``tail`` songs, where the
            lists are scored on that part of the truth alone. None without listeners is listed.
        paired: ``one_over_other`` -> the difference of ndcg, listener by listener.
    """

    k: int
    listeners: int
    metrics: ByModel
    beyond: dict[str, dict[str, float | None]]
    beyond_intervals: ByModel
    segments: dict[str, Segment]
    paired: dict[str, Interval]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values: all but ``k`` and ``listeners``."""
        document: dict[str, Any] = _rounded(asdict(self))
        return {part: value for part, value in document.items() if part not in ("k", "listeners")}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Comparison:
        """Read ``evaluation.json``: ``listeners``, and what :meth:`to_dict` wrote."""

        def sure(metrics: Mapping[str, Any]) -> dict[str, Interval]:
            return {name: Interval(**one) for name, one in metrics.items()}

        def by_model(of: Mapping[str, Any]) -> ByModel:
            return {model: sure(metrics) for model, metrics in of.items()}

        return cls(
            k=CUTOFF,
            listeners=value["listeners"],
            metrics=by_model(value["metrics"]),
            beyond=value["beyond"],
            beyond_intervals=by_model(value["beyond_intervals"]),
            segments={
                name: Segment(one["listeners"], by_model(one["metrics"]))
                for name, one in value["segments"].items()
            },
            paired=sure(value["paired"]),
        )

    def to_arrow(self) -> pa.Table:
        """One row per segment (``all`` first), model and measure: mean, low, high, users.

        ``coverage`` and ``gini`` are of all lists together: low and high are null there.
        """
        rows: list[tuple[Any, ...]] = []
        for segment, of in {"all": Segment(self.listeners, self.metrics), **self.segments}.items():
            for model, metrics in of.metrics.items():
                for name, one in metrics.items():
                    rows.append((segment, model, name, one.mean, one.low, one.high, one.users))
        for model, values in self.beyond.items():
            for name, value in values.items():
                sure = self.beyond_intervals[model].get(name)
                low, high, users = (
                    (sure.low, sure.high, sure.users) if sure else (None, None, self.listeners)
                )
                rows.append(("all", model, name, value, low, high, users))
        return pa.table([list(column) for column in zip(*rows, strict=True)] or [[]] * 7, _COLUMNS)

    def __str__(self) -> str:
        """Two tables for people: accuracy with its intervals, and what lies beyond it."""
        shown = [[_title(name) for name in ("model", *next(iter(self.metrics.values()), ()))]]
        for model, metrics in self.metrics.items():
            shown.append([model, *(f"{i.mean:.4f} ± {_half(i):.4f}" for i in metrics.values())])
        beyond = [[_title(name) for name in ("model", *next(iter(self.beyond.values()), ()))]]
        for model, values in self.beyond.items():
            beyond.append([model, *("-" if v is None else f"{v:.3f}" for v in values.values())])
        said = f"{self.listeners} listeners; ± is half the 95% interval"
        return "\n\n".join([_aligned(shown), _aligned(beyond), said])


_COLUMNS: Final = pa.schema(
    [
        *((name, pa.string()) for name in ("segment", "model", "measure")),
        *((name, pa.float64()) for name in ("mean", "low", "high")),
        ("users", pa.int64()),
    ]
)


def compare(
    base: TasteMatrix,
    heard: Truth,
    rankings: Mapping[str, Ranking],
    *,
    pairs: Sequence[tuple[str, str]],
    seed: int,
    previous: csr_matrix | None = None,
    holders: int | None = None,
    k: int = CUTOFF,
) -> Comparison:
    """Measure rankings of the same listeners on the same truth.

    Args:
        base: what was known.
        heard: what is to be predicted.
        rankings: model -> at most ``k`` songs for each of ``heard.users``; ``popularity`` is one.
        pairs: which is held against which, where both are there.
        seed: of the intervals.
        previous: ``[users, songs]``, what each user got in an earlier edition.
        holders: how many listeners hold to a song, where ``base`` has some of them only.
        k: the length of the lists.
    """
    if not len(heard.users):
        return Comparison(k, 0, {}, {}, {}, {}, {})
    scored = {name: score(ranking, heard, k).named(k) for name, ranking in rankings.items()}
    segments = {
        name: (np.count_nonzero(who), {m: _of(values, who) for m, values in scored.items()})
        for name, who in listener_segments(base, heard.users).items()
    }
    for name, songs in song_segments(base).items():
        part = heard.among(songs)
        who = np.diff(part.songs.indptr) > 0
        again = {m: score(ranking, part, k).named(k) for m, ranking in rankings.items()}
        segments[name] = (np.count_nonzero(who), {m: _of(v, who) for m, v in again.items()})
    differences = {
        f"{one}_over_{other}": {"": scored[one][f"ndcg_at_{k}"] - scored[other][f"ndcg_at_{k}"]}
        for one, other in pairs
        if one in scored and other in scored
    }
    sure = _intervals(scored | differences, seed)
    lists = BeyondAccuracy(
        base, heard.users, popular=rankings[POPULARITY], previous=previous, holders=holders
    )
    beyond = {name: lists.by_listener(ranking) for name, ranking in rankings.items()}
    return Comparison(
        k=k,
        listeners=len(heard.users),
        metrics={name: sure[name] for name in scored},
        beyond={name: lists.of(ranking, beyond[name]) for name, ranking in rankings.items()},
        beyond_intervals=_where_known(beyond, seed),
        segments={
            name: Segment(int(users), _intervals(values, seed))
            for name, (users, values) in segments.items()
            if users
        },
        paired={name: sure[name][""] for name in differences},
    )


def _of(values: Mapping[str, Scores], who: Any) -> dict[str, Scores]:
    return {name: scores[who] for name, scores in values.items()}


def _where_known(values: Mapping[str, Mapping[str, Scores]], seed: int) -> ByModel:
    """The interval of each measure over the listeners who have it; none where nobody has."""
    together: dict[bytes, list[tuple[str, str]]] = {}  # measures that the same listeners have
    for model, measures in values.items():
        for name, scores in measures.items():
            known = ~np.isnan(scores)
            if known.any():
                together.setdefault(known.tobytes(), []).append((model, name))
    found: ByModel = {model: {} for model in values}
    for columns in together.values():
        table = np.column_stack([values[model][name] for model, name in columns])
        sure = intervals(table[~np.isnan(table[:, 0])], seed)
        for (model, name), interval in zip(columns, sure, strict=True):
            found[model][name] = interval
    return found


def _intervals(values: Mapping[str, Mapping[str, Scores]], seed: int) -> ByModel:
    """All in one resampling."""
    columns = np.column_stack([one for scores in values.values() for one in scores.values()])
    found = iter(intervals(columns, seed))
    return {name: {metric: next(found) for metric in scores} for name, scores in values.items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return round(value, 6) if isinstance(value, float) else value


def _half(interval: Interval) -> float:
    return (interval.high - interval.low) / 2


def _title(name: str) -> str:
    return name.replace("_at_", "@").replace("_", " ")


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    )

"""The models that could ship, scored on the week that none of them has seen.

Everything stands on the *base*, the state one week before the edition's cutoff. What listeners
played for the first time in the week from there to the cutoff is the truth. Why nothing leaks:

- The base is made from days that arrived before its cutoff, and from no other: its digest of days
  is held against the plan's (:func:`unseen_since`), and no listener in it may have heard anything
  in the week (:func:`evaluate_week`).
- The week is half-open: it begins where the newest model's cutoff lies, which is the base's unless
  ``[edition] lead_hours`` has changed, and ends before the edition's. A play counts by the day it
  was listened on; a pair that arrived late with a listen before the week was not new.
- The challenger and the baselines are trained on the base alone. Every model folds the listeners in
  from the base, so a listener's own week is in nobody's factors.
- A song played in the week that the base did not know has no listeners there: nobody can rank it,
  and it counts as missed for all alike.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys import columns as c
from recsys import models, schemas
from recsys._codes import number_of
from recsys._pipelined import ahead
from recsys._side_by_side import SideBySide, Stretch
from recsys._tables import running_out
from recsys._threads import beside
from recsys.artefact import Artefact
from recsys.choice import Evidence, needs_challenger
from recsys.eligibility import cooling_songs
from recsys.errors import ArtefactError
from recsys.evaluation import (
    POPULARITY,
    Comparison,
    Interval,
    Truth,
    compare,
    paired,
    recommend,
    recommend_baselines,
    score,
    truth,
)
from recsys.home import Home
from recsys.matrix import TasteMatrix, build_matrix
from recsys.models import ALSModel, Ranking
from recsys.plan import Plan, open_pinned
from recsys.plays import DAILY_PLAYS
from recsys.settings import BASELINES, Settings
from recsys.weeks import Week

#: What is popular of late is what so many days before the week had listeners.
RECENT_DAYS: Final = 28

_PLAYED: Final = pa.schema(
    [DAILY_PLAYS.field(name) for name in (c.LISTENED_ON, c.PLAYS, c.PART_PLAYS, c.SKIPS)]
)
_NO_PLAYS: Final = pa.table(
    {
        c.USER_ID: pa.array([], pa.string()),
        c.TRACK_ID: pa.array([], pa.string()),
        "played": pa.array([], pa.bool_()),
    }
)
_LAST_HEARD: Final = pa.schema([schemas.TASTE.field(c.LAST_HEARD)])

#: The challenger's folder in the evaluation's.
CHALLENGER: Final = "challenger"
#: A parent made with other settings of these sections is held against a challenger first.
_SHAPE_THE_MODEL: Final = ("als", "listens")
#: What the choice looks at.
_DECISIVE: Final = (
    ("parent", POPULARITY),
    ("parent", "grandparent"),
    ("challenger", POPULARITY),
    ("challenger", "parent"),
)
_PAIRS: Final = (
    *_DECISIVE,
    *((one, other) for one in ("parent", "challenger") for other in BASELINES[1:]),
)


@dataclass(frozen=True)
class UnseenWeek:
    """A week, and what was known before it.

    Attributes:
        base: the matrix before the week.
        plays: who played what for the first time in it (:func:`plays_of`).
        begin: its first day.
        end: the day after its last.
        recent: int64 ``[songs]`` (:func:`recent_listeners`).
        previous: playlists of an earlier edition (:func:`earlier_playlists`).
        holders: how many listeners hold to a song, where the base has some of them only.
    """

    base: TasteMatrix
    plays: pa.Table
    begin: date
    end: date
    recent: npt.NDArray[np.int64]
    previous: Sequence[Path] = ()
    holders: int | None = None


def open_unseen_week(
    plan: Plan,
    home: Home,
    settings: Settings,
    *,
    base: Artefact,
    catalogue: Artefact,
    scored: Collection[Artefact],
    spill: Path,
) -> UnseenWeek:
    """The week before an edition's cutoff, and the base that models are judged on.

    Args:
        plan: the edition's.
        home: the home that it is in.
        settings: it was made by.
        base: the taste state one week back.
        catalogue: the edition's.
        scored: models of earlier editions that are to be judged.
        spill: a folder for what does not fit into memory.

    Raises:
        ArtefactError: the base was made from other days than the plan's before its cutoff.
    """
    begin = unseen_since(base, plan, scored)
    taste = base.file("taste.parquet")
    days = plan.days_between(plan.base_cutoff, plan.cutoff)
    plays = [Artefact.open(home.plays(day)).file("plays.parquet") for day in days]
    with beside(partial(plays_of, plays, begin, plan.cutoff, spill)) as played:
        matrix = build_matrix(
            taste,
            catalogue.file("catalogue.parquet"),
            cutoff=plan.base_cutoff,
            active_days=settings.edition.active_days,
            weights=settings.listens,
            forgotten=plan.forgotten,
            spill=spill,
        )
    return UnseenWeek(
        base=matrix,
        plays=played.result(),
        begin=begin,
        end=plan.cutoff,
        recent=recent_listeners(matrix, taste, plan.base_cutoff, spill),
        previous=earlier_playlists(plan, home),
    )


def unseen_since(base: Artefact, plan: Plan, scored: Iterable[Artefact]) -> date:
    """The first day that neither the base nor any of the models has seen.

    Args:
        base: the taste state one week back.
        plan: of the edition.
        scored: models of earlier editions, each in its edition's folder.

    Raises:
        ArtefactError: the base was made from other days than the plan's before its cutoff.
    """
    if base.inputs["days"] != plan.days_digest(plan.base_cutoff):
        raise ArtefactError(
            f"The taste state in {base.path} was not made from the plan's days before "
            f"{plan.base_cutoff}: a model cannot be judged on days that may be in it. Remove that "
            "folder and run the week again."
        )
    cutoffs = [Plan.load(model.path.parent / "plan").cutoff for model in scored]
    return max([plan.base_cutoff, *cutoffs])


def plays_of(days: Sequence[Path], begin: date, end: date, spill: Path) -> pa.Table:
    """Who came to what for the first time in ``[begin, end)``, sorted by user and track.

    Columns: user_id, track_id, and ``played`` (bool): false for a track that was only skipped. A
    pair that also has a listen before ``begin`` in these days (it arrived late) is left out.

    Args:
        days: ``plays.parquet`` of each day that arrived since the base.
        begin: the first day.
        end: the day after the last.
        spill: the folder that the work is for.

    Raises:
        ResourceError: memory ran out.
        ArtefactError: a table is not sorted by user.
    """
    with running_out(spill):
        found = [_first_plays(stretch, begin, end) for stretch in SideBySide((days, _PLAYED))]
        return pa.concat_tables([_NO_PLAYS, *found]).combine_chunks()


def _first_plays(stretch: Stretch, begin: date, end: date) -> pa.Table:
    """:func:`plays_of`, of some users."""
    (rows,) = stretch.groups
    day, plays, part_plays, skips = rows.columns
    pair = rows.user.astype(np.int64) << 32 | rows.track
    begun = plays + part_plays > 0
    kept = np.flatnonzero(begun | (skips > 0))
    order = kept[np.argsort(pair[kept], kind="stable")]
    pair, day, begun = pair[order], day[order], begun[order] & (day[order] < number_of(end))
    first = np.flatnonzero(np.diff(pair, prepend=-1))
    earliest = np.minimum.reduceat(day, first)
    new = (earliest >= number_of(begin)) & (earliest < number_of(end))
    return pa.table(
        [
            stretch.users.named(pair[first][new] >> 32),
            stretch.tracks.named(pair[first][new] & 0xFFFFFFFF),
            np.logical_or.reduceat(begun, first)[new],
        ],
        _NO_PLAYS.schema,
    )


def recent_listeners(
    base: TasteMatrix, taste: Path, cutoff: date, spill: Path
) -> npt.NDArray[np.int64]:
    """How many listeners heard each song in the four weeks before ``cutoff``: int64 ``[songs]``.

    Args:
        base: the matrix made of ``taste``.
        taste: the taste state (:data:`recsys.schemas.TASTE`) at ``cutoff``.
        cutoff: its day.
        spill: the folder that the work is for.

    Raises:
        ResourceError: memory ran out.
    """
    from recsys._by_song import count_users

    since = number_of(cutoff - timedelta(days=RECENT_DAYS))
    song_of = np.append(base.tracks["song"].to_numpy(), np.int32(-1))  # the last is of no track
    recent = np.zeros(len(base.songs), np.int64)
    users, tracks = base.users["user_id"], base.tracks["track_id"]
    tables = SideBySide(([taste], _LAST_HEARD), users=users, tracks=tracks)
    with running_out(spill):
        for stretch in ahead(iter(tables)):
            (rows,) = stretch.groups
            here = stretch.users.places(len(users)) >= 0
            of = np.flatnonzero((rows.columns[0] >= since) & here[rows.user])
            song = song_of[stretch.tracks.places(len(tracks))[rows.track[of]]]
            count_users(rows.user[of], song, np.full(len(recent), -1, np.int32), recent)
    return recent


def earlier_playlists(plan: Plan, home: Home) -> list[Path]:
    """The playlists of the newest edition before the week that is predicted; empty without one.

    That is two weeks before the plan's own: last week's playlists are what the base's own model
    made of it.
    """
    then = [one for one in plan.cooling if Week.parse(one["edition"]) < plan.week - 1]
    if not then:
        return []
    newest = max(then, key=lambda one: (Week.parse(one["edition"]), one["revision"]))
    folder = home.edition(Week.parse(newest["edition"]), newest["revision"]) / "playlists"
    return [open_pinned(folder, newest["digest"]).file("playlists.parquet")]


def evaluate_week(
    unseen: UnseenWeek,
    *,
    week: Week,
    pinned: Mapping[str, Artefact],
    settings: Settings,
    out: Path,
    train: Callable[[], ALSModel] | None = None,
) -> dict[str, Any]:
    """Score parent, grandparent and the baselines, and a challenger where one is needed.

    Args:
        unseen: the week before the edition's cutoff.
        week: the edition.
        pinned: the models of earlier editions, ``parent`` and ``grandparent``, where there are any.
        settings: of the run.
        out: the folder of the evaluation. A challenger's item factors are kept in ``challenger/``;
            what does not fit into memory is spilled there.
        train: trains the challenger cold on all listeners, where the base has some of them only;
            then nothing can be gone on from.

    Returns:
        ``evaluation.json``, as docs/evaluation.md describes it.

    Raises:
        ArtefactError: somebody in the base has heard something in the week.
    """
    base, seed = unseen.base, settings.recsys.seed
    found, heard, rankings = rank_known(unseen, pinned, settings)

    def compared(evidence: Evidence) -> Evidence:
        intervals: dict[str, Any] = {
            f"{one}_{other}": paired(
                score(rankings[one], heard).ndcg, score(rankings[other], heard).ndcg, seed
            )
            for one, other in _DECISIVE
            if one in rankings and other in rankings
        }
        return replace(evidence, **intervals)

    evidence = _circumstances(week, pinned, settings)
    evidence = compared(replace(evidence, cold_only=train is not None))
    why = needs_challenger(evidence)
    if why is not None and len(heard.users):
        challenger = train() if train else models.train(base, settings.als, seed, with_users=False)
        rankings["challenger"] = recommend(challenger, base, heard.users)
        (out / CHALLENGER).mkdir()
        models.save(challenger.without_users(), out / CHALLENGER)
        evidence = compared(evidence)
    comparison = compare_rankings(unseen, heard, rankings, pairs=_PAIRS, seed=seed)
    return {
        "listeners": len(heard.users),
        "of_listeners": len(found.users),
        "week": {"begin": str(unseen.begin), "end": str(unseen.end)},
        "dropped": heard.dropped,
        "challenger": why,
        "evidence": {
            name: value
            for name, value in asdict(evidence).items()
            if name != "cold_only" or evidence.cold_only
        },
        **comparison.to_dict(),
    }


def rank_known(
    unseen: UnseenWeek, pinned: Mapping[str, Artefact], settings: Settings
) -> tuple[Truth, Truth, dict[str, Ranking]]:
    """What is to be predicted, the part of it that is scored, and who is there to predict it.

    Returns:
        The truth, the sample of it, and the rankings of the baselines and of ``pinned``.

    Raises:
        ArtefactError: somebody in the base has heard something in the week.
    """
    refuse_leak(pc.max(unseen.base.users["last_heard"]).as_py(), unseen.begin)
    seed = settings.recsys.seed
    found = truth(unseen.base, unseen.plays)
    heard = found.sample(settings.evaluation.listeners, seed)
    baselines = settings.evaluation.baseline_names if len(heard.users) else ()
    rankings = recommend_baselines(
        baselines, unseen.base, heard.users, recent=unseen.recent, seed=seed
    )
    for name, artefact in pinned.items():
        rankings[name] = recommend(models.load(artefact.path), unseen.base, heard.users)
    return found, heard, rankings


def compare_rankings(
    unseen: UnseenWeek,
    heard: Truth,
    rankings: Mapping[str, Ranking],
    *,
    pairs: Sequence[tuple[str, str]],
    seed: int,
) -> Comparison:
    """Measure rankings on the week (:func:`recsys.evaluation.compare`)."""
    base, previous = unseen.base, unseen.previous
    earlier = cooling_songs(base, heard.users, previous) if previous else None
    return compare(
        base, heard, rankings, pairs=pairs, seed=seed, previous=earlier, holders=unseen.holders
    )


def evidence_of(evaluation: Mapping[str, Any]) -> Evidence:
    """The evidence in what :func:`evaluate_week` returned."""
    values: dict[str, Any] = {
        name: Interval(**value) if isinstance(value, Mapping) else value
        for name, value in evaluation["evidence"].items()
    }
    return Evidence(**values)


def means_of(evaluation: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Model -> metric -> mean, of what :func:`evaluate_week` returned."""
    return {
        model: {name: value["mean"] for name, value in metrics.items()}
        for model, metrics in evaluation["metrics"].items()
    }


def refuse_leak(last: date | None, begin: date) -> None:
    """See that nobody in the base has heard anything in the week.

    Args:
        last: the last day that the base knows of a listen on.
        begin: the first day of the week.

    Raises:
        ArtefactError: somebody has.
    """
    if last is not None and last >= begin:
        raise ArtefactError(
            f"The base that models are judged on knows of a listen on {last}, and the week to be "
            f"predicted begins on {begin}: whoever knows the answer cannot be judged by it. Hand "
            "in the matrix at the cutoff one week back."
        )


def _circumstances(week: Week, pinned: Mapping[str, Artefact], settings: Settings) -> Evidence:
    parent = pinned.get("parent")
    every = settings.als.cold_every_weeks
    if parent is None:
        return Evidence(has_parent=False, cold_every_weeks=every)
    then, now = parent.facts["settings"], settings.shaping()
    return Evidence(
        has_parent=True,
        settings_changed=any(then.get(part) != now[part] for part in _SHAPE_THE_MODEL),
        factors_changed=then["als"]["factors"] != settings.als.factors,
        weeks_since_cold=(week.monday - Week.parse(parent.facts["cold_in"]).monday).days // 7,
        cold_every_weeks=every,
    )

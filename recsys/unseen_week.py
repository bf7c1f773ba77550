"""The week that no model has seen: what was known before it, and what came to be heard in it.

How models are scored on it, and why nothing leaks, is told in :mod:`recsys.model_evaluation`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys import columns as c
from recsys import schemas
from recsys._codes import number_of
from recsys._pipelined import ahead
from recsys._side_by_side import SideBySide, Stretch
from recsys._tables import running_out
from recsys._threads import beside
from recsys.artefact import Artefact
from recsys.errors import ArtefactError
from recsys.home import Home
from recsys.matrix import TasteMatrix, build_matrix
from recsys.plan import Plan, open_pinned
from recsys.plays import DAILY_PLAYS
from recsys.settings import Settings
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

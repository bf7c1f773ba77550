"""The week that no model has seen, on Spark: all of it is read there, a sample is scored here.

The matrix one week back is made of all listeners, and the challenger is trained on it. Who is
scored is drawn from those who came to a song for the first time, by a hash and the seed: their rows
of the matrix, their plays and their earlier playlists are all that the driver takes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls them

from recsys import columns as c
from recsys import model_evaluation, schemas
from recsys._slices import FOLDER, LISTENERS
from recsys.artefact import Artefact
from recsys.home import Home
from recsys.matrix import TasteMatrix
from recsys.plan import Plan
from recsys.plays import DAILY_PLAYS
from recsys.settings import IMPLICIT, Settings
from recsys.spark._datasets import read
from recsys.spark._train import drawn, train_cold
from recsys.unseen_week import RECENT_DAYS, UnseenWeek, earlier_playlists, unseen_since
from recsys.volume import WeekVolume, weeks_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

#: Baselines that need no more of the base than its songs. The others are made of all of it at once.
_OF_SONGS: Final = ("popularity", "recent_popularity")
_TRACKS: Final = pa.schema([(c.TRACK_ID, pa.string()), ("song", pa.int32())])

#: As :func:`recsys.unseen_week.plays_of`.
_PLAYED: Final = """
    SELECT user_id, track_id,
        bool_or(plays + part_plays > 0 AND listened_on < DATE '{end}') AS played
    FROM {{plays}}
    WHERE plays + part_plays + skips > 0
    GROUP BY user_id, track_id
    HAVING min(listened_on) BETWEEN DATE '{begin}' AND DATE '{end}' - INTERVAL 1 DAY
"""

#: As :func:`recsys.evaluation.truth`: why a play takes no part, null where it does.
_DROPPED: Final = """
    SELECT plays.user_id, plays.track_id, played, CASE
        WHEN listeners.user_id IS NULL THEN 'unknown_user'
        WHEN NOT played THEN 'skipped_only'
        WHEN NOT eligible OR size(songs) = 0 THEN 'not_rankable'
        WHEN tracks.song IS NULL THEN 'unknown_track'
        WHEN array_contains(excluded, tracks.song) THEN 'excluded' END AS dropped
    FROM {plays} AS plays
    LEFT JOIN {listeners} AS listeners ON plays.user_id = listeners.user_id
    LEFT JOIN {tracks} AS tracks ON plays.track_id = tracks.track_id
"""
_REASONS: Final = ("unknown_user", "skipped_only", "not_rankable", "unknown_track", "excluded")


@dataclass(frozen=True)
class _Sampled:
    """A week of some listeners, and what there is of all.

    Attributes:
        week: as on one machine, its base of the listeners who are scored.
        of_listeners: how many could have been.
        dropped: plays of everybody that take no part, by reason.
    """

    week: UnseenWeek
    of_listeners: int
    dropped: Mapping[str, int]


def evaluate(
    session: SparkSession,
    plan: Plan,
    home: Home,
    settings: Settings,
    *,
    base: Artefact,
    matrix: Path,
    pinned: Mapping[str, Artefact],
    out: Path,
) -> dict[str, Any]:
    """:func:`recsys.model_evaluation.evaluate_week`, of a sample or of all (`implicit`).

    Args:
        session: where.
        plan: the edition's.
        home: the home that it is in.
        settings: it was made by.
        base: the taste state one week back.
        matrix: the folder of the matrix made of it, kept by listeners; it is gone in the end.
        pinned: the models of earlier editions.
        out: the folder of the evaluation.
    """
    whole = settings.spark.training == IMPLICIT
    if not whole:
        names = [name for name in settings.evaluation.baseline_names if name in _OF_SONGS]
        of_songs = replace(settings.evaluation, baselines=", ".join(names))
        settings = replace(settings, evaluation=of_songs)
    found = _sampled(session, plan, home, settings, base, matrix, pinned.values())
    week = replace(found.week, base=TasteMatrix.load(matrix)) if whole else found.week
    evaluation = model_evaluation.evaluate_week(
        week,
        week=plan.week,
        pinned=pinned,
        settings=settings,
        out=out,
        train=None if whole else lambda: train_cold(session, matrix, settings),
    )
    return evaluation | {"of_listeners": found.of_listeners, "dropped": dict(found.dropped)}


def _sampled(
    session: SparkSession,
    plan: Plan,
    home: Home,
    settings: Settings,
    base: Artefact,
    matrix: Path,
    scored: Collection[Artefact],
) -> _Sampled:
    begin = unseen_since(base, plan, scored)
    listeners = read(session, [matrix / FOLDER], LISTENERS)
    (all_of_them,) = listeners.select(
        F.max(c.LAST_HEARD).alias("last_heard"), F.count_if(F.size("songs") > 0).alias("holders")
    ).collect()
    model_evaluation.refuse_leak(all_of_them.last_heard, begin)
    days = plan.days_between(plan.base_cutoff, plan.cutoff)
    tables = [Artefact.open(home.plays(day)).file("plays.parquet") for day in days]
    plays = session.sql(
        _PLAYED.format(begin=begin, end=plan.cutoff), plays=read(session, tables, DAILY_PLAYS)
    )
    judged = session.sql(
        _DROPPED,
        plays=plays,
        listeners=listeners,
        tracks=read(session, [matrix / "tracks.parquet"], _TRACKS),
    ).cache()
    try:
        counts = {row.dropped: row["count"] for row in judged.groupBy("dropped").count().collect()}
        foretold = judged.where("dropped IS NULL").select(c.USER_ID).distinct()
        some = drawn(
            listeners.join(foretold, c.USER_ID, "left_semi"), matrix,
            settings.evaluation.listeners, settings.recsys.seed,
        )  # fmt: skip
        names = session.createDataFrame(some.users.select([c.USER_ID]))
        theirs = judged.join(F.broadcast(names), c.USER_ID, "left_semi")
        of_listeners = foretold.count()
        mine = theirs.select(c.USER_ID, c.TRACK_ID, "played").toArrow()
    finally:
        judged.unpersist()
    taste = read(session, [base.file("taste.parquet")], schemas.TASTE)
    week = UnseenWeek(
        base=some,
        plays=mine.sort_by([(c.USER_ID, "ascending"), (c.TRACK_ID, "ascending")]),
        begin=begin,
        end=plan.cutoff,
        recent=_recent(session, some, taste, matrix, plan.base_cutoff),
        previous=_earlier(session, earlier_playlists(plan, home), names, matrix),
        holders=all_of_them.holders,
    )
    return _Sampled(week, of_listeners, {name: counts.get(name, 0) for name in _REASONS})


def _recent(
    session: SparkSession, base: TasteMatrix, taste: DataFrame, matrix: Path, cutoff: date
) -> npt.NDArray[np.int64]:
    """:func:`recsys.unseen_week.recent_listeners`, of all listeners of the matrix."""
    counts = session.sql(
        f"""SELECT song, count(DISTINCT user_id) AS listeners
            FROM {{taste}} JOIN {{listeners}} USING (user_id) JOIN {{tracks}} USING (track_id)
            WHERE last_heard >= DATE '{cutoff - timedelta(days=RECENT_DAYS)}'
            GROUP BY song""",
        taste=taste,
        listeners=read(session, [matrix / FOLDER], LISTENERS).select(c.USER_ID),
        tracks=read(session, [matrix / "tracks.parquet"], _TRACKS),
    ).toArrow()
    recent = np.zeros(len(base.songs), np.int64)
    recent[counts["song"].to_numpy()] = counts["listeners"].to_numpy()
    return recent


def _earlier(
    session: SparkSession, playlists: Sequence[Path], listeners: DataFrame, folder: Path
) -> list[Path]:
    """The rows of earlier playlists that are of some listeners."""
    found = []
    for number, table in enumerate(playlists):
        rows = read(session, [table], schemas.PLAYLISTS).join(
            F.broadcast(listeners), c.USER_ID, "left_semi"
        )
        found.append(folder / f"earlier-{number}.parquet")
        pq.write_table(rows.select(c.USER_ID, c.TRACKS).toArrow(), found[-1])
    return found


def weekly_volumes(session: SparkSession, days: Mapping[date, Path], end: date) -> list[WeekVolume]:
    """:func:`recsys.volume.weekly_volumes`."""

    def volume(tables: Sequence[Path]) -> WeekVolume:
        (row,) = session.sql(
            """SELECT coalesce(sum(plays + part_plays + skips), 0) AS listens,
                count(DISTINCT user_id) AS listeners
            FROM {plays} WHERE plays + part_plays + skips > 0""",
            plays=read(session, tables, DAILY_PLAYS),
        ).collect()
        return WeekVolume(int(row.listens), int(row.listeners))

    return [volume(tables) for tables in weeks_of(days, end)]

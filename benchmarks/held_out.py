"""Listening with a part held back, to hold playlists against: from a log, and from HetRec."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from recsys import schemas
from recsys.catalogue import roll_catalogue
from recsys.listens import clean_day, list_log
from recsys.matrix import TasteMatrix, build_matrix
from recsys.plays import daily_plays
from recsys.settings import EditionSettings, ListensSettings
from recsys.simulate import Truth
from recsys.taste import roll_taste
from recsys.unseen_week import plays_of
from recsys.weeks import Week

#: HetRec has whole years of listening; a product sees some weeks.
_HETREC_PLAYS = 5_000_000
_HELD_BACK = 0.2


@dataclass(frozen=True)
class HeldOut:
    """A base to make playlists from, and what listeners went on to hear.

    Attributes:
        name: for people.
        base: the matrix at the cutoff.
        plays: user_id and track_id of what was played after it.
        week: the edition whose cutoff it is.
        first_seen: per song of the base, the days before the cutoff when the log first had it;
            None where nobody knows.
        truth: what the listeners of a simulated log would really like, or None.
    """

    name: str
    base: TasteMatrix
    plays: pa.Table
    week: Week
    first_seen: npt.NDArray[np.int64] | None = None
    truth: Truth | None = None


def from_log(name: str, settings: ListensSettings, work: Path, truth: Truth | None) -> HeldOut:
    """Hold back the log's last seven days.

    Args:
        name: for people.
        settings: ``[listens]``, which name the log, by day of arrival.
        work: a folder to write into.
        truth: the truth beside a simulated log.
    """
    edition = EditionSettings()
    days = list_log(settings).days
    cleaned: list[Path] = []
    for day, files in sorted(days.items()):
        out = work / str(day)
        out.mkdir(parents=True)
        clean_day(settings, day, files, cleaned[-7:], out)
        cleaned.append(out / "listens.parquet")
        daily_plays(cleaned[-1], out)
    cutoff = max(days) - timedelta(days=6)
    before = [path.parent for path in cleaned if path.parent.name < str(cutoff)]
    after = [path.parent for path in cleaned if path.parent.name >= str(cutoff)]
    roll_taste(
        None,
        [folder / "plays.parquet" for folder in before],
        cutoff,
        settings.half_life_days,
        work / "taste.parquet",
    )
    roll_catalogue(
        None, [folder / "tracks.parquet" for folder in before], work / "catalogue.parquet"
    )
    base = build_matrix(
        work / "taste.parquet",
        work / "catalogue.parquet",
        cutoff=cutoff,
        active_days=edition.active_days,
        weights=settings,
        forgotten=(),
        spill=work,
    )
    return HeldOut(
        name=name,
        base=base,
        plays=plays_of(
            [folder / "plays.parquet" for folder in after],
            cutoff,
            cutoff + timedelta(days=7),
            work,
        ),
        week=Week.of(cutoff + timedelta(hours=edition.lead_hours)),
        first_seen=_first_seen(base, before, cutoff),
        truth=truth,
    )


def _first_seen(base: TasteMatrix, days: list[Path], cutoff: date) -> npt.NDArray[np.int64]:
    song_of = dict(
        zip(*(base.tracks[name].to_pylist() for name in ("track_id", "song")), strict=True)
    )
    age = np.zeros(len(base.songs), np.int64)
    for folder in days:
        before = (cutoff - date.fromisoformat(folder.name)).days
        for track in pq.read_table(folder / "tracks.parquet", columns=["track_id"])[0].to_pylist():
            age[song_of[track]] = max(age[song_of[track]], before)
    return age


def from_hetrec(folder: Path, work: Path, seed: int) -> HeldOut:
    """Hold back a fifth of each listener's artists, drawn by a seed; an artist is a track.

    The counts are real; HetRec has no clock, so the week is none. Counts are thinned binomially
    to some five million plays in all, and no pair is lost.
    """
    rng = np.random.default_rng(seed)
    user, artist, count = np.loadtxt(
        folder / "user_artists.dat", np.int64, skiprows=1, delimiter="\t"
    ).T
    plays = np.maximum(rng.binomial(count, min(_HETREC_PLAYS / count.sum(), 1)), 1)
    back = rng.random(len(user)) < _HELD_BACK
    users = np.array([f"user {one:06}" for one in user])
    tracks = np.array([f"artist {one:06}" for one in artist])
    week = Week.parse("2011-W19")
    cutoff = week.cutoff(24).date()
    kept = np.flatnonzero(~back)
    kept = kept[np.lexsort((tracks[kept], users[kept]))]
    zero = pa.array(np.zeros(len(kept)))
    taste = pa.table(
        {
            "user_id": users[kept],
            "track_id": tracks[kept],
            **dict.fromkeys(schemas.TASTE.names[2:8], zero),
            "heard": pa.array(np.ones(len(kept), bool)),
            "disliked": pa.array(np.zeros(len(kept), bool)),
            "last_heard": pa.array([cutoff - timedelta(days=1)] * len(kept), pa.date32()),
        }
    ).set_column(2, "plays", pa.array(plays[kept].astype(np.float64)))
    names = {}
    for line in (folder / "artists.dat").read_text(encoding="utf-8").split("\n"):
        row = line.split("\t")
        if len(row) > 1:
            names[f"artist {int(row[0]):06}"] = row[1]
    ids = np.unique(tracks)
    known = pa.array([names[one] for one in ids])
    catalogue = pa.table(
        {
            "track_id": ids,
            "track_name": known,
            "artist_name": known,
            "album_name": pa.nulls(len(ids), pa.string()),
            "artist_ids": [[one] for one in ids],
            "artist_names": [[name] for name in known.to_pylist()],
            "duration_ms": pa.nulls(len(ids), pa.int64()),
            "available": pa.array(np.ones(len(ids), bool)),
            "explicit": pa.nulls(len(ids), pa.bool_()),
            "song_key": ids,
        }
    )
    work.mkdir(parents=True, exist_ok=True)
    pq.write_table(taste.select(schemas.TASTE.names).cast(schemas.TASTE), work / "taste.parquet")
    pq.write_table(catalogue.cast(schemas.CATALOGUE), work / "catalogue.parquet")
    base = build_matrix(
        work / "taste.parquet",
        work / "catalogue.parquet",
        cutoff=cutoff,
        active_days=28,
        weights=ListensSettings(source="."),
        forgotten=(),
        spill=work,
    )
    held = pa.table({"user_id": users[back], "track_id": tracks[back]})
    return HeldOut("HetRec 2011 Last.fm", base, held, week)

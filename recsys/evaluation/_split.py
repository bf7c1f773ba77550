"""Any frame of listens, divided at a moment into what was known and what came after."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix

from recsys import columns as c
from recsys._tables import arrow, database
from recsys.errors import BadLogError
from recsys.matrix import TasteMatrix

_WEEK: Final = timedelta(days=7)
_RECENT: Final = timedelta(days=28)


class Frame(Protocol):
    """Whatever hands out Arrow: of pyarrow, pandas (2.2 or newer), Polars, DuckDB."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...  # noqa: D105, RUF100


@dataclass(frozen=True)
class Split:
    """Listens, divided at a moment.

    Attributes:
        base: what was known. Songs that are heard only later have the last columns.
        plays: float32 ``[users, songs known]``: how often, before the cutoff.
        recent: int64 ``[songs]``: listeners in the four weeks before the cutoff.
        after: user_id and track_id of the seven days after it.
    """

    base: TasteMatrix
    plays: csr_matrix
    recent: npt.NDArray[np.int64]
    after: pa.Table


def split_listens(listens: Frame, cutoff: date) -> Split:
    """Divide listens at a moment, as :func:`recsys.evaluation.evaluate` says."""
    pairs, songs = _pairs_and_songs(listens, cutoff)
    known = pairs.filter(pc.greater(pairs["plays"], 0))
    user_ids = known["user_id"].unique()
    user = pc.index_in(known["user_id"], value_set=user_ids).to_numpy()
    song = pc.index_in(known["track_id"], value_set=songs["track_id"]).to_numpy()
    times = known["plays"].to_numpy().astype(np.float32)
    plays = csr_matrix((times, (user, song)), (len(user_ids), len(songs)))
    plays.sort_indices()
    strength = csr_matrix((np.log1p(plays.data), plays.indices, plays.indptr), plays.shape)
    popularity = np.bincount(plays.indices, strength.data.astype(np.float64), len(songs))
    recent = song[known["recent"].to_numpy()]
    base = TasteMatrix(
        users=pa.table({"user_id": user_ids, "eligible": pa.array([True] * len(user_ids))}),
        songs=pa.table(
            {
                "song_key": songs["track_id"],
                "track_id": songs["track_id"],
                "artist_ids": songs["artist_ids"],
                "listeners": np.bincount(plays.indices, minlength=len(songs)),
                "popularity": popularity.round(6),
            }
        ),
        tracks=pa.table(
            {"track_id": songs["track_id"], "song": np.arange(len(songs), dtype=np.int32)}
        ),
        strength=strength,
        played_track=plays.indices.astype(np.int32),
        excluded=plays.astype(bool),
    )
    return Split(
        base=base,
        plays=plays[:, : pc.sum(songs["known"]).as_py() or 0],
        recent=np.bincount(recent, minlength=len(songs)),
        after=pairs.filter(pairs["after"]).select(["user_id", "track_id"]),
    )


def _pairs_and_songs(listens: Frame, cutoff: date) -> tuple[pa.Table, pa.Table]:
    """Pairs (user_id, track_id, plays before the cutoff, whether there was one of late, whether one
    after it), sorted; and songs (track_id, artist_ids, known), those that are known before others.
    """
    reader = pa.RecordBatchReader.from_stream(listens)
    _check_columns(reader.schema)
    moment = cutoff if isinstance(cutoff, datetime) else datetime.combine(cutoff, time(), UTC)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    begin, end, late = (f"TIMESTAMPTZ '{m}'" for m in (moment, moment + _WEEK, moment - _RECENT))
    artists = "artist_ids" if c.ARTIST_IDS in reader.schema.names else "[]::VARCHAR[]"
    with tempfile.TemporaryDirectory() as spill, database(Path(spill)) as connection:
        connection.register("listens", reader)
        connection.execute(
            f"""
            CREATE TABLE pair AS
            SELECT user_id::VARCHAR AS user_id, track_id::VARCHAR AS track_id,
                count(*) FILTER (listened_at < {begin}) AS plays,
                count(*) FILTER (listened_at < {begin} AND listened_at >= {late}) > 0 AS recent,
                count(*) FILTER (listened_at >= {begin}) > 0 AS after,
                count(*) FILTER (listened_at IS NULL) AS undated,
                min(artist_ids) AS artist_ids
            FROM (SELECT user_id, track_id, listened_at::TIMESTAMPTZ AS listened_at,
                      {artists}::VARCHAR[] AS artist_ids FROM listens)
            WHERE listened_at < {end} OR listened_at IS NULL
            GROUP BY ALL
            """
        )
        pairs = arrow(
            connection, "SELECT * EXCLUDE (artist_ids) FROM pair ORDER BY user_id, track_id"
        )
        songs = arrow(
            connection,
            """SELECT track_id, coalesce(min(artist_ids), []) AS artist_ids,
                   bool_or(plays > 0) AS known
               FROM pair GROUP BY track_id ORDER BY NOT known, track_id""",
        )
    nulls = {name: pairs[name].null_count for name in ("user_id", "track_id")}
    nulls["listened_at"] = pc.sum(pairs["undated"]).as_py() or 0
    wrong = [name for name, count in nulls.items() if count]
    if wrong:
        raise BadLogError(
            f"The listens have nulls in {', '.join(wrong)}: leave these rows out first."
        )
    return pairs, songs


def _check_columns(schema: pa.Schema) -> None:
    missing = [n for n in (c.USER_ID, c.TRACK_ID, c.LISTENED_AT) if n not in schema.names]
    if missing:
        raise BadLogError(
            f"The listens have no column {', '.join(missing)}; they have "
            f"{', '.join(schema.names)}. Rename yours."
        )
    kind = schema.field(c.LISTENED_AT).type
    if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        raise BadLogError(
            f"listened_at is {kind}; expected a timestamp or a date. Unix seconds, for instance, "
            "are turned into one by pyarrow's cast to timestamp('s')."
        )

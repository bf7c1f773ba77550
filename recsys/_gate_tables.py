"""The playlist gate's own view of the written files: DuckDB tables of small integers.

=========  ========================================================================================
track      track, track_id, song, available, listed: the catalogue, and what else the taste knows
credit     track, artist
blocked    song
open_song  song: available and not blocked
eligible   user_id
list       no, role (listener, default, refused), n, user_id and the other columns of the files
slot       no, place (from 1, as stored), track, song and the other columns of a playlist's track
known      no, track, song, heard, disliked: the taste of the users of ``list``
short      no, songs_left: where a list is not full, the songs that its user may get
said       no, rule: what a list says had to give way
broken     no, rule: what is broken
=========  ========================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from recsys import _gate_spares
from recsys._slices import UserRange
from recsys._tables import part_files, read_parquet
from recsys.settings import PlaylistsSettings


def load(
    database: duckdb.DuckDBPyConnection,
    *,
    playlists: Sequence[Path],
    default: Path | None,
    refused: Sequence[Path],
    taste: Path,
    users: UserRange,
    catalogue: Path,
    eligible: Path,
    cooling: Sequence[Path],
    blocked: Sequence[str],
    settings: PlaylistsSettings,
    only: npt.NDArray[np.int64] | None,
) -> None:
    """Read the files into the tables that the checks ask; ``only`` those lists, and their users."""
    database.register("blocked_id", pa.table({"track_id": pa.array(blocked, pa.string())}))
    database.register("asked", pa.table({"no": pa.array([] if only is None else only, pa.int32())}))
    some, theirs = ("", "") if only is None else (_SOME, _THEIRS)
    database.execute(
        f"""
        CREATE VIEW catalogue AS FROM {read_parquet([catalogue])};
        CREATE VIEW stored AS FROM ({_stored(default, playlists, refused)}) {some};
        CREATE VIEW taste AS FROM {_users_of(taste, users)} {theirs} WHERE {users.sql};
        CREATE TABLE eligible AS
            SELECT DISTINCT user_id FROM {read_parquet([eligible])} {theirs} WHERE {users.sql};
        """
    )
    for statement in (_TRACKS, _LISTS, _gate_spares.SPARES):
        database.execute(statement)
    for path in cooling:
        database.execute(_RECENT.format(editions=read_parquet([path])))
    database.execute(_SHORT.format(length=settings.length))
    database.execute(_BROKEN.format(per_artist=settings.per_artist))
    database.execute(_gate_spares.MISFITS.format(per_artist=settings.per_artist))


_SOME: Final = "SEMI JOIN asked USING (no)"
_THEIRS: Final = "SEMI JOIN (SELECT user_id FROM stored) USING (user_id)"


def _users_of(table: Path, users: UserRange) -> str:
    """The rows of the files with the users; of any one where there are none, for its columns."""
    return read_parquet(users.files_of(table) or part_files(table)[:1])


def _stored(default: Path | None, playlists: Sequence[Path], refused: Sequence[Path]) -> str:
    """The rows of all files, numbered in the order in which they are stored."""
    parts, rows = [], 0
    files = [
        *(("default", file) for file in [default] if file),
        *(("listener", file) for file in playlists),
        *(("refused", file) for file in refused),
    ]
    for role, file in files:
        parts.append(
            f"SELECT '{role}' AS role, ({rows} + file_row_number)::INTEGER AS no, "
            f"* EXCLUDE (file_row_number) "
            f"FROM {read_parquet([file], file_row_number=True)}"
        )
        rows += pq.read_metadata(file).num_rows
    return " UNION ALL BY NAME ".join(parts)


_TRACKS: Final = """
    CREATE TABLE track AS
        WITH every AS (
            SELECT track_id, song_key, available, true AS listed FROM catalogue
            UNION ALL
            SELECT DISTINCT track_id, NULL, false, false
            FROM taste ANTI JOIN catalogue USING (track_id)
        )
        SELECT row_number() OVER ()::INTEGER AS track, track_id, available, listed,
            CASE WHEN listed THEN dense_rank() OVER (ORDER BY song_key) END::INTEGER AS song
        FROM every;
    CREATE TABLE credit AS
        WITH named AS (SELECT track_id, unnest(artist_ids) AS artist_id FROM catalogue)
        SELECT DISTINCT track, dense_rank() OVER (ORDER BY artist_id)::INTEGER AS artist
        FROM named JOIN track USING (track_id) WHERE artist_id IS NOT NULL;
    CREATE TABLE blocked AS
        SELECT DISTINCT song FROM track SEMI JOIN blocked_id USING (track_id)
        WHERE song IS NOT NULL;
    CREATE TABLE open_song AS
        SELECT DISTINCT song FROM track ANTI JOIN blocked USING (song) WHERE available;
"""

_LISTS: Final = """
    CREATE TABLE list AS
        SELECT * EXCLUDE (tracks, spares), coalesce(len(tracks), 0) AS n FROM stored;
    CREATE TABLE slot AS
        WITH entry AS (
            SELECT no, generate_subscripts(tracks, 1)::INTEGER AS place,
                unnest(tracks, max_depth := 2)
            FROM stored WHERE role <> 'refused'
        )
        SELECT no, place, position, score, source, track.track, track.song, track.available,
            CASE WHEN track.track IS NULL THEN entry.track_id END AS unknown_id,
            because_track_id IS NOT NULL AS has_reason, reason.track AS because
        FROM entry
        LEFT JOIN (FROM track WHERE listed) AS track ON entry.track_id = track.track_id
        LEFT JOIN track AS reason ON because_track_id = reason.track_id;
    CREATE TABLE known AS
        SELECT no, track, song, heard, disliked
        FROM taste JOIN track USING (track_id)
        JOIN (SELECT no, user_id FROM list WHERE role <> 'default') USING (user_id);
    CREATE TABLE said AS SELECT no, unnest(relaxed) AS rule FROM list;
    CREATE TABLE recent (no INTEGER, song INTEGER);
"""

_RECENT: Final = """
    INSERT INTO recent
        WITH entry AS (
            SELECT user_id, unnest(tracks).track_id AS track_id
            FROM {editions} SEMI JOIN list USING (user_id)
        )
        SELECT DISTINCT no, song
        FROM entry JOIN track USING (track_id)
        JOIN (SELECT no, user_id FROM list WHERE role = 'listener') USING (user_id)
        SEMI JOIN (SELECT no, song FROM slot UNION ALL SELECT no, song FROM spare) AS listed
            USING (no, song);
"""

_SHORT: Final = """
    CREATE TABLE short AS
        WITH gone AS (
            SELECT no, count(DISTINCT song) AS songs
            FROM known SEMI JOIN open_song USING (song)
            SEMI JOIN (FROM list WHERE n < {length}) USING (no)
            WHERE heard OR disliked
            GROUP BY no
        )
        SELECT no, (SELECT count(*) FROM open_song) - coalesce(songs, 0) AS songs_left
        FROM list LEFT JOIN gone USING (no)
        WHERE n < {length};
"""

_BROKEN: Final = """
    CREATE TABLE broken AS
        WITH credited AS (SELECT no, place, artist FROM slot JOIN credit USING (track))
        SELECT DISTINCT no, 'neighbours' AS rule
        FROM credited AS one JOIN credited AS next USING (no, artist)
        WHERE next.place = one.place + 1
        UNION ALL
        SELECT DISTINCT no, 'cooldown' FROM slot SEMI JOIN recent USING (no, song)
        UNION ALL
        SELECT DISTINCT no, 'per_artist'
        FROM (SELECT no FROM credited GROUP BY no, artist HAVING count(*) > {per_artist});
"""

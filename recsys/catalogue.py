"""The track catalogue, built from the log: names, credited artists, song keys."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys import schemas
from recsys._tables import ROW_GROUP, arrow, database, file_list
from recsys.plays import DAILY_TRACKS
from recsys.songs import song_keys

_FIELDS = ("track_name", "artist_name", "album_name", "artist_ids", "duration_ms")

# An artist goes by the name given most often where it is the main artist, in tracks of its own
# before tracks with guests, whose credit may name them too.
_CATALOGUE = """
    WITH track AS (
        SELECT track_id, {newest} FROM told GROUP BY track_id
    ), credited AS (
        SELECT * REPLACE (
            coalesce(nullif(artist_ids, []),
                CASE WHEN artist_name IS NULL THEN [] ELSE [artist_name] END) AS artist_ids)
        FROM track
    ), artist AS (
        SELECT artist_ids[1] AS artist_id, artist_name AS name
        FROM credited
        WHERE len(artist_ids) > 0 AND artist_name IS NOT NULL
        GROUP BY artist_ids[1], artist_name
        QUALIFY row_number() OVER (
            PARTITION BY artist_ids[1]
            ORDER BY min(len(artist_ids)), count(*) DESC, artist_name) = 1
    ), credit AS (
        SELECT track_id, list(coalesce(name, credited_id) ORDER BY place) AS artist_names
        FROM (SELECT track_id, unnest(artist_ids) AS credited_id,
                     generate_subscripts(artist_ids, 1) AS place FROM credited) AS c
        LEFT JOIN artist ON artist.artist_id = c.credited_id
        GROUP BY track_id
    )
    SELECT credited.*, artist_ids[1] AS main_artist, coalesce(artist_names, []) AS artist_names,
        true AS available, CAST(NULL AS BOOLEAN) AS explicit
    FROM credited LEFT JOIN credit USING (track_id)
    ORDER BY track_id
"""


def roll_catalogue(previous: Path | None, days: Sequence[Path], out: Path) -> dict[str, int]:
    """Write the catalogue of all tracks seen so far to ``out``.

    Each field of a track is what the newest day that names it says.

    Args:
        previous: an older catalogue (:data:`recsys.schemas.CATALOGUE`), or None to begin.
        days: ``tracks.parquet`` of each day since, oldest first (all days, to begin).
        out: the file to write.

    Returns:
        The numbers of tracks, songs and tracks without a name.
    """
    columns = ", ".join(("track_id", *_FIELDS))
    with database(out.parent) as connection:
        connection.register("nothing", DAILY_TRACKS.empty_table())
        sources = [f"SELECT {columns}, -1 AS age FROM nothing"]
        if previous is not None:
            sources.append(
                f"SELECT {columns}, -1 AS age FROM read_parquet({file_list([previous])})"
            )
        if days:
            sources.append(
                f"SELECT {columns}, list_position({file_list(days)}, filename) AS age "
                f"FROM read_parquet({file_list(days)}, filename = true)"
            )
        connection.execute("CREATE VIEW told AS " + " UNION ALL ".join(sources))
        newest = ", ".join(
            f"arg_max({name}, age) FILTER ({name} IS NOT NULL) AS {name}" for name in _FIELDS
        )
        tracks = arrow(connection, _CATALOGUE.format(newest=newest))
    keys = song_keys(tracks["track_id"], tracks["track_name"], tracks["main_artist"])
    tracks = tracks.append_column("song_key", keys).select(schemas.CATALOGUE.names)
    pq.write_table(
        tracks.cast(schemas.CATALOGUE), out, compression="zstd", row_group_size=ROW_GROUP
    )
    return {
        "tracks": len(tracks),
        "songs": pc.count_distinct(keys).as_py(),
        "unnamed": tracks["track_name"].null_count,
    }


def tracks_of_song(catalogue: Path, track_id: str) -> dict[str, str | None]:
    """The tracks of a track's song, itself included, and their names; empty if it is unknown.

    Args:
        catalogue: a file of :data:`recsys.schemas.CATALOGUE`.
        track_id: one of the song's tracks.
    """
    found = pq.read_table(catalogue, columns=["song_key"], filters=[("track_id", "=", track_id)])
    if not len(found):
        return {}
    same = [("song_key", "=", found["song_key"][0].as_py())]
    tracks = pq.read_table(catalogue, columns=["track_id", "track_name"], filters=same)
    return dict(zip(tracks["track_id"].to_pylist(), tracks["track_name"].to_pylist(), strict=True))

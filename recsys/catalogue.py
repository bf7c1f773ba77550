"""The track catalogue: names, credited artists, song keys, and what may be recommended.

The log says what its tracks are called, week after week (:func:`roll_catalogue`); a catalogue of
the service, where there is one, has the last word (:func:`join_catalogue`).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys import schemas
from recsys._tables import ROW_GROUP, arrow, database, file_list, read_parquet, rows_of
from recsys.listens import LogFile, read_catalogue
from recsys.plays import DAILY_TRACKS
from recsys.songs import song_keys

_FIELDS = ("track_name", "artist_name", "album_name", "artist_ids", "duration_ms")

# An artist without an id goes by the name, which is no other artist's id.
_BY_NAME = "['name:' || nullif(artist_name, '')]"
# What a catalogue of ours says of a track, less the artist it knew by the name alone.
_OWN = f"* REPLACE (nullif(artist_ids, {_BY_NAME}) AS artist_ids)"

# An artist goes by the name given most often where it is the main artist, in tracks of its own
# before tracks with guests, whose credit may name them too.
_CATALOGUE = f"""
    WITH track AS (
        SELECT track_id, {{newest}} FROM told GROUP BY track_id
    ), credited AS (
        SELECT * REPLACE (
            CASE WHEN len(artist_ids) > 0 THEN artist_ids
                WHEN artist_name <> '' THEN {_BY_NAME} ELSE [] END AS artist_ids)
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
                f"SELECT {columns}, -1 AS age FROM (SELECT {_OWN} FROM {read_parquet([previous])})"
            )
        if days:
            sources.append(
                f"SELECT {columns}, list_position({file_list(days)}, filename) AS age "
                f"FROM {read_parquet(days, filename=True)}"
            )
        connection.execute("CREATE VIEW told AS " + " UNION ALL ".join(sources))
        tracks = arrow(connection, _CATALOGUE.format(newest=_newest()))
    tracks = _keyed(tracks)
    _write(tracks, out)
    return _counts(tracks)


def edition_catalogue(
    told: Path, files: Sequence[LogFile], out: Path, *, explicit: bool
) -> dict[str, int]:
    """Write the catalogue of an edition.

    Args:
        told: the catalogue made from the log (:data:`recsys.schemas.CATALOGUE`).
        files: the service's own (:func:`recsys.listens.catalogue_files`); none without one.
        out: the file to write.
        explicit: whether explicit tracks may be recommended.

    Returns:
        What :func:`join_catalogue` and :func:`recsys.listens.read_catalogue` count.

    Raises:
        BadLogError: the service's catalogue cannot be read; names file, row and column.
    """
    if not files:
        copy = shutil.copytree if told.is_dir() else shutil.copyfile
        copy(told, out)
        return {"tracks": rows_of(out)}
    with TemporaryDirectory(dir=out.parent) as scratch:
        given = Path(scratch) / "given.parquet"
        read = read_catalogue(files, given)
        return read | join_catalogue(told, given, out, explicit=explicit)


def join_catalogue(told: Path, given: Path, out: Path, *, explicit: bool) -> dict[str, int]:
    """Write the catalogue of an edition: what the log tells, and what the service's own says of it.

    Each field is what the service's catalogue says, and where it says nothing what the log tells. A
    track of the log that it does not know is not available. A track that was never heard is taken
    in where it is another pressing of a song that was: it may be the one that is available. Of
    several rows for a track the one that says most counts, and of these the first in order.

    Args:
        told: the catalogue made from the log (:data:`recsys.schemas.CATALOGUE`).
        given: the service's, from :func:`recsys.listens.read_catalogue`.
        out: the file to write.
        explicit: whether explicit tracks may be recommended.

    Returns:
        As :func:`roll_catalogue`, and: tracks of the log ``missing`` from the service's catalogue,
        ``twice`` (rows for a track that has another), tracks ``unavailable`` and ``barred`` for
        being explicit, and ``pressings`` that were never heard.
    """
    fields = ", ".join(("track_id", *_FIELDS))
    said = " + ".join(f"({name} IS NOT NULL)::INTEGER" for name in (*_FIELDS, "available"))
    with database(out.parent) as connection:
        connection.execute(
            f"""
            CREATE VIEW log AS SELECT {_OWN} FROM {read_parquet([told])};
            CREATE VIEW every AS FROM {read_parquet([given])};
            CREATE TABLE offer AS
                SELECT * FROM every
                SEMI JOIN (
                    SELECT track_id FROM log
                    UNION SELECT track_id FROM every
                        SEMI JOIN (
                            SELECT coalesce(artist_ids, {_BY_NAME})[1] AS main FROM log
                            UNION
                            SELECT coalesce(artist_ids, {_BY_NAME})[1] FROM every
                                SEMI JOIN log USING (track_id)
                        ) AS known
                            ON coalesce(every.artist_ids, {_BY_NAME})[1] = known.main
                ) AS wanted USING (track_id)
                QUALIFY row_number() OVER (
                    PARTITION BY track_id ORDER BY {said} DESC, to_json(every)::VARCHAR) = 1;
            CREATE VIEW told AS
                SELECT {fields}, 0 AS age FROM log UNION ALL SELECT {fields}, 1 FROM offer;
            """
        )
        ((twice,),) = connection.execute(
            "SELECT count(*) - count(DISTINCT track_id) FROM every"
        ).fetchall()
        connection.register("named", _keyed(arrow(connection, _CATALOGUE.format(newest=_newest()))))
        # A pressing nobody heard belongs to a song by its key, which is known only now.
        allowed = "true" if explicit else "NOT coalesce(offer.explicit, false)"
        rows = arrow(
            connection,
            f"""
            WITH heard AS (SELECT DISTINCT song_key FROM named SEMI JOIN log USING (track_id))
            SELECT named.* REPLACE (
                    offer.track_id IS NOT NULL AND coalesce(offer.available, true) AND {allowed}
                        AS available,
                    offer.explicit AS explicit),
                log.track_id IS NULL AS pressings, offer.track_id IS NULL AS missing,
                offer.track_id IS NOT NULL AND NOT coalesce(offer.available, true) AS unavailable,
                NOT {allowed} AS barred
            FROM named SEMI JOIN heard USING (song_key)
            LEFT JOIN offer USING (track_id) LEFT JOIN log USING (track_id)
            ORDER BY named.track_id
            """,
        )
    _write(rows, out)
    counted = {
        name: pc.sum(rows[name]).as_py() or 0
        for name in ("missing", "unavailable", "barred", "pressings")
    }
    return {**_counts(rows), **counted, "twice": twice}


def _newest() -> str:
    return ", ".join(
        f"arg_max({name}, age) FILTER ({name} IS NOT NULL) AS {name}" for name in _FIELDS
    )


def _keyed(tracks: pa.Table) -> pa.Table:
    keys = song_keys(tracks["track_id"], tracks["track_name"], tracks["main_artist"])
    return tracks.append_column("song_key", keys)


def _write(tracks: pa.Table, out: Path) -> None:
    table = tracks.select(schemas.CATALOGUE.names).cast(schemas.CATALOGUE)
    pq.write_table(table, out, compression="zstd", row_group_size=ROW_GROUP)


def _counts(tracks: pa.Table) -> dict[str, int]:
    return {
        "tracks": len(tracks),
        "songs": pc.count_distinct(tracks["song_key"]).as_py(),
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

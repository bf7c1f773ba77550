"""The track catalogue on Spark: :mod:`recsys.catalogue` to the last row.

Song keys are made by the same kernel, :func:`recsys.songs.song_keys`, over Arrow batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls them
from pyspark.sql.pandas.types import from_arrow_schema

from recsys import columns as c
from recsys import schemas
from recsys._tables import part_files, rows_of
from recsys.plays import DAILY_TRACKS
from recsys.songs import song_keys
from recsys.spark._datasets import PART, in_parts, ranges, read, read_marked, write

FIELDS: Final = ("track_name", "artist_name", "album_name", "artist_ids", "duration_ms")
_NAMED: Final = pa.schema(
    [field.with_nullable(True) for field in schemas.CATALOGUE if field.name != c.SONG_KEY]
)
KEYED: Final = _NAMED.append(pa.field(c.SONG_KEY, pa.string()))

# An artist without an id goes by the name, which is no other artist's id.
BY_NAME: Final = "array(concat('name:', nullif(artist_name, '')))"
# What a catalogue of ours says of a track, less the artist it knew by the name alone.
OWN: Final = f"""
    SELECT track_id, track_name, artist_name, album_name, duration_ms,
        nullif(artist_ids, {BY_NAME}) AS artist_ids
    FROM {{told}}
"""

_NEWEST: Final = ", ".join(
    f"max_by({name}, age) FILTER (WHERE {name} IS NOT NULL) AS {name}" for name in FIELDS
)
_CREDITED: Final = f"""
    SELECT * EXCEPT (artist_ids),
        CASE WHEN size(artist_ids) > 0 THEN artist_ids
            WHEN artist_name <> '' THEN {BY_NAME}
            ELSE CAST(array() AS ARRAY<STRING>) END AS artist_ids
    FROM (SELECT track_id, {_NEWEST} FROM {{told}} GROUP BY track_id)
"""
# An artist goes by the name given most often where it is the main artist, in tracks of its own
# before tracks with guests, whose credit may name them too.
_NAMES: Final = """
    WITH credits AS (
        SELECT artist_ids[0] AS artist_id, artist_name AS name,
            min(size(artist_ids)) AS guests, count(*) AS times
        FROM {credited}
        WHERE size(artist_ids) > 0 AND artist_name IS NOT NULL
        GROUP BY artist_ids[0], artist_name
    ), artist AS (
        SELECT artist_id, name FROM credits
        QUALIFY row_number() OVER (
            PARTITION BY artist_id ORDER BY guests, times DESC, name) = 1
    ), credit AS (
        SELECT track_id, transform(
            array_sort(collect_list(struct(place, coalesce(name, credited_id) AS name))),
            one -> one.name) AS artist_names
        FROM (SELECT track_id, posexplode(artist_ids) AS (place, credited_id) FROM {credited})
        LEFT JOIN artist ON artist_id = credited_id
        GROUP BY track_id
    )
    SELECT credited.*, coalesce(artist_names, CAST(array() AS ARRAY<STRING>)) AS artist_names,
        true AS available, CAST(NULL AS BOOLEAN) AS explicit
    FROM {credited} AS credited LEFT JOIN credit USING (track_id)
"""

COUNTS: Final = (
    "count(*) AS tracks, count(DISTINCT song_key) AS songs, count_if(track_name IS NULL) AS unnamed"
)


def roll_catalogue(
    session: SparkSession, previous: Path | None, days: Sequence[Path], out: Path
) -> dict[str, int]:
    """As :func:`recsys.catalogue.roll_catalogue`; ``out`` becomes a folder of parts."""
    ages = {file: age for age, day in enumerate(days) for file in part_files(day)}
    told = read_marked(session, ages, DAILY_TRACKS, mark="age")
    if previous is not None:
        before = session.sql(OWN, told=read(session, [previous], schemas.CATALOGUE))
        told = told.unionByName(before.withColumn("age", F.lit(-1)))
    with TemporaryDirectory(dir=out.parent, prefix=".scratch-") as scratch:
        tracks = named(session, told, Path(scratch))
        rows = sum(map(rows_of, [*days, *([previous] if previous else [])]))
        by_track = ranges(told, c.TRACK_ID, count=rows, distinct=True)
        tracks = in_parts(keyed(tracks), by_track).sortWithinPartitions(PART, c.TRACK_ID)
        write(tracks, out, schemas.CATALOGUE)
    return _counts(session, out)


def named(session: SparkSession, told: DataFrame, scratch: Path) -> DataFrame:
    """The tracks, with what the newest word on each says and the names of their artists."""
    credited = session.sql(_CREDITED, told=told)
    # It is asked three times.
    credited.write.parquet(f"file://{scratch / 'credited'}")
    credited = read(session, [scratch / "credited"], DAILY_TRACKS)
    return session.sql(_NAMES, credited=credited)


def keyed(tracks: DataFrame) -> DataFrame:
    """The tracks with their song keys."""
    rows: DataFrame = tracks.select(*_NAMED.names).mapInArrow(_with_keys, from_arrow_schema(KEYED))
    return rows


def _with_keys(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        tracks = pa.Table.from_batches([batch])
        main = pa.chunked_array([_first(batch[c.ARTIST_IDS])], pa.string())
        keys = song_keys(tracks[c.TRACK_ID], tracks[c.TRACK_NAME], main)
        yield from tracks.append_column(c.SONG_KEY, keys).cast(KEYED).to_batches()


def _first(lists: pa.Array) -> pa.Array:
    """The first element of each list; null where it has none."""
    import pyarrow.compute as pc

    some = pc.greater(pc.list_value_length(lists), 0)
    return pc.list_element(pc.if_else(some, lists, pa.scalar([None], lists.type)), 0)


def _counts(session: SparkSession, catalogue: Path) -> dict[str, int]:
    rows = session.sql(
        f"SELECT {COUNTS} FROM {{catalogue}}",
        catalogue=read(session, [catalogue], schemas.CATALOGUE),
    )
    return {name: int(count) for name, count in rows.collect()[0].asDict().items()}

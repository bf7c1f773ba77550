"""What the service says of its tracks, joined on Spark: ``recsys.catalogue.edition_catalogue``.

The service's files are read on the driver, a batch at a time: there are as many rows as tracks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from recsys import catalogue as local
from recsys import columns as c
from recsys import schemas
from recsys._tables import database, read_parquet, rows_of, write_query
from recsys.listens import LogFile, read_catalogue
from recsys.listens._catalogue import GIVEN
from recsys.spark._catalogue import BY_NAME, COUNTS, FIELDS, KEYED, OWN, keyed, named
from recsys.spark._datasets import PART, in_parts, ranges, read, write

#: A row of the service's catalogue, and the same as a text that rows can be ordered by.
_GIVEN: Final = GIVEN.append(pa.field("as_json", pa.string()))
_FLAGS: Final = ("missing", "unavailable", "barred", "pressings")
_FLAGGED: Final = pa.schema([*KEYED, *(pa.field(name, pa.bool_()) for name in _FLAGS)])

_MAIN: Final = f"get(coalesce(artist_ids, {BY_NAME}), 0)"
_SAID: Final = " + ".join(f"CAST({name} IS NOT NULL AS INT)" for name in (*FIELDS, c.AVAILABLE))
_OFFER: Final = f"""
    WITH known AS (
        SELECT {_MAIN} AS main FROM {{log}}
        UNION SELECT {_MAIN} FROM {{every}} LEFT SEMI JOIN {{log}} AS heard USING (track_id)
    ), wanted AS (
        SELECT track_id FROM {{log}}
        UNION SELECT track_id FROM (SELECT track_id, {_MAIN} AS main FROM {{every}})
            LEFT SEMI JOIN known USING (main)
    )
    SELECT * FROM {{every}} LEFT SEMI JOIN wanted USING (track_id)
    QUALIFY row_number() OVER (PARTITION BY track_id ORDER BY {_SAID} DESC, as_json) = 1
"""

# A pressing nobody heard belongs to a song by its key, which is known only now.
_ROWS: Final = """
    WITH heard AS (
        SELECT DISTINCT song_key FROM {named} LEFT SEMI JOIN {log} USING (track_id)
    ), said AS (
        SELECT track_id, available, explicit, true AS offered, {allowed} AS allowed FROM {offer}
    ), told AS (
        SELECT track_id, true AS told FROM {log}
    )
    SELECT named.* EXCEPT (available, explicit),
        offered IS NOT NULL AND coalesce(said.available, true) AND coalesce(allowed, true)
            AS available,
        said.explicit AS explicit,
        told IS NULL AS pressings, offered IS NULL AS missing,
        offered IS NOT NULL AND NOT coalesce(said.available, true) AS unavailable,
        NOT coalesce(allowed, true) AS barred
    FROM {named} AS named LEFT SEMI JOIN heard USING (song_key)
    LEFT JOIN said USING (track_id) LEFT JOIN told USING (track_id)
"""


def edition_catalogue(
    session: SparkSession, told: Path, files: Sequence[LogFile], out: Path, *, explicit: bool
) -> dict[str, int]:
    """As :func:`recsys.catalogue.edition_catalogue`; ``out`` becomes a folder of parts."""
    if not files:
        return local.edition_catalogue(told, files, out, explicit=explicit)
    with TemporaryDirectory(dir=out.parent, prefix=".scratch-") as scratch:
        given = Path(scratch) / "given.parquet"
        counts = read_catalogue(files, given)
        every = read(session, [_ordered(given)], _GIVEN)
        log = session.sql(OWN, told=read(session, [told], schemas.CATALOGUE))
        ((twice,),) = session.sql(
            "SELECT count(*) - count(DISTINCT track_id) FROM {every}", every=every
        ).collect()
        rows = _rows(session, log, every, Path(scratch), explicit=explicit)
        count = rows_of(told) + rows_of(given)
        by_track = ranges(rows, c.TRACK_ID, count=count, distinct=True)
        write(
            in_parts(rows, by_track).sortWithinPartitions(PART, c.TRACK_ID), out, schemas.CATALOGUE
        )
        flags = ", ".join(f"count_if({name}) AS {name}" for name in _FLAGS)
        made = session.sql(f"SELECT {COUNTS}, {flags} FROM {{rows}}", rows=rows).collect()[0]
    return {**counts, **{name: int(n) for name, n in made.asDict().items()}, "twice": twice}


def _ordered(given: Path) -> Path:
    """The service's rows, each with the text that ties go by on one machine."""
    out = given.with_name("ordered.parquet")
    with database(given.parent) as connection:
        query = f"""SELECT *, to_json(every)::VARCHAR AS as_json
            FROM (FROM {read_parquet([given])}) AS every"""
        write_query(connection, query, out, _GIVEN)
    return out


def _rows(
    session: SparkSession, log: DataFrame, every: DataFrame, scratch: Path, *, explicit: bool
) -> DataFrame:
    """The tracks of the edition, with a flag for each thing that is counted."""
    session.sql(_OFFER, log=log, every=every).write.parquet(f"file://{scratch / 'offer'}")
    offer = read(session, [scratch / "offer"], GIVEN)
    fields = ", ".join(("track_id", *FIELDS))
    told = session.sql(
        f"""SELECT {fields}, 0 AS age FROM {{log}}
            UNION ALL SELECT {fields}, 1 AS age FROM {{offer}}""",
        log=log,
        offer=offer,
    )
    keyed(named(session, told, scratch)).write.parquet(f"file://{scratch / 'named'}")
    allowed = "true" if explicit else "NOT coalesce(explicit, false)"
    rows = session.sql(
        _ROWS.replace("{allowed}", allowed),
        log=log,
        offer=offer,
        named=read(session, [scratch / "named"], KEYED),
    )
    rows.select(*_FLAGGED.names).write.parquet(f"file://{scratch / 'rows'}")
    return read(session, [scratch / "rows"], _FLAGGED)

"""Someone else's catalogue: Parquet or JSON Lines, as it is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys import columns as c
from recsys._tables import TableWriter, arrow, database
from recsys.errors import BadLogError, MissingDataError
from recsys.listens._archive import is_shown
from recsys.listens._block import repeated
from recsys.listens._inventory import LogFile, find_files
from recsys.listens._lines import line_blocks
from recsys.listens._open import Opened, local_copy, reading
from recsys.listens._parquet import _kind, plain_tables
from recsys.listens._sql import Kind, value
from recsys.listens._text import json_values

#: What a catalogue may say of a track; all but ``track_id`` may be missing.
GIVEN: Final = pa.schema(
    [
        pa.field(c.TRACK_ID, pa.string(), nullable=False),
        pa.field(c.TRACK_NAME, pa.string()),
        pa.field(c.ARTIST_NAME, pa.string()),
        pa.field(c.ALBUM_NAME, pa.string()),
        pa.field(c.ARTIST_IDS, pa.list_(pa.string())),
        pa.field(c.DURATION_MS, pa.int64()),
        pa.field(c.AVAILABLE, pa.bool_()),
        pa.field(c.EXPLICIT, pa.bool_()),
    ]
)
_WHOLE: Final = frozenset({Kind.TEXT, Kind.INTEGER})
_FLAG: Final = frozenset({Kind.BOOLEAN, Kind.INTEGER})
#: Types of a Parquet file's columns that can be read as ours.
_ACCEPTED: Final = {
    **dict.fromkeys(GIVEN.names, _WHOLE),
    c.ARTIST_IDS: _WHOLE | {Kind.LIST},
    c.DURATION_MS: frozenset({Kind.INTEGER, Kind.DOUBLE}),
    c.AVAILABLE: _FLAG,
    c.EXPLICIT: _FLAG,
}
_EXPECTED: Final = "Parquet or JSON Lines"
_COLUMNS: Final = (
    f"Expected a catalogue with the columns {', '.join(GIVEN.names)}; all but track_id may be "
    "missing."
)


def catalogue_files(source: str) -> tuple[LogFile, ...]:
    """The files of a catalogue, by name.

    Raises:
        SettingsError, MissingDataError, BadLogError: as :func:`recsys.listens.list_log`.
    """
    files = find_files(source, "[catalogue] source")
    if not files:
        raise MissingDataError(
            f"[catalogue] source = {source} holds no file. Expected Parquet or JSON Lines with a "
            "column track_id; names that begin with . or _ are left out."
        )
    return files


def read_catalogue(files: Sequence[LogFile], out: Path) -> dict[str, int]:
    """Write every row of a catalogue to one Parquet file of :data:`GIVEN`, in bounded memory.

    Args:
        files: from :func:`catalogue_files`.
        out: the file to write.

    Returns:
        ``rows`` read, and ``without_id``: rows that name no track and are left out.

    Raises:
        BadLogError: a file cannot be read, has a column of a wrong type, a value that is none, or
            no track; or there is no row. Names file, row and column.
    """
    rows = without_id = 0
    with (
        TableWriter(out, GIVEN) as writer,
        tempfile.TemporaryDirectory(dir=out.parent) as scratch,
        database(out.parent) as connection,
    ):
        for file in files:
            read = named = 0
            with reading(file, _EXPECTED):
                for block, select, kinds in _blocks(file, Path(scratch)):
                    connection.register("block", block)
                    given = arrow(connection, _typed(select, kinds))
                    _check_values(given)
                    known = given.filter(pc.is_valid(given[c.TRACK_ID])).select(GIVEN.names)
                    read += len(given)
                    named += len(known)
                    for batch in known.cast(GIVEN).to_batches():
                        writer.write(batch)
            if read and not named:
                raise BadLogError(
                    f"{file.name} names no track: none of its {read} rows has a {c.TRACK_ID}. "
                    f"{_COLUMNS}"
                )
            rows += read
            without_id += read - named
    if not rows:
        raise BadLogError(
            f"The catalogue has no rows in {', '.join(file.name for file in files[:5])}. Expected "
            "one a track: without, nothing may be recommended. Deliver it again, or leave "
            "[catalogue] source empty."
        )
    return {"rows": rows, "without_id": without_id}


def _blocks(file: LogFile, scratch: Path) -> Iterator[tuple[pa.Table, str, dict[str, Kind]]]:
    """Rows of a file, the SQL that takes what is given out of them, and of what kind that is."""
    if file.name.lower().endswith((".parquet", ".pq")):
        path, hashing = local_copy(file, scratch)
        with pq.ParquetFile(path) as parquet:
            kinds = _parquet_kinds(file, parquet.schema_arrow)
            names = {name: name for name in kinds}
            for table in plain_tables(parquet, path, names, lambda: hashing.bytes):
                yield table.append_column("file", repeated(file.name, len(table))), "block", kinds
        return
    select = f"({json_values({name: (name,) for name in GIVEN.names}, {})})"
    for name, stream in Opened(file, scratch, is_shown).members():
        for lines in line_blocks(stream):
            table = lines.append_column("file", repeated(name, len(lines)))
            yield table, select, dict.fromkeys(GIVEN.names, Kind.JSON)


def _parquet_kinds(file: LogFile, schema: pa.Schema) -> dict[str, Kind]:
    if c.TRACK_ID not in schema.names:
        raise BadLogError(
            f"{file.name} has no column 'track_id'. It has: {', '.join(schema.names)}. {_COLUMNS}"
        )
    kinds = {}
    for field in GIVEN:
        if field.name not in schema.names:
            continue
        if schema.names.count(field.name) > 1:
            raise BadLogError(
                f"{file.name} has {schema.names.count(field.name)} columns {field.name!r}, "
                "expected one. Write the catalogue again with the one that counts."
            )
        kind = schema.field(field.name).type
        found = _kind(kind)
        if found is None or not (pa.types.is_null(kind) or found in _ACCEPTED[field.name]):
            raise BadLogError(
                f"{file.name}: column {field.name!r} is of type {kind}, expected {field.type}. "
                "Write the catalogue again with that type."
            )
        kinds[field.name] = found
    return kinds


def _typed(select: str, kinds: Mapping[str, Kind]) -> str:
    """SQL of the rows with our types, and ``bad``: the first column whose value is none of it."""
    fields, bad = [], []
    for field in GIVEN:
        if field.name not in kinds:
            fields.append(f"NULL AS {field.name}")
            continue
        typed = value(field.name, field.name, kinds[field.name])
        bad.append(f"WHEN {field.name} IS NOT NULL AND ({typed}) IS NULL THEN '{field.name}'")
        if field.name == c.ARTIST_IDS:
            typed = f"nullif(list_filter({typed}, lambda x: x <> ''), [])"
        elif field.name == c.DURATION_MS:
            typed = f"nullif({typed}, 0)"
        elif pa.types.is_string(field.type):
            typed = f"nullif({typed}, '')"
        fields.append(f"{typed} AS {field.name}")
    return (
        f"SELECT file, row, fault, CASE {' '.join(bad)} END AS bad, {', '.join(fields)} "
        f"FROM {select}"
    )


def _check_values(given: pa.Table) -> None:
    wrong = given.filter(pc.or_(pc.is_valid(given["fault"]), pc.is_valid(given["bad"])))
    if not len(wrong):
        return
    first = wrong.select(["file", "row", "fault", "bad"]).slice(0, 1).to_pylist()[0]
    why = first["fault"] or (
        f"{first['bad']} cannot be read as {GIVEN.field(first['bad']).type}, as is expected"
    )
    raise BadLogError(f"{first['file']}, row {first['row']}: {why}. Mend the row, or leave it out.")

"""Someone else's catalogue: Parquet or JSON Lines, as it is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

from recsys import columns as c
from recsys._tables import TableWriter
from recsys.errors import BadLogError, MissingDataError
from recsys.listens._inventory import LogFile, find_files
from recsys.listens._open import local_copy, reading

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
_NULLABLE: Final = pa.schema([field.with_nullable(True) for field in GIVEN])
_ONE_ARTIST: Final = _NULLABLE.set(
    GIVEN.get_field_index(c.ARTIST_IDS), pa.field(c.ARTIST_IDS, pa.string())
)
_BLOCK: Final = 16 << 20


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
        BadLogError: a file cannot be read, or has a column of a wrong type; names both.
    """
    rows = without_id = 0
    with TableWriter(out, GIVEN) as writer, tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        for file in files:
            with reading(file):
                path, _ = local_copy(file, Path(scratch))
                for batch in _batches(file, path):
                    named = batch.filter(pa.compute.not_equal(batch[c.TRACK_ID], ""))
                    rows += len(batch)
                    without_id += len(batch) - len(named)
                    writer.write(named)
    return {"rows": rows, "without_id": without_id}


def _batches(file: LogFile, path: Path) -> Iterator[pa.RecordBatch]:
    name = file.name.lower()
    if name.endswith((".parquet", ".pq")):
        parquet = pq.ParquetFile(path)
        _check_names(file, parquet.schema_arrow.names)
        wanted = [column for column in GIVEN.names if column in parquet.schema_arrow.names]
        for batch in parquet.iter_batches(columns=wanted):
            yield _conform(file, batch)
    elif file.size:
        yield from _json_batches(file, path)


def _json_batches(file: LogFile, path: Path) -> Iterator[pa.RecordBatch]:
    """JSON Lines; artists may be one text in all rows, or a list in all rows."""
    for schema in (_NULLABLE, _ONE_ARTIST):
        options = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        try:
            with pa.input_stream(path, compression="detect") as stream:
                reader = pj.open_json(stream, pj.ReadOptions(block_size=_BLOCK), options)
                for batch in reader:
                    yield _conform(file, batch)
            return
        except pa.ArrowInvalid as error:
            if schema is _ONE_ARTIST or c.ARTIST_IDS not in str(error):
                raise


def _check_names(file: LogFile, names: list[str]) -> None:
    if c.TRACK_ID not in names:
        raise BadLogError(
            f"{file.name} has no column 'track_id'. It has: {', '.join(names)}. Expected a "
            f"catalogue with the columns {', '.join(GIVEN.names)}; all but track_id may be missing."
        )


def _conform(file: LogFile, batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = []
    for field in GIVEN:
        if field.name not in batch.schema.names:
            columns.append(pa.nulls(len(batch), field.type))
            continue
        values = batch[field.name]
        try:
            if field.name == c.ARTIST_IDS and not pa.types.is_nested(values.type):
                text = values.cast(pa.string())
                offsets = pa.array(range(len(text) + 1), pa.int32())
                values = pa.ListArray.from_arrays(offsets, text, mask=text.is_null())
            columns.append(values.cast(field.type))
        except pa.ArrowException as error:
            raise BadLogError(
                f"{file.name}: column {field.name!r} is of type {values.type}, expected "
                f"{field.type} ({error}). Write the catalogue again with that type."
            ) from error
    named = pa.compute.fill_null(columns[0], "")
    return pa.RecordBatch.from_arrays([named, *columns[1:]], schema=GIVEN)

"""Rows as they are handed over: their form, and what every store relies on. Needs Arrow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from recsys import columns as c
from recsys import schemas
from recsys.errors import StoreError
from recsys.weeks import Week

#: Rows handled at a time.
CHUNK_ROWS: Final = 8_192

_LISTS: Final = {c.TRACKS: schemas.PLAYLIST_TRACK, c.SPARES: schemas.SPARE}


def chunks(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows, at most ``CHUNK_ROWS`` at a time, in the right schema.

    Raises:
        StoreError: see :func:`conform`.
    """
    for batch in batches:
        conformed = conform(batch)
        for start in range(0, batch.num_rows, CHUNK_ROWS):
            yield conformed.slice(start, CHUNK_ROWS)


def conform(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch as ``schemas.CODED_PLAYLISTS``; indices into dictionaries are not looked at.

    Raises:
        StoreError: it has other columns or types, nulls where none may be, or broken text.
    """
    try:
        if not batch.schema.equals(schemas.CODED_PLAYLISTS):
            batch = _encode(batch)
        batch.validate()
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if name not in _LISTS:
                column.validate(full=True)
    except (pa.ArrowException, KeyError) as error:
        raise not_playlists(error) from error
    required = dict(zip(batch.schema.names, batch.columns, strict=True))
    for column, struct in _LISTS.items():
        entries = batch.column(column).flatten()
        required[f"{column} entry"] = entries
        for field, values in zip(struct, entries.flatten(), strict=True):
            if not field.nullable:
                required[f"{column}.{field.name}"] = values
                if pa.types.is_dictionary(values.type):
                    required[f"{column}.{field.name}, in the dictionary"] = values.dictionary
    for name, values in required.items():
        if values.null_count:
            raise StoreError(f"{values.null_count} playlists or tracks lack their {name}.")
    return batch


def _encode(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch as ``schemas.CODED_PLAYLISTS``, from strings as they are."""
    batch = batch.select(schemas.CODED_PLAYLISTS.names)
    if not batch.schema.equals(schemas.PLAYLISTS):
        batch = batch.cast(schemas.PLAYLISTS)
    batch.validate(full=True)
    return batch.cast(schemas.CODED_PLAYLISTS)


def not_playlists(error: Exception) -> StoreError:
    """What is said of rows that Arrow does not take."""
    return StoreError(
        f"These rows are not playlists ({error}): expected the columns and types of "
        "recsys.schemas.PLAYLISTS."
    )


def default_row(default: pa.RecordBatch | pa.Table) -> pa.RecordBatch:
    """The default playlist as a batch of one row.

    Raises:
        StoreError: it is not one row, or has a ``user_id``.
    """
    parts = default.to_batches() if isinstance(default, pa.Table) else [default]
    row = conform(pa.concat_batches(parts)) if parts else None
    if row is None or row.num_rows != 1 or row.column(c.USER_ID)[0].as_py() != "":
        raise StoreError("A default playlist is one row whose user_id is empty.")
    return row


def check_rows(chunk: pa.RecordBatch, week: Week, rows_before: int, last_user: str | None) -> None:
    """Check whose rows these are, and of which week; errors count rows from 1 and name no user.

    Args:
        chunk: rows.
        week: the edition's week.
        rows_before: for messages.
        last_user: the user of the row before, None for a default playlist.

    Raises:
        StoreError: rows of another week, an empty playlist, or users not in strictly growing order.
    """

    def refuse_where(bad: Any, what: str) -> None:
        if pc.any(bad).as_py():
            raise StoreError(f"Row {rows_before + pc.index(bad, True).as_py() + 1} {what}.")

    wanted = {c.EDITION: str(week), c.VALID_FROM: week.monday, c.VALID_UNTIL: week.sunday}
    for name, value in wanted.items():
        other = pc.not_equal(chunk.column(name), pa.scalar(value, chunk.schema.field(name).type))
        refuse_where(other, f"is of another week: its {name} is not {value}")
    refuse_where(
        pc.equal(pc.list_value_length(chunk.column(c.TRACKS)), 0),
        "has an empty playlist: leave such users out and count them refused",
    )
    if last_user is None:
        return
    users = chunk.column(c.USER_ID)
    refuse_where(pc.equal(users, ""), "has an empty user_id, which is the default playlist's")
    before = pa.concat_arrays([pa.array([last_user], pa.string()), users.slice(0, len(users) - 1)])
    refuse_where(
        pc.greater_equal(before, users), "is out of order: sort by user_id, one row a user"
    )

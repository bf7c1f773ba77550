"""Playlists in a canonical form: cut evenly, and hashed. Needs Arrow."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys import columns as c
from recsys import schemas
from recsys.errors import StoreError

#: Rows handled, and hashed, at a time. A part of the canonical form: never change it.
CHUNK_ROWS: Final = 16_384

#: The canonical form that digests are taken over now; version 1 had no spares.
DIGEST_VERSION: Final = 2

_LISTS: Final = {c.TRACKS: schemas.PLAYLIST_TRACK, c.SPARES: schemas.SPARE}


class PlaylistsDigest:
    """SHA-256 over playlists in a canonical form.

    Hashed are a heading (``recsys playlists 2`` and a line feed), the default playlist, and the
    rows in chunks of 16,384. Of each chunk: its row count (int64), then each column of
    ``schemas.PLAYLISTS`` (in version 1 all but the spares). A column of strings is the
    lengths in bytes of its values (int32, −1 for null), then their UTF-8 bytes one after
    another; of lists, the lengths (int32), then the column of all their values; of structs, the
    column of each field; of numbers and dates, the values. Everything is little-endian.
    """

    def __init__(self, default: pa.RecordBatch | pa.Table, version: int = DIGEST_VERSION) -> None:
        self._hash = hashlib.sha256(f"recsys playlists {version}\n".encode())
        self._names = [n for n in schemas.PLAYLISTS.names if version > 1 or n != c.SPARES]
        self._cutter = _Cutter()
        self._feed(default_row(default))

    def update(self, batch: pa.RecordBatch) -> None:
        """Take in the next rows, any number of them, that :func:`conform` has passed."""
        for chunk in self._cutter.add(batch):
            self._feed(chunk)

    def hexdigest(self) -> str:
        """The digest of all the rows; there can be no more of them afterwards."""
        for chunk in self._cutter.rest():
            self._feed(chunk)
        return self._hash.hexdigest()

    def _feed(self, chunk: pa.RecordBatch) -> None:
        self._hash.update(chunk.num_rows.to_bytes(8, "little"))
        for name in self._names:
            _hash_array(self._hash, chunk.column(name))


def playlists_digest(batches: Iterable[pa.RecordBatch], default: pa.RecordBatch | pa.Table) -> str:
    """SHA-256 of an edition's playlists in a canonical form, the same for every store.

    It depends on the rows and their order alone: not on how they are cut into batches, nor on
    Arrow's offsets, nor on what lies under a null.

    Args:
        batches: ``schemas.PLAYLISTS``, in user order.
        default: the default playlist, one row whose ``user_id`` is empty.

    Raises:
        StoreError: the columns are others, or hold nulls where none may be.
    """
    digest = PlaylistsDigest(default)
    for chunk in chunks(batches):
        digest.update(chunk)
    return digest.hexdigest()


def chunks(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of ``CHUNK_ROWS``, the last one shorter, in the right schema."""
    cutter = _Cutter()
    for batch in batches:
        yield from cutter.add(conform(batch))
    yield from cutter.rest()


def conform(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch as ``schemas.PLAYLISTS``.

    Raises:
        StoreError: it has other columns or types, nulls where none may be, or broken UTF-8.
    """
    try:
        if not batch.schema.equals(schemas.PLAYLISTS):
            batch = batch.select(schemas.PLAYLISTS.names).cast(schemas.PLAYLISTS)
        batch.validate(full=True)
    except (pa.ArrowException, KeyError) as error:
        raise StoreError(
            f"These rows are not playlists ({error}): expected the columns and types of "
            "recsys.schemas.PLAYLISTS."
        ) from error
    required = dict(zip(batch.schema.names, batch.columns, strict=True))
    for column, struct in _LISTS.items():
        entries = batch.column(column).flatten()
        required[f"{column} entry"] = entries
        for field, values in zip(struct, entries.flatten(), strict=True):
            if not field.nullable:
                required[f"{column}.{field.name}"] = values
    for name, values in required.items():
        if values.null_count:
            raise StoreError(f"{values.null_count} playlists or tracks lack their {name}.")
    return batch


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


class _Cutter:
    """Cuts batches of any size into chunks of ``CHUNK_ROWS``."""

    def __init__(self) -> None:
        self._parts: list[pa.RecordBatch] = []
        self._rows = 0

    def add(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        start = 0
        while start < batch.num_rows:
            part = batch.slice(start, CHUNK_ROWS - self._rows)
            self._parts.append(part)
            self._rows += part.num_rows
            start += part.num_rows
            if self._rows == CHUNK_ROWS:
                yield from self.rest()

    def rest(self) -> Iterator[pa.RecordBatch]:
        if self._parts:
            parts, self._parts, self._rows = self._parts, [], 0
            yield parts[0] if len(parts) == 1 else pa.concat_batches(parts)


def _hash_array(hasher: Any, array: pa.Array[Any]) -> None:
    if isinstance(array, pa.StructArray):
        for field in array.flatten():
            _hash_array(hasher, field)
    elif isinstance(array, pa.ListArray):
        hasher.update(_little(pc.list_value_length(array).fill_null(-1), "<i4"))
        _hash_array(hasher, array.flatten())
    elif isinstance(array, pa.StringArray):
        hasher.update(_little(pc.binary_length(array).fill_null(-1), "<i4"))
        values = array.fill_null("") if array.null_count else array
        _, offsets, data = values.buffers()
        if data is not None and len(values):
            ends = np.frombuffer(offsets, np.int32)
            start, stop = ends[values.offset], ends[values.offset + len(values)]
            hasher.update(memoryview(data)[start:stop])
    elif isinstance(array, pa.Date32Array):
        hasher.update(_little(array.view(pa.int32()), "<i4"))
    else:
        hasher.update(_little(array, np.dtype(array.type.to_pandas_dtype()).newbyteorder("<")))


def _little(array: Any, dtype: Any) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(array.to_numpy(zero_copy_only=False), dtype)

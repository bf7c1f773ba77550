"""Pairs of user and item from a Parquet file, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix

from recsys.errors import BadLogError, MissingDataError
from recsys.models._objective import confidences

_PAIR: Final = ("user", "item")
_STRINGS: Final = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
#: What ids are once they are read.
_KINDS: Final = {pa.int64(): "integers", pa.large_string(): "strings"}


@dataclass(frozen=True)
class Pairs:
    """Who took what.

    Attributes:
        strength: float32 ``[users, items]``: ``log(1 + weight)``, repeats added up; 1 without
            weights.
        users: the id of each row.
        items: the id of each column.
        weighted: whether there were weights.
    """

    strength: csr_matrix
    users: pa.Array
    items: pa.Array
    weighted: bool

    def confidences(self, alpha: float) -> csr_matrix:
        """``1 + alpha * strength``."""
        return confidences(self.strength, alpha)


def read_pairs(path: Path) -> Pairs:
    """Read columns ``user`` and ``item`` (integers or strings) and, if there is one, ``weight``.

    Strings may be of any kind that pandas and Polars write, categories among them. A weight of 0
    says nothing and is left out.

    Raises:
        MissingDataError: there is no such file, or nothing in it.
        BadLogError: it is no Parquet, a column is missing or of a wrong type, a value is null, or a
            weight is negative or not finite; the row is named.
    """
    table = _read(path)
    weights = _weights(path, table)
    kept = weights > 0
    if not kept.any():
        raise MissingDataError(f"{path} holds no pair of user and item with a weight above 0.")
    codes = {name: table[name].combine_chunks().dictionary_encode() for name in _PAIR}
    row, column = (codes[name].indices.to_numpy()[kept] for name in _PAIR)
    users, items = (codes[name].dictionary for name in _PAIR)
    matrix = csr_matrix((weights[kept], (row, column)), (len(users), len(items)))
    weighted = "weight" in table.column_names
    matrix.data = np.log1p(matrix.data) if weighted else np.ones_like(matrix.data)
    return Pairs(matrix.astype(np.float32), users, items, weighted)


def read_wanted(path: Path, known: Pairs) -> tuple[csr_matrix, int]:
    """The pairs of a test file under the users and items of the training file.

    What the training file holds is not asked for again.

    Returns:
        bool ``[users, items]``, and how many pairs are of a user or an item that is not known.

    Raises:
        MissingDataError: there is no such file.
        BadLogError: it is no Parquet, a column is missing, of a wrong type or of another one than
            in the training file, or a value is null.
    """
    table = _read(path)
    wanted = {}
    for name, ids in zip(_PAIR, (known.users, known.items), strict=True):
        if table[name].type != ids.type:
            kind, other = (_KINDS[one] for one in (table[name].type, ids.type))
            raise BadLogError(
                f"{path}: column {name} holds {kind}, and that of the training file {other}: "
                "expected the same in both."
            )
        wanted[name] = pc.index_in(table[name], value_set=ids).combine_chunks()
    both = np.logical_and(*(codes.is_valid().to_numpy(False) for codes in wanted.values()))
    row, column = (codes.fill_null(0).to_numpy()[both] for codes in wanted.values())
    held = csr_matrix((np.ones(len(row), bool), (row, column)), known.strength.shape)
    fresh = (held - held.multiply(known.strength > 0)).astype(bool)
    fresh.eliminate_zeros()
    return fresh.tocsr(), int((~both).sum())


def _read(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise MissingDataError(f"There is no file {path}.") from None
    except (OSError, pa.ArrowException) as error:
        raise BadLogError(f"{path} cannot be read as Parquet: {error}") from error
    missing = [name for name in _PAIR if name not in table.column_names]
    if missing:
        raise BadLogError(
            f"{path} has no column {' and none '.join(missing)}; it has "
            f"{', '.join(table.column_names)}. Expected user, item and, if there is one, weight."
        )
    for name in _PAIR:
        where = table.column_names.index(name)
        table = table.set_column(where, name, _ids(path, name, table[name]))
    for name in {*_PAIR, "weight"} & {*table.column_names}:
        if table[name].null_count:
            row = pc.index(table[name].is_null(), True).as_py()
            raise BadLogError(f"{path}: column {name} is null in row {row}: expected a value.")
    return table


def _ids(path: Path, name: str, ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """Integers as int64, strings of any kind as large strings; categories are looked up."""
    if pa.types.is_dictionary(ids.type):
        ids = ids.cast(ids.type.value_type)
    if pa.types.is_integer(ids.type):
        wanted = pa.int64()
    elif any(is_kind(ids.type) for is_kind in _STRINGS):
        wanted = pa.large_string()
    else:
        raise BadLogError(f"{path}: column {name} is {ids.type}: expected integers or strings.")
    try:
        return ids.cast(wanted)
    except pa.ArrowException as error:
        raise BadLogError(
            f"{path}: column {name} holds an integer beyond 64 bits with a sign: {error}. Write it "
            "as a string."
        ) from error


def _weights(path: Path, table: pa.Table) -> npt.NDArray[Any]:
    if "weight" not in table.column_names:
        return np.ones(len(table))
    try:
        weights = table["weight"].cast(pa.float64()).to_numpy()
    except pa.ArrowException as error:
        raise BadLogError(f"{path}: column weight is no number: {error}") from error
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise BadLogError(
            f"{path}: weight is {weights[wrong[0]]:g} in row {wrong[0]}: expected a finite number "
            "from 0."
        )
    return weights

"""Ids by number, and days since 1970."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

#: A day that no listen is of, where a date is null.
NEVER: Final = np.iinfo(np.int32).min


@dataclass(frozen=True)
class Ids:
    """Distinct texts by number, and their order.

    Attributes:
        texts: by number.
        order: int64, the numbers in order of their texts' bytes.
        ranks: int32, the place of each number in it.
    """

    texts: pa.StringArray
    order: npt.NDArray[np.int64]
    ranks: npt.NDArray[np.int32]

    def and_also(self, new: pa.StringArray) -> Ids:
        """These and new ones, which get the next numbers.

        >>> few = Ids.none().and_also(pa.array(["b", "a"]))
        >>> few.and_also(pa.array(["c"])).order.tolist()
        [1, 0, 2]
        """
        texts = pa.concat_arrays([self.texts, new])
        first = pc.min(new).as_py()
        # Users come in order, or nearly: what is before all new ones stays where it is.
        before = bisect_left(self.order, first, key=lambda number: self.texts[number].as_py())
        rest = np.concatenate([self.order[before:], np.arange(len(self.texts), len(texts))])
        rest = rest[pc.sort_indices(texts.take(pa.array(rest))).to_numpy()]
        order = np.concatenate([self.order[:before], rest])
        ranks = np.empty(len(order), np.int32)
        ranks[order] = np.arange(len(order), dtype=np.int32)
        return Ids(texts, order, ranks)

    @classmethod
    def none(cls) -> Ids:
        """No texts."""
        return cls(pa.array([], pa.string()), np.zeros(0, np.int64), np.zeros(0, np.int32))

    def places(self, count: int) -> npt.NDArray[np.int32]:
        """By rank, the number where it is one of the first ``count``, else -1."""
        return np.where(self.order < count, self.order, -1).astype(np.int32)

    def named(self, ranks: npt.NDArray[np.int32]) -> pa.StringArray:
        """The texts of some ranks."""
        return self.texts.take(pa.array(self.order[ranks]))


class Codes:
    """Distinct texts, numbered as they come.

    >>> codes = Codes()
    >>> codes.of(pa.chunked_array([["b", "a"], ["c", "b"]])).tolist()
    [0, 1, 2, 0]
    >>> codes.ids.ranks.tolist()
    [1, 0, 2]
    """

    def __init__(self) -> None:
        self.ids = Ids.none()

    def of(self, texts: pa.ChunkedArray) -> npt.NDArray[np.int32]:
        """The numbers of some texts, of which none is null; new ones get the next."""
        known = pc.index_in(texts, self.ids.texts)
        new = texts.filter(known.is_null())
        if not len(new):
            return _int32(known)
        fresh = new.unique()
        found = _int32(known.fill_null(-1)).copy()
        found[found < 0] = len(self.ids.texts) + _int32(pc.index_in(new, fresh))
        self.ids = self.ids.and_also(fresh)
        return found


def number_of(day: date) -> int:
    """Days since 1970.

    >>> number_of(date(1970, 1, 3))
    2
    """
    return (day - date(1970, 1, 1)).days


def to_dates(days: npt.NDArray[np.int32]) -> pa.Date32Array:
    """Dates of days since 1970; null for :data:`NEVER`."""
    return pa.array(days, mask=days == NEVER).view(pa.date32())


def _int32(numbers: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int32]:
    return np.asarray(numbers, np.int32)

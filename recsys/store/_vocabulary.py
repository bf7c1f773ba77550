"""Strings as numbers, whatever dictionaries they came with. Needs NumPy and Arrow."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa

from recsys.store._frames import frozen
from recsys.store._kernel import Ints, renumber

_DICTIONARIES_KEPT: Final = 8


class Vocabulary:
    """Different strings, numbered from 1; 0 is none.

    A dictionary that comes again, chunk by chunk, is numbered once.
    """

    def __init__(self) -> None:
        self._strings = pa.array([None], pa.string())
        self._known: list[tuple[Any, Ints]] = []

    def __len__(self) -> int:
        return len(self._strings) - 1

    def numbers(self, *columns: pa.DictionaryArray) -> Ints:
        """The number of each string of some columns, one after another, int32.

        Raises:
            IndexError: an index that is not in its dictionary.
        """
        found: Ints = np.empty(sum(map(len, columns)), np.int32)
        at = 0
        for column in columns:
            strings, indices = column.dictionary, column.indices
            if indices.null_count:
                indices = indices.fill_null(len(strings))
            part = found[at : at + len(column)]
            if not renumber(frozen(indices.to_numpy()), self._numbers_of(strings), part):
                raise IndexError("an index that is not in its dictionary")
            at += len(column)
        return found

    def strings(self, numbers: Ints) -> pa.StringArray:
        """The strings of some numbers."""
        return self._strings.take(pa.array(numbers))

    def _numbers_of(self, strings: pa.StringArray) -> Ints:
        """Numbers of a dictionary, and one of none at the end."""
        for known, numbers in reversed(self._known):
            if _is(known, strings) or known.equals(strings):
                same: Ints = numbers
                return same
        strings.validate(full=True)
        both = pa.concat_arrays([self._strings, strings]).dictionary_encode("encode")
        places = both.indices[len(self._strings) :]
        self._strings = both.dictionary
        found: Ints = np.zeros(len(strings) + 1, np.int32)
        found[:-1] = places
        self._known = [*self._known[1 - _DICTIONARIES_KEPT :], (strings, found)]
        return found


def _is(known: pa.StringArray, strings: pa.StringArray) -> bool:
    """Whether they lie in the same place."""
    return (len(known), known.offset, *map(_address, known.buffers())) == (
        len(strings),
        strings.offset,
        *map(_address, strings.buffers()),
    )


def _address(buffer: pa.Buffer | None) -> int:
    return 0 if buffer is None else int(buffer.address)

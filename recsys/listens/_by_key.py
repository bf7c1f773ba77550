"""The order of rows by a key: by counting, and by comparing where few agree in its first column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import types

from recsys._coded import codes_of, joined, ranks, values_of

#: Rows that agree in the first column of a key are put in order by themselves where they are few.
_GROUP_ROWS: Final = 1 << 12

Integers = npt.NDArray[np.int64]
#: Numbers from 0, and one more than the largest may be.
_Numbers = tuple[Integers, int]


def by_key(
    rows: pa.Table, key: Sequence[str]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Where the rows go when they are sorted by a key, those that agree in their own order.

    Args:
        rows: any table.
        key: columns of text, integers or dates, without nulls.

    Returns:
        For each place in the order, the number of the row that belongs there; and whether that
        row's key differs from the one before.
    """
    if not len(rows):
        return np.empty(0, np.int64), np.empty(0, np.bool_)
    (lead, many), *others = [_numbers(rows[name]) for name in key]
    rest = _packed(others)
    if rest and many <= len(rows) and int(np.bincount(lead).max()) <= _GROUP_ROWS:
        return _by_groups(lead, many, [codes for codes, _ in rest])
    order = np.arange(len(rows))
    for codes, size in ((lead, many), *rest)[::-1]:
        order = _by_digits(codes, order, (size - 1).bit_length())
    differs = np.zeros(len(rows), np.bool_)
    differs[0] = True
    for codes, _ in ((lead, many), *rest):
        ordered = codes[order]
        differs[1:] |= ordered[1:] != ordered[:-1]
    return order, differs


def _packed(columns: Sequence[_Numbers]) -> list[_Numbers]:
    """Fewer columns of numbers that sort as these do together."""
    packed: list[_Numbers] = []
    for codes, many in columns:
        if packed and packed[-1][1] * many < 2**63:
            packed[-1] = packed[-1][0] * many + codes, packed[-1][1] * many
        else:
            packed.append((codes, many))
    return packed


def _numbers(column: pa.ChunkedArray) -> _Numbers:
    """Numbers from 0 that sort as the values do, and one more than the largest may be."""
    if types.is_string(column.type):
        column = column.dictionary_encode()
    if types.is_dictionary(column.type):
        column = joined(pa.table([column], ["text"]))["text"]
        rank = ranks(values_of(column))
        return rank[codes_of(column)], len(rank)
    kind = pa.int32() if types.is_date32(column.type) else pa.int64()
    numbers = column.cast(kind).to_numpy().astype(np.int64)
    least = int(numbers.min())
    return numbers - least, int(numbers.max()) - least + 1


@numba.njit(cache=True, nogil=True)
def _by_digits(numbers: Any, order: Any, bits: Any) -> Any:  # pragma: no cover
    """Rows in the order of numbers from 0 of so many bits; those that agree stay as they are.

    From the least digit of 11 bits to the greatest, each time by counting.
    """
    digits = (bits + 10) // 11
    counts = np.zeros((max(digits, 1), 2048), np.int64)
    for number in numbers:
        for digit in range(digits):
            counts[digit, (number >> (11 * digit)) & 2047] += 1
    for digit in range(digits):
        place = 0
        for value in range(2048):
            counts[digit, value], place = place, place + counts[digit, value]
        sorted_by = np.empty_like(order)
        for row in order:
            value = (numbers[row] >> (11 * digit)) & 2047
            sorted_by[counts[digit, value]] = row
            counts[digit, value] += 1
        order = sorted_by
    return order


def _by_groups(
    lead: Integers, many: int, rest: Sequence[Integers]
) -> tuple[Integers, npt.NDArray[np.bool_]]:
    """What :func:`by_key` gives, of which few rows have the same first number."""
    order, first, ends = _grouped(lead, many, rest[0])
    others = np.stack(rest[1:]) if rest[1:] else np.empty((0, len(lead)), np.int64)
    return order, _put_in_order(order, first, ends, others)


@numba.njit(cache=True, nogil=True)
def _grouped(lead: Any, many: Any, rest: Any) -> Any:  # pragma: no cover
    """Rows by their first number, what they have for a second, and where each group ends."""
    place = np.zeros(many + 1, np.int64)
    for number in lead:
        place[number + 1] += 1
    for number in range(many):
        place[number + 1] += place[number]
    order = np.empty(len(lead), np.int64)
    second = np.empty(len(lead), np.int64)
    for row in range(len(lead)):
        to = place[lead[row]]
        place[lead[row]] = to + 1
        order[to] = row
        second[to] = rest[row]
    return order, second, place[:many]


@numba.njit(cache=True, nogil=True)
def _put_in_order(order: Any, second: Any, ends: Any, others: Any) -> Any:  # pragma: no cover
    """Sort groups of rows (Shell 1959, with Knuth's gaps); whether each differs from the last."""
    differs = np.empty(len(order), np.bool_)
    start = 0
    for end in ends:
        gap = 1
        while gap < (end - start) // 9:
            gap = 3 * gap + 1
        while gap > 0:
            for place in range(start + gap, end):
                number, row = second[place], order[place]
                to = place
                while to >= start + gap and (
                    second[to - gap] > number
                    or (second[to - gap] == number and _compared(others, order[to - gap], row) > 0)
                ):
                    second[to], order[to] = second[to - gap], order[to - gap]
                    to -= gap
                second[to], order[to] = number, row
            gap //= 3
        for place in range(start, end):
            differs[place] = (
                place == start
                or second[place - 1] != second[place]
                or _compared(others, order[place - 1], order[place]) < -1
            )
        start = end
    return differs


@numba.njit(cache=True, nogil=True)
def _compared(numbers: Any, one: Any, other: Any) -> Any:  # pragma: no cover
    """Above 0 where a row goes behind another; 1 or -1 where their numbers agree."""
    for column in range(len(numbers)):
        if numbers[column, one] != numbers[column, other]:
            return 2 if numbers[column, one] > numbers[column, other] else -2
    return 1 if one > other else -1

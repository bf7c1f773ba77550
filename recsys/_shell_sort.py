"""Sorting of a few keys that are nearly in order, compiled sooner than numpy's way in numba is."""

from __future__ import annotations

import numba


@numba.njit(cache=True, nogil=True)
def shell_sort(keys):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Sort int64 keys in place (Shell 1959, with Knuth's gaps)."""
    gap = 1
    while gap < len(keys) // 9:
        gap = 3 * gap + 1
    while gap > 0:
        for place in range(gap, len(keys)):
            key = keys[place]
            other = place
            while other >= gap and keys[other - gap] > key:
                keys[other] = keys[other - gap]
                other -= gap
            keys[other] = key
        gap //= 3

"""How the process of a run holds memory."""

from __future__ import annotations

import ctypes
import os
from typing import Final

#: mallopt(3): what a block has to have to be asked of the system by itself, and what may be unused
#: at the end before it is given back.
_M_MMAP_THRESHOLD: Final = -3
_M_TRIM_THRESHOLD: Final = -1
_HELD_BYTES: Final = 1 << 30


def hold_memory() -> None:
    """Keep memory for the next block of rows, where else each asks the system for all of its own.

    Pages that are new are made ready one by one when they are first written to: a fifth of the
    time of counting a day. Arrow takes its memory where numpy does, so that both use the same. To
    be called before Arrow is imported; without glibc's ``mallopt`` only Arrow is told.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _HELD_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _HELD_BYTES)


def release_memory() -> None:
    """Give back what is held and not in use."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)

"""A run holds memory that it will need again, unless its environment says otherwise."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

_FAULTS = """
import resource
import workflows

def block():
    return b"x" * (48 << 20)

block()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
block()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
_RELEASED = """
from pathlib import Path
from workflows import _allocator

def held():
    return int(Path("/proc/self/statm").read_text().split()[1])

block = b"x" * (48 << 20)
del block
before = held()
_allocator.release_memory()
print(before - held())
"""
_POOL = "import workflows, pyarrow; print(pyarrow.default_memory_pool().backend_name)"


def said(program: str, **environment: str) -> str:
    inherited = {
        name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=inherited | environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library has no mallopt"
)
def test_a_block_that_comes_again_needs_no_new_pages() -> None:
    pages = (48 << 20) // os.sysconf("SC_PAGE_SIZE")
    assert int(said(_FAULTS)) < pages // 10


@pytest.mark.skipif(
    not (hasattr(ctypes.CDLL(None), "malloc_trim") and Path("/proc/self/statm").exists()),
    reason="the C library has no malloc_trim, or the system does not say what is held",
)
def test_what_is_held_can_be_given_back() -> None:
    pages = (48 << 20) // os.sysconf("SC_PAGE_SIZE")
    assert int(said(_RELEASED)) > pages // 2


def test_arrow_takes_its_memory_where_numpy_does() -> None:
    assert said(_POOL) == "system"


def test_a_pool_that_is_asked_for_is_used() -> None:
    assert said(_POOL, ARROW_DEFAULT_MEMORY_POOL="mimalloc") == "mimalloc"

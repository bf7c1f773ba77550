"""Machine code that was compiled before an upgrade is compiled anew.

numba keeps it beside each source file, and looks at that file only. A compiled function of another
file that was built into it would stay what it was:
https://numba.readthedocs.io/en/stable/developer/caching.html#cache-invalidation
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def forget_outdated(package: Path) -> None:
    """Remove numba's indices under a package that are older than any of its compiled sources."""
    sources: dict[Path, float] = {}
    indices: dict[Path, float] = {}
    for folder, _, names in os.walk(package):
        for name in names:
            if name.endswith((".py", ".nbi")):
                path = Path(folder, name)
                kept = sources if path.suffix == ".py" else indices
                with contextlib.suppress(FileNotFoundError):  # another process does the same
                    kept[path] = path.stat().st_mtime
    for path, changed in sources.items():
        older = [index for index, made in indices.items() if made <= changed]
        if older and b"numba" in path.read_bytes():
            for index in older:
                with contextlib.suppress(OSError):  # not ours to remove
                    index.unlink()
                del indices[index]

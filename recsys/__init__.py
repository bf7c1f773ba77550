"""Weekly playlists from listening logs: implicit-feedback ranking and the making of playlists."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys._compiled_before import forget_outdated

if TYPE_CHECKING:
    from recsys.loading import load

__all__ = ["load"]

forget_outdated(Path(__file__).parent)


def __getattr__(name: str) -> Any:
    # What it needs is heavy, and a reader of playlists does not need it.
    if name == "load":
        from recsys.loading import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

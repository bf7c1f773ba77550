"""The playlist store: where an edition is staged, served from, and rolled back.

Reading needs the standard library alone: importing this package loads neither NumPy nor Arrow.

>>> import tempfile
>>> store = open_store(f"sqlite:///{tempfile.mkdtemp()}")
>>> store.current() is None
True
>>> store.playlist("ada")
Traceback (most recent call last):
    ...
recsys.errors.NoEditionError: The store has no edition yet: publish a week first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recsys.store._contract import Action, Edition, LedgerEntry, State, Store
from recsys.store._copy import copy_of, seed
from recsys.store._open import open_store
from recsys.store._parted import PartedStore, PartWriter
from recsys.store._playlist import Playlist, PlaylistTrack

if TYPE_CHECKING:
    from recsys.store._handed import playlists_digest

__all__ = [
    "Action",
    "Edition",
    "LedgerEntry",
    "PartWriter",
    "PartedStore",
    "Playlist",
    "PlaylistTrack",
    "State",
    "Store",
    "copy_of",
    "open_store",
    "playlists_digest",
    "seed",
]


def __getattr__(name: str) -> Any:
    if name == "playlists_digest":  # needs Arrow, and reading does not
        from recsys.store._handed import playlists_digest

        return playlists_digest
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

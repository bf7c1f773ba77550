"""Rewriting an edition's folder without the users who were forgotten. Needs Arrow."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from recsys.store import _records as records
from recsys.store import _rules as rules
from recsys.store._contract import Edition
from recsys.store._handed import Handed
from recsys.store._ledger import Ledger
from recsys.store._place import placed
from recsys.store._unpack import Unpacked


def rewrite(ledger: Ledger, editions: Path, edition: Edition, forgotten: Set[str]) -> int:
    """Put a new folder beside an edition's, without some users, and point the ledger to it.

    Readers get the old folder until then; it is left there for ``clear`` to remove.

    Args:
        ledger: the store's ledger.
        editions: where folders are.
        edition: an edition whose rows are present.
        forgotten: the users.

    Returns:
        How many playlists were taken out; 0 where there were none, or another was faster.

    Raises:
        StoreError: the old folder is damaged; nothing is changed.
        ResourceError: the disk is full.
    """
    with ledger.read() as connection:
        folder = None if connection is None else records.folder_of(connection, edition.digest)
    if folder is None:
        return 0
    with Unpacked.open(editions / folder) as old:
        if not old.holds(forgotten):
            return 0
        handed = Handed(
            old.rows(),
            old.default(),
            week=old.week,
            hidden=forgotten,
        )
        with (
            placed(
                editions,
                handed,
                revision=edition.revision,
                digest=edition.digest,
                expected=old.digest(),
                left_out=int(old.facts["left_out"]),
                shards=int(old.facts["shards"]),
            ) as new,
            ledger.write() as writing,
        ):
            if records.folder_of(writing, edition.digest) != folder:
                return 0
            known = records.editions_in(writing, editions)
            moves = rules.erased(known, edition.digest, handed.left_out)
            records.write_moves(writing, moves)
            records.put_folder(writing, edition.digest, new.name, new.size)
        return handed.left_out

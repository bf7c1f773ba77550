"""The moves of an edition from staged to served and back: one set of rules for every store.

A store reads its editions within a transaction, asks here what is to be changed, and writes just
that. Nothing here touches a store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

from recsys.errors import NoEditionError, StoreError
from recsys.store._contract import Action, Edition, State

_FEWEST_WEEKS: Final = 2


class Entry(NamedTuple):
    """A line that is to be added to the ledger."""

    action: Action
    edition: str
    revision: int
    digest: str
    note: str = ""


class Moves(NamedTuple):
    """What a move changes: editions to be written over (or added), and lines for the ledger."""

    editions: tuple[Edition, ...] = ()
    entries: tuple[Entry, ...] = ()


def register(
    editions: Sequence[Edition],
    edition: str,
    revision: int,
    digest: str,
    *,
    rows: int,
    left_out: int,
    now: datetime,
) -> Moves:
    """Rows are in their place. Content that was staged before keeps what became of it."""
    known = _find(editions, digest)
    if known is None:
        new = Edition(
            edition=edition,
            revision=revision,
            digest=digest,
            state=State.STAGED,
            staged_at=now,
            activated_at=None,
            rows=rows,
            left_out=left_out,
            replaced=None,
            served=False,
            pinned=False,
            pruned=False,
            present=True,
        )
        return Moves((new,), (_entry(Action.STAGED, new),))
    everybody = known.rows + known.left_out  # some may have been erased before they got here
    back = replace(known, rows=rows, left_out=everybody - rows, pruned=False, present=True)
    if known.present:
        return Moves((back,))
    return Moves((back,), (_entry(Action.STAGED, back, "its rows are back"),))


def renumber(editions: Sequence[Edition], digest: str, revision: int) -> Moves:
    """A later revision has come out the same: the content now counts as that revision."""
    known = _known(editions, digest)
    if revision <= known.revision:
        return Moves()
    later = replace(known, revision=revision)
    note = f"the same rows as revision {known.revision}"
    return Moves((later,), (_entry(Action.STAGED, later, note),))


def activate(
    editions: Sequence[Edition], edition: str, digest: str, *, backfill: bool, now: datetime
) -> Moves:
    """Move the pointer forward, or record an older edition of a backfill.

    Raises:
        StoreError: see :meth:`recsys.store.Store.activate`.
    """
    new = _known(editions, digest)
    if new.edition != edition:
        raise StoreError(f"{digest} was staged for {new.edition}, not for {edition}.")
    if new.state is State.ROLLED_BACK:
        raise StoreError(
            f"{new.name} was rolled back, and is not served again by itself. Make the week anew "
            f"from other settings or a mended log (--revision {new.revision + 1}; the same "
            "playlists would be refused again), or publish the next week."
        )
    _require_rows(new)
    served = _served(editions)
    if served is not None and served.digest == digest:
        return Moves()
    activated = replace(new, state=State.ACTIVATED, activated_at=new.activated_at or now)
    if served is None or new.order > served.order:
        _refuse_twin(editions, new)
        newest = replace(activated, served=True, replaced=served.digest if served else None)
        entry = _entry(Action.ACTIVATED, newest)
        if served is None:
            return Moves((newest,), (entry,))
        old = replace(served, state=State.SUPERSEDED, served=False)
        return Moves((old, newest), (_entry(Action.SUPERSEDED, old, f"by {new.name}"), entry))
    if not backfill:
        raise StoreError(
            f"{new.name} is not newer than {served.name}, which is served. To serve a week anew, "
            "make it with a higher --revision; to fill in an older week, run a backfill; to go "
            "back, roll back."
        )
    if new.state is not State.STAGED:
        return Moves()
    _refuse_twin(editions, new)
    note = f"a backfill; {served.name} stays served"
    return Moves((activated,), (_entry(Action.ACTIVATED, activated, note),))


def rollback(editions: Sequence[Edition], now: datetime) -> Moves:
    """Move the pointer back to what was served before; the last entry says to what.

    Raises:
        StoreError: see :meth:`recsys.store.Store.rollback`.
    """
    served = _served(editions)
    if served is None:
        raise StoreError("There is nothing to roll back: no edition is served yet.")
    if served.replaced is None:
        raise StoreError(f"No edition was served before {served.name}: nothing to roll back to.")
    before = _known(editions, served.replaced)
    _require_rows(before)
    undone = replace(served, state=State.ROLLED_BACK, served=False)
    again = replace(
        before, state=State.ACTIVATED, served=True, activated_at=before.activated_at or now
    )
    return Moves(
        (undone, again),
        (
            _entry(Action.ROLLED_BACK, undone, f"to {before.name}"),
            _entry(Action.ACTIVATED, again, f"again, in place of {served.name}"),
        ),
    )


def pin(editions: Sequence[Edition], edition: str) -> Moves:
    """Keep the newest readable revision of a week.

    Raises:
        NoEditionError: there is none.
    """
    readable = [one for one in editions if one.edition == edition and one.readable]
    if not readable:
        raise NoEditionError(f"The store has no edition {edition} that readers may see.")
    newest = max(readable, key=lambda one: one.order)
    if newest.pinned:
        return Moves()
    pinned = replace(newest, pinned=True)
    return Moves((pinned,), (_entry(Action.PINNED, pinned),))


def prune(editions: Sequence[Edition], keep: int) -> Moves:
    """Let go of the rows of all but the newest ``keep`` weeks.

    Raises:
        StoreError: fewer than two weeks are to be kept.
    """
    if keep < _FEWEST_WEEKS:
        raise StoreError(f"prune keeps at least {_FEWEST_WEEKS} weeks, and {keep} is asked for.")
    served = _served(editions)
    kept_weeks = sorted({one.edition for one in editions}, reverse=True)[:keep]
    kept = {served.digest, served.replaced} if served else set()
    pruned = tuple(
        replace(one, pruned=True, present=False)
        for one in editions
        if one.edition not in kept_weeks
        and one.digest not in kept
        and not (one.pinned or one.pruned)
    )
    return Moves(pruned, tuple(_entry(Action.PRUNED, one) for one in pruned))


def erased(editions: Sequence[Edition], digest: str, removed: int) -> Moves:
    """An edition was rewritten without some forgotten users."""
    known = _known(editions, digest)
    less = replace(known, rows=known.rows - removed, left_out=known.left_out + removed)
    return Moves((less,), (_entry(Action.ERASED, less, f"{removed} forgotten"),))


def _entry(action: Action, edition: Edition, note: str = "") -> Entry:
    return Entry(action, edition.edition, edition.revision, edition.digest, note)


def _refuse_twin(editions: Sequence[Edition], new: Edition) -> None:
    for twin in editions:
        if twin.order == new.order and twin.digest != new.digest and twin.readable:
            raise StoreError(
                f"Readers know {new.edition} r{new.revision} with other content "
                f"({twin.digest[:12]}). Make the week anew with --revision {new.revision + 1}."
            )


def _require_rows(edition: Edition) -> None:
    if edition.pruned:
        raise StoreError(
            f"The rows of {edition.name} were removed on purpose when the store was pruned. "
            "Publish a newer edition instead."
        )
    if not edition.present:
        raise StoreError(
            f"The rows of {edition.name} are missing from the store or damaged. Run its week "
            "again: they are staged anew from its artefact (an older week: BackfillPlaylists)."
        )


def _served(editions: Sequence[Edition]) -> Edition | None:
    return next((one for one in editions if one.served), None)


def _find(editions: Sequence[Edition], digest: str) -> Edition | None:
    return next((one for one in editions if one.digest == digest), None)


def _known(editions: Sequence[Edition], digest: str) -> Edition:
    found = _find(editions, digest)
    if found is None:
        raise StoreError(f"Nothing is staged under {digest}: stage it before.")
    return found

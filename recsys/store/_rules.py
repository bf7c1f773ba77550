"""The moves of an edition from staged to served and back: one set of rules for every store.

A store reads its history within a transaction, asks here what is to be changed, and writes just
that. Nothing here touches a store.

Content that is staged again under a later revision is that revision once it is activated, and not
before: until then the ledger alone knows which revision it was staged as. The ledger also says what
was served before: what was superseded, less what rollbacks have gone back to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

from recsys.errors import NoEditionError, StoreError
from recsys.store._contract import Action, Edition, History, LedgerEntry, State

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
    history: History,
    edition: str,
    revision: int,
    digest: str,
    *,
    rows: int,
    left_out: int,
    now: datetime,
) -> Moves:
    """Rows are in their place. Content that was staged before keeps what became of it."""
    known = _find(history.editions, digest)
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
    entries = renumber(history, digest, revision).entries
    if not known.present:
        entries = (_entry(Action.STAGED, back, "its rows are back"), *entries)
    return Moves((back,), entries)


def renumber(history: History, digest: str, revision: int) -> Moves:
    """A later revision has come out the same: the content is that revision once it is activated."""
    known = _as_staged(history, digest)
    if revision <= known.revision:
        return Moves()
    note = f"the same rows as revision {known.revision}"
    return Moves(entries=(_entry(Action.STAGED, replace(known, revision=revision), note),))


def activate(
    history: History, edition: str, digest: str, *, backfill: bool, now: datetime
) -> Moves:
    """Move the pointer forward, or record an older edition of a backfill.

    Raises:
        StoreError: see :meth:`recsys.store.Store.activate`.
    """
    new, known = _as_staged(history, digest), _known(history.editions, digest)
    if new.edition != edition:
        raise StoreError(f"{digest} was staged for {new.edition}, not for {edition}.")
    if new.state is State.ROLLED_BACK:
        raise StoreError(
            f"{new.name} was rolled back, and is not served again by itself. Make the week anew "
            f"from other settings or a mended log (--revision {new.revision + 1}; the same "
            "playlists would be refused again), or publish the next week."
        )
    _require_rows(new)
    served, is_later = _served(history.editions), new.revision > known.revision
    if served is not None and served.digest == digest:
        if not is_later:
            return Moves()
        _refuse_twin(history, new)
        note = f"the same rows as revision {served.revision}"
        return Moves((new,), (_entry(Action.ACTIVATED, new, note),))
    activated = replace(new, state=State.ACTIVATED, activated_at=new.activated_at or now)
    if served is None or new.order > served.order:
        _refuse_twin(history, new)
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
    if new.state is not State.STAGED and not is_later:
        return Moves()
    _refuse_twin(history, new)
    note = f"a backfill; {served.name} stays served"
    return Moves((activated,), (_entry(Action.ACTIVATED, activated, note),))


def rollback(history: History, now: datetime) -> Moves:
    """Move the pointer back to what was served before, as it was then; the last entry says to what.

    Raises:
        StoreError: see :meth:`recsys.store.Store.rollback`.
    """
    served, former = _served(history.editions), _served_before(history.ledger)
    if served is None:
        raise StoreError("There is nothing to roll back: no edition is served yet.")
    if not former:
        raise StoreError(f"No edition was served before {served.name}: nothing to roll back to.")
    *earlier, last = former
    before = replace(_known(history.editions, last.digest), revision=last.revision)
    _require_rows(before)
    undone = replace(served, state=State.ROLLED_BACK, served=False)
    again = replace(
        before,
        state=State.ACTIVATED,
        served=True,
        activated_at=before.activated_at or now,
        replaced=earlier[-1].digest if earlier else None,
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


def _refuse_twin(history: History, new: Edition) -> None:
    """One revision is one content: of what readers may see, and of what a rollback goes back to."""
    seen = [(one.order, one.digest) for one in history.editions if one.readable]
    seen += [((one.edition, one.revision), one.digest) for one in _served_before(history.ledger)]
    for order, digest in seen:
        if order == new.order and digest != new.digest:
            raise StoreError(
                f"Readers know {new.edition} r{new.revision} with other content "
                f"({digest[:12]}). Make the week anew with --revision {new.revision + 1}."
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


def _as_staged(history: History, digest: str) -> Edition:
    """An edition, as the latest revision that it was staged as since the pointer last came or went.

    Raises:
        StoreError: nothing is staged under this digest.
    """
    known = _known(history.editions, digest)
    revision = known.revision
    for entry in reversed(history.ledger):
        if entry.digest != digest:
            continue
        if entry.action in (Action.ACTIVATED, Action.ROLLED_BACK):
            break
        revision = max(revision, entry.revision)
    return replace(known, revision=revision)


def _served_before(ledger: Sequence[LedgerEntry]) -> list[LedgerEntry]:
    """When what was served before what is now gave way, the last one last."""
    gave_way: list[LedgerEntry] = []
    for entry in ledger:
        if entry.action is Action.SUPERSEDED:
            gave_way.append(entry)
        elif entry.action is Action.ROLLED_BACK and gave_way:
            gave_way.pop()
    return gave_way


def _served(editions: Sequence[Edition]) -> Edition | None:
    return next((one for one in editions if one.served), None)


def _find(editions: Sequence[Edition], digest: str) -> Edition | None:
    return next((one for one in editions if one.digest == digest), None)


def _known(editions: Sequence[Edition], digest: str) -> Edition:
    found = _find(editions, digest)
    if found is None:
        raise StoreError(f"Nothing is staged under {digest}: stage it before.")
    return found

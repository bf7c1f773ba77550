"""The copy of a store's history that home keeps, in case the store is lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, Final

from recsys.errors import StoreError
from recsys.store._contract import Action, Edition, History, LedgerEntry, State, Store

_VERSION: Final = 2
_READABLE: Final = (1, 2)


def copy_of(store: Store) -> dict[str, Any]:
    """Editions, ledger, tombstones and blocks as a JSON value."""
    history = store.history()
    return {
        "version": _VERSION,
        "editions": [_plain(edition) for edition in history.editions],
        "ledger": [_plain(entry) for entry in history.ledger],
        "tombstones": _plain_times(history.tombstones),
        "blocks": _plain_times(history.blocks),
    }


def seed(store: Store, copy: Mapping[str, Any]) -> bool:
    """Give an empty store the history in ``copy``.

    Its editions count as having no rows until they are staged again; what was rolled back stays
    so, and who was forgotten stays hidden.

    Args:
        store: the store to fill.
        copy: what :func:`copy_of` returned.

    Returns:
        False, and nothing is changed, when the store has a history of its own.

    Raises:
        StoreError: ``copy`` is not such a copy, or of a newer version.
    """
    if (version := copy.get("version")) not in _READABLE:
        raise StoreError(
            f"The copy of the store's history is of version {version!r}, and this code reads "
            f"versions up to {_VERSION}. Install the recsys that wrote it, or a newer one."
        )
    try:
        history = History(
            editions=tuple(_edition(fields) for fields in copy["editions"]),
            ledger=tuple(_entry(fields) for fields in copy["ledger"]),
            tombstones=_times(copy["tombstones"]),
            blocks=_times(copy["blocks"] if version > 1 else {}),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"The copy of the store's history is damaged ({error!r}). Restore the file from a "
            "backup; without it, forgotten users and rolled back editions would come back."
        ) from error
    return store.restore(history)


def _plain(record: Edition | LedgerEntry) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in asdict(record).items()
        if name != "present"
    }


def _plain_times(times: Mapping[str, datetime]) -> dict[str, str]:
    return {name: at.isoformat() for name, at in sorted(times.items())}


def _times(plain: Mapping[str, str]) -> dict[str, datetime]:
    return {name: datetime.fromisoformat(at) for name, at in plain.items()}


def _edition(fields: Mapping[str, Any]) -> Edition:
    activated_at = fields["activated_at"]
    return replace(
        Edition(**{"pinned": False, "pruned": False, **fields}, present=False),
        state=State(fields["state"]),
        staged_at=datetime.fromisoformat(fields["staged_at"]),
        activated_at=None if activated_at is None else datetime.fromisoformat(activated_at),
    )


def _entry(fields: Mapping[str, Any]) -> LedgerEntry:
    return replace(
        LedgerEntry(**fields),
        at=datetime.fromisoformat(fields["at"]),
        action=Action(fields["action"]),
    )

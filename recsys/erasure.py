"""Erasing the forgotten: every copy that still holds one of them is rewritten without them.

The log may go on naming them, so what was made since the last time is looked at again for all of
them; what is older, only for those who are new.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from recsys import artefact
from recsys.artefact import Artefact
from recsys.home import Home
from recsys.store import Store


def erase_forgotten(store: Store, home: Home, *, everywhere: bool = False) -> int:
    """Rewrite every copy in the store and in home that holds a forgotten user, without them.

    Whenever it is killed, the next call finishes it. Only for who holds the home.

    Args:
        store: where the tombstones are.
        home: whose artefacts to rewrite.
        everywhere: look at every artefact, also at those that were looked at before: for what was
            restored from a backup.

    Returns:
        How many copies were rewritten: editions of the store, and artefacts and reports of home.

    Raises:
        StoreError: the store refuses.
        ResourceError: the disk is full.
        ArtefactError: an artefact is damaged.
    """
    from recsys._erasers import erase_artefact, erase_report

    tombstones = store.tombstones()
    if not tombstones:
        return 0
    known = _read(home.erased)
    began = datetime.now(UTC).isoformat(timespec="seconds")
    new = tombstones - known["users"].keys()
    rewritten = int(store.erase() > 0)
    # Candidates know their users by the rows of the matrix, so a matrix comes last.
    for path in sorted(home.artefacts(), key=lambda path: path.name == "matrix"):
        made = Artefact.open(path)
        since = everywhere or made.manifest["times"]["finished"] >= known["looked"]
        if users := tombstones if since else new:
            rewritten += erase_artefact(made, users)
    rewritten += sum(erase_report(path, tombstones) for path in _reports(home.root))
    users_at = {user: known["users"].get(user, began) for user in sorted(tombstones)}
    artefact.write_json(home.erased, {"looked": began, "users": users_at})
    return rewritten


def overdue(tombstones: Mapping[str, datetime], home: Home, days: int) -> int:
    """How many users were forgotten more than so many days ago and are not erased yet."""
    erased = _read(home.erased)["users"]
    latest = datetime.now(UTC) - timedelta(days=days)
    return sum(at < latest and user not in erased for user, at in tombstones.items())


def _read(path: Path) -> dict[str, Any]:
    try:
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # then everything is looked at again
        return {"looked": "", "users": {}}
    return known


def _reports(root: Path) -> list[Path]:
    """What may name users in an edition's folder and is no artefact."""
    editions = root / "editions"
    return [*editions.glob("*/*/refused/*.json"), *editions.glob("*/*/*.html")]

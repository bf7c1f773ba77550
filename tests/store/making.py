"""Small editions for tests: who gets which tracks can be told from a track's name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from recsys import schemas
from recsys.store import Store, playlists_digest
from recsys.weeks import Week

USERS = ("ada", "bob", "cleo")


@dataclass(frozen=True)
class Made:
    """One edition ready to be staged."""

    edition: str
    revision: int
    batches: list[pa.RecordBatch]
    default: pa.RecordBatch

    @property
    def digest(self) -> str:
        return playlists_digest(self.batches, self.default)

    def stage(self, store: Store) -> int:
        return store.stage(
            self.edition, self.revision, self.digest, iter(self.batches), self.default
        )

    def publish(self, store: Store, *, backfill: bool = False) -> None:
        self.stage(store)
        store.activate(self.edition, self.digest, backfill=backfill)


def make(
    edition: str,
    users: Sequence[str] = USERS,
    *,
    revision: int = 1,
    salt: str = "",
    batch_rows: int = 1000,
) -> Made:
    rows = [playlist_row(edition, user, f"{edition}{salt}") for user in sorted(users, key=_bytes)]
    parts = [rows[start : start + batch_rows] for start in range(0, len(rows), batch_rows)]
    return Made(edition, revision, [batch(part) for part in parts], make_default(edition, salt))


def make_default(edition: str, salt: str = "") -> pa.RecordBatch:
    return batch([{**playlist_row(edition, "", f"{edition}{salt}"), "kind": "popular"}])


def batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema=schemas.PLAYLISTS)


def playlist_row(
    edition: str, user: str, tag: str, tracks: int = 3, spares: int = 2
) -> dict[str, Any]:
    """Track ids name the edition and the user, so that a playlist in wrong hands shows."""
    week = Week.parse(edition)
    return {
        "edition": edition,
        "user_id": user,
        "kind": "personal",
        "tracks": [
            {
                "position": n,
                "track_id": f"{tag}/{user}/{n}",
                "track_name": f"Número {n} 🎵" if n > 1 else None,
                "artist_names": ["Ana", f'"B", {n}'][: n - 1],
                "score": 1 / n,
                "source": "personal" if n < tracks else "popular",
                "because_track_id": f"heard/{user}" if n < tracks else None,
            }
            for n in range(1, tracks + 1)
        ],
        "spares": [
            {
                "track_id": f"{tag}/{user}/spare {n}",
                "track_name": None if n > 1 else "Ersatz",
                "artist_names": [f"Spare {n}"],
                "score": 0.1 / n,
                "source": "personal",
                "because_track_id": f"heard/{user}" if n < 2 else None,
                "not_at": [1, 3] if n == 1 else [],
            }
            for n in range(1, spares + 1)
        ],
        "relaxed": ["cooldown", "artist cap"] if user == "bob" else [],
        "valid_from": week.monday,
        "valid_until": week.sunday,
    }


def stored_rows(store: Store, digest: str) -> list[dict[str, Any]]:
    return [row for batch in store.rows(digest) for row in batch.to_pylist()]


def _bytes(user: str) -> bytes:
    return user.encode()

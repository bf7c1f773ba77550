"""Stores on servers: the parts of an edition may be written by many processes at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from recsys.errors import StoreError
from recsys.store._moving import MovingStore, Staging
from recsys.weeks import Week

if TYPE_CHECKING:
    import pyarrow as pa

    from recsys.store._handed import Handed
    from recsys.store._parts import Noted


class PartWriter(ABC):
    """Writes parts of an edition that is being staged, in any process: it can be pickled."""

    @abstractmethod
    def write(self, part: int, batches: Iterable[pa.RecordBatch]) -> None:
        """Write one part; a part that is written twice, or twice at once, is there once.

        Args:
            part: its number, from 0.
            batches: the rows that :meth:`PartedStore.stage_parts` was given as this part.

        Raises:
            StoreError: the server refuses, or the staging has ended.
        """


class PartedStore(MovingStore):
    """A store whose editions may be written part by part, by several processes at once."""

    @abstractmethod
    def _stage_parts(
        self, staging: Staging, handed: Handed, noted: Noted, send: Callable[[PartWriter], None]
    ) -> int:
        """Have parts written, look at what was, and enter it; returns how many are stored."""

    def stage_parts(
        self,
        edition: str,
        revision: int,
        digest: str,
        parts: Sequence[Iterable[pa.RecordBatch]],
        default: pa.RecordBatch | pa.Table,
        send: Callable[[PartWriter], None],
        *,
        remaining: str | None = None,
    ) -> int:
        """:meth:`stage`, the rows written by others.

        They are read here once, too, a batch at a time, to be checked, hashed and numbered: the
        digest is of all rows in order, and so are the codes of tracks.

        Args:
            edition: as of :meth:`stage`; so are all others not named here.
            revision: likewise.
            digest: likewise.
            parts: the rows, cut anywhere.
            default: likewise.
            send: has each part written by the writer that it is given, and returns then.
            remaining: likewise.

        Returns:
            How many playlists are stored.

        Raises:
            StoreError: as :meth:`stage`; or a part was not written, or others rows than are in
                ``parts``. Nothing is staged then.
        """
        from recsys.store._parts import PartRows, note

        rows = PartRows(parts)

        def stage(staging: Staging, handed: Handed) -> int:
            noted = note(handed, rows)
            handed.stored_digest(staging.expected)  # or it refuses: these are not the rows
            return self._stage_parts(staging, handed, noted, send)

        return self._stage_once(edition, revision, digest, rows, default, remaining, stage)


def check_parts(week: Week, wanted: Sequence[str], found: Mapping[int, str]) -> None:
    """Look at what the writers of parts have written.

    Args:
        week: of the edition.
        wanted: SHA-256 of the frames of each part.
        found: by part, what its writer says.

    Raises:
        StoreError: parts are missing, or have other rows.
    """
    missing = [part for part in range(len(wanted)) if part not in found]
    if missing:
        raise StoreError(
            f"{len(missing)} of the {len(wanted)} parts of the playlists of {week} were not "
            f"written, the first of them part {missing[0]}: nothing is staged."
        )
    other = [part for part, sha256 in sorted(found.items()) if sha256 not in wanted[part:][:1]]
    if other:
        raise StoreError(
            f"Part {other[0]} of the playlists of {week} was written with other rows than were "
            "handed over: nothing is staged. Do all machines see the same files?"
        )

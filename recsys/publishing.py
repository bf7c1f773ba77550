"""Publishing an edition, and the copy of the store's history that home keeps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from recsys import artefact
from recsys import columns as c
from recsys._tables import batches_of
from recsys.artefact import Artefact
from recsys.errors import StoreError
from recsys.home import Home
from recsys.store import Edition, Store, copy_of, playlists_digest, seed
from recsys.weeks import Week

_BATCH: Final = 8192
#: The strings of tracks and spares.
ENCODED: Final = tuple(
    f"{entries}.list.element.{name}"
    for entries in (c.TRACKS, c.SPARES)
    for name in (
        c.TRACK_ID,
        c.TRACK_NAME,
        f"{c.ARTIST_NAMES}.list.element",
        c.SOURCE,
        c.BECAUSE_TRACK_ID,
    )
)


def playlist_batches(playlists: Path) -> Iterator[pa.RecordBatch]:
    """The rows of playlists, a file or its parts, a few thousand at a time."""
    yield from batches_of(playlists, _BATCH)


def encoded_batches(playlists: Path) -> Iterator[pa.RecordBatch]:
    """The same rows, the strings of tracks by dictionaries: as stores take them fastest."""
    yield from batches_of(playlists, _BATCH, read_dictionary=ENCODED)


def edition_digest(folder: Path) -> str:
    """The digest that the store will know the playlists in ``folder`` by."""
    return playlists_digest(
        encoded_batches(folder / "playlists.parquet"),
        pq.read_table(folder / "default.parquet"),
    )


def refresh_copy(store: Store, copy: Path) -> None:
    """Give a lost store its history back, and bring home's copy up to date.

    Raises:
        StoreError: the copy cannot be read.
    """
    try:
        if copy.exists():
            seed(store, json.loads(copy.read_text(encoding="utf-8")))
    except ValueError as error:
        raise StoreError(
            f"{copy} is not readable ({error}). It keeps the forgotten users in case the store is "
            "lost: restore it from a backup, or remove it if the store itself is whole."
        ) from error
    artefact.write_json(copy, copy_of(store))


#: Stages the playlists of an artefact, as :func:`stage_edition` does.
StageEdition = Callable[[Store, str, int, Artefact], None]


def stage_edition(store: Store, edition: str, revision: int, playlists: Artefact) -> None:
    """Stage the playlists of an artefact, a batch after another.

    Raises:
        StoreError: the store refuses.
    """
    store.stage(
        edition,
        revision,
        playlists.facts["digest"],
        encoded_batches(playlists.file("playlists.parquet")),
        pq.read_table(playlists.file("default.parquet")),
        remaining=playlists.erasure.get("facts", {}).get("digest"),
    )


def publish(
    store: Store,
    copy: Path,
    week: Week,
    revision: int,
    playlists: Artefact,
    *,
    backfill: bool,
    stage: StageEdition = stage_edition,
) -> Edition:
    """Stage an edition, which reads every row back, and move the pointer to it.

    Args:
        store: where to publish.
        copy: home's copy of the store's history.
        week: the edition.
        revision: its revision.
        playlists: the artefact with ``playlists.parquet`` and ``default.parquet``.
        backfill: leave a newer edition served.
        stage: stages the playlists.

    Raises:
        StoreError: the store refuses; what was served before stays.
    """
    refresh_copy(store, copy)
    digest = playlists.facts["digest"]
    known = store.state(digest)
    stage(store, str(week), revision, playlists)
    refresh_copy(store, copy)
    was_lost = (
        known is not None
        and known.activated_at is not None
        and not known.present
        and revision <= known.revision
    )
    if not was_lost:  # else its rows are back, and what had become of it stands
        store.activate(str(week), digest, backfill=backfill)
        refresh_copy(store, copy)
    published = store.state(digest)
    if published is None or not published.present:
        raise StoreError(f"Edition {week} is not in the store although it was just published.")
    return published


def restore_served(store: Store, home: Home, stage: StageEdition = stage_edition) -> None:
    """Give a store that was lost the rows of the edition that it serves, from home.

    Args:
        store: which may have been lost.
        home: where its editions were made.
        stage: stages the playlists.

    Raises:
        StoreError: home does not have them.
    """
    served = store.current()
    if served is None or served.present:
        return
    week = Week.parse(served.edition)
    for revision in home.revisions(week):
        folder = home.edition(week, revision) / "playlists"
        if artefact.exists(folder):
            playlists = Artefact.open(folder)
            if playlists.facts["digest"] == served.digest:
                stage(store, served.edition, served.revision, playlists)
                return
    raise StoreError(
        f"The store has lost the rows of edition {week}, which it serves, and {home.root} does not "
        "have them either. Publish a newer edition, or make this one anew: --revision "
        f"{max(home.revisions(week), default=0) + 1}"
    )


def serves_rows(store: Store) -> bool:
    """Whether the edition that the store serves, if any, has its rows."""
    served = store.current()
    return served is None or served.present


def is_published(store: Store, digest: str) -> bool:
    """Whether readers have, or had, this digest, and its rows are there or were pruned since."""
    found = store.state(digest)
    if found is None or found.activated_at is None:
        return False
    return found.present or found.pruned

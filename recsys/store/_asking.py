"""What is asked of a store and what it answers, the same words in every store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from datetime import date
from typing import NamedTuple

from recsys.errors import NoEditionError, NoSuchUserError, StoreError
from recsys.store._contract import Edition
from recsys.store._playlist import Playlist, Spare, without_blocked
from recsys.weeks import Week


class Which(NamedTuple):
    """The edition that a reader asks for: the one served, or one by its name or by a date."""

    edition: str | None
    on: date | None

    @property
    def missing(self) -> str:
        """What is said of a store that does not have it."""
        if self.edition is not None:
            return f"has no edition {self.edition} that readers may see"
        if self.on is not None:
            return f"has no edition that had begun on {self.on}"
        return "has no edition yet"


def which(edition: str | None, on: date | None) -> Which:
    """The edition asked for.

    Raises:
        StoreError: by its name and by a date.
    """
    if edition is not None and on is not None:
        raise StoreError("Ask for an edition by its name or by a date, not by both.")
    return Which(None if edition is None else str(edition), on)


def check_id(value: object, what: str = "user_id") -> None:
    """Check a user's or a track's id.

    Raises:
        StoreError: it is not text.
    """
    if not isinstance(value, str):
        raise StoreError(f"A {what} is a string, not {type(value).__name__}.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise StoreError(f"A {what} is Unicode text; this one holds {error.reason}.") from None


def check_staged(edition: str, revision: int) -> Week:
    """The week that is to be staged.

    Raises:
        StoreError: there is no such week or revision.
    """
    try:
        week = Week.parse(edition)
    except ValueError as error:
        raise StoreError(f"Nothing is staged: {error}.") from None
    if revision < 1:
        raise StoreError(f"Revision {revision} of {edition}: revisions count from 1.")
    return week


def no_user(edition: str) -> NoSuchUserError:
    """The edition has nothing for this user, or the user was forgotten."""
    return NoSuchUserError(
        f"Edition {edition} has no playlist for this user. "
        "default_playlist() has one for listeners who came since."
    )


def no_edition(asked: Which, editions: Iterable[Edition]) -> NoEditionError:
    """There is no such edition; the message names those that there are."""
    readable = ", ".join(sorted({one.edition for one in editions if one.readable}))
    there = f"it has {readable}" if readable else "publish a week first"
    return NoEditionError(f"The store {asked.missing}: {there}.")


def not_staged(digest: str) -> NoEditionError:
    """No rows were ever handed over under this digest."""
    return NoEditionError(f"Nothing is staged under digest {digest}.")


def lost(edition: str) -> StoreError:
    """The ledger knows the edition, and its rows are gone."""
    return StoreError(
        f"The playlists of {edition} were lost with the store that held them. Run "
        "the week again: they are staged anew from its artefact."
    )


def other_rows(known: Edition) -> StoreError:
    """What is staged under a digest is not what is handed over now."""
    return StoreError(
        f"Digest {known.digest[:12]} is staged already, for {known.edition} and with other "
        "rows than these. Give the digest of the rows that are handed over."
    )


def closed() -> StoreError:
    """The store was closed by its user."""
    return StoreError("This store is closed: open it again with open_store(url).")


def shown(playlist: Playlist, spares: Callable[[], Sequence[Spare]], blocked: Set[str]) -> Playlist:
    """The playlist as a reader may see it: see :func:`~recsys.store._playlist.without_blocked`.

    Args:
        playlist: as it was made.
        spares: fetches its spares; called only where a track of it is blocked.
        blocked: track ids.

    Raises:
        NoSuchUserError: every track of it is blocked, and every spare.
    """
    if not blocked or blocked.isdisjoint([track.track_id for track in playlist.tracks]):
        return playlist
    left = without_blocked(playlist, spares(), blocked)
    if left is None:
        raise NoSuchUserError(
            f"Nothing is left of this playlist of edition {playlist.edition}: all its tracks are "
            "blocked, and its spares too."
        )
    return left

"""Reading playlists from PostgreSQL: one statement a playlist. Needs no NumPy and no Arrow.

The statement guesses which tables the edition asked for is in, as the last reader found it, and
brings the answer along: pointer, tombstone and playlist are seen at one instant, and a wrong guess
shows. Names of tracks, and blocked tracks, are kept from one read to the next.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Set
from typing import Any, Final, NamedTuple

from recsys.errors import StoreError
from recsys.store._asking import Which, lost
from recsys.store._playlist import Playlist, Spare
from recsys.store._postgres_ledger import check_format
from recsys.store._postgres_server import MissingTableError, Server
from recsys.store._value import DAMAGED, LookUp, Names, Values

_READABLE: Final = "e.state IN ('activated', 'superseded') AND NOT e.pruned"
_SERVED: Final = "e.digest = s.served"
_NAMED: Final = f"e.edition = %(edition)s AND {_READABLE} ORDER BY e.revision DESC LIMIT 1"
_BEGUN: Final = (
    f"e.valid_from <= %(on)s AND {_READABLE} "
    'ORDER BY e.edition COLLATE "C" DESC, e.revision DESC LIMIT 1'
)
_QUERY: Final = """
SELECT s.format, s.blocks, f.edition, f.tables, f.forms::text, f.sources::text,
    EXISTS (SELECT FROM {schema}.tombstone WHERE user_id = %(user)s), {whole}, {value}
FROM {schema}.store s
JOIN LATERAL (SELECT * FROM {schema}.edition e WHERE {which}) f ON true {join}
"""
_MOST_GUESSES: Final = 50
_MOST_EDITIONS: Final = 4


class Found(NamedTuple):
    """What a reader asked for: an edition, and a user's packed playlist in it if there is one."""

    format: int
    blocks: Any
    edition: str
    tables: str | None
    forms: str | None
    sources: str | None
    forgotten: bool
    whole: bool
    value: bytes | None


class Reader:
    """Reads the playlists of one store; safe for threads."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._guesses: dict[Which, str] = {}
        self._values: dict[str, Values] = {}
        self._blocked: tuple[Any, frozenset[str]] = (None, frozenset())

    def find(self, asked: Which, user_id: str) -> Found | None:
        """The edition asked for with the user's playlist; None where there is no such edition.

        Raises:
            StoreError: the rows of the edition are lost.
        """
        user = user_id.encode()
        guess = self._guesses.get(asked)
        gone: set[str] = set()
        while True:
            found = self._look(asked, user, guess, gone)
            if found is None:
                if guess is None:
                    return None
            elif found.tables is None or found.tables in gone:
                raise lost(found.edition)
            elif found.tables == guess:
                if not found.whole:
                    raise lost(found.edition)
                return found
            else:
                if len(self._guesses) >= _MOST_GUESSES:
                    self._guesses.clear()
                self._guesses[asked] = found.tables
            guess = None if found is None else found.tables

    def playlist(self, found: Found, user_id: str) -> Playlist:
        """The playlist that was found, as it was made.

        Raises:
            StoreError: it is damaged.
        """
        with self._explained(found):
            return self._values_of(found).playlist(user_id, found.value or b"", self._names(found))

    def spares(self, found: Found) -> tuple[Spare, ...]:
        """The spares beside the playlist that was found.

        Raises:
            StoreError: they are damaged.
        """
        with self._explained(found):
            return self._values_of(found).spares(found.value or b"", self._names(found))

    def blocked(self, found: Found) -> Set[str]:
        """The blocked tracks, as of ``found`` or later."""
        known, tracks = self._blocked
        if known != found.blocks:
            rows = self._fetch(
                "SELECT s.blocks, b.track_id "
                "FROM {schema}.store s LEFT JOIN {schema}.block b ON true"
            )
            tracks = frozenset(json.loads(text) for _, text in rows if text is not None)
            self._blocked = (rows[0][0] if rows else None, tracks)
        return tracks

    def _look(self, asked: Which, user: bytes, guess: str | None, gone: set[str]) -> Found | None:
        """Ask the server once."""
        try:
            rows = self._fetch(_query(asked, guess), user=user, edition=asked.edition, on=asked.on)
        except MissingTableError:
            if guess is not None:
                gone.add(guess)
            return None
        if not rows:
            return None
        check_format(rows[0][0])
        return Found(*rows[0])

    def _fetch(self, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
        return self._server.fetch(query.replace("{schema}", self._server.schema), parameters)

    def _values_of(self, found: Found) -> Values:
        tables = str(found.tables)
        values = self._values.get(tables)
        if values is None:
            names = Names.parse(json.loads(found.forms or ""), json.loads(found.sources or ""))
            values = Values(found.edition, names)
            while len(self._values) >= _MOST_EDITIONS:
                self._values.pop(next(iter(self._values)), None)
            self._values[tables] = values
        return values

    def _names(self, found: Found) -> LookUp:
        query = (
            f"SELECT names::text FROM {{schema}}.track_{found.tables} "
            "WHERE code = ANY(%(codes)s) ORDER BY code"
        )
        return lambda codes: [text for (text,) in self._fetch(query, codes=codes)]

    @contextlib.contextmanager
    def _explained(self, found: Found) -> Iterator[None]:
        try:
            yield
        except DAMAGED as error:
            raise StoreError(
                f"The playlists of {found.edition} are damaged: one in {found.tables} cannot be "
                f"read ({error!r}). Drop that table and run the week again."
            ) from error


def _query(asked: Which, guess: str | None) -> str:
    which = _SERVED if asked.edition is None and asked.on is None else _NAMED
    which = _BEGUN if asked.on is not None else which
    if guess is None:
        whole, value, join = "NULL", "NULL", ""
    else:
        whole = f"EXISTS (SELECT FROM {{schema}}.playlist_{guess} WHERE user_id = '')"
        value = "p.playlist"
        join = f"LEFT JOIN {{schema}}.playlist_{guess} p ON p.user_id = %(user)s"
    parts = {"value": value, "which": which, "join": join, "whole": whole}
    query = _QUERY
    for name, part in parts.items():
        query = query.replace(f"{{{name}}}", part)
    return query

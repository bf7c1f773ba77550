"""Formats of one listen per line: JSON Lines and Last.fm-1K."""

from __future__ import annotations

import abc
import io
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from recsys import columns as c
from recsys.listens._archive import is_shown
from recsys.listens._block import COLUMNS, Block, repeated
from recsys.listens._inventory import LogFile
from recsys.listens._lines import line_blocks
from recsys.listens._open import HashingReader, Opened
from recsys.listens._sql import Kind, literal
from recsys.settings import ListensSettings

#: Where the JSON type of a value tells an identifier or a name from something else.
_TYPED: Final = (c.USER_ID, c.TRACK_ID, c.ARTIST_IDS, c.TRACK_NAME, c.ARTIST_NAME, c.ALBUM_NAME)


class _Labels:
    """Names by which rows are traced, each for one member of an archive."""

    def __init__(self) -> None:
        self._seen = Counter[str]()

    def unique(self, name: str) -> str:
        """The name, with a number behind it where it was there before."""
        label = name
        while label in self._seen:
            self._seen[name] += 1
            label = f"{name} ({self._seen[name]})"
        self._seen[label] = 1
        return label


class TextReader(abc.ABC):
    """Reads a file of text in blocks of rows, compressed or not, in an archive or not."""

    def __init__(
        self, file: LogFile, names: Mapping[str, str], settings: ListensSettings, scratch: Path
    ) -> None:
        self.names = names
        self._file = file
        self._settings = settings
        self._opened = Opened(file, scratch, self._wanted)

    @property
    def hashing(self) -> HashingReader:
        """The bytes that went by; whole once the blocks are used up."""
        return self._opened.hashing

    def blocks(self) -> Iterator[Block]:
        """The rows of the file, in bounded memory."""
        labels = _Labels()
        for name, stream in self._opened.members():
            label = labels.unique(self._label(name))
            for rows in self._rows(stream):
                named = rows.append_column("file", repeated(label, len(rows)))
                yield Block(
                    self._extended(named),
                    self._select(),
                    self._kinds(),
                    self._columns(),
                    self._called(),
                )

    def _wanted(self, member: str) -> bool:
        """Whether a member of an archive is a part of the log."""
        return is_shown(member)

    def _label(self, name: str) -> str:
        """What the rows of a file, or of a member of an archive, are traced by."""
        return name

    def _rows(self, stream: io.BufferedReader) -> Iterator[pa.Table]:
        return line_blocks(stream)

    def _extended(self, rows: pa.Table) -> pa.Table:
        return rows

    @abc.abstractmethod
    def _select(self) -> str: ...

    @abc.abstractmethod
    def _kinds(self) -> Mapping[str, Kind]: ...

    def _columns(self) -> str:
        return "SELECT 'none' WHERE false"

    def _called(self) -> Collection[str]:
        return ()


class JsonlReader(TextReader):
    """JSON Lines: one object per line."""

    def _select(self) -> str:
        paths = {name: (self.names[name],) for name in COLUMNS if name in self.names}
        return json_values(
            {name: path for name, path in paths.items() if name in _TYPED},
            {name: path for name, path in paths.items() if name not in _TYPED},
        )

    def _kinds(self) -> Mapping[str, Kind]:
        return {
            column: Kind.JSON if column in _TYPED else Kind.TEXT
            for column in COLUMNS
            if column in self.names
        }

    def _columns(self) -> str:
        return f"SELECT DISTINCT unnest(json_keys(line)) FROM block WHERE {_IS_OBJECT}"


#: True for a line that is a JSON object.
_IS_OBJECT: Final = r"json_valid(line) AND (line ^@ '{' OR ltrim(line, E' \t\r\n') ^@ '{')"


def json_values(
    typed: Mapping[str, Sequence[str]], plain: Mapping[str, Sequence[str]], more: str = ""
) -> str:
    """SQL of ``file``, ``row``, ``fault``, ``music`` and the values at paths into each line's JSON.

    Args:
        typed: the paths of values that come as JSON; NULL for an empty text, too.
        plain: those of values that come as text.
        more: columns of the block that are handed through.
    """
    shape: dict[str, Any] = {}
    fields = []
    for kind, empty, paths in (("JSON", '""', typed), ("VARCHAR", "", plain)):
        for name, path in paths.items():
            if _reach(shape, path, kind):
                found = "said" + "".join(f"[{literal(part)}]" for part in path)
            else:
                function = "json_extract" if kind == "JSON" else "json_extract_string"
                found = f"{function}(object, {_pointer(path)})"
            fields.append(f"nullif(CAST({found} AS VARCHAR), {literal(empty)}) AS {name}")
    return f"""
        SELECT file, row, coalesce(fault, CASE WHEN object IS NULL THEN 'not a JSON object' END)
            AS fault, true AS music{more}, {", ".join(fields)}
        FROM (
            SELECT *, from_json(object, {literal(json.dumps(shape))}) AS said
            FROM (SELECT *, CASE WHEN {_IS_OBJECT} THEN line END AS object FROM block))"""


def _reach(shape: dict[str, Any], path: Sequence[str], kind: str) -> bool:
    """Make the value at ``path`` a part of the shape; false where DuckDB has no such shape."""
    *outer, last = path
    for part in outer:
        shape = shape.setdefault(part, {})
    # Its names of fields are told apart by more than their case, and are not empty.
    if not last or last.lower() in map(str.lower, shape):
        return False
    shape[last] = kind
    return True


def _pointer(path: Sequence[str]) -> str:
    """The JSON pointer (RFC 6901) of a value, as an SQL string."""
    return literal("".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path))


class LastfmReader(TextReader):
    """Last.fm-1K: user, time, artist id, artist name, track id, track name; tabs, no header.

    Where an id is empty it is made of the names: ``lastfm:`` and the MD5 of the artist's name, for
    a track of the length of the artist's name, a colon, and both names.
    """

    def _select(self) -> str:
        return r"""
            SELECT file, row, CASE
                    WHEN fault IS NOT NULL THEN fault
                    WHEN len(field) <> 6 THEN len(field) || ' fields instead of 6'
                    WHEN NOT whole THEN 'no line end: the file may be cut short'
                END AS fault,
                true AS music,
                nullif(field[1], '') AS user_id,
                nullif(field[2], '') AS listened_at,
                coalesce(nullif(field[3], ''), CASE WHEN field[4] <> ''
                    THEN 'lastfm:' || md5(field[4]) END) AS artist_ids,
                nullif(field[4], '') AS artist_name,
                coalesce(nullif(field[5], ''), CASE WHEN field[6] <> ''
                    THEN 'lastfm:' || md5(length(field[4]) || ':' || field[4] || field[6]) END)
                    AS track_id,
                nullif(field[6], '') AS track_name
            FROM (
                SELECT file, row, fault, ends_with(line, chr(10)) AS whole,
                    string_split(rtrim(line, chr(13) || chr(10)), chr(9)) AS field
                FROM block)"""

    def _kinds(self) -> Mapping[str, Kind]:
        filled = (*_TYPED[:5], c.LISTENED_AT)
        return dict.fromkeys(filled, Kind.TEXT)

"""Formats of one listen per line: JSON Lines and Last.fm-1K."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from recsys import columns as c
from recsys.listens._block import COLUMNS, Block
from recsys.listens._inventory import LogFile
from recsys.listens._lines import line_blocks
from recsys.listens._open import HashingReader, open_text
from recsys.listens._sql import Kind, literal

#: Where the JSON type of a value tells an identifier or a name from something else.
_TYPED: Final = (c.USER_ID, c.TRACK_ID, c.ARTIST_IDS, c.TRACK_NAME, c.ARTIST_NAME, c.ALBUM_NAME)


class _LineReader(abc.ABC):
    """Reads a file line by line, compressed or not."""

    hashing: HashingReader

    def __init__(self, file: LogFile, names: Mapping[str, str], scratch: Path) -> None:
        del scratch
        self._file = file
        self._names = names

    def blocks(self) -> Iterator[Block]:
        with open_text(self._file) as (stream, self.hashing):
            for lines in line_blocks(stream):
                yield Block(lines, self._select(), self._kinds(), self._columns())

    @abc.abstractmethod
    def _select(self) -> str: ...

    @abc.abstractmethod
    def _kinds(self) -> Mapping[str, Kind]: ...

    @abc.abstractmethod
    def _columns(self) -> str: ...


class JsonlReader(_LineReader):
    """JSON Lines: one object per line."""

    def _select(self) -> str:
        pointers = {
            column: literal("/" + self._names[column].replace("~", "~0").replace("/", "~1"))
            for column in COLUMNS
            if column in self._names
        }
        typed = [column for column in pointers if column in _TYPED]
        plain = [column for column in pointers if column not in _TYPED]
        fields = [
            f"nullif(nullif(typed[{at}], 'null'), '\"\"') AS {column}"
            for at, column in enumerate(typed, start=1)
        ] + [f"nullif(plain[{at}], '') AS {column}" for at, column in enumerate(plain, start=1)]
        return f"""
            SELECT row, coalesce(fault, CASE WHEN typed IS NULL THEN 'not a JSON object' END)
                AS fault, {", ".join(fields)}
            FROM (
                SELECT row, fault,
                    CASE WHEN {_IS_OBJECT} THEN CAST(json_extract(line,
                        [{", ".join(pointers[column] for column in typed)}]) AS VARCHAR[])
                    END AS typed,
                    CASE WHEN {_IS_OBJECT} THEN json_extract_string(line,
                        [{", ".join(pointers[column] for column in plain)}]) END AS plain
                FROM block)"""

    def _kinds(self) -> Mapping[str, Kind]:
        return {
            column: Kind.JSON if column in _TYPED else Kind.TEXT
            for column in COLUMNS
            if column in self._names
        }

    def _columns(self) -> str:
        return f"SELECT DISTINCT unnest(json_keys(line)) FROM block WHERE {_IS_OBJECT}"


_IS_OBJECT: Final = "CASE WHEN json_valid(line) THEN ltrim(line, ' \t\r')[1] = '{' ELSE false END"


class LastfmReader(_LineReader):
    """Last.fm-1K: user, time, artist id, artist name, track id, track name; tabs, no header.

    Where an id is empty it is made of the names: ``lastfm:`` and the MD5 of the artist's name, for
    a track of the length of the artist's name, a colon, and both names.
    """

    def _select(self) -> str:
        return r"""
            SELECT row, CASE
                    WHEN fault IS NOT NULL THEN fault
                    WHEN len(field) <> 6 THEN len(field) || ' fields instead of 6'
                    WHEN NOT whole THEN 'no line end: the file may be cut short'
                END AS fault,
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
                SELECT row, fault, ends_with(line, chr(10)) AS whole,
                    string_split(rtrim(line, chr(13) || chr(10)), chr(9)) AS field
                FROM block)"""

    def _kinds(self) -> Mapping[str, Kind]:
        filled = (*_TYPED[:5], c.LISTENED_AT)
        return dict.fromkeys(filled, Kind.TEXT)

    def _columns(self) -> str:
        return "SELECT 'none' WHERE false"

"""The rules of cleaning: each row of a log is kept, or refused for the first reason that holds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from recsys import columns as c
from recsys._coded import coded, encoded, plain, spelled
from recsys._pipelined import ahead, pipelined
from recsys._tables import arrow
from recsys.errors import BadLogError, SettingsError
from recsys.listens._block import COLUMNS, REQUIRED, Block, Reader, called, for_threads, merged
from recsys.listens._inventory import LogFile
from recsys.listens._listenbrainz import ListenBrainzReader
from recsys.listens._open import changed, reading
from recsys.listens._parquet import ParquetReader
from recsys.listens._reasons import Reason
from recsys.listens._said import UNITS, told
from recsys.listens._spotify import SpotifyReader
from recsys.listens._sql import Kind, literal, value
from recsys.listens._tables import JUDGED, SPELLED_BYTES
from recsys.listens._text import JsonlReader, LastfmReader
from recsys.listens._typed import Verdict, judge_typed
from recsys.progress import progress
from recsys.settings import ListensSettings

READERS: Final[Mapping[str, type[Reader]]] = {
    "parquet": ParquetReader,
    "jsonl": JsonlReader,
    "lastfm": LastfmReader,
    "listenbrainz": ListenBrainzReader,
    "spotify": SpotifyReader,
}
EVENTS: Final = ("play", "save", "like", "dislike")

_EARLIEST: Final = date(2002, 10, 1)
_DUMP_END: Final = date(2100, 1, 1)
_NAMES_SHOWN: Final = 40


@dataclass(frozen=True)
class Window:
    """The times that a listen can have: ``start`` up to, and not at, ``end``; days in UTC."""

    start: date
    end: date

    @classmethod
    def of_arrival(cls, day: date) -> Window:
        """What can arrive on ``day``: clocks may run a day ahead."""
        return cls(_EARLIEST, day + timedelta(days=2))

    @classmethod
    def of_dump(cls) -> Window:
        """What can be in a dump, of which nobody knows when it was made."""
        return cls(_EARLIEST, _DUMP_END)


class Judge:
    """Reads files of a log and judges their rows."""

    def __init__(
        self,
        database: Callable[[], duckdb.DuckDBPyConnection],
        settings: ListensSettings,
        window: Window,
        scratch: Path,
    ) -> None:
        self._database = database
        self._settings = settings
        self._window = window
        self._scratch = scratch
        self._names = _log_names(settings.columns)
        self._said: Mapping[str, str] = self._names
        #: The log's own column names, as far as they were looked for.
        self.found: set[str] = set()
        self.sources: list[dict[str, Any]] = []

    def judged(self, files: Sequence[LogFile], *, whole: bool = True) -> Iterator[pa.Table]:
        """Yield judged rows (`JUDGED`, text by codes).

        `sources` holds each file's name, bytes, sha256 and rows once it has been read. Where
        ``files`` are not the ``whole``, mapped columns are left to :func:`check_names`.

        Raises:
            BadLogError: a file cannot be read as a whole, has changed since it was listed, or
                lacks a column that it needs; or no file has a column that the settings map.
        """
        for block, verdict in pipelined(self._typed, ahead(merged(self._blocks(files)))):
            if verdict is None:
                yield self._asked(block.rows, block)
            else:
                yield from (verdict.kept, verdict.refused)
                unsure = verdict.unsure
                for rows in spelled(unsure, plain(unsure.schema), SPELLED_BYTES):
                    yield self._asked(rows, block)
            self._look_for_names(block)
        if whole:
            check_names(self._settings, self.found)

    def _typed(self, block: Block) -> tuple[Block, Verdict | None]:
        if not block.typed:
            return block, None
        times = _microseconds(self._window.start), _microseconds(self._window.end)
        return block, judge_typed(block.rows, block.kinds, self._said, times)

    def _asked(self, rows: pa.Table, block: Block) -> pa.Table:
        database = self._database()
        database.register("block", for_threads(rows))
        judged = arrow(database, self._sql(block))
        database.unregister("block")
        return encoded(judged, coded(JUDGED))

    def _blocks(self, files: Sequence[LogFile]) -> Iterator[Block]:
        reader_of = READERS[self._settings.format]
        for file in progress(files, "reading the log", len(files)):
            reader = reader_of(file, self._names, self._settings, self._scratch)
            self._said = reader.names
            rows = 0
            for block in _read(file, reader):
                rows += len(block.rows)
                yield block
            if reader.hashing.bytes != file.size:
                raise changed(file, f"{file.size} bytes were listed, {reader.hashing.bytes} read")
            self.sources.append(
                {
                    "name": file.name,
                    "bytes": reader.hashing.bytes,
                    "sha256": reader.hashing.sha256,
                    "rows": rows,
                }
            )

    def _look_for_names(self, block: Block) -> None:
        if self.found.issuperset(self._settings.columns):
            return
        if isinstance(block.columns, frozenset):
            self.found |= block.columns
            return
        database = self._database()
        database.register("block", block.rows)
        self.found |= {name for (name,) in database.execute(block.columns).fetchall()}
        database.unregister("block")

    def _sql(self, block: Block) -> str:
        kinds = block.kinds
        raw = ", ".join(f"{column} AS raw_{column}" for column in kinds)
        values = ", ".join(
            f"CASE WHEN {column} IS NOT NULL THEN {value(column, column, kind)} END AS {column}"
            if (kind := kinds.get(column))
            else f"CAST(NULL AS {_TYPES.get(column, 'VARCHAR')}) AS {column}"
            for column in COLUMNS
        )
        labels = {column: literal(name) for column, name in self._said.items()}
        labels |= {column: called(column) for column in block.named}
        named = "".join(f", {called(column)}" for column in block.named)
        rules = _rules(kinds, self._window)
        number = " ".join(f"WHEN {rule.broken} THEN {at}" for at, rule in enumerate(rules))
        reason = " ".join(f"WHEN {at} THEN '{rule.reason}'" for at, rule in enumerate(rules))
        blamed = {at: rule.column for at, rule in enumerate(rules) if rule.column in kinds}
        label = " ".join(f"WHEN {at} THEN {labels[column]}" for at, column in blamed.items())
        said = " ".join(
            f"WHEN {at} THEN CAST(raw_{column} AS VARCHAR)" for at, column in blamed.items()
        )
        unit = " ".join(
            f"WHEN {at} THEN ' {kinds[column]} since 1970'"
            for at, column in blamed.items()
            if kinds[column] in UNITS
        )
        day = f"CAST(make_timestamp({c.LISTENED_AT}) AS DATE)"
        dated = f"fault IS NULL AND {_within(self._window)}"
        kept = ", ".join(
            f"CASE WHEN rule IS NULL THEN {_KEPT.get(column, column)} END AS {column}"
            for column in COLUMNS
            if column != c.PRIVATE
        )
        return f"""
            SELECT file AS {c.ORIGIN_FILE}, row AS {c.ORIGIN_ROW},
                CASE rule {reason} END AS {c.REASON},
                CASE WHEN rule IS NULL THEN NULL WHEN fault IS NOT NULL THEN fault
                    ELSE label || ': ' || coalesce(said || unit, {told("said")}) END AS {c.DETAIL},
                CASE WHEN {dated} THEN {day} END AS day, {kept}
            FROM (SELECT *, CASE rule {label} END AS label, CASE rule {said} END AS said,
                    CASE rule {unit or "WHEN 0 THEN NULL"} END AS unit
                FROM (SELECT *, CASE {number} END AS rule
                    FROM (
                        SELECT file, row, fault, music{named}, {raw}, {values}
                        FROM ({block.select}))))"""


@dataclass(frozen=True)
class _Rule:
    reason: Reason
    #: SQL.
    broken: str
    #: Whose value is to be said, where there is one.
    column: str = ""


def _rules(kinds: Mapping[str, Kind], window: Window) -> list[_Rule]:
    """Every rule in the order of `Reason`."""

    def unusable(column: str) -> str:
        return f"(raw_{column} IS NOT NULL AND {column} IS NULL)" if column in kinds else "false"

    def bad(reason: Reason, *columns: str) -> list[_Rule]:
        return [_Rule(reason, unusable(column), column) for column in columns]

    at = c.LISTENED_AT
    known = ", ".join(map(literal, EVENTS))
    return [
        _Rule(Reason.UNREADABLE, "fault IS NOT NULL"),
        _Rule(Reason.PRIVATE, c.PRIVATE),
        *bad(Reason.BAD_PRIVATE, c.PRIVATE),
        _Rule(Reason.NOT_MUSIC, "NOT music"),
        _Rule(Reason.NO_USER, f"{c.USER_ID} IS NULL"),
        _Rule(Reason.NO_TRACK, f"{c.TRACK_ID} IS NULL", c.TRACK_ID),
        _Rule(Reason.NO_TIME, f"{at} IS NULL AND NOT {unusable(at)}"),
        *bad(Reason.BAD_TIME, at),
        _Rule(Reason.TIME_TOO_EARLY, f"{at} < {_microseconds(window.start)}", at),
        _Rule(Reason.TIME_TOO_LATE, f"{at} >= {_microseconds(window.end)}", at),
        _Rule(Reason.UNKNOWN_EVENT, f"{c.EVENT} NOT IN ({known})", c.EVENT),
        *bad(Reason.BAD_NUMBER, c.MS_PLAYED, c.DURATION_MS),
        *bad(Reason.BAD_FLAG, c.SKIPPED),
        *bad(Reason.BAD_ARTISTS, c.ARTIST_IDS),
        *bad(Reason.BAD_NAME, c.TRACK_NAME, c.ARTIST_NAME, c.ALBUM_NAME),
    ]


_TYPES: Final = {
    c.LISTENED_AT: "BIGINT",
    c.ARTIST_IDS: "VARCHAR[]",
    c.MS_PLAYED: "BIGINT",
    c.DURATION_MS: "BIGINT",
    c.SKIPPED: "BOOLEAN",
    c.PRIVATE: "BOOLEAN",
}
_KEPT: Final = {
    c.EVENT: f"coalesce({c.EVENT}, 'play')",
    c.ARTIST_IDS: f"CASE WHEN len({c.ARTIST_IDS}) > 0 THEN {c.ARTIST_IDS} END",
    c.DURATION_MS: f"nullif({c.DURATION_MS}, 0)",
}


def check_names(settings: ListensSettings, found: Collection[str]) -> None:
    """See that the columns that are mapped were found.

    Raises:
        BadLogError: one is in no file.
    """
    absent = sorted(set(settings.columns) - set(found))
    if absent and found:
        known = sorted(found)
        shown = ", ".join(known[:_NAMES_SHOWN]) + (", ..." if known[_NAMES_SHOWN:] else "")
        raise BadLogError(
            f"[listens] columns maps {', '.join(map(repr, absent))}, which no file read "
            f"here has. Columns found: {shown}."
        )


def _log_names(mapped: Mapping[str, str]) -> dict[str, str]:
    """The log's name of each column of ours; a name mapped to one of ours feeds no other."""
    names = {column: column for column in COLUMNS if column not in mapped}
    names |= {ours: log_name for log_name, ours in mapped.items()}
    for column in REQUIRED:
        if column not in names:
            raise SettingsError(
                f"[listens] columns: {column} is mapped to {mapped[column]}, and nothing is "
                f"mapped to {column}, which is needed. Map a column of the log to it."
            )
    return names


def _read(file: LogFile, reader: Reader) -> Iterator[Block]:
    with contextlib.closing(reader.blocks()) as blocks:  # type: ignore[type-var]
        while True:
            with reading(file):
                block = next(blocks, None)
            if block is None:
                return
            yield block


def _microseconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 10**6


def _within(window: Window) -> str:
    at = c.LISTENED_AT
    return f"{at} >= {_microseconds(window.start)} AND {at} < {_microseconds(window.end)}"

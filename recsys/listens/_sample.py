"""Looking into a log before it is read: what is there, what would be refused, what is missing."""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import duckdb
import pyarrow.parquet as pq

from recsys import columns as c
from recsys._tables import database
from recsys.errors import BadLogError
from recsys.listens._block import COLUMNS
from recsys.listens._formats import text_heads
from recsys.listens._inventory import Inventory, LogFile, list_log
from recsys.listens._judge import Judge, Window
from recsys.listens._open import local_copy, reading
from recsys.settings import FIXED_FORMATS, ListensSettings

_ROWS: Final = 20_000
_FILES: Final = 5
_EXAMPLES: Final = 3
#: How else logs name our columns, without case and punctuation. Nothing else is proposed:
#: a name that only resembles one may be that of an address or a device.
_OTHER_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    c.USER_ID: (
        *("user", "uid", "userid", "userkey", "username", "listener", "listenerid", "account"),
        *("accountid", "member", "memberid", "customerid", "subscriberid", "profile", "profileid"),
    ),
    c.TRACK_ID: (
        *("track", "trackid", "song", "songid", "recordingid", "recordingmbid", "trackmbid"),
        *("isrc", "trackuri", "songuri", "item", "itemid"),
    ),
    c.LISTENED_AT: (
        *("ts", "time", "timestamp", "datetime", "playedat", "listenedat", "listened"),
        *("starttime", "startedat"),
    ),
    c.ARTIST_IDS: (
        *("artistids", "artistid", "artist", "artists", "artistmbid", "artistmbids"),
        *("artisturi", "artisturis"),
    ),
    c.MS_PLAYED: ("msplayed", "playedms", "playms", "listenms", "played"),
    c.DURATION_MS: ("duration", "durationms", "lengthms", "trackms", "trackduration"),
    c.SKIPPED: ("skipped", "skip", "isskipped", "wasskipped"),
    c.EVENT: ("event", "eventtype", "action", "type"),
    c.PRIVATE: ("private", "incognito", "incognitomode", "privatesession", "isprivate"),
    c.TRACK_NAME: ("trackname", "title", "songname", "tracktitle"),
    c.ARTIST_NAME: ("artistname",),
    c.ALBUM_NAME: ("albumname", "album", "release", "releasename"),
}


@dataclass(frozen=True)
class Sample:
    """What a part of a log shows.

    Attributes:
        files: how many there are, and ``bytes`` in all.
        days: first and last day of arrival, or None for a log without partitions.
        listeners: how many have a folder, and one more if there are files in none; None for a
            format in which rows say whose they are.
        read: rows that were looked at; ``kept`` of them would be used.
        refused: rows by reason.
        examples: up to three refused rows of each reason: where, and what was wrong.
        problem: why no row could be judged, or None.
        mapping: the ``[listens] columns`` that the names in the log suggest; empty for none.
    """

    files: int
    bytes: int
    days: tuple[date, date] | None
    listeners: int | None
    read: int
    kept: int
    refused: Mapping[str, int]
    examples: Mapping[str, Sequence[str]]
    problem: str | None
    mapping: Mapping[str, str]


def sample_log(settings: ListensSettings) -> Sample:
    """Read the beginning of a few files of a log, some 20,000 rows of each, and judge them.

    Raises:
        SettingsError, MissingDataError, BadLogError: as :func:`recsys.listens.list_log`.
    """
    inventory = list_log(settings)
    days = sorted(inventory.days)
    arrival = {file: day for day, files in inventory.days.items() for file in files}
    counted: Counter[str | None] = Counter()
    examples: dict[str, list[str]] = {}
    problem, names = None, set[str]()
    with tempfile.TemporaryDirectory() as folder, database(Path(folder)) as connection:
        try:
            for file in _spread(inventory):
                names |= _names(file, settings.format, Path(folder))
                day = arrival.get(file)
                window = Window.of_arrival(day) if day else Window.of_dump()
                judge = Judge(lambda: connection, settings, window, Path(folder))
                for reason, rows, shown in _judge(judge, file, connection):
                    counted[reason] += rows
                    if reason is not None:
                        examples[reason] = (examples.get(reason, []) + shown)[:_EXAMPLES]
        except BadLogError as error:
            problem = str(error)
    kept = counted.pop(None, 0)
    in_folders = settings.format == "spotify"
    return Sample(
        files=len(inventory.files),
        bytes=sum(file.size for file in inventory.files),
        days=(days[0], days[-1]) if days else None,
        listeners=len({file.listener for file in inventory.files}) if in_folders else None,
        read=kept + counted.total(),
        kept=kept,
        refused={str(reason): rows for reason, rows in counted.most_common()},
        examples=examples,
        problem=problem,
        mapping=suggest_mapping(sorted(names)),
    )


def _spread(inventory: Inventory) -> Sequence[LogFile]:
    """A few files by the hash of their names, which no pattern of folders can be in step with.

    One of the newest day is among them; of a dump, the last by name.
    """
    *_, newest = inventory.files, *inventory.days.values()
    others = heapq.nsmallest(_FILES, inventory.files, _hash_of_name)
    last = min(newest, key=_hash_of_name) if inventory.partitioned else newest[-1]
    files = [last, *(file for file in others if file != last)][:_FILES]
    return sorted(files, key=lambda file: file.name)


def _hash_of_name(file: LogFile) -> bytes:
    return hashlib.sha256(file.name.encode()).digest()


def _judge(
    judge: Judge, file: LogFile, connection: duckdb.DuckDBPyConnection
) -> Iterator[tuple[str | None, int, list[str]]]:
    """Rows and examples by reason, None for what would be kept, of the beginning of a file."""
    seen = 0
    with contextlib.closing(judge.judged([file])) as blocks:  # type: ignore[type-var]
        for rows in blocks:
            connection.register("judged", rows)
            found = connection.execute(
                f"""SELECT reason, count(*), list(file || ', row ' || row || ': '
                        || coalesce(detail, 'no detail') ORDER BY row)[:{_EXAMPLES}]
                    FROM judged GROUP BY reason"""
            ).fetchall()
            yield from found
            seen += sum(rows for _, rows, _ in found)
            if seen >= _ROWS:
                return


def _names(file: LogFile, format_: str, scratch: Path) -> set[str]:
    """The names of the columns in a file; none for a format that has them fixed."""
    if format_ in FIXED_FORMATS:
        return set()
    with reading(file):
        if format_ == "parquet":
            return set(pq.read_schema(local_copy(file, scratch)[0]).names)
        with contextlib.closing(text_heads(file, scratch)) as heads:
            return next(filter(None, map(_keys, heads)), set())


def _keys(head: bytes) -> set[str]:
    """The keys of the JSON objects among some lines."""
    keys: set[str] = set()
    for line in head.splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(line)
            keys |= set(value) if isinstance(value, dict) else set()
    return keys


def suggest_mapping(names: Iterable[str]) -> dict[str, str]:
    """The log's columns that seem to be ours by another name.

    >>> suggest_mapping(["uid", "song_id", "ts", "artist_ids", "country"])
    {'uid': 'user_id', 'song_id': 'track_id', 'ts': 'listened_at'}
    """
    found = list(names)
    plain = {_plain(name): name for name in found}
    mapping: dict[str, str] = {}
    for column in COLUMNS:
        if column in found:
            continue
        known = [other for other in _OTHER_NAMES[column] if other in plain]
        taken = {*mapping}
        free = [plain[name] for name in known if plain[name] not in taken]
        if free and free[0] not in COLUMNS:
            mapping[free[0]] = column
    return mapping


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())

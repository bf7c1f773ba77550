"""The simulated log as files, damaged rows included."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys import columns as c
from recsys.simulate._catalogue import Catalogue, Ints
from recsys.simulate._listeners import Listeners
from recsys.simulate._listening import EVENT_NAMES, Events

LogFormat = Literal["jsonl", "parquet"]

#: The canonical columns of a listen.
LISTEN: Final = pa.schema(
    [
        (c.USER_ID, pa.string()),
        (c.TRACK_ID, pa.string()),
        (c.LISTENED_AT, pa.timestamp("us", tz="UTC")),
        (c.ARTIST_IDS, pa.list_(pa.string())),
        (c.MS_PLAYED, pa.int64()),
        (c.DURATION_MS, pa.int64()),
        (c.SKIPPED, pa.bool_()),
        (c.EVENT, pa.string()),
        (c.PRIVATE, pa.bool_()),
        (c.TRACK_NAME, pa.string()),
        (c.ARTIST_NAME, pa.string()),
        (c.ALBUM_NAME, pa.string()),
    ]
)

#: What can be wrong with a damaged row: a column that lost its value, or got one that is none.
#: In Parquet, which has types, a time that is no time and a line that was cut off cannot occur.
_LOSSES: Final = ((c.USER_ID, None), (c.TRACK_ID, None), (c.LISTENED_AT, None), (c.EVENT, "hover"))
_NO_TIME: Final = (c.LISTENED_AT, "yesterday evening")
_CUT: Final = "cut"

_TRACK_COLUMNS: Final = (
    c.TRACK_ID,
    c.ARTIST_IDS,
    c.DURATION_MS,
    c.TRACK_NAME,
    c.ARTIST_NAME,
    c.ALBUM_NAME,
)
_ROWS_AT_ONCE: Final = 200_000
_GZIP_LEVEL: Final = 3


class LogWriter:
    """Turns events into canonical tables and into files."""

    def __init__(self, catalogue: Catalogue, listeners: Listeners) -> None:
        self._users = listeners.ids
        self._tracks = catalogue.table.select(_TRACK_COLUMNS).combine_chunks()
        self._track_json: pa.Array | None = None

    def table(self, events: Events) -> pa.Table:
        """Events as rows in the canonical columns."""
        tracks = self._tracks.take(pa.array(events["track"]))
        columns = dict(zip(tracks.column_names, tracks.columns, strict=True))
        columns |= self._event_columns(events)
        return pa.table([columns[name] for name in LISTEN.names], schema=LISTEN)

    def write(
        self,
        folder: Path,
        events: Events,
        damaged: int,
        random: np.random.Generator,
        log_format: LogFormat,
    ) -> None:
        """Write one day's partition, with ``damaged`` rows more than there are events."""
        rows = random.integers(0, max(len(events), 1), damaged if len(events) else 0)
        places = np.sort(random.integers(0, len(events) + 1, len(rows)))
        if log_format == "parquet":
            self._write_parquet(folder / "listens.parquet", events, rows, places)
        else:
            cuts = random.random(len(rows))
            self._write_jsonl(folder / "listens.jsonl.gz", events, rows, places, cuts)

    def _write_parquet(self, path: Path, events: Events, rows: Ints, places: Ints) -> None:
        broken = self.table(events[rows]).to_pylist()
        for number, row in enumerate(broken):
            column, value = _LOSSES[number % len(_LOSSES)]
            row[column] = value
        table = pa.concat_tables(
            [self.table(events), pa.Table.from_pylist(broken, schema=LISTEN)]
        ).take(_inserted(len(events), places))
        pq.write_table(table, path, compression="zstd")

    def _write_jsonl(
        self, path: Path, events: Events, rows: Ints, places: Ints, cuts: np.ndarray[Any, Any]
    ) -> None:
        broken = pa.array(self._broken_lines(events[rows], cuts), pa.string())
        with path.open("wb") as file, gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as log:
            for at in range(0, max(len(events), 1), _ROWS_AT_ONCE):
                block = events[at : at + _ROWS_AT_ONCE]
                end = at + len(block) + (at + len(block) == len(events))
                first, last = np.searchsorted(places, [at, end])
                lines = pa.concat_arrays([self._lines(block), broken[first:last]])
                log.write(_text(lines.take(_inserted(len(block), places[first:last] - at))))

    def _broken_lines(self, events: Events, cuts: np.ndarray[Any, Any]) -> Iterator[str]:
        kinds = (*_LOSSES, _NO_TIME, _CUT)
        for number, line in enumerate(self._lines(events).to_pylist()):
            kind = kinds[number % len(kinds)]
            if isinstance(kind, str):
                yield line[: 1 + int(cuts[number] * (len(line) - 3))] + "\n"
            else:
                row = json.loads(line)
                row[kind[0]] = kind[1]
                yield json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n"

    def _lines(self, events: Events) -> pa.Array:
        """Events as JSON objects, one a line: joined from parts, what is of the track made once."""
        if self._track_json is None:
            self._track_json = pa.array(
                json.dumps(row, ensure_ascii=False, separators=(",", ":"))[1:-1]
                for row in self._tracks.to_pylist()
            )
        columns = self._event_columns(events)
        started = pc.replace_substring(
            columns[c.LISTENED_AT].cast(pa.timestamp("ms")).cast(pa.string()), " ", "T"
        )
        return pc.binary_join_element_wise(
            '{"user_id":"',
            columns[c.USER_ID],
            '","listened_at":"',
            started,
            'Z",',
            self._track_json.take(pa.array(events["track"])),
            ',"ms_played":',
            columns[c.MS_PLAYED].cast(pa.string()).fill_null("null"),
            ',"skipped":',
            columns[c.SKIPPED].cast(pa.string()).fill_null("null"),
            ',"event":"',
            columns[c.EVENT],
            '","private":',
            columns[c.PRIVATE].cast(pa.string()),
            "}\n",
            "",
        )

    def _event_columns(self, events: Events) -> dict[str, pa.Array]:
        reaction = events["event"] > 0
        return {
            c.USER_ID: self._users.take(pa.array(events["user"])),
            c.LISTENED_AT: pa.array(events["started"] * 1000).cast(pa.timestamp("us", tz="UTC")),
            c.MS_PLAYED: pa.array(events["played"], mask=reaction),
            c.SKIPPED: pa.array(events["skipped"], mask=reaction),
            c.EVENT: pa.array(EVENT_NAMES).take(pa.array(events["event"])),
            c.PRIVATE: pa.array(events["private"]),
        }


def _inserted(rows: int, places: Ints) -> pa.Array:
    """The order of ``rows`` rows when the rows after them are moved to before ``places``."""
    return pa.array(np.insert(np.arange(rows), places, rows + np.arange(len(places))))


def _text(lines: pa.Array) -> pa.Buffer:
    """The concatenation of ``lines``: an Arrow string array holds it already."""
    start, end = np.frombuffer(lines.buffers()[1], np.int32)[[0, len(lines)]].tolist()
    return lines.buffers()[2][start:end]

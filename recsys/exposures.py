"""The exposure log: which listeners were shown which tracks of which edition. It is optional."""

from __future__ import annotations

import glob
import io
import json
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from recsys import columns as c
from recsys._tables import file_list, read_parquet
from recsys.errors import BadLogError, MissingDataError

_PARQUET: Final = (".parquet",)
_JSON: Final = tuple(
    kind + packed for kind in (".jsonl", ".ndjson") for packed in ("", ".gz", ".zst")
)
#: Our name -> the names that a column may have.
_NAMES: Final = {
    c.USER_ID: ("user_id", "user"),
    c.EDITION: ("edition", "edition_id"),
    c.TRACK_ID: ("track_id", "track"),
    c.SHOWN_AT: ("shown_at",),
}
_NUMBER: Final = f"try_cast({c.SHOWN_AT} AS BIGINT)"
#: Text as a time. A whole number is Unix time, in the unit that its size speaks for.
_TIME: Final = f"""CASE WHEN regexp_full_match({c.SHOWN_AT}, '-?[0-9]+')
    THEN make_timestamp(CASE
        WHEN {_NUMBER} BETWEEN {-(10**11)} AND {10**11} THEN {_NUMBER} * {10**6}
        WHEN {_NUMBER} BETWEEN {-(10**14)} AND {10**14} THEN {_NUMBER} * {10**3}
        WHEN {_NUMBER} BETWEEN {-(10**17)} AND {10**17} THEN {_NUMBER}
        ELSE {_NUMBER} // {10**3} END)::TIMESTAMPTZ
    ELSE try_cast({c.SHOWN_AT} AS TIMESTAMPTZ) END"""
_EXPECTED: Final = (
    "Expected Parquet or JSON Lines (.parquet, .jsonl, .ndjson, also .gz or .zst) with the columns "
    "user_id (or user), edition (or edition_id), track_id (or track) and shown_at."
)


def exposure_files(source: str) -> list[Path]:
    """The files of an exposure log, sorted, each seen to have the columns that are needed.

    Of a Parquet file its schema is looked at, of a JSON Lines file its first row, if it has any.

    Args:
        source: a file, a folder or a glob on this machine; empty: there is no such log.

    Raises:
        MissingDataError: nothing is there.
        BadLogError: a file is of another kind, cannot be read, or lacks a column.
    """
    if not source:
        return []
    path = Path(source).expanduser()
    pattern = path / "**" / "*" if path.is_dir() else path
    found = map(Path, glob.iglob(str(pattern), recursive=True))  # noqa: PTH207 - may be absolute
    files = sorted(file.absolute() for file in found if file.is_file() and file.name[0] not in "._")
    if not files:
        raise MissingDataError(
            f"[exposures] source = {source} holds no file. {_EXPECTED} Correct the path, or leave "
            "the setting empty: hindsight then cannot tell who opened a playlist."
        )
    for file in files:
        _check(file)
    return files


def exposure_rows(files: list[Path]) -> str:
    """SQL for the rows of the files: user_id, edition, track_id, shown_at, null where unusable."""
    parts = []
    if parquet := [file for file in files if file.name.endswith(_PARQUET)]:
        for file in parquet:
            there = pq.read_schema(file).names
            chosen = ", ".join(
                f'"{next(name for name in names if name in there)}"::VARCHAR AS {ours}'
                for ours, names in _NAMES.items()
            )
            parts.append(f"SELECT {chosen} FROM {read_parquet([file])}")
    if lines := [file for file in files if not file.name.endswith(_PARQUET)]:
        every = ", ".join(f"'{name}': 'VARCHAR'" for names in _NAMES.values() for name in names)
        chosen = ", ".join(
            f"coalesce({', '.join(names)}) AS {ours}" if len(names) > 1 else ours
            for ours, names in _NAMES.items()
        )
        parts.append(
            f"SELECT {chosen} FROM read_json({file_list(lines)}, columns = {{{every}}}, "
            "format = 'newline_delimited', ignore_errors = true, hive_partitioning = false)"
        )
    return f"SELECT * REPLACE ({_TIME} AS {c.SHOWN_AT}) FROM ({' UNION ALL '.join(parts)})"


def _check(file: Path) -> None:
    if not file.name.endswith((*_PARQUET, *_JSON)):
        raise BadLogError(f"[exposures] source: {file} is of another kind. {_EXPECTED}")
    try:
        names = pq.read_schema(file).names if file.name.endswith(_PARQUET) else _keys(file)
    except (pa.ArrowException, OSError, EOFError, ValueError) as error:
        raise BadLogError(
            f"[exposures] source: {file} cannot be read ({error}). {_EXPECTED}"
        ) from error
    if names is None:
        return
    lacking = [" or ".join(any_of) for any_of in _NAMES.values() if not {*any_of} & {*names}]
    if lacking:
        raise BadLogError(
            f"[exposures] source: {file} has no column {', '.join(lacking)}; it has "
            f"{', '.join(names) or 'none'}. {_EXPECTED}"
        )


def _keys(file: Path) -> list[str] | None:
    """The keys of the first row of JSON Lines; None of an empty file, as writers leave them."""
    with pa.input_stream(str(file), compression="detect") as stream:
        line = io.BufferedReader(stream).readline()
    if not line:
        return None
    row: Any = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError(f"its first line is no JSON object but {type(row).__name__}")
    return list(row)

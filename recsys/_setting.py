"""Parsers of single settings; each raises ValueError with what was expected."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recsys import columns as c

_LISTEN_COLUMNS = (
    c.USER_ID,
    c.TRACK_ID,
    c.LISTENED_AT,
    c.ARTIST_IDS,
    c.MS_PLAYED,
    c.DURATION_MS,
    c.SKIPPED,
    c.EVENT,
    c.PRIVATE,
    c.TRACK_NAME,
    c.ARTIST_NAME,
    c.ALBUM_NAME,
)

Parse = Callable[[str], Any]


def of(parse: Parse, default: Any = dataclasses.MISSING, *, written: str = "") -> Any:
    """A dataclass field that is read from text by ``parse``.

    Args:
        parse: what makes a value of the text.
        default: the value where none is given.
        written: pattern of the keys that the field takes, into a dict; by default the field's name
            is the one key.
    """
    metadata = {"parse": parse, "expected": parse.__doc__ or "a value", "written": written}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def text(raw: str) -> str:
    """a value that is not empty"""
    if not raw:
        raise ValueError("a value, got nothing")
    return raw


def anything(raw: str) -> str:
    """a value, or nothing for the default"""
    return raw


def path(raw: str) -> Path:
    """a folder"""
    return Path(text(raw))


def integer(low: int, high: int) -> Parse:
    """Whole numbers from ``low`` to ``high``."""

    def parse(raw: str) -> int:
        expected = f"a whole number from {low} to {high}"
        try:
            value = int(raw)
        except ValueError:
            raise ValueError(expected) from None
        if not low <= value <= high:
            raise ValueError(expected)
        return value

    return parse


def multiple_of(step: int, high: int) -> Parse:
    """Multiples of ``step`` from 0 to ``high``."""
    within = integer(0, high)

    def parse(raw: str) -> int:
        expected = f"a multiple of {step} from 0 to {high}"
        try:
            value: int = within(raw)
        except ValueError:
            raise ValueError(expected) from None
        if value % step:
            raise ValueError(expected)
        return value

    return parse


def number(low: float, high: float) -> Parse:
    """Finite numbers from ``low`` to ``high``."""

    def parse(raw: str) -> float:
        expected = f"a number from {low:g} to {high:g}"
        try:
            value = float(raw)
        except ValueError:
            raise ValueError(expected) from None
        if not (math.isfinite(value) and low <= value <= high):
            raise ValueError(expected)
        return value

    return parse


def choice(*options: str) -> Parse:
    """One of a few words."""

    def parse(raw: str) -> str:
        if raw not in options:
            raise ValueError("one of " + ", ".join(options))
        return raw

    return parse


def several_of(*options: str) -> Parse:
    """Any of a few words, with commas between; kept in the order of ``options``."""

    def parse(raw: str) -> str:
        given = {word.strip() for word in raw.split(",")} - {""}
        if not given <= set(options):
            raise ValueError("any of " + ", ".join(options))
        return ", ".join(word for word in options if word in given)

    return parse


def store_url(raw: str) -> str:
    """The URL of a playlist store; empty stands for the default."""
    if raw and not re.match(r"sqlite:///.|postgresql://.|rediss?://.", raw):
        raise ValueError("sqlite:///DIR, postgresql://HOST/DB, redis://HOST or rediss://HOST")
    return raw


def spark_master(raw: str) -> str:
    """The URL of a Spark master."""
    count = r"(\*|[1-9]\d*)"
    forms = (
        rf"local(\[{count}(\s*,\s*\d+)?\])?",
        r"local-cluster\[\s*[1-9]\d*\s*,\s*[1-9]\d*\s*,\s*[1-9]\d*\s*\]",
        r"spark://[^/:,]+:\d+(,[^/:,]+:\d+)*",
        r"k8s://.+",
        r"yarn",
    )
    if not re.fullmatch("|".join(forms), raw):
        raise ValueError(
            "local[CORES], local[*], local-cluster[WORKERS,CORES,MIB], spark://HOST:PORT, yarn or "
            "k8s://HOST:PORT"
        )
    return raw


def dotted(raw: str) -> str:
    """A name in a module, as ``package.module:name``; empty stands for none."""
    if raw and not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", raw):
        raise ValueError("package.module:name, or nothing for none")
    return raw


def http_url(raw: str) -> str:
    """An HTTP URL; empty stands for none."""
    if raw and not re.match(r"https?://[^/?#]", raw):
        raise ValueError("http://HOST/PATH or https://HOST/PATH, or nothing for none")
    return raw


def column_map(raw: str) -> dict[str, str]:
    """A JSON object from the log's column names to ours."""
    expected = 'a JSON object from your column names to ours, such as {"ts": "listened_at"}'
    try:
        value = json.loads(raw or "{}")
    except json.JSONDecodeError as error:
        raise ValueError(f"{expected} ({error})") from None
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value.values()):
        raise ValueError(expected)
    for name in value.values():
        if name not in _LISTEN_COLUMNS:
            raise ValueError(f"{expected}; {name!r} is none of {', '.join(_LISTEN_COLUMNS)}")
    if len(set(value.values())) < len(value):
        raise ValueError(f"{expected}, each of ours named once")
    return value

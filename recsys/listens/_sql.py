"""How one value of a log becomes one of ours: SQL per column and per kind of raw value.

Each function returns an expression that is NULL where the value cannot be used. ``raw`` is the
name of a column that is NULL where the log says nothing. The session's time zone must be UTC.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from recsys import columns as c


class Kind(StrEnum):
    """What a raw value is."""

    TEXT = "text"
    JSON = "json"  # a VARCHAR that holds a JSON value
    INTEGER = "integer"
    DOUBLE = "double"
    BOOLEAN = "boolean"
    LIST = "list"  # of VARCHAR
    SECONDS = "s"  # BIGINT since 1970, as are the next three
    MILLISECONDS = "ms"
    MICROSECONDS = "us"
    NANOSECONDS = "ns"


#: Longest listen or track in ms (31 years); sums of it stay within int64.
MAX_MS: Final = 10**12

PER_SECOND: Final = {
    Kind.SECONDS: 1,
    Kind.MILLISECONDS: 10**3,
    Kind.MICROSECONDS: 10**6,
    Kind.NANOSECONDS: 10**9,
}
_CLOCK: Final = r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?"
#: What nearly every time looks like: in UTC, and no leap second.
_PLAIN_CLOCK: Final = r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:[0-5]\d(?:\.\d{1,9})?Z?"
_ZONE: Final = r"[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?"


def literal(text: str) -> str:
    """``text`` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def value(column: str, raw: str, kind: Kind) -> str:
    """The typed value of ``column``; a time in microseconds since 1970."""
    if column in (c.USER_ID, c.TRACK_ID):
        return _identifier(raw, kind)
    if column == c.LISTENED_AT:
        return _time(raw, kind)
    if column in (c.MS_PLAYED, c.DURATION_MS):
        return _milliseconds(raw, kind)
    if column in (c.SKIPPED, c.PRIVATE, c.AVAILABLE, c.EXPLICIT):
        return _flag(raw, kind)
    if column == c.ARTIST_IDS:
        return _identifiers(raw, kind)
    return _name(raw, kind)


def _text(raw: str, kind: Kind) -> str:
    if kind is Kind.JSON:
        unquoted = f"json_extract_string({raw}, '$')"
        return f"CASE WHEN starts_with({raw}, '\"') THEN {unquoted} ELSE {raw} END"
    return f"CAST({raw} AS VARCHAR)"


def _identifier(raw: str, kind: Kind) -> str:
    if kind is Kind.JSON:
        return (
            f"CASE WHEN starts_with({raw}, '\"') THEN json_extract_string({raw}, '$') "
            f"WHEN regexp_full_match({raw}, '-?[0-9]+') THEN {raw} END"
        )
    return _text(raw, kind)


def _identifiers(raw: str, kind: Kind) -> str:
    if kind is Kind.LIST:
        return (
            f"CASE WHEN list_contains({raw}, '') OR len({raw}) > list_count({raw}) "
            f"THEN list_filter({raw}, lambda x: x <> '') ELSE {raw} END"
        )
    if kind is not Kind.JSON:
        return f"[{_text(raw, kind)}]"
    elements = f"""from_json({raw}, '["JSON"]')"""
    one = _identifier("CAST(x AS VARCHAR)", kind)
    odd = f"list_has_any(json_type({raw}, '$[*]'), ['ARRAY', 'OBJECT', 'BOOLEAN', 'DOUBLE'])"
    return f"""CASE
        WHEN NOT starts_with({raw}, '[') THEN CASE WHEN {_identifier(raw, kind)} IS NOT NULL
            THEN [{_identifier(raw, kind)}] END
        WHEN NOT {odd} THEN list_filter(json_extract_string({raw}, '$[*]'), lambda x: x <> '')
        WHEN len(list_filter({elements}, lambda x: x IS NOT NULL AND ({one}) IS NULL)) = 0
        THEN list_filter(list_transform({elements}, lambda x: {one}), lambda x: x <> '') END"""


def _name(raw: str, kind: Kind) -> str:
    if kind is Kind.JSON:
        return f"CASE WHEN NOT regexp_matches({raw}, '^[\\[{{]') THEN {_text(raw, kind)} END"
    return _text(raw, kind)


def _milliseconds(raw: str, kind: Kind) -> str:
    if kind is Kind.INTEGER:
        return f"CASE WHEN {raw} BETWEEN 0 AND {MAX_MS} THEN CAST({raw} AS BIGINT) END"
    if kind is Kind.DOUBLE:
        whole = f"{raw} BETWEEN 0 AND {MAX_MS} AND floor({raw}) = {raw}"
        return f"CASE WHEN {whole} THEN CAST({raw} AS BIGINT) END"
    text = _text(raw, kind)
    whole = f"TRY_CAST(regexp_extract({text}, '^([0-9]{{1,18}})(\\.0*)?$', 1) AS BIGINT)"
    return (
        f"CASE WHEN regexp_full_match({text}, '[0-9]{{1,12}}') THEN CAST({text} AS BIGINT) "
        f"WHEN {whole} <= {MAX_MS} THEN {whole} END"
    )


def _flag(raw: str, kind: Kind) -> str:
    if kind is Kind.BOOLEAN:
        return raw
    if kind in (Kind.INTEGER, Kind.DOUBLE):
        return f"CASE {raw} WHEN 1 THEN true WHEN 0 THEN false END"
    text = f"lower({_text(raw, kind)})"
    return (
        f"CASE WHEN {text} IN ('true', '1') THEN true WHEN {text} IN ('false', '0') THEN false END"
    )


def _time(raw: str, kind: Kind) -> str:
    if kind in PER_SECOND:
        return _microseconds(raw, PER_SECOND[kind])
    if kind is Kind.INTEGER:
        return _epoch(f"TRY_CAST({raw} AS BIGINT)")
    given = _text(raw, kind)
    # A leap second ends an hour of UTC. It is the second after: no clock of ours has it, and POSIX
    # time counts it so.
    leap = f"{given}[17:19] = ':60'"
    before = f"CASE WHEN {leap} THEN {given}[:17] || '59' || {given}[20:] ELSE {given} END"
    zoned = f"epoch_us(TRY_CAST(upper({before}) AS TIMESTAMPTZ))"
    return f"""CASE
        WHEN regexp_full_match({given}, '{_PLAIN_CLOCK}')
        THEN epoch_us(TRY_CAST({given} AS TIMESTAMP))
        WHEN regexp_full_match({given}, '-?[0-9]+') THEN {_epoch(f"TRY_CAST({given} AS BIGINT)")}
        WHEN regexp_full_match({given}, '{_CLOCK}(?:[Zz]|{_ZONE})?') THEN CASE
            WHEN NOT {leap} THEN {zoned}
            WHEN minute(make_timestamp({zoned})) = 59 THEN {zoned} + 1000000 END END"""


def _epoch(number: str) -> str:
    """Unix time in the unit that its size speaks for: no other makes it a time of this age."""
    return f"""CASE
        WHEN {number} BETWEEN {-(10**11)} AND {10**11} THEN {_microseconds(number, 1)}
        WHEN {number} BETWEEN {-(10**14)} AND {10**14} THEN {_microseconds(number, 10**3)}
        WHEN {number} BETWEEN {-(10**17)} AND {10**17} THEN {number}
        ELSE {_microseconds(number, 10**9)} END"""


def _microseconds(number: str, per_second: int) -> str:
    if per_second > 10**6:
        return f"({number} // {per_second // 10**6})"
    factor = 10**6 // per_second
    limit = (2**63 - 1) // factor
    return f"(greatest(least({number}, {limit}), -{limit}) * {factor})"

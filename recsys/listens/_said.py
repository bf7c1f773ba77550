"""What is said of a value that is refused: as much as tells what is wrong, and nobody's data."""

from __future__ import annotations

import re
from typing import Final

from recsys.listens._sql import Kind

#: What comes as a number since 1970 is said as it is.
UNITS: Final = (Kind.SECONDS, Kind.MILLISECONDS, Kind.MICROSECONDS, Kind.NANOSECONDS)
_DAY: Final = r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})"
_HOUR: Final = r"\d{1,2}:\d{2}(:\d{2}([.,]\d{0,9})?)?"
#: What a service may call an event, or a flag.
_WORDS: Final = (
    "true|false|yes|no|on|off|none|null|maybe|play|playback|listen|stream|scrobble|song|track|"
    "start|stop|pause|resume|seek|skip|next|finish|complete|end|save|add|remove|delete|unsave|like|"
    "dislike|unlike|love|unlove|hate|ban|block|favou?rite|thumbs_?(up|down)|rate|share|download"
)
#: A day and perhaps a time in whatever order, or one of the words; no id and no address is either.
_HARMLESS: Final = (
    rf"(?i:({_WORDS})(s|d|p?ed|p?ing)?)|[-+]?{_DAY}([Tt ]?{_HOUR})? ?([Zz]|[-+]\d{{2}}:?\d{{0,2}})?"
)
_DECIMAL: Final = r"[-+]?\d+([.,]\d*)?([eE][-+]?\d+)?|-?inf|nan"


def told(text: str) -> str:
    """SQL of what is said of a text: ``text`` is a column's name.

    What is refused may have come from another column, as an id, an address or a device.
    """
    return f"""CASE
        WHEN regexp_full_match({text}, '{_HARMLESS}') THEN {text}
        WHEN regexp_full_match({text}, '[-+]?\\d+')
        THEN if({text}[1] = '-', 'a negative ', 'a ') || length(ltrim({text}, '+-'))
            || '-digit number'
        WHEN regexp_full_match({text}, '{_DECIMAL}') THEN 'a decimal number'
        WHEN {text}[1] IN ('{{', '[') AND contains({text}, '{{') THEN 'an object'
        WHEN {text}[1] = '[' THEN 'a list'
        ELSE 'a text of ' || length({text}) || ' characters' END"""


def said_of(label: str, text: str) -> str | None:
    """What :func:`told` comes to, after the log's name of the column; None where SQL is to tell.

    >>> said_of("event", "skips"), said_of("event", "+4912")
    ('event: skips', 'event: a 4-digit number')
    """
    if not (text and text.isascii() and text.isprintable()):
        return None
    if re.fullmatch(_HARMLESS, text):
        said = text
    elif re.fullmatch(r"[-+]?\d+", text):
        many = len(text.lstrip("+-"))
        said = f"{'a negative' if text[0] == '-' else 'a'} {many}-digit number"
    elif re.fullmatch(_DECIMAL, text):
        said = "a decimal number"
    elif text[0] in "{[" and "{" in text:
        said = "an object"
    elif text[0] == "[":
        said = "a list"
    else:
        said = f"a text of {len(text)} characters"
    return f"{label}: {said}"

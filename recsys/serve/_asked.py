"""What a request asks for: the listener, the edition, the time zone, the form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final
from urllib.parse import parse_qsl, unquote_to_bytes
from zoneinfo import ZoneInfo, available_timezones

from starlette.requests import Request

from recsys.serve._accept import best
from recsys.serve._problems import Kind, ProblemError
from recsys.weeks import Week

JSON: Final = "application/json"
JSPF: Final = "application/jspf+json"
FORMATS: Final = {"json": JSON, "jspf": JSPF}
#: Characters of a listener's id; escaped they fit into an address.
LONGEST_USER: Final = 256
#: The form of a week. Of those that have it, some years lack the 53rd.
WEEK: Final = r"^[1-9][0-9]{3}-W(0[1-9]|[1-4][0-9]|5[0-3])$"

#: Names that come with the database, and are no zone: the machine's own, and none.
_NO_ZONES: Final = frozenset({"localtime", "Factory"})
_PARAMETERS: Final = ("tz", "format", "default")
_HALF_ESCAPED: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True)
class Asked:
    """A request for a playlist.

    Attributes:
        user_id: the listener.
        edition: the one named, or None for the current one.
        zone: where the listener's Monday begins, or None where the client does not say.
        media_type: ``JSON`` or ``JSPF``.
        default: whether the edition's default playlist will do for a listener without one.
    """

    user_id: str
    edition: Week | None
    zone: ZoneInfo | None
    media_type: str
    default: bool


def asked(request: Request) -> Asked:
    """Read a request for a playlist.

    Raises:
        ProblemError: it cannot be understood, or asks for a form that there is not.
    """
    given = _query(request.scope["query_string"])
    return Asked(
        user_id=user_of(request.path_params["user"]),
        edition=_edition(request.path_params.get("edition")),
        zone=_zone(given.get("tz")),
        media_type=_media_type(given.get("format"), combined(request, "accept")),
        default=_default(given.get("default")),
    )


def combined(request: Request, name: str) -> str | None:
    """A header that is a list, however many lines it came in: RFC 9110, 5.3."""
    return ", ".join(request.headers.getlist(name)) or None


def user_of(escaped: str) -> str:
    """The listener that a segment of a path names.

    Raises:
        ProblemError: it is not percent-encoded UTF-8, or longer than any id.

    >>> user_of("a%2Fb%20%C3%A9")
    'a/b é'
    """
    return checked(unescaped(escaped))


def checked(user_id: str) -> str:
    """A listener's id, as it was given.

    Raises:
        ProblemError: it is longer than any id.
    """
    if len(user_id) > LONGEST_USER:
        raise _bad(f"Expected a listener's id of at most {LONGEST_USER} characters.")
    return user_id


def unescaped(segment: str) -> str:
    """A segment of a path, its bytes as Latin-1, as the text that it stands for.

    Raises:
        ProblemError: it is not percent-encoded UTF-8.
    """
    if _HALF_ESCAPED.search(segment):
        raise _bad("Expected %XX wherever the path has a per cent sign.")
    try:
        return unquote_to_bytes(segment.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise _bad("Expected the path to be percent-encoded UTF-8.") from None


@cache
def zones() -> frozenset[str]:
    """The names of the time zones that this machine knows."""
    return frozenset(available_timezones() - _NO_ZONES)


def _query(raw: bytes) -> Mapping[str, str]:
    text = raw.decode("latin-1")
    if _HALF_ESCAPED.search(text):
        raise _bad("Expected %XX wherever the query has a per cent sign.")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=16)
    except ValueError:  # UnicodeDecodeError, or too many fields
        raise _bad("Expected a query of a few names and values in UTF-8.") from None
    given = dict(pairs)
    if len(given) < len(pairs) or not given.keys() <= set(_PARAMETERS):
        raise _bad(f"Expected no parameters but {', '.join(_PARAMETERS)}, each at most once.")
    return given


def _edition(segment: str | None) -> Week | None:
    if segment is None:
        return None
    if not re.fullmatch(WEEK, segment):
        raise _bad("Expected an edition as YYYY-Www, such as 2026-W47.")
    try:
        return Week.parse(segment)
    except ValueError:
        raise ProblemError(Kind.NO_SUCH_EDITION, "That year has no such week.") from None


def _zone(name: str | None) -> ZoneInfo | None:
    if name is None:
        return None
    name = name.replace(" ", "+")  # Etc/GMT+5, whose plus was not escaped
    if name not in zones():
        raise _bad("Expected tz to name a zone of the IANA database, such as Europe/Berlin.")
    return ZoneInfo(name)


def _media_type(name: str | None, accept: str | None) -> str:
    if name is None:
        chosen = best(accept, tuple(FORMATS.values()))
        if chosen is None:
            offered = " and ".join(FORMATS.values())
            raise ProblemError(Kind.NOT_ACCEPTABLE, f"Offered are {offered}.")
        return chosen
    if name not in FORMATS:
        raise _bad(f"Expected format to be one of {', '.join(FORMATS)}.")
    return FORMATS[name]


def _default(value: str | None) -> bool:
    if value not in (None, "true", "false"):
        raise _bad("Expected default to be true or false.")
    return value == "true"


def _bad(detail: str) -> ProblemError:
    return ProblemError(Kind.BAD_REQUEST, detail)

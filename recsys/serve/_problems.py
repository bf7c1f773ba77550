"""What went wrong, as clients are told: ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from starlette.responses import Response

PROBLEM_JSON: Final = "application/problem+json"
NO_STORE: Final = "no-store"


class Kind(Enum):
    """A kind of problem: its name in ``type``, its status and its title."""

    BAD_REQUEST = ("bad-request", 400, "The request cannot be understood")
    UNKNOWN_LISTENER = ("unknown-listener", 404, "There is no playlist for this listener")
    NO_SUCH_EDITION = ("no-such-edition", 404, "There is no such edition")
    NOT_YET = ("not-yet", 404, "The edition is not there yet")
    NOT_FOUND = ("not-found", 404, "There is nothing under this address")
    METHOD_NOT_ALLOWED = ("method-not-allowed", 405, "The method is not allowed here")
    NOT_ACCEPTABLE = ("not-acceptable", 406, "None of the accepted types is offered")
    TOO_LONG = ("address-too-long", 414, "The address is too long")
    HEADERS_TOO_LARGE = ("headers-too-large", 431, "The request's headers are too large")
    FAULT = ("fault", 500, "The service has failed")
    STORE_UNAVAILABLE = ("store-unavailable", 503, "The playlists cannot be read now")
    OVERLOADED = ("overloaded", 503, "Too many requests at once")

    def __init__(self, slug: str, status: int, title: str) -> None:
        self.uri = f"urn:recsys:problem:{slug}"
        self.status = status
        self.title = title


class ProblemError(Exception):
    """Ends a request with a problem.

    Args:
        kind: what went wrong.
        detail: for the people who read the answer; it repeats nothing of the request.
        headers: more of the answer; without ``cache-control`` it is not to be kept.
        more: more members of the document.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(kind.title)
        self.kind = kind
        self.detail = detail
        self.headers = {"cache-control": NO_STORE, **(headers or {})}
        self.more = more

    def response(self) -> Response:
        """The answer."""
        document = {
            "type": self.kind.uri,
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
            **self.more,
        }
        body = json.dumps(document, ensure_ascii=False).encode()
        return Response(body, self.kind.status, self.headers, PROBLEM_JSON)

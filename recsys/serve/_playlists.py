"""The playlists: which one answers a request, in what form, and how long caches may keep it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from recsys.errors import NoEditionError, NoSuchUserError, StoreError
from recsys.serve._asked import JSPF, Asked, asked, combined
from recsys.serve._clock import begins, seconds_to_monday, today, within
from recsys.serve._jspf import to_jspf
from recsys.serve._problems import Kind, ProblemError
from recsys.settings import ServeSettings
from recsys.store import Playlist, Store
from recsys.weeks import Week

READY: Final = "ready"
#: An edition whose week is over, since the next one is late.
FALLBACK: Final = "fallback"
STATUS_HEADER: Final = "playlist-status"

#: While the service is down, caches may go on with what they have for so long.
STALE_SECONDS: Final = 86400


@dataclass
class Playlists:
    """Answers requests for playlists.

    Attributes:
        store: where they are.
        settings: how long answers may be kept.
        private: only the client may keep them, because who asks matters.
        now: the clock (timezone-aware).
    """

    store: Store
    settings: ServeSettings
    private: bool
    now: Callable[[], datetime]
    _has_served: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        with contextlib.suppress(StoreError):
            self._has_served = self.store.current() is not None

    def get(self, request: Request) -> Response:
        """One listener's playlist.

        Raises:
            ProblemError: there is none to give.
            StoreError: the store cannot be read, or has lost what it served.
        """
        wish, now = asked(request), within(self.now())
        kept = self._kept(now, wish.zone or UTC)
        if wish.edition is None:
            playlist = self._current(wish, now, kept)
        else:
            playlist = self._named(wish, wish.edition, now, kept)
        self._has_served = True
        over = playlist.valid_until < today(now, wish.zone or UTC)
        status = FALLBACK if wish.edition is None and over else READY
        return _response(request, playlist, status, wish.media_type, kept)

    def _current(self, wish: Asked, now: datetime, kept: str) -> Playlist:
        on = today(now, wish.zone) if wish.zone else None
        try:
            return self.store.playlist(wish.user_id, on=on)
        except NoSuchUserError:
            if not wish.default:
                raise _unknown(kept) from None
        except NoEditionError:
            self._check_store()
            raise self._none_yet(wish.zone or UTC, now) from None
        return self._default(None if on is None else self._newest_on(Week.of(on)), kept)

    def _named(self, wish: Asked, week: Week, now: datetime, kept: str) -> Playlist:
        zone = wish.zone or UTC
        if wish.zone and begins(week, zone) > now:
            raise self._not_yet(week, zone, now)
        try:
            return self.store.playlist(wish.user_id, edition=str(week))
        except NoSuchUserError:
            if not wish.default:
                raise _unknown(kept) from None
        except NoEditionError:
            self._check_store()
            if week >= Week.of(today(now, zone)):
                raise self._not_yet(week, zone, now) from None
            detail = "It was never published, was taken back, or is no longer kept."
            raise ProblemError(Kind.NO_SUCH_EDITION, detail, {"cache-control": kept}) from None
        return self._default(str(week), kept)

    def _default(self, edition: str | None, kept: str) -> Playlist:
        try:
            return self.store.default_playlist(edition)
        except (NoEditionError, NoSuchUserError):  # between two calls, or every track is blocked
            raise _unknown(kept) from None

    def _check_store(self) -> None:
        """A store goes on serving what it has begun to serve, or it is not there any more."""
        if self.store.current() is not None:
            self._has_served = True
        elif self._has_served:
            raise StoreError(
                "it served an edition, and now there is none: its files or rows are gone"
            )

    def _newest_on(self, week: Week) -> str | None:
        """The newest edition that has begun in a week, as ``Store.playlist`` finds it by date."""
        names = [one.edition for one in self.store.editions() if one.readable]
        return max((name for name in names if name <= str(week)), default=None)

    def _none_yet(self, zone: tzinfo, now: datetime) -> ProblemError:
        """No edition has begun: the first one is published and not begun here, or is due."""
        week = Week.of(today(now, zone))
        names = [one.edition for one in self.store.editions() if one.readable]
        return self._not_yet(Week.parse(min(names)) if names else week, zone, now)

    def _not_yet(self, week: Week, zone: tzinfo, now: datetime) -> ProblemError:
        when = begins(week, zone)
        seconds = math.ceil((when - now).total_seconds())
        overdue = seconds <= 0
        wait = max(1, self.settings.max_age if overdue else seconds)
        kept = self._cache_control(min(wait, self._bound, seconds_to_monday(now, zone)))
        return ProblemError(
            Kind.NOT_YET,
            "Its week has begun, and it is late." if overdue else "Its week has not begun.",
            {"cache-control": kept, "retry-after": str(wait)},
            edition=str(week),
            available_from=when.isoformat(),
            overdue=overdue,
        )

    @property
    def _bound(self) -> int:
        return self.settings.max_age if self.private else self.settings.shared_max_age

    def _kept(self, now: datetime, zone: tzinfo) -> str:
        """For how long an answer may be kept: never past the end of the listener's week."""
        return self._cache_control(min(self._bound, seconds_to_monday(now, zone)))

    def _cache_control(self, seconds: int) -> str:
        own = min(self.settings.max_age, seconds)
        if self.private:  # another hop does not ask who is asking
            return f"private, max-age={own}"
        return f"public, max-age={own}, s-maxage={seconds}, stale-if-error={STALE_SECONDS}"


def _unknown(kept: str) -> ProblemError:
    detail = "Ask with default=true for the edition's default playlist."
    return ProblemError(Kind.UNKNOWN_LISTENER, detail, {"cache-control": kept})


def _response(
    request: Request, playlist: Playlist, status: str, media_type: str, kept: str
) -> Response:
    document: dict[str, Any]
    if media_type == JSPF:
        document = to_jspf(playlist, status)
    else:
        document = {"status": status, **playlist.to_dict()}
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": kept, "vary": "accept", STATUS_HEADER: status}
    if _matches(combined(request, "if-none-match"), tag):
        return Response(None, 304, headers)
    headers["content-length"] = str(len(body))
    return Response(b"" if request.method == "HEAD" else body, 200, headers, media_type)


def _matches(if_none_match: str | None, tag: str) -> bool:
    """Whether the client has this already: weak comparison, RFC 9110, 13.1.2."""
    if if_none_match is None:
        return False
    tags = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return tag in tags or tags == ["*"]

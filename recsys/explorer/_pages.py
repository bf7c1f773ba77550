"""The pages and their addresses."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import quote

import jinja2
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from recsys._erasers import page_names
from recsys.errors import ArtefactError, NoEditionError, NoSuchUserError
from recsys.explorer._compare import compare
from recsys.explorer._editions import (
    Known,
    known_editions,
    readable_editions,
    weeks_in_hindsight,
)
from recsys.explorer._listeners import (
    Explanations,
    listeners_like,
    playlist_or_none,
    taste_of,
    track_names,
)
from recsys.home import Home
from recsys.listeners import why_no_playlist
from recsys.report import environment
from recsys.serve._asked import checked, unescaped, user_of
from recsys.serve._problems import Kind, ProblemError
from recsys.settings import Settings
from recsys.store import Playlist, Store

ROOT: Final = "/explorer"
_POLICY: Final = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
_HEADERS: Final = {
    "content-security-policy": f"{_POLICY}style-src 'self'; form-action 'self'",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",  # addresses name listeners
    "x-robots-tag": "noindex, nofollow",
}
#: A report is one file with its own style.
_REPORT_HEADERS: Final = {
    **_HEADERS,
    "content-security-policy": f"{_POLICY}style-src 'unsafe-inline'; form-action 'none'",
}

#: Segments that lead elsewhere, escaped or not.
_STEPS: Final = frozenset({".", ".."})

#: What this machine calls itself.
_HERE: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})

Endpoint = Callable[["Pages", Request], Response]


def routes(settings: Settings, store: Store, *, guarded: bool) -> Sequence[Route]:
    """The explorer's routes.

    Args:
        settings: where home is.
        store: what is served.
        guarded: something asks who is asking. Without it, pages are given only to who asked for
            them by an address of this machine: another site's name that was made to lead here
            (DNS rebinding) would let that site read them.
    """
    pages = Pages(settings, store, None if guarded else _HERE | {settings.serve.host})
    listener, edition = f"{ROOT}/listeners/{{user}}", f"{ROOT}/editions/{{edition}}/{{revision}}"
    return [
        Route(ROOT, lambda _: RedirectResponse(f"{ROOT}/", 308)),
        Route(f"{ROOT}/", pages.home),
        Route(f"{ROOT}/style.css", pages.style),
        Route(f"{ROOT}/listeners", pages.find),
        Route(listener, pages.listener),
        Route(f"{listener}/compare", pages.compare),
        Route(edition, pages.edition),
        Route(f"{edition}/report", pages.report),
        Route(f"{ROOT}/hindsight", pages.hindsight),
        Route(f"{ROOT}/{{path:path}}", pages.nothing),
    ]


def _page(endpoint: Endpoint) -> Endpoint:
    """What is not there is said in a page, too."""

    @functools.wraps(endpoint)
    def answer(pages: Pages, request: Request) -> Response:
        try:
            pages.check_host(request)
            return endpoint(pages, request)
        except (ArtefactError, NoEditionError, NoSuchUserError) as error:
            return pages.render("missing.html", 404, what=str(error))
        except ProblemError as problem:
            return pages.render("missing.html", problem.kind.status, what=problem.detail)

    return answer


class Pages:
    """Renders the pages; every one of them is read anew from the store and home."""

    def __init__(self, settings: Settings, store: Store, hosts: frozenset[str] | None) -> None:
        self._settings = settings
        self._store = store
        self._hosts = hosts
        self._home = Home.of(settings)
        self._explanations = Explanations(self._home)
        self._templates = _templates()

    def check_host(self, request: Request) -> None:
        """Refuse who came by a name that is not this machine's, where that matters.

        Raises:
            ProblemError: it is another name.
        """
        host = re.sub(r":[0-9]*$", "", request.headers.get("host", ""))
        if self._hosts is not None and host.lower() not in self._hosts:
            detail = "These pages are only for this machine: ask for http://127.0.0.1."
            raise ProblemError(Kind.BAD_REQUEST, detail)

    def render(self, template: str, status: int = 200, **shown: Any) -> Response:
        """A page."""
        body = self._templates.get_template(template).render(shown)
        return Response(body, status, _HEADERS, "text/html")

    def style(self, request: Request) -> Response:
        """The style of all pages: the report's, and what they add."""
        del request
        files = [self._templates.get_template(name) for name in ("style.css", "explorer.css")]
        text = "\n".join(file.render() for file in files)
        return Response(text, headers={"cache-control": "max-age=300"}, media_type="text/css")

    @_page
    def home(self, request: Request) -> Response:
        """Every edition, and the way to a listener."""
        del request
        return self.render("home.html", editions=known_editions(self._store, self._home))

    @_page
    def find(self, request: Request) -> Response:
        """A listener by id, or those whose ids begin so."""
        begin = checked(request.query_params.get("id", "").strip())
        if begin in _STEPS:
            detail = "Browsers take this id for a step in an address: see recsys explain instead."
            raise ProblemError(Kind.BAD_REQUEST, detail)
        editions = self._readable()
        hidden = self._store.tombstones()
        if begin and begin not in hidden and playlist_or_none(self._store, begin, editions[0]):
            return RedirectResponse(_listener_path(begin), 303, _HEADERS)
        found = listeners_like(editions[0], begin, hidden)
        return self.render("find.html", begin=begin, found=found, edition=editions[0])

    @_page
    def listener(self, request: Request) -> Response:
        """What a listener listens to, beside what they got and why."""
        user, editions = self._listener(request), self._readable()
        at = self._chosen(editions, request.query_params.get("edition"))
        edition = editions[at]
        playlist = playlist_or_none(self._store, user, edition)
        taste = taste_of(self._home, edition, user)
        why_none = unexplained = ""
        listed: Sequence[Any] = ()
        if playlist is None:
            why_none = why_no_playlist(edition.folder, user, self._settings.edition.active_days)
            if taste is None or not taste.of:
                raise NoSuchUserError(f"Edition {edition.week} knows no such listener. {why_none}")
        else:
            try:
                listed = self._explanations.playlist(edition, playlist, self._store)
            except (ArtefactError, NoSuchUserError):
                unexplained = "What this edition was made from is gone, so only the loudest reason "
                unexplained += "of each track is known."
        return self.render(
            "listener.html",
            user=user,
            edition=edition,
            editions=editions,
            newer=editions[at - 1] if at else None,
            older=editions[at + 1] if at + 1 < len(editions) else None,
            playlist=playlist,
            taste=taste,
            listed={one.position: one for one in listed},
            because=self._because(edition, playlist),
            why_none=why_none,
            unexplained=unexplained,
        )

    @_page
    def compare(self, request: Request) -> Response:
        """Two editions of one listener, side by side."""
        user, editions = self._listener(request), self._readable()
        asked = request.query_params
        at = self._chosen(editions, asked.get("first"))
        first, second = editions[at], editions[min(at + 1, len(editions) - 1)]
        if asked.get("second"):
            second = editions[self._chosen(editions, asked.get("second"))]
        sides = [playlist_or_none(self._store, user, one) for one in (first, second)]
        if sides == [None, None]:
            raise NoSuchUserError("Neither edition has a playlist for this listener.")
        return self.render(
            "compare.html",
            user=user,
            editions=editions,
            first=first,
            second=second,
            compared=compare(*sides),
        )

    @_page
    def edition(self, request: Request) -> Response:
        """What became of an edition, and what the gates said of it."""
        editions, at = self._edition(request)
        edition = editions[at]
        readable = edition.stored is not None and edition.stored.readable
        default = self._store.default_playlist(str(edition.week)) if readable else None
        return self.render(
            "edition.html",
            edition=edition,
            newer=editions[at - 1] if at else None,
            older=editions[at + 1] if at + 1 < len(editions) else None,
            default=default,
        )

    @_page
    def report(self, request: Request) -> Response:
        """The edition's own report."""
        editions, at = self._edition(request)
        path = editions[at].report
        if path is None:
            raise ArtefactError("This edition has no report.")
        page = path.read_text(encoding="utf-8")
        if page_names(page, self._store.tombstones()):
            raise ArtefactError(
                "This report names a listener who was forgotten since. The next weekly run, or "
                "recsys clean, removes it."
            )
        return Response(page, headers=_REPORT_HEADERS, media_type="text/html")

    @_page
    def hindsight(self, request: Request) -> Response:
        """What listeners did with the playlists, week by week."""
        del request
        editions = known_editions(self._store, self._home)
        damaged = [str(one.week) for one in editions if one.hindsight is None]
        return self.render("weeks.html", weeks=weeks_in_hindsight(editions), damaged=damaged)

    @_page
    def nothing(self, request: Request) -> Response:
        """Any other address."""
        del request
        raise ProblemError(Kind.NOT_FOUND, "There is no such page.")

    def _readable(self) -> list[Known]:
        editions = readable_editions(self._store, self._home)
        if not editions:
            raise NoEditionError("No edition is served yet: publish a week first.")
        return editions

    def _listener(self, request: Request) -> str:
        user = user_of(request.path_params["user"])
        if user in self._store.tombstones():
            raise NoSuchUserError("There is no such listener.")
        return user

    def _chosen(self, editions: Sequence[Known], name: str | None) -> int:
        """Where an edition is among those that readers may see; the served one by default."""
        for at, one in enumerate(editions):
            if str(one.week) == name or (not name and one.stored and one.stored.served):
                return at
        raise NoEditionError("Readers may see no such edition.")

    def _edition(self, request: Request) -> tuple[list[Known], int]:
        """All editions, and where the one that was asked for is among them."""
        week, revision = (unescaped(request.path_params[name]) for name in ("edition", "revision"))
        editions = known_editions(self._store, self._home)
        for at, one in enumerate(editions):
            if (str(one.week), str(one.revision)) == (week, revision):
                return editions, at
        raise NoEditionError("There is no such edition.")

    def _because(self, edition: Known, playlist: Playlist | None) -> dict[str, tuple[str, ...]]:
        reasons = {track.because_track_id for track in playlist.tracks} if playlist else set()
        return track_names(edition, reasons)


def _templates() -> jinja2.Environment:
    made = environment("recsys.explorer")
    made.globals |= {"root": ROOT, "listener_path": _listener_path, "edition_path": _edition_path}
    return made


def _listener_path(user_id: str) -> Markup:
    """The address of a listener; nothing in it need be escaped again."""
    return Markup(f"{ROOT}/listeners/{quote(user_id, safe='')}")  # noqa: S704 (quoted)


def _edition_path(edition: Known) -> str:
    return f"{ROOT}/editions/{edition.week}/{edition.revision}"

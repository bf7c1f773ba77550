"""What the explorer's pages say, and what they keep to themselves."""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from recsys.settings import Settings
from recsys.store import Store
from tests.explorer.conftest import ODD, WEEKS
from tests.serve.asking import Answer, Client
from tests.workflows.conftest import Deployment

USER = "t0m01"


class Pages(Client):
    def page(self, path: str, status: int = 200) -> str:
        answer = self.get(f"/explorer/{path}")
        assert answer.status == status, answer.body
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        assert "script-src" not in answer.headers["content-security-policy"]
        assert answer.headers["content-security-policy"].startswith("default-src 'none';")
        return answer.body.decode()


def open_pages(settings: Settings, store: Store) -> Pages:
    return Pages(store, settings=settings)


@pytest.fixture
def pages(settings: Settings, store: Store) -> Iterator[Pages]:
    made = open_pages(settings, store)
    yield made
    made.close()


@pytest.fixture
def broken(copied: Deployment) -> Iterator[tuple[Pages, Deployment, Store]]:
    """Pages of a deployment of one's own."""
    with copied.store() as store:
        made = open_pages(copied.load(), store)
        yield made, copied, store
        made.close()


def words(page: str) -> str:
    """What a page says, without its markup."""
    text = re.sub(r"<[^>]*>", " ", re.sub(r"</?bdi>", "", page))
    return " ".join(html.unescape(text).split())


def test_it_is_off_unless_it_is_switched_on(store: Store) -> None:
    client = Client(store)
    for path in ("", "/", "/listeners", "/style.css"):
        assert client.get(f"/explorer{path}").problem == "not-found"
    client.close()


def test_every_edition_is_on_the_first_page(pages: Pages) -> None:
    said = words(pages.page(""))
    assert "2026-W47 served" in said
    assert "2026-W46 superseded" in said


def test_the_cache_was_told_of_each_publication(
    deployment: Deployment, cache: tuple[str, list[str]]
) -> None:
    _, told = cache
    assert told == ["/all"] * len(WEEKS)


def test_a_listener_is_found_by_their_id(pages: Pages) -> None:
    found = pages.get(f"/explorer/listeners?id={quote(ODD)}")
    assert (found.status, found.headers["location"]) == (
        303,
        "/explorer/listeners/t0%2F%C3%B6%20%3Cb%3E",
    )
    said = words(pages.page("listeners?id=t0m0"))
    assert all(f"t0m{member:02d}" in said for member in range(1, 10))
    assert "has no listener whose id is, or begins with, “xyz”" in words(
        pages.page("listeners?id=xyz")
    )


def test_what_they_got_stands_beside_what_they_listen_to(pages: Pages, store: Store) -> None:
    said = words(pages.page(f"listeners/{USER}"))
    playlist = store.playlist(USER)
    assert f"playlist of {len(playlist.tracks)} tracks" in said
    assert "Because of" in said
    assert "what adds up to it" in said
    assert "tracks heard before this edition" in said
    assert re.search(r"Last heard .* 2026-11-1[0-4]", said)


@pytest.mark.parametrize("user", [USER, ODD])
def test_a_listener_moves_through_editions(pages: Pages, user: str) -> None:
    path = f"listeners/{quote(user, safe='')}"
    newest, older = pages.page(path), pages.page(f"{path}?edition=2026-W46")
    assert f'rel="prev" href="/explorer/{path}?edition=2026-W46"' in newest
    assert 'rel="next"' not in newest
    assert f'rel="next" href="/explorer/{path}?edition=2026-W47"' in older
    assert words(older) != words(newest)


def test_two_editions_are_compared(pages: Pages, store: Store) -> None:
    said = words(pages.page(f"listeners/{USER}/compare?first=2026-W46&second=2026-W47"))
    first, second = (
        {track.track_id for track in store.playlist(USER, edition=week).tracks} for week in WEEKS
    )
    assert f"{len(first & second)} tracks are in both" in said
    same = words(pages.page(f"listeners/{USER}/compare?first=2026-W47&second=2026-W47"))
    assert f"{len(second)} tracks are in both" in same
    assert "Also in 2026-W47, number 1" in same


def test_an_editions_verdicts_and_report(pages: Pages) -> None:
    page = pages.page("editions/2026-W47/1")
    for gate in ("model_choice", "als_model", "playlist_gate"):
        assert f"<code>{gate}</code>" in page
    report = pages.page("editions/2026-W47/1/report")
    assert "<title>Edition 2026-W47 revision 1" in report


def test_hindsight_over_weeks(pages: Pages) -> None:
    said = words(pages.page("hindsight"))
    assert re.search(r"2026-W46 6 of 7 days published late \d+ \d+\.\d\d%", said)


@pytest.mark.parametrize(
    "path",
    [
        "listeners/nobody",
        "listeners/nobody/compare",
        f"listeners/{USER}?edition=2026-W40",
        f"listeners/{USER}?edition=../..",
        "editions/2026-W40/1",
        "editions/2026-W47/2",
        "editions/..%2F..%2Fstore/1",
        "editions/2026-W47/1%2F..%2F..",
        "editions/2026-W47/2/report",
    ],
)
def test_what_is_not_there_is_said_in_a_page(pages: Pages, path: str) -> None:
    assert "Not there" in words(pages.page(path, 404))


def test_a_bad_address_is_said_in_a_page(pages: Pages) -> None:
    assert "UTF-8" in words(pages.page("listeners/%ff", 400))


def test_names_from_the_log_are_text(pages: Pages) -> None:
    everything = [
        pages.page(path)
        for path in (
            f"listeners/{USER}",
            f"listeners/{quote(ODD, safe='')}",
            f"listeners/{USER}/compare?first=2026-W46&second=2026-W47",
            "editions/2026-W47/1",
            "listeners?id=%3Cscript%3E%22%27",
        )
    ]
    for page in everything:
        assert "<script" not in page
        assert "<img" not in page
        assert "\x1b" not in page
        assert "\u202e" not in page
    assert any(
        "<script>document.title='broken'</script>" in words(page)
        or "&lt;script&gt;document" in page
        for page in everything
    )


def test_the_forgotten_are_in_no_page(broken: tuple[Pages, Deployment, Store]) -> None:
    pages, _, store = broken
    assert "playlist of" in pages.page(f"listeners/{USER}")
    report = pages.page("editions/2026-W47/1/report")
    named = set(re.findall(r"listener <bdi>(.*?)</bdi>", report))
    assert named
    store.forget(USER)
    store.forget(html.unescape(named.pop()))
    for path in ("", "/compare?first=2026-W46&second=2026-W47"):
        assert "There is no such listener" in pages.page(f"listeners/{USER}{path}", 404)
    assert "names a listener" in pages.page("editions/2026-W47/1/report", 404)
    assert USER not in words(pages.page("listeners?id=t0m")).split()
    assert "no listener" in words(pages.page(f"listeners?id={USER}"))


def test_what_was_cleaned_away_is_done_without(broken: tuple[Pages, Deployment, Store]) -> None:
    pages, deployment, _ = broken
    for stage in ("matrix", "als_model", "candidates"):
        shutil.rmtree(deployment.edition() / stage)
    said = words(pages.page(f"listeners/{USER}"))
    assert "What this edition was made from is gone" in said
    assert "Because of" in said
    for folder in (deployment.home / "states", deployment.edition()):
        shutil.rmtree(folder)
    said = words(pages.page(f"listeners/{USER}"))
    assert "is no longer kept" in said
    assert "playlist of" in said
    assert "2026-W47 served" in words(pages.page(""))


def test_a_store_without_an_edition(copied: Deployment) -> None:
    shutil.rmtree(copied.home / "store")
    with copied.store() as store:
        pages = open_pages(copied.load(), store)
        assert "2026-W47 not published" in words(pages.page(""))
        assert "No edition is served yet" in words(pages.page("listeners", 404))
        pages.close()


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "evil.example:80"])
def test_another_sites_name_leads_nowhere(pages: Pages, host: str) -> None:
    answer = pages.get(f"/explorer/listeners/{USER}", host=host)
    assert answer.status == 400
    assert USER.encode() not in answer.body
    for here in ("localhost:8080", "127.0.0.1", "[::1]:8080"):
        assert pages.get(f"/explorer/listeners/{USER}", host=here).status == 200
    assert pages.weekly(USER, host=host).status == 200, "the service itself may have any name"


def test_nothing_is_kept_on_the_way(pages: Pages) -> None:
    answer: Answer = pages.get(f"/explorer/listeners/{USER}")
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "noindex" in answer.headers["x-robots-tag"]
    assert pages.get("/explorer").headers["location"] == "/explorer/"


def test_one_damaged_verdict_hides_no_other_edition(
    broken: tuple[Pages, Deployment, Store],
) -> None:
    pages, deployment, _ = broken
    (deployment.edition() / "als_model" / "verdict.json").write_text("{")
    (deployment.edition() / "hindsight" / "hindsight.json").write_text("{")
    said = words(pages.page(""))
    assert "als_model: cannot be read" in said
    assert all(week in said for week in WEEKS)
    edition = words(pages.page("editions/2026-W47/1"))
    assert "als_model : what it said cannot be read" in edition
    assert "playlist_gate" in edition
    assert "What 2026-W47 counted cannot be read" in words(pages.page("hindsight"))


def test_the_served_edition_is_compared_with_the_one_before(pages: Pages) -> None:
    said = words(pages.page(f"listeners/{USER}/compare"))
    assert "2026-W47 and 2026-W46 of" in said


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("listeners?id=" + "x" * 257, 400, "at most 256 characters"),
        ("listeners?id=..", 400, "a step in an address"),
        ("nowhere", 404, "no such page"),
        ("listeners/a/b/c", 404, "no such page"),
    ],
)
def test_what_leads_nowhere_is_said_in_a_page(
    pages: Pages, path: str, status: int, said: str
) -> None:
    assert said in words(pages.page(path, status))

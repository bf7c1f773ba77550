"""Behind a real Varnish: nobody sees what is over, and what is down is served stale."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from recsys.cli import main
from recsys.serve.purge import purge
from recsys.store import Store
from tests.serve.process import serving
from tests.serve.varnish import Got, get, varnish
from tests.store.making import make

SHARED = 2


@dataclass
class Cached:
    """A service behind Varnish."""

    url: str
    inside: str
    store: Store
    stop: Callable[[], None]

    def weekly(self, user: str = "ada", query: str = "", **headers: str) -> Got:
        return get(f"{self.url}/v1/users/{user}/playlists/weekly{query}", **headers)

    def edition(self) -> str:
        return str(json.loads(self.weekly().body)["edition"])


@contextmanager
def behind(folder: Path, store_url: str, store: Store, **settings: int) -> Iterator[Cached]:
    with (
        serving(folder, store_url, **settings) as (inside, process),
        varnish(int(inside.rpartition(":")[2])) as url,
    ):
        yield Cached(url, inside, store, process.terminate)


@pytest.fixture
def cached(tmp_path: Path, store_url: str, served: Store) -> Iterator[Cached]:
    with behind(tmp_path, store_url, served, max_age=1, shared_max_age=SHARED) as made:
        yield made


@pytest.fixture
def kept(tmp_path: Path, store_url: str, served: Store) -> Iterator[Cached]:
    """One that keeps answers for an hour, unless it is told."""
    with behind(tmp_path, store_url, served, shared_max_age=3600) as made:
        yield made


def is_hit(answer: Got) -> bool:
    return " " in answer.headers["x-varnish"]


def test_the_second_client_is_answered_by_the_cache(kept: Cached) -> None:
    assert not is_hit(kept.weekly())
    second = kept.weekly(accept="text/html, */*;q=0.8")
    assert is_hit(second)
    assert not is_hit(kept.weekly(accept="application/jspf+json")), "another form"
    unchanged = kept.weekly(if_none_match=second.headers["etag"])
    assert (unchanged.status, is_hit(unchanged)) == (304, True)
    assert is_hit(kept.weekly("nobody")) is is_hit(kept.weekly("nobody", "?tz=UTC")) is False
    assert is_hit(kept.weekly("nobody", "?tz=UTC"))


def test_after_an_activation_a_forgetting_or_a_block_the_cache_is_told(
    kept: Cached, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlay = tmp_path / "serve.cfg"
    overlay.write_text(
        f"{overlay.read_text()}purge_url = {kept.url}/\n[recsys]\nhome = {tmp_path / 'home'}\n"
    )
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(overlay))
    monkeypatch.chdir(tmp_path)
    first = json.loads(kept.weekly().body)["tracks"][0]["track_id"]
    assert kept.weekly("bob").status == 200

    assert main(["block-track", first]) == 0
    assert first not in [track["track_id"] for track in json.loads(kept.weekly().body)["tracks"]]
    assert main(["forget", "bob"]) == 0
    assert kept.weekly("bob").status == 404
    assert kept.edition() == "2026-W47"
    make("2026-W48").publish(kept.store)
    assert kept.edition() == "2026-W47", "nobody has told it"
    purge(f"{kept.url}/")
    assert kept.edition() == "2026-W48"
    assert main(["rollback"]) == 0
    assert kept.edition() == "2026-W47"


def test_a_cache_that_is_not_told_is_right_within_the_bound(cached: Cached) -> None:
    assert cached.edition() == "2026-W47"
    assert cached.weekly("bob").status == 200
    make("2026-W48").publish(cached.store)
    for user in ("ada", "bob"):  # nor does the first who asks after the bound see old content
        while json.loads((answer := cached.weekly(user)).body)["edition"] == "2026-W47":
            assert int(answer.headers["age"]) <= SHARED
        assert json.loads(answer.body)["edition"] == "2026-W48"


def test_what_is_down_is_served_stale_and_what_was_banned_is_not(cached: Cached) -> None:
    assert cached.weekly().status == 200
    assert cached.weekly("bob").status == 200
    cached.stop()
    while int((answer := cached.weekly()).headers["age"]) <= SHARED:
        assert answer.status == 200
    assert answer.status == 200
    assert json.loads(answer.body)["edition"] == "2026-W47"
    with ThreadPoolExecutor(8) as many:  # a failure that is waited for must not be kept either
        assert {one.status for one in many.map(lambda _: cached.weekly(), range(64))} == {200}
    assert cached.weekly("cleo").status == 503, "it was never asked for"
    purge(f"{cached.url}/")
    assert cached.weekly("bob").status == 503, "the forgotten are not served stale"


def test_only_playlists_are_for_the_public(kept: Cached) -> None:
    for path in ("/metrics", "/health/ready", "/explorer/", "/"):
        assert get(f"{kept.url}{path}").status == 404
    assert get(f"{kept.url}/openapi.json").status == 200
    assert get(f"{kept.inside}/metrics").status == 200

"""Listeners' ids in addresses: any id comes through, no trick reaches another listener."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.store import Store, open_store
from tests.serve.asking import Client
from tests.store.making import make

#: Ids that a path might be mistaken about.
ODD = [
    "a/b",
    "../ada",
    "..",
    ".",
    "/",
    "//",
    "%2e%2e%2fada",
    "ada?x=1",
    "ada#x",
    "ada;x",
    "a+b c",
    "\x00",
    "\n",
    "weekly",
    "ада",
    "👩‍💻",
    "e\u0301",
    "é",
    "\u202eada",
    "ADA",
    "ada ",
    "ada",
    "2026-W46",
    "x/playlists/weekly",
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path_factory.mktemp('odd') / 'store'}") as opened:
        make("2026-W47", ODD).publish(opened)
        yield opened


@pytest.fixture(scope="module")
def client(store: Store) -> Iterator[Client]:
    made = Client(store)
    yield made
    made.close()


@pytest.mark.parametrize("user", ODD)
def test_every_id_is_one_segment_of_the_path(client: Client, user: str) -> None:
    for path in ("", "/2026-W47"):
        answer = client.weekly(quote(user, safe=""), path)
        assert answer.status == 200
        assert answer.json["user_id"] == user
        assert {
            track["track_id"].split("/", 1)[1].rsplit("/", 1)[0] for track in answer.json["tracks"]
        } == {user}


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_any_id_gets_its_own_playlist_or_none(client: Client, user: str) -> None:
    answer = client.weekly(quote(user, safe=""))
    if user in ODD:
        assert answer.json["user_id"] == user
    else:
        assert answer.problem == "unknown-listener"


@given(st.binary(min_size=1, max_size=60))
def test_any_bytes_of_a_path_are_answered_without_a_fault(client: Client, raw: bytes) -> None:
    segment = raw.replace(b"?", b"")
    answer = client.get(b"/v1/users/" + segment + b"/playlists/weekly")
    if answer.status == 200:
        assert quote(answer.json["user_id"], safe="") == quote(_unescape(segment), safe=""), (
            "the bytes that were sent name the listener who is answered"
        )
    else:
        assert answer.status in (400, 404)
        assert answer.problem in ("bad-request", "unknown-listener", "not-found")


@given(st.binary(max_size=60))
def test_any_bytes_of_a_query_are_answered_without_a_fault(client: Client, raw: bytes) -> None:
    answer = client.get(b"/v1/users/ada/playlists/weekly?" + raw)
    assert answer.status in (200, 400)
    assert answer.status == 400 or answer.json["user_id"] == "ada"


@pytest.mark.parametrize(
    "segment",
    [
        "%",
        "%zz",
        "%4",
        "ada%",
        "%ff",
        "%c3",
        "%ed%a0%80",
        "%c0%ae%c0%ae",
        "%f8%88%80%80%80",
        "\xe9",
    ],
)
def test_what_is_no_utf_8_is_refused(client: Client, segment: str) -> None:
    assert client.weekly(segment).problem == "bad-request"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/users//playlists/weekly",
        "/v1/users/x/../ada/playlists/weekly",
        "/v1/users/./ada/playlists/weekly",
        "/v1/users/ada/playlists/weekly/",
        "/v1/users/ada/playlists",
        "/v1/users/ada",
        "/v1/users",
        "/V1/users/ada/playlists/weekly",
        "//v1/users/ada/playlists/weekly",
        "/v1/users/ada%2Fplaylists/weekly",
        "/v1%2Fusers/ada/playlists/weekly",
        "/explorer/",
        "/",
        "*",
        "",
    ],
)
def test_other_paths_lead_nowhere(client: Client, path: str) -> None:
    assert client.get(path).problem == "not-found"


def test_the_default_playlist_is_nobodys_address(client: Client) -> None:
    assert client.get("/v1/users/%20/playlists/weekly").problem == "unknown-listener"
    assert client.get("/v1/users/%00/playlists/weekly").json["user_id"] == "\x00"


@pytest.mark.parametrize(
    "query",
    [
        "?user=bob",
        "?tz=UTC&tz=UTC",
        "?format=",
        "?default=1",
        "?default=True",
        "?tz=%ff",
        "?=",
        "?%",
    ],
)
def test_a_query_that_is_not_understood_is_refused(client: Client, query: str) -> None:
    assert client.weekly("ada", query).problem == "bad-request"


@pytest.mark.parametrize(
    "week", ["2026-W54", "0001-W01", "2026-47", "latest", "2026-W47%20", "2026-W47%0A", "0"]
)
def test_a_week_that_is_none_is_refused(client: Client, week: str) -> None:
    assert client.weekly("ada", f"/{week}").problem == "bad-request"


@pytest.mark.parametrize("zone", ["", "?tz=Pacific/Kiritimati", "?tz=Etc/GMT%2B12"])
def test_any_other_week_is_not_there_or_not_yet(client: Client, zone: str) -> None:
    for week in ("1000-W01", "2025-W53", "2026-W46"):
        assert client.weekly("ada", f"/{week}{zone}").problem == "no-such-edition"
    for week in ("2026-W48", "9999-W52"):
        assert client.weekly("ada", f"/{week}{zone}").problem == "not-yet"


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BAN", "X"]
)
def test_it_only_reads(client: Client, method: str) -> None:
    answer = client.send(method, "/v1/users/ada/playlists/weekly")
    assert answer.problem == "method-not-allowed"
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


def _unescape(segment: bytes) -> bytes:
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(segment)

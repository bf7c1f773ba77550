"""What a client is told: ready, fallback, not yet, unknown; as JSON or JSPF; whole or unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from recsys.store import Store
from tests.serve.asking import NOW, Client
from tests.store.making import USERS, make

JSPF = "application/jspf+json"


@pytest.fixture
def serving(store: Store) -> Iterator[Callable[..., Client]]:
    """Makes a client of the same store."""
    made: list[Client] = []

    def serve(*weeks: str, **settings: object) -> Client:
        for week in weeks:
            make(week).publish(store)
        made.append(Client(store, **settings))  # type: ignore[arg-type]
        return made[-1]

    yield serve
    for client in made:
        client.close()


# --- which one -------------------------------------------------------------------------------


@pytest.mark.parametrize("user", USERS)
def test_everyone_gets_their_own_current_playlist(served: Store, client: Client, user: str) -> None:
    answer = client.weekly(user)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["playlist-status"] == "ready"
    assert answer.json == {"status": "ready", **served.playlist(user).to_dict()}


def test_a_named_week_is_that_week(client: Client) -> None:
    answer = client.weekly("ada", "/2026-W46")
    assert (answer.json["edition"], answer.json["status"]) == ("2026-W46", "ready")


def test_last_weeks_edition_is_a_fallback_and_says_so(client: Client) -> None:
    client.now += timedelta(weeks=1)
    answer = client.weekly("ada")
    assert answer.status == 200
    assert answer.json["edition"] == "2026-W47"
    assert answer.json["status"] == answer.headers["playlist-status"] == "fallback"
    assert client.weekly("ada", "/2026-W47").json["status"] == "ready", "it is what was asked for"


@pytest.mark.parametrize("path", ["", "/2026-W47"])
def test_an_unknown_listener_is_told_so(client: Client, path: str) -> None:
    answer = client.weekly("nobody", path)
    assert (answer.status, answer.problem) == (404, "unknown-listener")


@pytest.mark.parametrize("path", ["", "/2026-W47", "?tz=Europe/Berlin"])
def test_who_signed_up_on_wednesday_may_have_the_default_playlist(
    served: Store, client: Client, path: str
) -> None:
    answer = client.weekly("nobody", path + ("&" if "?" in path else "?") + "default=true")
    assert answer.json == {"status": "ready", **served.default_playlist().to_dict()}
    assert client.weekly("ada", "?default=true").json["user_id"] == "ada"


def test_the_default_playlist_is_of_the_edition_that_has_begun_there(
    serving: Callable[..., Client],
) -> None:
    client = serving("2026-W46", "2026-W47")
    client.now = datetime(2026, 11, 15, 18, tzinfo=UTC)  # Monday in Auckland, Sunday in Honolulu
    for zone, edition in [("Pacific/Auckland", "2026-W47"), ("Pacific/Honolulu", "2026-W46")]:
        answer = client.weekly("nobody", f"?default=true&tz={zone}")
        assert answer.json["edition"] == edition


def test_the_forgotten_are_unknown(served: Store, client: Client) -> None:
    assert client.weekly("ada").status == 200
    served.forget("ada")
    assert client.weekly("ada").body == client.weekly("nobody").body


def test_a_blocked_track_is_gone(served: Store, client: Client) -> None:
    before = client.weekly("ada")
    served.block(before.json["tracks"][1]["track_id"])
    after = client.weekly("ada")
    assert len(after.json["tracks"]) == 3
    assert before.json["tracks"][1]["track_id"].encode() not in after.body
    assert before.headers["etag"] != after.headers["etag"]


# --- not yet ---------------------------------------------------------------------------------


def test_before_the_first_edition_it_is_overdue(serving: Callable[..., Client]) -> None:
    answer = serving().weekly("ada")
    assert (answer.status, answer.problem) == (404, "not-yet")
    assert answer.json["edition"] == "2026-W47"
    assert answer.json["available_from"] == "2026-11-16T00:00:00+00:00"
    assert answer.json["overdue"] is True
    assert answer.headers["retry-after"] == "60"


def test_before_its_monday_an_edition_says_when(serving: Callable[..., Client]) -> None:
    client = serving("2026-W47")
    client.now = datetime(2026, 11, 15, 22, 59, 30, tzinfo=UTC)
    for path in ("", "/2026-W47"):
        answer = client.weekly("ada", f"{path}?tz=Europe/Berlin")
        assert (answer.status, answer.problem) == (404, "not-yet")
        assert answer.json["available_from"] == "2026-11-16T00:00:00+01:00"
        assert answer.json["overdue"] is False
        assert answer.headers["retry-after"] == "30"
        assert "s-maxage=30," in answer.headers["cache-control"]
    client.now += timedelta(seconds=30)
    assert client.weekly("ada", "?tz=Europe/Berlin").status == 200


def test_a_week_to_come_says_when_it_begins_first(client: Client) -> None:
    answer = client.weekly("ada", "/2026-W48")
    assert (answer.status, answer.problem) == (404, "not-yet")
    assert answer.json["available_from"] == "2026-11-23T00:00:00+00:00"
    assert answer.json["overdue"] is False


def test_the_sunday_before_it_begins_a_week_is_not_late(client: Client) -> None:
    client.now = datetime(2026, 11, 22, 20, tzinfo=UTC)  # Monday has begun in Auckland
    answer = client.weekly("ada", "/2026-W48")
    assert answer.json["detail"] == "Its week has not begun."
    there = client.weekly("ada", "/2026-W48?tz=Pacific/Auckland")
    assert (there.problem, there.json["overdue"]) == ("not-yet", True)


@pytest.mark.parametrize("year", [1, 9999])
@pytest.mark.parametrize("zone", ["", "?tz=Pacific/Kiritimati", "?tz=Etc/GMT%2B12"])
def test_a_clock_that_is_wrong_is_no_fault(client: Client, year: int, zone: str) -> None:
    day = (1, 1) if year == 1 else (12, 31)
    client.now = datetime(year, *day, tzinfo=UTC)
    for path in ("", "/2026-W47", "/9999-W52"):
        assert client.weekly("ada", path + zone).status in (200, 404)


def test_a_week_that_never_was_is_no_edition(client: Client) -> None:
    assert client.weekly("ada", "/2026-W40").problem == "no-such-edition"


# --- forms -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "accept", "expected"),
    [
        ("", None, "application/json"),
        ("", "*/*", "application/json"),
        ("", JSPF, JSPF),
        ("", f"application/json;q=0.5, {JSPF}", JSPF),
        ("", f"application/json, {JSPF};q=0.9", "application/json"),
        ("", f"{JSPF.upper()}, application/json; q=0.1", JSPF),
        ("?format=jspf", "application/json", JSPF),
        ("?format=json", JSPF, "application/json"),
    ],
)
def test_the_form_is_the_one_that_is_liked_best(
    client: Client, query: str, accept: str | None, expected: str
) -> None:
    answer = client.weekly("ada", query, **({"accept": accept} if accept else {}))
    assert answer.headers["content-type"] == expected
    assert answer.headers["vary"] == "accept"


def test_a_list_may_come_in_several_headers(client: Client) -> None:
    answer = client.weekly("ada", accept=("text/html", JSPF))
    assert answer.headers["content-type"] == JSPF
    tag = client.weekly("ada").headers["etag"]
    assert client.weekly("ada", if_none_match=('"other"', tag)).status == 304


def test_a_form_that_there_is_not(client: Client) -> None:
    assert client.weekly("ada", accept="text/html").problem == "not-acceptable"
    assert client.weekly("ada", "?format=xspf").problem == "bad-request"


def test_jspf_is_what_listenbrainz_reads(client: Client) -> None:
    playlist = client.weekly("ada", "?format=jspf").json["playlist"]
    about = playlist["extension"]["https://musicbrainz.org/doc/jspf#playlist"]
    assert about["created_for"] == "ada"
    assert about["additional_metadata"]["status"] == "ready"
    assert about["last_modified_at"] == playlist["date"]
    assert playlist["title"] == "Weekly playlist 2026-W47"
    assert playlist["identifier"] == "recsys:playlist:2026-W47:ada"
    assert playlist["date"] == "2026-11-16T00:00:00+00:00"
    second = playlist["track"][1]
    assert second["title"] == "Número 2 🎵"
    assert second["identifier"] == ["recsys:track:2026-W47%2Fada%2F2"]
    track = second["extension"]["https://musicbrainz.org/doc/jspf#track"]
    assert (track["added_at"], track["added_by"]) == (playlist["date"], "recsys")
    metadata = track["additional_metadata"]
    credit = "".join(one["artist_credit_name"] + one["join_phrase"] for one in metadata["artists"])
    assert credit == second["creator"] != ""
    assert metadata["because_track_id"] == "heard/ada"
    assert "created_for" not in str(client.weekly("x", "?format=jspf&default=true").json)


# --- whole or unchanged ----------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "?format=jspf", "/2026-W46"])
def test_what_a_client_has_is_not_sent_again(client: Client, path: str) -> None:
    first = client.weekly("ada", path)
    tag = first.headers["etag"]
    assert tag.startswith('"'), "strong"
    for known in (tag, f'"other", W/{tag}', "*"):
        again = client.weekly("ada", path, if_none_match=known)
        assert (again.status, again.body) == (304, b"")
        kept = ("etag", "cache-control", "vary", "playlist-status")
        assert [again.headers[name] for name in kept] == [first.headers[name] for name in kept]
    assert client.weekly("ada", path, if_none_match='"other"').status == 200


def test_every_content_has_a_tag_of_its_own(client: Client) -> None:
    paths = ("", "?format=jspf", "/2026-W46", "/2026-W46?format=jspf")
    tags = {client.weekly(user, path).headers["etag"] for user in USERS for path in paths}
    assert len(tags) == len(USERS) * len(paths)


@pytest.mark.parametrize("path", ["", "/2026-W46", "?format=jspf"])
def test_head_is_get_without_the_body(client: Client, path: str) -> None:
    target = f"/v1/users/ada/playlists/weekly{path}"
    head, get = client.send("HEAD", target), client.get(target)
    assert (head.status, head.headers, head.body) == (200, get.headers, b"")
    assert int(head.headers["content-length"]) == len(get.body)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Pacific/Kiritimati", None])
def test_nothing_is_kept_past_the_end_of_the_week(client: Client, zone: str | None) -> None:
    query = f"?tz={zone}" if zone else ""
    hours = {"Europe/Berlin": 1, "Pacific/Kiritimati": 14, None: 0}[zone]
    monday = datetime(2026, 11, 23, tzinfo=UTC) - timedelta(hours=hours)
    for left, own, shared in [(1000, 60, 300), (120, 60, 120), (7, 7, 7), (0.5, 0, 0)]:
        client.now = monday - timedelta(seconds=left)
        for user in ("ada", "nobody"):
            assert client.weekly(user, query).headers["cache-control"] == (
                f"public, max-age={own}, s-maxage={shared}, stale-if-error=86400"
            )
    client.now = NOW


def test_an_answer_is_the_same_until_something_changes(served: Store, client: Client) -> None:
    before = client.weekly("ada")
    client.now += timedelta(days=1)
    assert client.weekly("ada").headers["etag"] == before.headers["etag"]
    make("2026-W48").publish(served)
    assert client.weekly("ada").headers["etag"] != before.headers["etag"]
    served.rollback()
    assert client.weekly("ada").headers["etag"] == before.headers["etag"]

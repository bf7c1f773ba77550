"""Logs as they should not be: playlists and a counted quarantine, or an error that says why."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.artefact import Artefact
from recsys.errors import BadLogError, MissingDataError, NoSuchUserError
from recsys.home import Home
from recsys.retention import unneeded
from tests.workflows.conftest import LAST_DAY, Deployment, at, listen, tribe_log
from workflows import WeeklyPlaylists

DAYS = [LAST_DAY - timedelta(days=n) for n in range(2, -1, -1)]


def few_listeners(deployment: Deployment) -> None:
    """A log of three days of twelve listeners, good as it is."""
    tribe_log(deployment, days=3, members=4)


def cleaned(deployment: Deployment, day: date = LAST_DAY) -> Artefact:
    return Artefact.open(next((deployment.home / "days").glob(f"*/clean/date={day}")))


def quarantine(deployment: Deployment, day: date = LAST_DAY) -> dict[str, int]:
    """Refused rows by reason; all rows are accounted for."""
    manifest = cleaned(deployment, day)
    rows, reasons = manifest.manifest["rows"], manifest.facts["quarantined"]
    assert rows["read"] == rows["kept"] + rows["duplicates"] + rows["quarantined"]
    assert rows["quarantined"] == sum(reasons.values())
    return dict(reasons)


def tracks_of(deployment: Deployment, user: str) -> list[str]:
    with deployment.store() as store:
        playlist = store.playlist(user)
        assert playlist.user_id == user
        return [track.track_id for track in playlist.tracks]


def fails(deployment: Deployment) -> str:
    """Why the run failed; nothing is published then."""
    assert not deployment.run()
    with deployment.store() as store:
        assert store.current() is None
    last = deployment.last_run()
    assert last["outcome"] == "failed"
    assert "Traceback" not in last["why"]
    return f"{last['error']}: {last['why']}"


# --- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["log", f"log/date={LAST_DAY}", "log/_unfinished"])
def test_an_empty_directory(deployment: Deployment, folder: str) -> None:
    (deployment.folder / folder).mkdir(parents=True)
    with pytest.raises(MissingDataError, match=r"\[listens\] source = .* holds no file"):
        WeeklyPlaylists(week="2026-W47").complete()


def test_a_file_cut_in_the_middle_of_a_row(deployment: Deployment) -> None:
    few_listeners(deployment)
    path = deployment.log / f"date={LAST_DAY}" / "listens.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    assert deployment.run()
    assert quarantine(deployment) == {"unreadable": 1}
    assert pq.read_table(cleaned(deployment).file("quarantine.parquet"))["file"].to_pylist() == [
        f"date={LAST_DAY}/listens.jsonl"
    ]


def cut_gzip(folder: Path) -> str:
    path = folder / "listens.jsonl"
    (folder / "listens.jsonl.gz").write_bytes(gzip.compress(path.read_bytes())[:-200])
    path.unlink()
    return "listens.jsonl.gz"


def cut_parquet(folder: Path) -> str:
    path = folder / "listens.jsonl"
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    path.unlink()
    pq.write_table(pa.Table.from_pylist(rows), folder / "listens.parquet")
    whole = (folder / "listens.parquet").read_bytes()
    (folder / "listens.parquet").write_bytes(whole[: len(whole) // 2])
    return "listens.parquet"


def not_parquet(folder: Path) -> str:
    return "listens.jsonl"


@pytest.mark.parametrize(
    ("damage", "format_"),
    [(cut_gzip, "jsonl"), (cut_parquet, "parquet"), (not_parquet, "parquet")],
)
def test_a_damaged_file_is_named(
    deployment: Deployment, damage: Callable[[Path], str], format_: str
) -> None:
    tribe_log(deployment, days=1, members=4)
    deployment.configure(listens={"format": format_})
    name = damage(deployment.log / f"date={LAST_DAY}")
    why = fails(deployment)
    assert why.startswith("BadLogError")
    assert f"date={LAST_DAY}/{name} cannot be read" in why


def test_a_column_that_no_file_has_is_named(deployment: Deployment) -> None:
    few_listeners(deployment)
    deployment.configure(listens={"columns": '{"when": "listened_at"}'})
    why = fails(deployment)
    assert "'when', which no file read here has" in why
    assert "listened_at" in why


def test_a_dump_in_a_partitioned_log_is_refused(deployment: Deployment) -> None:
    few_listeners(deployment)
    (deployment.log / "dump.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(BadLogError, match=r"dump\.jsonl lies in no date="):
        WeeklyPlaylists(week="2026-W47").complete()


def test_a_day_that_is_no_day_is_refused(deployment: Deployment) -> None:
    few_listeners(deployment)
    (deployment.log / "date=2026-11-31").mkdir()
    (deployment.log / "date=2026-11-31" / "x.jsonl").touch()
    with pytest.raises(BadLogError, match="no day of the calendar"):
        WeeklyPlaylists(week="2026-W47").complete()


# --- rows ------------------------------------------------------------------------------------


def test_bad_rows_are_counted_by_reason_and_the_rest_is_used(deployment: Deployment) -> None:
    few_listeners(deployment)
    good = listen("t0m00", "track 0079", LAST_DAY, 80_000)
    bad: list[tuple[str, Any]] = [
        ("no_user", {**good, "user_id": None}),
        ("no_user", {**good, "user_id": ["a", "b"]}),
        ("no_user", {**good, "user_id": ""}),
        ("no_track", {**good, "track_id": {"id": 1}}),
        ("no_time", {name: value for name, value in good.items() if name != "listened_at"}),
        ("bad_time", {**good, "listened_at": "yesterday"}),
        ("bad_time", {**good, "listened_at": True}),
        ("time_too_early", {**good, "listened_at": "1970-01-01T00:00:00Z"}),
        ("time_too_late", {**good, "listened_at": "2262-04-11T23:47:16Z"}),
        ("unknown_event", {**good, "event": "purchase"}),
        ("bad_number", {**good, "ms_played": "long"}),
        ("bad_number", {**good, "ms_played": -1}),
        ("bad_number", {**good, "duration_ms": 1e300}),
        ("bad_flag", {**good, "skipped": "perhaps"}),
        ("bad_artists", {**good, "artist_ids": {"a": 1}}),
        ("bad_name", {**good, "track_name": ["a"]}),
        ("private", {**good, "private": True}),
        ("bad_private", {**good, "private": "who knows"}),
        ("unreadable", ["a", "list"]),
        ("unreadable", 42),
    ]
    path = deployment.write_day(LAST_DAY, [row for _, row in bad], "bad")
    with path.open("ab") as file:
        file.write(b"\xff\xfe\x00garbage\n{\n\n")
    assert deployment.run()
    expected: dict[str, int] = {"unreadable": 2}
    for reason, _ in bad:
        expected[reason] = expected.get(reason, 0) + 1
    assert quarantine(deployment) == expected
    assert len(tracks_of(deployment, "t0m00")) == 30
    heard = pq.read_table(cleaned(deployment).file("listens.parquet"))["track_id"].to_pylist()
    assert "track 0079" not in heard


def test_a_log_of_nothing_but_private_sessions(deployment: Deployment) -> None:
    for day in DAYS:
        deployment.write_day(day, [listen("ann", "track 1", day, private=True)])
    why = fails(deployment)
    assert why.startswith("MissingDataError")
    assert "holds listens before the edition's cutoff" in why


def test_a_day_of_private_sessions_is_a_day_that_arrived(deployment: Deployment) -> None:
    few_listeners(deployment)
    for file in (deployment.log / f"date={LAST_DAY}").iterdir():
        file.unlink()
    deployment.write_day(LAST_DAY, [listen("t0m00", "track 0001", LAST_DAY, private=True)])
    assert deployment.run()


def test_a_listener_with_100_000_plays(deployment: Deployment) -> None:
    few_listeners(deployment)
    day = LAST_DAY
    rows = ({**listen("machine", f"track {n % 79:04d}", day), "listened_at": at(day, n)}
            for n in range(86_000))  # fmt: skip
    more = ({**listen("machine", f"track {n % 79:04d}", day), "listened_at": at(day, n)}
            for n in range(-14_000, 0))  # fmt: skip
    deployment.write_day(day, rows, "machine")
    deployment.write_day(day, more, "machine too")
    assert deployment.run()
    assert cleaned(deployment).manifest["rows"]["kept"] == 100_000 + 36
    assert not {f"track {n:04d}" for n in range(79)} & set(tracks_of(deployment, "machine"))
    assert len(tracks_of(deployment, "t0m00")) == 30


# --- worlds too small ------------------------------------------------------------------------


def test_one_listener_who_has_heard_everything(deployment: Deployment) -> None:
    for day in DAYS:
        deployment.write_day(day, [listen("ann", f"track {n}", day, n * 300) for n in range(40)])
    assert "somebody_served" in fails(deployment)


def test_one_listener_of_several_who_has_heard_everything(deployment: Deployment) -> None:
    tracks = [f"track {n:04d}" for n in range(40)]
    for day in DAYS:
        rows = [listen("ann", track, day, n * 300) for n, track in enumerate(tracks)]
        deployment.write_day(day, [*rows, listen("bob", tracks[0], day)])
    assert deployment.run()
    with deployment.store() as store, pytest.raises(NoSuchUserError):
        store.playlist("ann")
    record = json.loads((deployment.edition() / "record" / "record.json").read_text("utf-8"))
    assert (record["playlists"]["eligible"], record["playlists"]["refused"]) == (2, 1)
    shown = deployment.recsys("show", "ann")
    assert shown.returncode == 30
    assert "no song is left" in shown.stderr


def test_one_track(deployment: Deployment) -> None:
    for day in DAYS:
        rows = [listen(f"u{n}", "track 1", day, n) for n in range(20)]
        deployment.write_day(day, rows)
    assert "somebody_served" in fails(deployment)


def test_five_artists(deployment: Deployment) -> None:
    """Two tracks an artist are ten; the rule gives way, and the playlist says so."""
    for day in DAYS:
        deployment.write_day(
            day,
            [
                listen(f"u{n:02d}", f"track {n}-{k}", day, n * 500 + k, artist_ids=[f"a{k % 5}"])
                for n in range(8)
                for k in range(10)
            ],
        )
    assert deployment.run()
    with deployment.store() as store:
        playlist = store.playlist("u00")
    assert len(playlist.tracks) == 30
    assert "per_artist" in playlist.relaxed


STRANGE = {
    "quotes": 'o\'neil "the" `great`; DROP TABLE edition;--',
    "newlines": "two\nlines\r\nand\ta tab",
    "emoji": "🎧👩‍🎤 ünïcödé مرحبا",
    "long": "x" * 10_000,
    "percent": "%s {0} [bold] \\x00 ../../etc/passwd",
    "spaces": " a b ",
}


def test_ids_that_are_strange(deployment: Deployment) -> None:
    few_listeners(deployment)
    for n, user in enumerate(STRANGE.values()):
        deployment.write_day(
            LAST_DAY,
            [
                listen(
                    user, f"track {n * 5 + k:04d} {user}", LAST_DAY, n * 900 + k, artist_ids=[user]
                )
                for k in range(4)
            ]
            + [
                listen(user, f"track {n * 5 + k:04d}", LAST_DAY, n * 900 + 50 + k) for k in range(9)
            ],
            f"strange {n}",
        )
    assert deployment.run()
    assert quarantine(deployment) == {}
    for user in STRANGE.values():
        tracks = tracks_of(deployment, user)
        assert len(tracks) == 30
        assert not any(track.endswith(f" {user}") for track in tracks), "heard by this listener"
    shown = deployment.recsys("show", STRANGE["newlines"], "--json")
    assert json.loads(shown.stdout)["user_id"] == STRANGE["newlines"]
    assert deployment.recsys("verify").returncode == 0


def test_a_log_in_one_file_with_rubbish_in_it(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    rows = []
    for n in range(21):
        day = LAST_DAY - timedelta(days=n)
        rows += [
            json.dumps(listen(f"u{m}", f"track {(m * 11 + n * 3 + k) % 120}", day, m * 60 + k))
            for m in range(6)
            for k in range(4)
        ]
    deployment.log.mkdir()
    log = deployment.log / "export.jsonl"
    never = json.dumps(listen("u0", "track 0", LAST_DAY + timedelta(days=9000)))
    untimed = json.dumps(listen("u0", "track 0", LAST_DAY) | {"listened_at": "lately"})
    log.write_text("\n".join([*rows, "rubbish", untimed, never, rows[0]]) + "\n", encoding="utf-8")
    with caplog.at_level("WARNING", "luigi-interface"):
        assert deployment.run()
    said = "split_log: 508 rows read: 506 on 22 days, 1 bad_time, 1 unreadable on no day"
    assert said in caplog.messages
    split = next((deployment.home / "days").glob("*/split/*"))
    assert Artefact.open(split).manifest["rows"] == {"read": 508, "undated": 2}
    edition = deployment.edition()
    told = json.loads((edition / "record" / "record.json").read_text(encoding="utf-8"))["log"]
    assert (told["undated"], told["later"]) == ({"bad_time": 1, "unreadable": 1}, 1)
    page = (edition / "report.html").read_text(encoding="utf-8")
    assert "Rows of the dump that belong to no day, by reason" in page
    assert "or later: for editions to come" in page
    summary = " ".join(deployment.recsys("summary").stdout.split())
    assert "1 bad_time, 1 unreadable on no day; 1 after the cutoff" in summary
    first = cleaned(deployment, LAST_DAY)
    assert first.manifest["rows"]["duplicates"] == 1
    # A row of a day that was read before has changed: told by its day, not reused silently.
    log.write_text("\n".join([*rows[1:], "rubbish"]) + "\n", encoding="utf-8")
    assert not deployment.run(revision=2)
    assert f"{LAST_DAY}" in deployment.last_run()["why"]
    assert "says something else of 1 days" in deployment.last_run()["why"]
    settings = deployment.load()
    with deployment.store() as store:
        may_go = [one.path for one in unneeded(Home.of(settings), settings, store.editions())]
    assert may_go == [split], "the newest is kept"
    ((refused,),) = duckdb.execute(
        f"SELECT count(*) FROM '{deployment.home}/days/*/split/*/quarantine.parquet'"
    ).fetchall()
    assert refused == 2 + 1


def test_a_log_in_one_file_without_a_listen(deployment: Deployment) -> None:
    deployment.log.mkdir()
    (deployment.log / "export.jsonl").write_text('{"a": 1}\nnot json\n', encoding="utf-8")
    why = fails(deployment)
    assert why.startswith("MissingDataError")
    assert "holds no usable listen: 2 rows read" in why

"""The simulated log as files, and the command that writes them."""

from __future__ import annotations

import gzip
import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from recsys.errors import ResourceError, SettingsError
from recsys.listens import clean_day, list_log
from recsys.settings import ListensSettings
from recsys.simulate import World, simulate
from recsys.simulate.__main__ import main

WORLD = World(listeners=80, artists=20, tracks=200, days=10, broken=0.02)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("simulated") / "demo"
    simulate(WORLD).write(path)
    return path


def _lines(path: Path) -> list[str]:
    text = gzip.decompress(path.read_bytes()).decode()
    assert text.endswith("\n")
    return text[:-1].split("\n")


def _parsed(line: str) -> dict[str, object] | None:
    try:
        row: dict[str, object] = json.loads(line)
    except ValueError:
        return None
    return row


def _sound(row: dict[str, object] | None) -> bool:
    if row is None or row["user_id"] is None or row["track_id"] is None or row["event"] == "hover":
        return False
    try:
        datetime.fromisoformat(str(row["listened_at"]))
    except ValueError:
        return False
    return True


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        # Its times differ from run to run; its digest is compared instead.
        if file.is_file() and file.name != "manifest.json"
    }


def test_the_same_world_gives_the_same_bytes(written: Path, tmp_path: Path) -> None:
    again = simulate(WORLD).write(tmp_path / "again")
    assert _hashes(again.path) == _hashes(written)
    assert again.digest == json.loads((written / "manifest.json").read_text())["digest"]
    assert len(_hashes(written)) == WORLD.days + 5


def test_json_lines_hold_the_sound_rows_and_every_kind_of_damage(written: Path) -> None:
    damage = set()
    broken = 0
    counted = {
        row["date"]: row for row in pq.read_table(written / "truth/days.parquet").to_pylist()
    }
    for day, table in simulate(WORLD).days():
        rows = [_parsed(line) for line in _lines(written / f"log/date={day}/listens.jsonl.gz")]
        sound = [row for row in rows if row is not None and _sound(row)]
        assert len(rows) == counted[day]["rows"]
        assert len(rows) - len(sound) == counted[day]["broken"]
        assert len(sound) == len(table)
        for row in sound:
            row["listened_at"] = datetime.fromisoformat(str(row["listened_at"]))
        assert pa.Table.from_pylist(sound, schema=table.schema).equals(table)
        for row in rows:
            if row is None:
                damage.add("cut")
            elif not _sound(row):
                damage |= {name for name in ("user_id", "track_id") if row[name] is None}
                damage |= {row["event"]} & {"hover"}
                damage |= {row["listened_at"]} & {None, "yesterday evening"}
        broken += len(rows) - len(sound)
    assert damage == {"cut", "user_id", "track_id", "hover", None, "yesterday evening"}
    total = sum(row["rows"] for row in counted.values())
    assert broken / total == pytest.approx(WORLD.broken, rel=0.3)


def test_parquet_holds_the_same_sound_rows(tmp_path: Path) -> None:
    simulate(WORLD).write(tmp_path / "demo", "parquet")
    nulls = hovers = 0
    for day, table in simulate(WORLD).days():
        read = pq.ParquetFile(tmp_path / f"demo/log/date={day}/listens.parquet").read()
        assert read.schema.equals(table.schema)
        missing = [pc.is_null(read[name]) for name in ("user_id", "track_id", "listened_at")]
        hover = pc.equal(read["event"], "hover")
        broken = pc.or_(pc.or_(missing[0], missing[1]), pc.or_(missing[2], hover))
        assert read.filter(pc.invert(broken)).equals(table)
        nulls += sum(pc.sum(column).as_py() for column in missing)
        hovers += pc.sum(hover).as_py()
    assert nulls > hovers > 0


@pytest.mark.parametrize("log_format", ["jsonl", "parquet"])
def test_cleaning_finds_what_the_truth_counts(
    log_format: Literal["jsonl", "parquet"], tmp_path: Path
) -> None:
    path = simulate(WORLD).write(tmp_path / "demo", log_format).path
    settings = ListensSettings(source=str(path / "log"), format=log_format)
    inventory = list_log(settings)
    earlier: list[Path] = []
    for counted in pq.read_table(path / "truth/days.parquet").to_pylist():
        day = counted["date"]
        out = tmp_path / str(day)
        out.mkdir()
        report = clean_day(settings, day, inventory.days[day], earlier[-7:], out)
        assert report.read == counted["rows"]
        assert sum(report.quarantined.values()) == counted["private"] + counted["broken"]
        assert report.duplicates == counted["duplicate"]
        earlier.append(out / "listens.parquet")


def test_a_killed_run_leaves_nothing_that_looks_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo"
    simulation = simulate(WORLD)
    monkeypatch.setattr(simulation, "_arrivals", _dies_on_the_third_day(simulation))
    with pytest.raises(KeyboardInterrupt):
        simulation.write(out)
    assert not out.exists()
    small = ["--listeners", "30", "--artists", "5", "--tracks", "40", "--days", "3"]
    assert main([str(out), "--if-missing", *small]) == 0
    assert "Wrote" in capsys.readouterr().out
    before = _hashes(out)
    assert main([str(out), "--if-missing", *small]) == 0
    assert "Found" in capsys.readouterr().out
    assert main([str(out), "--if-missing", *small, "--seed", "8"]) == 0
    assert "another world than asked for: seed" in capsys.readouterr().out
    assert _hashes(out) == before
    assert main([str(out), *small, "--seed", "8"]) == 0
    assert _hashes(out) != before


def test_a_folder_with_something_else_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("do not delete")
    with pytest.raises(ResourceError, match="not a simulation"):
        simulate(WORLD).write(tmp_path)
    assert main([str(tmp_path), "--if-missing"]) == ResourceError.exit_code
    assert main([str(tmp_path / "thesis.txt")]) == ResourceError.exit_code
    assert "another folder" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "do not delete"


def test_bad_options_end_with_the_code_of_bad_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "demo"), "--listeners", "0"]) == SettingsError.exit_code
    assert "listeners = 0" in capsys.readouterr().err
    with pytest.raises(SettingsError, match="csv"):
        simulate(WORLD).write(tmp_path / "demo", "csv")  # type: ignore[arg-type]


def _dies_on_the_third_day(simulation: object):  # type: ignore[no-untyped-def]
    arrivals = simulation._arrivals  # type: ignore[attr-defined]

    def dying(heard):  # type: ignore[no-untyped-def]
        for number, day in enumerate(arrivals(heard)):
            if number == 2:
                raise KeyboardInterrupt
            yield day

    return dying

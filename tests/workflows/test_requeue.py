"""Rows in quarantine come back after a fix: once, with the next day, whatever happened before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from recsys.artefact import Artefact
from recsys.cli import main
from recsys.errors import BadLogError
from recsys.home import Home
from recsys.listens import list_log
from recsys.requeue import requeue
from recsys.weeks import Week
from tests.workflows.conftest import BEFORE, LAST_DAYS, NOW, Deployment, listen, tribe_log
from workflows import _run
from workflows._log_checks import check_log

Command = Callable[..., str]

DAY = LAST_DAYS[BEFORE] - timedelta(days=1)
PLANTED = "planted"


def mend(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def plant(served: Deployment, *rows: dict[str, object] | str) -> None:
    """A day of the published week with refused rows, as if it had been read so."""
    path = next((served.log / f"date={DAY}").iterdir())
    with path.open("a", encoding="utf-8") as file:
        file.writelines((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def heard(served: Deployment, user: str, week: str = NOW) -> set[str]:
    taste = next(served.home.glob(f"states/*/{week}/taste"))
    rows = pq.read_table(Artefact.open(taste).file("taste.parquet")).to_pylist()
    return {row["track_id"] for row in rows if row["user_id"] == user}


def clean_of(served: Deployment, day: date) -> Artefact:
    return Artefact.open(Home.of(served.load()).clean(day))


def look_at_log() -> None:
    """As a run does before any work."""
    run = _run.current()
    run.list_again()
    check_log(run, Week.parse(NOW))


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command line in this process, which holds the home; what it says."""

    def run(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        assert main(arguments) == code
        return "".join(capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def published_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A week published of a log in which one row of a listener is broken, another cut."""
    made = Deployment(tmp_path_factory.mktemp("planted"))
    configure(made)
    tribe_log(made, last_day=LAST_DAYS[NOW], days=15, members=8)
    plant(made, listen("t0m00", PLANTED, DAY, ms_played="much"), '{"user_id": "t0m00", "tra')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.folder)
        patch.setenv("LUIGI_CONFIG_PATH", str(made.config))
        assert made.run(BEFORE)
    return made.folder


@pytest.fixture
def planted(deployment: Deployment, published_before: Path) -> tuple[Deployment, Path]:
    """That week's deployment, and the file with the two rows."""
    for name in ("log", "home"):
        shutil.copytree(published_before / name, deployment.folder / name)
    configure(deployment)
    return deployment, next((deployment.log / f"date={DAY}").iterdir())


def configure(deployment: Deployment) -> None:
    deployment.configure(
        recsys={"home": deployment.home, "seed": 1},
        listens={"source": "log", "format": "jsonl"},
        als={"factors": 4, "iterations": 2},
        mlflow={"tracking_uri": "http://127.0.0.1:9"},
    )


def test_a_mended_row_is_heard_in_the_next_edition_and_only_once(
    planted: tuple[Deployment, Path], command: Command
) -> None:
    served, path = planted
    clean = clean_of(served, DAY)
    assert clean.facts["quarantined"] == {"bad_number": 1, "unreadable": 1}
    mend(path, '"much"', "200000")

    with pytest.raises(BadLogError, match="run `recsys requeue`"):
        look_at_log()

    assert "1 rows would come back" in command("requeue", "--dry-run")
    assert not list(served.home.glob("days/*/requeued/batch-*"))
    done = command("requeue", "--day", str(DAY))
    assert "1 rows come back" in done
    assert "bad_number" in done
    assert "unreadable" in done
    assert "t0m00" not in done
    assert "0 rows come back" in command("requeue")

    assert served.run(NOW)
    assert clean_of(served, DAY).digest == clean.digest
    assert PLANTED in heard(served, "t0m00")
    took = clean_of(served, LAST_DAYS[BEFORE] + timedelta(days=1))
    rows = took.manifest["rows"]
    assert rows["requeued"] == 1
    assert rows["kept"] == rows["read"] + 1
    assert "0 rows come back" in command("requeue")
    assert PLANTED not in heard(served, "t0m00", BEFORE)
    page = (served.edition(NOW) / "report.html").read_text(encoding="utf-8")
    assert "back from quarantine" in page


def test_a_day_that_lost_listens_is_left_as_it_was(
    planted: tuple[Deployment, Path], command: Command
) -> None:
    served, path = planted
    mend(path, "t1m03", "t1m99")
    assert f"{DAY} is left as it was: 3 of the listens" in command("requeue", code=30)
    assert not list(served.home.glob("days/*/requeued/batch-*"))
    with pytest.raises(BadLogError, match="have changed since they were read"):
        look_at_log()


def test_a_file_may_be_without_the_forgotten_and_with_rows_that_were_cut_off(
    planted: tuple[Deployment, Path],
) -> None:
    served, path = planted
    with served.store() as store:
        store.forget("t1m03")
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if "t1m03" not in line][:-1]
    whole = [json.dumps(listen("t0m00", name, DAY, second=7)) for name in ("whole", "new")]
    path.write_text("\n".join([*kept, *whole]) + "\n", encoding="utf-8")
    settings = served.load()
    found = requeue(settings.listens, Home.of(settings), list_log(settings.listens), {"t1m03"})
    assert found.problems == {}
    assert found.returned == 2
    assert served.run(NOW)
    assert {"whole", "new"} <= heard(served, "t0m00")


def test_a_dump_may_be_mended_too(deployment: Deployment, command: Command) -> None:
    tribe_log(deployment, last_day=LAST_DAYS[NOW], days=15, members=8)
    dump = deployment.folder / "dump.jsonl"
    texts = [path.read_text(encoding="utf-8") for path in sorted(deployment.log.rglob("*.jsonl"))]
    broken = json.dumps(listen("t0m00", PLANTED, DAY, ms_played="much"))
    undated = json.dumps(listen("t0m01", PLANTED, DAY) | {"listened_at": "lately"})
    dump.write_text("".join(texts[:-7]) + broken + "\n" + undated + "\n", encoding="utf-8")
    configure(deployment)
    deployment.configure(listens={"source": dump})
    assert deployment.run(BEFORE)
    with dump.open("a", encoding="utf-8") as file:
        file.write("".join(texts[-7:]))
    mend(dump, '"much"', "1000")
    mend(dump, "lately", f"{DAY}T09:00:00Z")
    assert not deployment.run(NOW)
    assert "2 rows come back" in command("requeue")
    assert deployment.run(NOW)
    assert PLANTED in heard(deployment, "t0m00")
    assert PLANTED in heard(deployment, "t0m01")

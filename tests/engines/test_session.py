"""One session and one Java process for a run, and nothing of it afterwards."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from recsys.errors import SettingsError
from recsys.spark import SparkEngine, _session

#: Opens a session, has its executors at work, and says so.
_RUN = """
import sys
from pathlib import Path
from pyspark import SparkContext
from recsys.settings import load_settings
from recsys.spark import SparkEngine

busy = Path(sys.argv[2])

def work(batches):
    for batch in batches:
        busy.touch()
        while True:
            pass

engine = SparkEngine(load_settings([Path(sys.argv[1])]))
first = engine.session
assert engine.session is first
if sys.argv[3] == "goes on":
    java = SparkContext._gateway.proc
    java.kill()
    java.wait()
    assert "Java process has ended" in str(engine.explained(OSError("connection refused")))
    assert engine.session is not first
    assert engine.session.range(3).count() == 3
print("open", flush=True)
if sys.argv[3] == "works":
    engine.session.range(1).mapInArrow(work, "id long").collect()
"""


def configured(folder: Path, *more: str) -> None:
    lines = (
        "[recsys]", f"home = {folder / 'home'}", "[engine]", "name = spark", "[listens]",
        "source = log", "[spark]", "master = local[1]", "spark.driver.memory = 600m", *more,
    )  # fmt: skip
    (folder / "spark.cfg").write_text("\n".join(lines), encoding="utf-8")


def started(folder: Path, what: str) -> subprocess.Popen[str]:
    configured(folder)
    (folder / "run.py").write_text(_RUN, encoding="utf-8")
    run = [sys.executable, "run.py", str(folder / "spark.cfg"), str(folder / "busy"), what]
    process = subprocess.Popen(run, cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=120)[1]


@pytest.mark.soak
def test_a_run_goes_on_after_its_java_died_and_leaves_none(
    spark_engine: SparkEngine, tmp_path: Path
) -> None:
    with started(tmp_path, "goes on") as process:
        left = psutil.Process(process.pid).children(recursive=True)
        assert process.wait(120) == 0
    assert gone(left)


@pytest.mark.soak
def test_a_run_that_is_killed_leaves_no_java_and_no_worker(
    spark_engine: SparkEngine, tmp_path: Path
) -> None:
    with started(tmp_path, "works") as process:
        while not (tmp_path / "busy").exists():
            with contextlib.suppress(subprocess.TimeoutExpired):
                pytest.fail(f"it ended with {process.wait(0.02)}")
        children = psutil.Process(process.pid).children(recursive=True)
        assert {"java"} <= {child.name() for child in children}
        process.kill()
    assert gone(children)


def test_a_process_that_was_forked_is_told_so(
    spark_engine: SparkEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert spark_engine.session is spark_engine.session
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(SettingsError, match="Run with one worker"):
        _ = spark_engine.session
    _session.close()
    monkeypatch.undo()
    assert spark_engine.session.range(3).count() == 3


def test_a_setting_that_spark_refuses_is_refused_before_any_work(
    spark_engine: SparkEngine, tmp_path: Path
) -> None:
    configured(tmp_path, "spark.sql.shuffle.partitions = many")
    look = (
        "import sys; from pathlib import Path; from recsys.settings import load_settings;"
        "from recsys.spark import SparkEngine;"
        "SparkEngine(load_settings([Path(sys.argv[1])])).preflight()"
    )
    said = subprocess.run(
        [sys.executable, "-c", look, str(tmp_path / "spark.cfg")],
        capture_output=True, text=True, check=False, timeout=120,
    ).stderr  # fmt: skip
    assert "SettingsError: [spark] has a setting that Spark refuses" in said
    assert "many" in said.splitlines()[-1]

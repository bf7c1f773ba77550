"""The notebooks run as they stand, on a small home, and draw what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))

#: A notebook in the percent format is a script; all run in one process, which imports once. Every
#: figure that they show is drawn and counted.
_RUN = """
import contextlib, json, runpy, sys, traceback
import matplotlib.pyplot as plt

drawn = 0
def show():
    global drawn
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
        drawn += 1
    plt.close("all")

plt.show = show
found = {}
for path in sys.argv[1:]:
    drawn, error = 0, None
    with contextlib.redirect_stdout(sys.stderr):
        try:
            runpy.run_path(path)
        except Exception:
            error = traceback.format_exc()
    found[path] = {"drawn": drawn, "error": error}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def ran(tuned: Path) -> dict[str, Any]:
    """What came of each notebook; warnings are errors."""
    environment = {
        **os.environ,
        "LUIGI_CONFIG_PATH": str(tuned / "overlay.cfg"),
        "MPLBACKEND": "agg",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _RUN, *map(str, NOTEBOOKS)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_there_are_five() -> None:
    assert [path.name[0] for path in NOTEBOOKS] == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_without_a_warning(notebook: Path, ran: dict[str, Any]) -> None:
    found = ran[str(notebook)]
    assert found["error"] is None, found["error"]
    assert found["drawn"] == notebook.read_text(encoding="utf-8").count("plt.show()") >= 3


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_cells_are_short(notebook: Path) -> None:
    cells = notebook.read_text(encoding="utf-8").split("# %%")[1:]
    code = [cell for cell in cells if not cell.startswith(" [markdown]")]
    assert max(len(cell.splitlines()) for cell in code) <= 40
    assert len(cells) - len(code) >= 4

"""After an upgrade nothing compiled before it is left in what runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from recsys._compiled_before import forget_outdated

_INNER = "import numba\n@numba.njit(cache=True)\ndef inner(): return {}\n"
_OUTER = (
    "import numba\nfrom package.inner import inner\n"
    "@numba.njit(cache=True)\ndef outer(): return inner()\n"
)
_RUN = """
from pathlib import Path
from recsys._compiled_before import forget_outdated
forget_outdated(Path("package"))
from package.outer import outer
print(outer(), sum(outer.stats.cache_hits.values()))
"""


def test_a_caller_is_compiled_anew_where_what_it_calls_has_changed(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "outer.py").write_text(_OUTER)
    (package / "inner.py").write_text(_INNER.format(1))
    assert _run(tmp_path) == "1 0"
    assert _run(tmp_path) == "1 1"  # kept, where nothing has changed
    (package / "inner.py").write_text(_INNER.format(1000))
    assert _run(tmp_path) == "1000 0"


def _run(folder: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", _RUN],
        cwd=folder, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_other_files_leave_what_is_compiled_alone(tmp_path: Path) -> None:
    kernel, other = tmp_path / "kernel.py", tmp_path / "other.py"
    index = tmp_path / "models" / "__pycache__" / "kernel.f-3.py311.nbi"
    index.parent.mkdir(parents=True)
    for path, made in ((kernel, 1), (index, 2), (other, 3)):
        path.write_text("import numba" if path == kernel else "import os")
        os.utime(path, (made, made))
    forget_outdated(tmp_path)
    assert index.exists()
    os.utime(kernel, (2, 2))  # as near as a clock can tell
    forget_outdated(tmp_path)
    assert not index.exists()

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recsys import artefact
from recsys.artefact import Artefact
from recsys.errors import ArtefactError, ResourceError


def write(path: Path, content: bytes = b"rows", **facts: object) -> Artefact:
    with artefact.write(path, stage="test", version=1, seed=7) as draft:
        (draft.path / "part").mkdir()
        (draft.path / "part" / "rows.bin").write_bytes(content)
        draft.facts.update(facts)
        draft.inputs["plan"] = "abc"
        draft.rows["rows"] = 3
    return Artefact.open(path)


def half_of_one(path: Path) -> None:
    with artefact.write(path, stage="test", version=1) as draft:
        (draft.path / "rows.bin").write_bytes(b"half")
        raise ZeroDivisionError


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_is_there_with_all_that_was_said_of_it(tmp_path: Path) -> None:
    made = write(tmp_path / "deep" / "made", verdict="passed")
    assert artefact.exists(made.path)
    assert made.file("part/rows.bin").read_bytes() == b"rows"
    assert (made.facts, made.inputs) == ({"verdict": "passed"}, {"plan": "abc"})
    assert (made.manifest["rows"], made.manifest["seed"]) == ({"rows": 3}, 7)
    assert made.manifest["files"]["part/rows.bin"]["bytes"] == 4
    assert set(made.manifest["packages"]) >= {"duckdb", "implicit", "numpy"}
    assert made.seconds >= 0
    made.check()
    assert left(tmp_path / "deep") == ["made"]


def test_a_table_may_be_a_folder_of_parts(tmp_path: Path) -> None:
    with artefact.write(tmp_path / "made", stage="test", version=1) as draft:
        (draft.path / "plays.parquet").mkdir()
        for n in range(2):
            (draft.path / "plays.parquet" / f"part-{n:05}.parquet").write_bytes(b"rows")
    made = Artefact.open(tmp_path / "made")
    assert made.file("plays.parquet") == made.path / "plays.parquet"
    assert made.parts("plays.parquet") == [
        "plays.parquet/part-00000.parquet",
        "plays.parquet/part-00001.parquet",
    ]
    with pytest.raises(ArtefactError, match=r"holds no plays; it holds"):
        made.file("plays")
    (made.path / "plays.parquet" / "part-00001.parquet").unlink()
    with pytest.raises(ArtefactError, match=r"part-00001\.parquet is missing"):
        made.file("plays.parquet")


def test_it_is_not_there_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "made"
    with artefact.write(path, stage="test", version=1) as draft:
        (draft.path / "rows.bin").write_bytes(b"rows")
        assert not artefact.exists(path)
        assert not path.exists()
    assert artefact.exists(path)


@pytest.mark.parametrize("before", [False, True])
def test_nothing_is_left_of_one_that_failed(tmp_path: Path, before: bool) -> None:
    path = tmp_path / "made"
    if before:
        write(path, b"old")
    with pytest.raises(ZeroDivisionError):
        half_of_one(path)
    assert left(tmp_path) == (["made"] if before else [])
    if before:
        assert Artefact.open(path).file("part/rows.bin").read_bytes() == b"old"


def test_the_digest_is_over_everything_but_times(tmp_path: Path) -> None:
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    with artefact.write(tmp_path / "a", stage="t", version=1, started=long_ago) as draft:
        (draft.path / "rows.bin").write_bytes(b"rows")
    with artefact.write(tmp_path / "b", stage="t", version=1) as draft:
        (draft.path / "rows.bin").write_bytes(b"rows")
    first, second = Artefact.open(tmp_path / "a"), Artefact.open(tmp_path / "b")
    assert first.digest == second.digest
    assert first.seconds > second.seconds
    digests = {
        write(tmp_path / "c").digest,
        write(tmp_path / "c", b"else").digest,
        write(tmp_path / "c", fact=1).digest,
        first.digest,
    }
    assert len(digests) == 4


def test_an_older_one_is_replaced(tmp_path: Path) -> None:
    write(tmp_path / "made", b"old")
    assert write(tmp_path / "made", b"new").file("part/rows.bin").read_bytes() == b"new"
    assert left(tmp_path) == ["made"]


def test_what_killed_runs_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".made.0123456789ab").mkdir()
    (tmp_path / ".made.0123456789ab" / "manifest.json").touch()
    (tmp_path / ".other.0123456789ab").mkdir()
    write(tmp_path / "made")
    assert left(tmp_path) == [".other.0123456789ab", "made"]


def test_one_without_a_manifest_is_no_artefact(tmp_path: Path) -> None:
    path = tmp_path / "made"
    path.mkdir()
    (path / "rows.bin").touch()
    assert not artefact.exists(path)
    with pytest.raises(ArtefactError, match="run the week again to make it"):
        Artefact.open(path)
    write(path)
    assert not (path / "rows.bin").exists()


def test_a_manifest_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "made").path
    (path / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(ArtefactError, match=r"manifest\.json cannot be read"):
        Artefact.open(path)


def test_a_file_that_is_gone_or_cut_or_changed_is_named(tmp_path: Path) -> None:
    made = write(tmp_path / "made")
    with pytest.raises(ArtefactError, match=r"holds no other\.bin; it holds part/rows\.bin"):
        made.file("other.bin")
    rows = made.path / "part" / "rows.bin"
    rows.write_bytes(b"sown")
    assert made.file("part/rows.bin") == rows  # a size is looked at, a hash only by check()
    with pytest.raises(ArtefactError, match=r"rows\.bin differs from its manifest"):
        made.check()
    rows.write_bytes(b"row")
    with pytest.raises(ArtefactError, match=r"rows\.bin is missing or not 4 bytes long"):
        made.check()
    rows.unlink()
    with pytest.raises(ArtefactError, match="is missing"):
        made.file("part/rows.bin")


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "The disk is full while writing"),
        (errno.EDQUOT, "The disk is full while writing"),
        (errno.EROFS, "cannot be written"),
        (errno.EACCES, "cannot be written"),
    ],
)
def test_a_disk_that_takes_no_more_says_so(tmp_path: Path, number: int, said: str) -> None:
    with (
        pytest.raises(ResourceError, match=said) as refused,
        artefact.write(tmp_path / "made", stage="t", version=1),
    ):
        raise OSError(number, os.strerror(number))
    assert refused.value.exit_code == 60
    assert left(tmp_path) == []


def test_an_error_that_is_none_of_the_disk_passes(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), artefact.write(tmp_path / "m", stage="t", version=1):
        Path("/nowhere/at/all").read_bytes()


def test_everything_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files, then folders, then the name, then the folder that holds the name."""
    happened: list[str] = []
    sync, rename = os.fsync, Path.rename

    def note_sync(descriptor: int) -> None:
        happened.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    def note_rename(self: Path, target: Path) -> Path:
        happened.append(f"rename to {target.name}")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "rename", note_rename)
    write(tmp_path / "made")
    named = happened.index("rename to made")
    assert happened.index("rows.bin") < named
    assert happened.index("part") < named
    assert happened[named + 1 :] == [tmp_path.name]
    assert any(name.startswith(".manifest.json.") for name in happened[:named])


def test_json_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    artefact.write_json(path, {"a": "ü"})
    with pytest.raises(TypeError):
        artefact.write_json(path, {"a": object()})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": "ü"}
    assert left(tmp_path) == ["facts.json"]


# --- rewriting ---------------------------------------------------------------------------------


def rewrite(made: Artefact, content: bytes = b"fewer", **facts: object) -> Artefact:
    with artefact.rewrite(made) as draft:
        (draft.path / "part").mkdir()
        (draft.path / "part" / "rows.bin").write_bytes(content)
        draft.facts.update(facts)
    return Artefact.open(made.path)


def test_a_rewritten_artefact_keeps_its_name_and_what_was_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "made"
    with artefact.write(path, stage="test", version=1) as draft:
        (draft.path / "part").mkdir()
        for name in ("part/rows.bin", "part/kept.bin", "names.bin"):
            (draft.path / name).write_bytes(name.encode())
    before = Artefact.open(path)
    after = rewrite(before, left=2)
    assert (after.digest, after.manifest) == (before.digest, before.manifest)
    assert after.file("part/rows.bin").read_bytes() == b"fewer"
    assert after.file("part/kept.bin").read_bytes() == b"part/kept.bin"
    assert after.erasure["facts"] == {"left": 2}
    after.check()
    again = rewrite(after, b"none")
    assert again.erasure["facts"] == {"left": 2}
    assert again.file("part/rows.bin").read_bytes() == b"none"
    again.check()
    assert left(tmp_path) == ["made"]


def test_a_rewritten_file_that_differs_is_noticed(tmp_path: Path) -> None:
    made = rewrite(write(tmp_path / "made"))
    made.file("part/rows.bin").write_bytes(b"FEWER")
    with pytest.raises(ArtefactError, match="differs"):
        made.check()


def test_where_nothing_is_rewritten_nothing_changes(tmp_path: Path) -> None:
    made = write(tmp_path / "made")
    with artefact.rewrite(made):
        pass
    assert Artefact.open(made.path) == made
    assert left(tmp_path) == ["made"]


REWRITE_AND_DIE = """
import os, sys
from pathlib import Path
from recsys import artefact
from recsys.artefact import Artefact

calls, rename = 0, Path.rename
def renamed(self, target):
    global calls
    calls += 1
    if calls == 1 + int(sys.argv[2]) // 2 and int(sys.argv[2]) % 2 == 0:
        os._exit(9)
    rename(self, target)
    if calls == 1 + int(sys.argv[2]) // 2:
        os._exit(9)
    return target
Path.rename = renamed
with artefact.rewrite(Artefact.open(Path(sys.argv[1]))) as draft:
    (draft.path / "part").mkdir()
    (draft.path / "part" / "rows.bin").write_bytes(b"fewer")
"""


@pytest.mark.parametrize("step", range(6))  # before and after each of three renames
def test_killed_while_rewriting_it_is_the_old_one_or_the_new_one(tmp_path: Path, step: int) -> None:
    made = write(tmp_path / "made")
    died = subprocess.run(
        [sys.executable, "-c", REWRITE_AND_DIE, str(made.path), str(step)], check=False
    )
    assert died.returncode == 9
    artefact.tidy(tmp_path)
    found = Artefact.open(made.path)
    assert found.digest == made.digest
    found.check()
    assert found.file("part/rows.bin").read_bytes() == (b"rows" if step == 0 else b"fewer")
    assert left(tmp_path) == ["made"]


def test_what_is_removed_is_gone(tmp_path: Path) -> None:
    made = write(tmp_path / "made")
    artefact.remove(made.path)
    assert left(tmp_path) == []


def test_tidy_leaves_what_nobody_left_aside(tmp_path: Path) -> None:
    write(tmp_path / "made")
    (tmp_path / ".hidden").write_text("kept", encoding="utf-8")
    (tmp_path / ".made.0123456789ab").mkdir()
    artefact.tidy(tmp_path)
    assert left(tmp_path) == [".hidden", "made"]

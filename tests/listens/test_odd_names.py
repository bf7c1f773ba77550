"""Names that are not UTF-8, that say something else than they mean, or that come twice."""

from __future__ import annotations

import io
import json
import os
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from recsys.cli import main
from recsys.errors import BadLogError
from recsys.listens import CleanedDay, changed_files, list_log, read_again
from recsys.settings import ListensSettings

if TYPE_CHECKING:
    from tests.listens.conftest import Lab


def tar_named(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    options = {"encoding": "latin-1", "format": tarfile.USTAR_FORMAT}
    with tarfile.open(fileobj=buffer, mode="w", **options) as archive:  # type: ignore[call-overload]
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zip_of(*members: tuple[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["tar", "zip", "parquet"])
def test_a_name_inside_a_file_that_is_not_utf8_is_told(
    lab: Lab, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    row = json.dumps(lab.listen())
    if kind == "tar":
        content = tar_named("café.jsonl", row.encode())
        said = r"of caf\\xe9\.jsonl in it is not UTF-8"
    elif kind == "zip":
        content = zip_of(("café.jsonl", row)).replace("é".encode(), b"\xff\xfe")
        said = "a file in it, is not UTF-8"
    else:
        columns = {name: [value] for name, value in lab.listen().items()} | {"caf?": [1]}
        path = lab.parquet(columns, store_schema=False)
        content = path.read_bytes().replace(b"caf?", b"caf\xe9")
        said = "of a column, or"
        path.unlink()
    (lab.partition() / f"a.{kind}").write_bytes(content)
    format_ = "parquet" if kind == "parquet" else "jsonl"
    with pytest.raises(BadLogError, match=rf"a\.{kind} cannot be read: the name .*{said}"):
        lab.clean(format_)
    assert main(["check-log", str(lab.root / "log"), "--format", format_]) == 30
    assert "is not UTF-8" in "".join(capsys.readouterr())


def test_a_file_whose_name_is_not_utf8_is_told(lab: Lab) -> None:
    (lab.partition() / os.fsdecode(b"caf\xe9.jsonl")).write_text(json.dumps(lab.listen()) + "\n")
    with pytest.raises(
        BadLogError, match=r"the name of date=2026-11-16/caf\\xe9\.jsonl is not"
    ) as error:
        list_log(lab.settings("jsonl"))
    str(error.value).encode()


def test_a_listener_whose_name_is_not_utf8_is_not_told(tmp_path: Path) -> None:
    folder = tmp_path / "log" / os.fsdecode(b"jos\xe9")
    folder.mkdir(parents=True)
    (folder / "endsong_0.json").write_text("[]")
    with pytest.raises(BadLogError, match="the name of a file or a folder is not UTF-8") as error:
        list_log(ListensSettings(source=str(tmp_path / "log"), format="spotify"))
    assert "jos" not in str(error.value)


@pytest.mark.parametrize("name", ["::x", "file::a", "a::b", "zip::a", "a%20b#c?d", "a[1]*", "~"])
def test_a_local_name_is_no_url_and_no_pattern(lab: Lab, name: str) -> None:
    lab.jsonl(lab.listen(), name=f"{name}.jsonl")
    day = lab.clean("jsonl")
    assert day.report.kept == 1
    read = [source | {"name": name} for source in day.report.sources]
    files = list_log(lab.settings("jsonl")).days[lab.DAY]
    assert changed_files([replace(files[0], name=name)], read, "1970-01-01T00:00:00") == []


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("format_", "row", "names"),
    [
        (
            "jsonl",
            '{{"user_id": "u", "track_id": "{}", "listened_at": "2026-11-16T12:00:00Z"}}',
            ["a.jsonl", "a.jsonl", "a.jsonl (2)", "a.jsonl"],
        ),
        (
            "spotify",
            '[{{"spotify_track_uri": "{}", "ts": "2026-11-16T12:00:00Z"}}]',
            ["ann/endsong_1.json", "bob/endsong_1.json", "endsong_1.json"],
        ),
    ],
)
def test_rows_of_members_of_one_name_are_told_apart_and_come_back(
    lab: Lab, format_: str, row: str, names: list[str]
) -> None:
    path = lab.partition() / "a.zip"
    path.write_bytes(zip_of(*((name, "[1]") for name in names)))
    day = lab.clean(format_, user="me")
    files = [refused["file"].split("!")[1] for refused in day.quarantine]
    assert len(set(files)) == len(names)
    assert not any(listener in repr(files) for listener in ("ann", "bob"))
    path.write_bytes(zip_of(*((name, row.format(n)) for n, name in enumerate(names))))
    settings = lab.settings(format_, user="me")
    then = CleanedDay(day.path, day.path.with_name("quarantine.parquet"))
    files_now = list_log(settings).days[lab.DAY]
    out = lab.root / "again.parquet"
    again = read_again(settings, lab.DAY, files_now, then, [day.path], [], out)
    assert (again.returned, again.known) == ({"unreadable": len(names)}, 0)
    assert pq.read_metadata(out).num_rows == len(names)

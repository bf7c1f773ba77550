"""Files made on purpose, or by accident: bombs, paths, links, keys twice, a log that moves."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
import zstandard

from recsys.errors import BadLogError, ResourceError
from recsys.listens import clean_day, list_log
from recsys.listens._open import HashingReader
from recsys.listens._parquet import ParquetReader

if TYPE_CHECKING:
    from tests.listens.conftest import Lab


def tar(*members: tarfile.TarInfo | tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            archive.addfile(info, io.BytesIO(member[1]))
    return buffer.getvalue()


def link(name: str, kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_members_that_lead_out_of_an_archive_are_read_in_place_and_links_not_at_all(
    lab: Lab, tmp_path: Path
) -> None:
    (tmp_path / "passwd").write_text(json.dumps(lab.listen(track_id="not ours")) + "\n")
    row = json.dumps(lab.listen()).encode() + b"\n"
    content = tar(
        ("../../outside.jsonl", row),
        ("/absolute.jsonl", json.dumps(lab.listen(track_id="u")).encode()),
        link("link.jsonl", tarfile.SYMTYPE, str(tmp_path / "passwd")),
        link("hard.jsonl", tarfile.LNKTYPE, str(tmp_path / "passwd")),
        link("device.jsonl", tarfile.CHRTYPE, ""),
        link("pipe.jsonl", tarfile.FIFOTYPE, ""),
    )
    (lab.partition() / "a.tar").write_bytes(content)
    before = set(tmp_path.rglob("*"))
    day = lab.clean("jsonl")
    assert [row["track_id"] for row in day.listens] == ["t", "u"]
    new = {path for path in tmp_path.rglob("*") if not path.is_relative_to(day.path.parent)}
    assert new == before


@pytest.mark.parametrize("format_", ["jsonl", "listenbrainz", "spotify"])
def test_an_archive_without_a_part_of_the_log_is_not_passed_over(lab: Lab, format_: str) -> None:
    name = "a.zip" if format_ == "spotify" else "a.tar"
    content = tar(("README", b"hello"), ("listens.csv", b"{}"), ("b/_hidden", b"{}"))
    if format_ == "spotify":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("Spotify Account Data/StreamingHistory_music_0.json", "[]")
        content = buffer.getvalue()
    elif format_ == "jsonl":
        content = tar(("b/_hidden", b"{}"), ("./.x/a.jsonl", b"{}"))
    (lab.partition() / name).write_bytes(content)
    with pytest.raises(BadLogError, match="none of the files in it is called as a part"):
        lab.clean(format_, user="ann")


@pytest.mark.parametrize("suffix", [".jsonl.zst", ".jsonl.tar.zst"])
@pytest.mark.parametrize("format_", ["jsonl", "lastfm", "listenbrainz"])
def test_a_bomb_stops_the_run_before_it_fills_anything(
    lab: Lab, format_: str, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.listens._archive._FREE_SWELLING", 1 << 20)
    content = (b"x" * 99 + b"\n") * (400 << 10)
    packed = tar(("a.jsonl", content)) if "tar" in suffix else content
    bomb = zstandard.ZstdCompressor().compress(packed)
    assert len(bomb) < 10_000
    (lab.partition() / f"a{suffix}").write_bytes(bomb)
    with pytest.raises(BadLogError, match=rf"a{suffix} cannot be read: it is over 250 times"):
        lab.clean(format_)


def test_of_a_key_that_comes_twice_the_first_counts(lab: Lab) -> None:
    lab.jsonl('{"user_id": "a", "user_id": "b", "track_id": "t", "listened_at": 1794830400}')
    assert lab.clean("jsonl").listens[0]["user_id"] == "a"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_finite_number_is_refused(lab: Lab, number: str) -> None:
    row = json.dumps(lab.listen(ms_played=0)).replace('"ms_played": 0', f'"ms_played": {number}')
    lab.jsonl(lab.listen(), row)
    day = lab.clean("jsonl")
    assert day.report.kept == 1
    assert [row["row"] for row in day.quarantine] == [2]
    assert day.reasons[0] in ("bad_number", "unreadable")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "cp1252"])
def test_a_file_in_another_encoding_is_refused_line_by_line(lab: Lab, encoding: str) -> None:
    row = json.dumps(lab.listen(track_name="café"), ensure_ascii=False) + "\n"
    (lab.partition() / "a.jsonl").write_bytes((row * 3).encode(encoding))
    lab.jsonl(lab.listen(), name="b.jsonl")
    day = lab.clean("jsonl")
    assert day.report.kept == 1
    assert set(day.reasons) == {"unreadable"}
    assert {row["file"][-7:] for row in day.quarantine} == {"a.jsonl"}


def test_an_array_of_deeply_nested_values_is_no_harm(lab: Lab) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    good = {"ts": "2026-11-16T12:00:00Z", "ms_played": 1, "spotify_track_uri": "spotify:track:1"}
    text = f'[{json.dumps(good)}, {deep}, {{"ts": {deep}}}, {json.dumps(good)}]'
    (lab.partition() / "endsong_0.json").write_text(text)
    day = lab.clean("spotify", user="ann")
    assert (day.report.read, day.report.kept, day.report.duplicates) == (4, 1, 1)
    assert [row["row"] for row in day.quarantine] == [2, 3]


def test_a_file_that_goes_while_its_folder_is_listed_stops_the_run(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lab.jsonl(lab.listen())
    lab.jsonl(lab.listen(), name="b.jsonl")
    walk = os.walk

    def moving(*arguments: Any, **options: Any) -> Any:
        found = list(walk(*arguments, **options))
        path.unlink(missing_ok=True)
        return found

    monkeypatch.setattr("recsys.listens._inventory.os.walk", moving)
    with pytest.raises(BadLogError, match=r"cannot be listed: .*a\.jsonl"):
        list_log(lab.settings("jsonl"))


def test_a_file_that_changes_while_it_is_read_stops_the_run(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lab.jsonl(*[lab.listen(track_id=f"t{n}") for n in range(100)])
    ((day, files),) = list_log(lab.settings("jsonl")).days.items()
    line_blocks = "recsys.listens._text.line_blocks"
    from recsys.listens._lines import line_blocks as cut

    def growing(stream: io.BufferedReader) -> Any:
        with path.open("a") as file:
            file.write(json.dumps(lab.listen(track_id="late")) + "\n")
        return cut(stream)

    monkeypatch.setattr(line_blocks, growing)
    with pytest.raises(BadLogError, match=r"a\.jsonl has changed while the log was read"):
        clean_day(lab.settings("jsonl"), day, files, [], tmp_path / "out")


@pytest.mark.parametrize("format_", ["parquet", "jsonl"])
def test_a_file_that_is_replaced_between_its_hash_and_its_rows_stops_the_run(
    lab: Lab, format_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(name: str, track: str) -> Path:
        row = lab.listen(track_id=track)
        if format_ == "parquet":
            return lab.parquet({name: [value] for name, value in row.items()}, name)
        with zipfile.ZipFile(lab.partition() / name, "w") as archive:
            archive.writestr("a.jsonl", json.dumps(row))
        return lab.partition() / name

    path = write("a.parquet" if format_ == "parquet" else "a.zip", "before")
    other = write("_other", "behind")
    assert other.stat().st_size == path.stat().st_size
    drain = HashingReader.drain

    def replaced(self: HashingReader) -> None:
        drain(self)
        if other.exists():
            other.rename(path)

    monkeypatch.setattr(HashingReader, "drain", replaced)
    with pytest.raises(BadLogError, match=rf"{path.name} has changed while the log was read"):
        lab.clean(format_)
    assert [row["track_id"] for row in lab.clean(format_).listens] == ["behind"]


@pytest.mark.parametrize("column", ["track_id", "artist_ids"])
def test_a_long_value_that_is_stored_once_is_read_a_few_rows_at_a_time(
    lab: Lab, tmp_path: Path, column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.listens._parquet._BLOCK_BYTES", 1 << 20)
    rows = 3000
    table = pa.table({name: [value] * rows for name, value in lab.listen().items()})
    once = pa.DictionaryArray.from_arrays(
        np.minimum(np.arange(rows, dtype=np.int32), 1), ["t", "x" * 20_000]
    )
    if column == "artist_ids":
        once = pa.ListArray.from_arrays(np.arange(rows + 1, dtype=np.int32), once)
        table = table.append_column(column, once)
    else:
        table = table.set_column(table.column_names.index(column), column, once)
    path = lab.parquet(table, store_schema=False)
    assert path.stat().st_size < 60_000
    settings = lab.settings("parquet")
    ((_, (file,)),) = list_log(settings).days.items()
    names = {name: name for name in table.column_names}
    blocks = [block.rows for block in ParquetReader(file, names, settings, tmp_path).blocks()]
    assert sum(map(len, blocks)) == rows
    assert max(len(block) for block in blocks) * 20_000 < 3 << 20
    monkeypatch.setattr("recsys.listens._archive._FREE_SWELLING", 1 << 20)
    with pytest.raises(BadLogError, match=r"a\.parquet cannot be read: it is over 250 times"):
        lab.clean("parquet")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        pa.ArrowMemoryError("malloc of size 64 failed"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
@pytest.mark.parametrize("place", ["_parquet._plain", "_clean.by_key", "_open.HashingReader.drain"])
def test_memory_or_disk_that_runs_out_is_no_fault_of_the_file(
    lab: Lab, error: Exception, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.parquet({name: [value] for name, value in lab.listen().items()})

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(f"recsys.listens.{place}", fail)
    with pytest.raises(ResourceError, match="Memory or disk ran out while working in"):
        lab.clean("parquet")


#: Turns a bit of each byte of a footer and counts the files that are refused, each as it should be.
DAMAGE = """
import sys
from pathlib import Path
from recsys.errors import BadLogError
from recsys.listens._inventory import LogFile
from recsys.listens._judge import _read
from recsys.listens._parquet import ParquetReader
from recsys.settings import ListensSettings
path = Path(sys.argv[1])
content, refused = path.read_bytes(), 0
settings = ListensSettings(source="-")
file = LogFile(path.name, path.as_uri(), len(content), None)
footer = int.from_bytes(content[-8:-4], "little") + 8
for at in range(len(content) - footer, len(content)):
    path.write_bytes(content[:at] + bytes([content[at] ^ 16]) + content[at + 1:])
    names = {name: name for name in ("user_id", "track_id", "listened_at", "artist_ids")}
    reader = ParquetReader(file, names, settings, path.parent)
    try:
        list(_read(file, reader))
    except BadLogError as error:
        refused += path.name in str(error)
print(refused)
"""


def test_a_damaged_footer_is_an_error_and_does_not_end_the_process(lab: Lab) -> None:
    path = lab.parquet({k: [v] * 50 for k, v in lab.listen(artist_ids=["a"]).items()})
    command = [sys.executable, "-c", DAMAGE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert int(done.stdout) > 100

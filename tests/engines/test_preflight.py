"""What Spark lacks is said before any work. No Java is needed here."""

from __future__ import annotations

import importlib.metadata
import socket
from pathlib import Path

import pytest

from recsys.errors import RecsysError, ResourceError, SettingsError
from recsys.settings import SparkSettings
from recsys.spark import _preflight


@pytest.fixture(autouse=True)
def java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Java that says of itself what a test wants."""
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setattr(_preflight, "available_memory", lambda: 64 << 30)
    return says(tmp_path, 'openjdk version "17.0.15" 2025-04-15')


def says(home: Path, version: str) -> Path:
    path = home / "bin" / "java"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{version}' >&2\n", encoding="ascii")
    path.chmod(0o755)
    return path


def refused(kind: type[RecsysError], master: str = "local[*]", **options: str) -> str:
    settings = SparkSettings(
        master=master, options={key.replace("__", "."): value for key, value in options.items()}
    )
    with pytest.raises(kind) as said:
        _preflight.look(settings)
    return str(said.value)


def test_nothing_is_lacking() -> None:
    _preflight.look(SparkSettings())
    _preflight.look(SparkSettings(master="local-cluster[2, 1, 1024]"))


def test_the_package_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert "pip install 'recsys-weekly[spark]'" in refused(SettingsError)


def test_the_package_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "4.0.1")
    assert "needs pyspark 4.1 or newer, and 4.0.1 is installed" in refused(SettingsError)


def test_java_is_not_installed(java: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java.unlink()
    assert f"JAVA_HOME = {java.parents[1]} has none" in refused(SettingsError)
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(java.parent))
    assert "needs Java 17 or newer, and there is no java on the PATH" in refused(SettingsError)


@pytest.mark.parametrize(
    ("version", "found"), [("1.8.0_292", "8"), ("11.0.2", "11"), ("16-ea", "16")]
)
def test_java_is_too_old(java: Path, version: str, found: str) -> None:
    says(java.parents[1], f'java version "{version}"')
    assert f"{java} is Java {found}." in refused(SettingsError)


def test_java_says_nothing(java: Path) -> None:
    says(java.parents[1], "Segmentation fault")
    assert "does not say which it is" in refused(SettingsError)


def test_a_master_that_cannot_be_reached() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        port = taken.getsockname()[1]
        said = refused(ResourceError, f"spark://127.0.0.1:{port}")
        assert f"spark://127.0.0.1:{port} cannot be reached" in said
        assert "k8s://" in refused(ResourceError, f"k8s://https://127.0.0.1:{port}")
        taken.listen()
        _preflight.look(SparkSettings(master=f"spark://127.0.0.1:1,127.0.0.1:{port}"))


def test_yarn_without_its_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HADOOP_CONF_DIR", "YARN_CONF_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert "HADOOP_CONF_DIR" in refused(SettingsError, "yarn")


def test_too_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_preflight, "available_memory", lambda: 3 << 30)
    said = refused(ResourceError, spark__driver__memory="4g")
    assert "takes up to 4096 MiB of memory on this machine, of which 3072 MiB" in said
    assert "takes up to 4096 MiB" in refused(ResourceError, "local-cluster[2,1,1024]")
    assert "does not start with less" in refused(ResourceError, spark__driver__memory="100m")


def test_executors_that_fit_no_worker() -> None:
    said = refused(ResourceError, "local-cluster[2,1,1024]", spark__executor__memory="2g")
    assert "workers of 1024 MiB, too little for executors of 2048 MiB" in said


def test_settings_that_the_rows_stand_on() -> None:
    said = refused(SettingsError, spark__sql__session__timeZone="Europe/Berlin")
    assert "spark.sql.session.timeZone = 'Europe/Berlin': expected 'UTC'" in said
    for key in ("spark__master", "spark__remote"):
        assert "name the cluster in master" in refused(SettingsError, **{key: "sc://here"})
    assert "expected a size" in refused(SettingsError, spark__driver__memory="much")


def test_a_spark_home_without_spark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPARK_HOME", str(tmp_path))
    assert f"SPARK_HOME = {tmp_path} has no bin/spark-submit" in refused(SettingsError)

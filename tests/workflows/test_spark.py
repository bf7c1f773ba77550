"""With the Spark engine, what cannot work is refused before any work, with its own exit code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.workflows.conftest import WEEK, Deployment


@pytest.fixture
def spark(tribes: Deployment, tmp_path: Path) -> Deployment:
    """A deployment whose Spark master is gone, on a machine that has a Java."""
    java = tmp_path / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text("#!/bin/sh\necho 'openjdk version \"17.0.1\"' >&2\n", encoding="ascii")
    java.chmod(0o755)
    tribes.configure(engine={"name": "spark"}, spark={"master": "spark://127.0.0.1:1"})
    return tribes


def test_a_master_that_is_gone(spark: Deployment) -> None:
    ran = spark.weekly("--week", WEEK, JAVA_HOME=str(spark.folder / "java"))
    assert ran.returncode == 60, ran.stderr
    assert "spark://127.0.0.1:1 cannot be reached" in ran.stderr
    assert spark.last_run()["error"] == "ResourceError"
    assert not spark.edition().exists()


def test_more_than_one_worker(spark: Deployment) -> None:
    ran = spark.weekly("--week", WEEK, "--workers", "2", JAVA_HOME=str(spark.folder / "java"))
    assert ran.returncode == 50, ran.stderr
    assert "--workers 2: with [engine] name = spark a run has one worker" in ran.stderr


def test_no_java(spark: Deployment) -> None:
    ran = spark.weekly("--week", WEEK, JAVA_HOME=os.devnull)
    assert ran.returncode == 50, ran.stderr
    assert "Spark needs Java 17 or newer" in ran.stderr

"""What Spark needs, looked at before it is started."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Final

from recsys.errors import ResourceError, SettingsError
from recsys.home import available_memory
from recsys.settings import SparkSettings
from recsys.spark._session import FIXED, configuration

_LEAST_PYSPARK: Final = (4, 1)
_LEAST_JAVA: Final = 17
_PATIENCE_S: Final = 5.0
#: Under it, the driver's Java does not even come up to Spark's own memory.
_LEAST_MEMORY: Final = 512 << 20
_UNITS: Final = {"": 1 << 20, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_INSTALL: Final = "pip install 'recsys-weekly[spark]'"


def look(settings: SparkSettings) -> None:
    """See that Spark can be started.

    Raises:
        SettingsError: the package, Java or a configuration is missing or too old, or a setting is
            one that cannot be changed.
        ResourceError: the machine has too little memory, or the master does not answer.
    """
    _look_at_options(settings)
    _look_at_package()
    _look_at_java()
    _look_at_memory(settings)
    _look_at_master(settings.master)


def _look_at_options(settings: SparkSettings) -> None:
    for key, value in FIXED.items():
        if settings.options.get(key, value) != value:
            raise SettingsError(
                f"[spark] {key} = {settings.options[key]!r}: expected {value!r}, which the rows "
                "stand on, or no such line."
            )
    for key in ("spark.master", "spark.remote"):
        if key in settings.options:
            raise SettingsError(f"[spark] {key} is not a setting: name the cluster in master.")


def _look_at_package() -> None:
    try:
        version = importlib.metadata.version("pyspark")
    except importlib.metadata.PackageNotFoundError:
        raise SettingsError(
            f"[engine] name = spark needs the package pyspark, which is not installed: {_INSTALL}"
        ) from None
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < _LEAST_PYSPARK:
        least = ".".join(map(str, _LEAST_PYSPARK))
        raise SettingsError(
            f"[engine] name = spark needs pyspark {least} or newer, and {version} is installed: "
            f"{_INSTALL}"
        )
    home = os.environ.get("SPARK_HOME")
    if home and not (Path(home) / "bin" / "spark-submit").is_file():
        raise SettingsError(
            f"SPARK_HOME = {home} has no bin/spark-submit. Unset it, and Spark is that of pyspark."
        )


def _look_at_java() -> None:
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    wanted = f"Spark needs Java {_LEAST_JAVA} or newer"
    if java is None or not Path(java).is_file():
        where = f"JAVA_HOME = {home} has none" if home else "there is no java on the PATH"
        raise SettingsError(
            f"{wanted}, and {where}. Install one, such as Debian's openjdk-17-jre-headless."
        )
    version = [java, "-version"]
    said = subprocess.run(version, capture_output=True, text=True, check=False)  # noqa: S603 - Java, as found
    found = re.search(r'version "(?:1\.)?(\d+)', said.stderr + said.stdout)
    if found is None:
        raise SettingsError(f"{wanted}, and {java} -version does not say which it is.")
    if int(found[1]) < _LEAST_JAVA:
        raise SettingsError(
            f"{wanted}, and {java} is Java {found[1]}. Name a newer one in JAVA_HOME."
        )


def _look_at_memory(settings: SparkSettings) -> None:
    options = configuration(settings)
    threads = settings.master.startswith("local[")  # there the executor is the driver
    for key in ("spark.driver.memory", *(() if threads else ("spark.executor.memory",))):
        if key in options and _bytes(key, options[key]) < _LEAST_MEMORY:
            raise ResourceError(
                f"[spark] {key} = {options[key]}: Spark does not start with less than "
                f"{_LEAST_MEMORY >> 20} MiB."
            )
    needed = _bytes("spark.driver.memory", options.get("spark.driver.memory", "1g"))
    if cluster := re.fullmatch(
        r"local-cluster\[(\d+),\d+,(\d+)\]", settings.master.replace(" ", "")
    ):
        workers, each = map(int, cluster.groups())
        executor = _bytes("spark.executor.memory", options.get("spark.executor.memory", "1g"))
        if executor > each << 20:
            raise ResourceError(
                f"[spark] master = {settings.master} has workers of {each} MiB, too little for "
                f"executors of {executor >> 20} MiB: name less in spark.executor.memory."
            )
        needed += workers * executor
    available = available_memory()
    if available is not None and available < needed:
        raise ResourceError(
            f"[spark] master = {settings.master} takes up to {needed >> 20} MiB of memory on this "
            f"machine, of which {available >> 20} MiB are available. Stop something else, or name "
            "less in [spark] spark.driver.memory and spark.executor.memory."
        )


def _bytes(key: str, text: str) -> int:
    """A size as Spark writes it; without a unit, in MiB."""
    size = re.fullmatch(r"(\d+)([bkmgt]?)b?", text.strip().lower())
    if size is None:
        raise SettingsError(f"[spark] {key} = {text!r}: expected a size such as 1g or 1024m")
    return int(size[1]) * _UNITS[size[2]]


def _look_at_master(master: str) -> None:
    if master == "yarn" and not {"HADOOP_CONF_DIR", "YARN_CONF_DIR"} & os.environ.keys():
        raise SettingsError(
            "[spark] master = yarn: HADOOP_CONF_DIR or YARN_CONF_DIR must name the folder of the "
            "cluster's configuration."
        )
    if not master.startswith(("spark://", "k8s://")):
        return
    addresses = master.split("://", 1)[1].split("://")[-1].split("/")[0].split(",")
    problems = []
    for address in addresses:
        host, _, port = address.partition(":")
        try:
            with socket.create_connection((host, int(port or 443)), timeout=_PATIENCE_S):
                return
        except (OSError, ValueError) as error:
            problems.append(f"{address}: {error}")
    raise ResourceError(
        f"[spark] master = {master} cannot be reached ({'; '.join(problems)}). Is it running, and "
        "is this its address?"
    )

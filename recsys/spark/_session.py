"""The Spark session of a process: opened once, before any work, and stopped whole."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from recsys.errors import RecsysError, ResourceError, SettingsError
from recsys.settings import Settings, SparkSettings
from recsys.spark._watch import GIVE_UP_S, Watch, watch

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: What the rows would not be the same without.
FIXED: Final = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.catalogImplementation": "in-memory",
}
_DEFAULTS: Final = {
    "spark.app.name": "recsys",
    "spark.log.level": "ERROR",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.adaptive.enabled": "true",
    # Small weeks are not cut into a partition a core: it costs more than it brings.
    "spark.sql.adaptive.coalescePartitions.parallelismFirst": "false",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    # A task has one core; the libraries under it would start a thread for each of the machine's.
    "spark.executorEnv.OPENBLAS_NUM_THREADS": "1",
    "spark.executorEnv.OMP_NUM_THREADS": "1",
    "spark.executorEnv.NUMBA_NUM_THREADS": "1",
}
#: Where driver and executors are on this machine, they talk over loopback.
_ON_THIS_MACHINE: Final = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}
_DRIVER_MEMORY: Final = "2g"
#: The Python of the executors; it stands in the settings, and the package looks for it in the
#: environment alone.
_PYTHON: Final = "spark.pyspark.python"
#: For so long a cluster may take to give the first executor.
_PATIENCE_S: Final = 120.0
#: And the Java process to end by itself.
_ENDING_S: Final = 60.0


@dataclass
class _Open:
    session: SparkSession
    settings: SparkSettings
    process: int
    watch: Watch | None = None


_open: _Open | None = None


def configuration(settings: SparkSettings) -> dict[str, str]:
    """Every setting that the session is opened with."""
    local = settings.master.startswith("local")
    return {
        **_DEFAULTS,
        **(_ON_THIS_MACHINE if local else {}),
        **({"spark.driver.memory": _DRIVER_MEMORY} if local else {}),
        _PYTHON: os.environ.get("PYSPARK_PYTHON", sys.executable),
        **settings.options,
        **FIXED,
    }


def session(settings: Settings) -> SparkSession:
    """The session of this process, opened at the first call.

    Raises:
        SettingsError: this process was forked from the one that the session belongs to.
        ResourceError: the session cannot be opened, or no executor comes that can work.
    """
    global _open
    if _open is not None and _open.process != os.getpid():
        raise SettingsError(
            "Spark's session belongs to the process that opened it. Run with one worker "
            "(--workers 1): Spark does the work of several."
        )
    if _open is not None and (_open.settings != settings.spark or not _alive(_open.session)):
        close()
    if _open is None:
        opened = _opened(settings.spark)
        _open = _Open(opened, settings.spark, os.getpid())
        atexit.register(close)
        try:
            _look_at_configuration(opened)
            if not settings.spark.master.startswith("local["):
                _look_at_executors(opened, settings.home)
                _open.watch = watch(opened)
        except BaseException:
            close()
            raise
    return _open.session


def explained(error: BaseException) -> BaseException:
    """What an error of Spark's own comes of, where that is known; else the error itself."""
    if _open is None or isinstance(error, RecsysError):
        return error
    if _open.watch is not None and _open.watch.gave_up.is_set():
        return ResourceError(
            f"[spark] master = {_open.settings.master} had no executor for {GIVE_UP_S:.0f} s while "
            "there was work. Has it lost its workers? Start them, and run the same command again."
        )
    if not _alive(_open.session):
        return ResourceError(
            "Spark's Java process has ended, or the cluster has let go of it. Often that is "
            "memory: look whether the system has killed it, and name more or less in [spark] "
            "spark.driver.memory. What is complete is kept: run the same command again."
        )
    return error


def _alive(session: SparkSession) -> bool:
    """Whether the Java process is there, and the cluster has not given the session up."""
    from pyspark import SparkContext

    gateway: Any = SparkContext._gateway  # noqa: SLF001 - nothing public knows the process
    if gateway is None or (gateway.proc is not None and gateway.proc.poll() is not None):
        return False
    return not session.sparkContext._jsc.sc().isStopped()  # noqa: SLF001 - nor whether it is stopped


def close() -> None:
    """Stop the session, and the Java process that it started; nothing where there is none."""
    global _open
    if _open is None or _open.process != os.getpid():
        return
    ending, _open = _open, None
    if ending.watch is not None:
        ending.watch.stop()
    with contextlib.suppress(Exception):  # the JVM may be gone already
        ending.session.stop()
    _end_java()
    atexit.unregister(close)


def _end_java() -> None:
    """End the Java process, which the package does only where this one ends."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    SparkContext._active_spark_context = None  # noqa: SLF001 - it is left where stopping failed
    SparkSession._instantiatedSession = SparkSession._activeSession = None  # noqa: SLF001 - so is it
    gateway: Any = SparkContext._gateway  # noqa: SLF001 - nothing public knows the process
    if gateway is not None and gateway.proc is not None:  # spark-submit's own ends after this one
        SparkContext._gateway = SparkContext._jvm = None  # noqa: SLF001
        with contextlib.suppress(Exception):
            gateway.shutdown()
        gateway.proc.stdin.close()
        try:
            gateway.proc.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            gateway.proc.kill()
            gateway.proc.wait()


def _opened(settings: SparkSettings) -> SparkSession:
    from pyspark.sql import SparkSession

    logging.getLogger("py4j").setLevel(logging.WARNING)  # it tells of each connection it closes
    wanted = configuration(settings)
    os.environ["PYSPARK_PYTHON"] = wanted[_PYTHON]
    builder = SparkSession.Builder().master(settings.master)
    for key, value in wanted.items():
        builder = builder.config(key, value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # the gateway's own sockets
            return builder.getOrCreate()
    except Exception as error:
        cause = _cause(error)
        _end_java()
        raise ResourceError(
            f"No Spark session can be opened on [spark] master = {settings.master}: {cause} What "
            "Spark itself says stands above. Is that a Spark cluster, of the version of the "
            "pyspark here, and is each setting one of Spark's?"
        ) from error


def _look_at_configuration(session: SparkSession) -> None:
    """See that Spark understands all of its settings.

    Raises:
        SettingsError: it does not.
    """
    try:
        session.range(1).schema  # noqa: B018 - what stands in them is read at the first question
    except Exception as error:
        raise SettingsError(f"[spark] has a setting that Spark refuses: {_cause(error)}") from error


def _look_at_executors(session: SparkSession, home: Path) -> None:
    """See that an executor comes in time, has the package, and sees the home.

    Raises:
        ResourceError: what is missing.
    """
    import tempfile

    home.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=home, prefix=".seen-by-executors-") as shared:
        probe = _Probe(shared.name)
        looking = session.range(1).mapInArrow(probe, "missing string")
        with _time_limit(session, _PATIENCE_S) as late:
            try:
                (row,) = looking.collect()
            except Exception as error:
                why = (
                    f"gave no executor within {_PATIENCE_S:.0f} s. Does it have workers with "
                    "free cores and memory?"
                    if late.is_set()
                    else f"has executors that cannot work: {_first_line(error)}"
                )
                raise ResourceError(
                    f"[spark] master = {session.conf.get('spark.master')} {why}"
                ) from error
    if row.missing:
        raise ResourceError(
            f"[spark] master = {session.conf.get('spark.master')}: {row.missing} See docs/spark.md."
        )


@dataclass(frozen=True)
class _Probe:
    """Says, in an executor, what it lacks."""

    shared: str

    def __call__(self, batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        for batch in batches:
            missing = None
            if not Path(self.shared).exists():
                missing = (
                    f"executors do not see {Path(self.shared).parent}. [recsys] home must be on a "
                    "disk that the driver and all executors share, under one path."
                )
            yield pa.RecordBatch.from_pydict(
                {"missing": pa.array([missing] * len(batch), pa.string())}
            )


@contextlib.contextmanager
def _time_limit(session: SparkSession, seconds: float) -> Iterator[threading.Event]:
    """Cancel what runs after so many seconds; the event says that it was."""
    late = threading.Event()

    def cancel() -> None:
        late.set()
        session.sparkContext.cancelAllJobs()

    timer = threading.Timer(seconds, cancel)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


def _cause(error: BaseException) -> str:
    """What an error in Java comes of, in its own words."""
    java: Any = getattr(error, "java_exception", getattr(error, "_origin", None))
    if java is None:
        return _first_line(error)
    while java.getCause() is not None:
        java = java.getCause()
    return _first_line(ValueError(str(java.getMessage())))


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".") + "."

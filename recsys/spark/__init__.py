"""The Spark engine: the same week on a cluster.

Relational stages are Spark SQL; what is a kernel on one machine (judging rows, song keys, the
entries of the matrix, scoring and rules) is the same function here, over Arrow batches in the
executors' Python. The driver collects nothing that grows with listeners or events.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from recsys.listens import CleanReport, LogFile
from recsys.settings import ListensSettings, Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["SparkEngine"]


class SparkEngine:
    """Works on a Spark cluster; see :class:`recsys.engine.Engine`.

    The session is opened at the first work, and there is one for the process.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def session(self) -> SparkSession:
        """The session of this process.

        Raises:
            SettingsError: this process was forked from the one that the run began in.
            ResourceError: the cluster gives no executor.
        """
        from recsys.spark import _session

        return _session.session(self._settings)

    def preflight(self) -> None:
        """Look for Java, the package, memory and the master."""
        from recsys.spark import _preflight

        _preflight.look(self._settings.spark)

    def close(self) -> None:
        """Stop the session and its Java process."""
        from recsys.spark import _session

        _session.close()

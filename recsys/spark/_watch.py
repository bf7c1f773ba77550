"""A cluster that has nobody left to work is said to be so, and is not waited for without end.

Spark itself waits for executors as long as it takes, and says so once.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_LOG: Final = logging.getLogger("recsys.spark")
#: For so long work may wait for an executor.
GIVE_UP_S: Final = 600.0
#: And so often it is looked at, and said.
_LOOK_EVERY_S: Final = 5.0
_SAY_EVERY_S: Final = 60.0


class Watch(threading.Thread):
    """Counts executors while there is work; from :func:`watch`.

    Attributes:
        gave_up: set when the work was cancelled, since nobody was there to do it.
    """

    def __init__(self, session: SparkSession) -> None:
        super().__init__(name="watch-spark", daemon=True)
        self.gave_up = threading.Event()
        self._context = session.sparkContext
        self._stopped = threading.Event()

    def run(self) -> None:
        """Look until the session is stopped."""
        from py4j.protocol import Py4JError

        alone_since = said = time.monotonic()
        while not self._stopped.wait(_LOOK_EVERY_S):
            now = time.monotonic()
            try:
                alone = self._is_alone()
            except (Py4JError, OSError):  # the Java process has ended: whoever asks it is told
                return
            if not alone:
                alone_since = said = now
            elif now - alone_since > GIVE_UP_S:
                self.gave_up.set()
                self._context.cancelAllJobs()
                alone_since = said = now
            elif now - said > _SAY_EVERY_S:
                said = now
                _LOG.warning(
                    "No executor for %.0f s; the work waits for one, %.0f s at most.",
                    now - alone_since,
                    GIVE_UP_S,
                )

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def _is_alone(self) -> bool:
        """Whether there is work, and nobody for it."""
        if not self._context.statusTracker().getActiveJobsIds():
            return False
        spark: Any = self._context._jsc.sc()  # noqa: SLF001 - nothing public knows the executors
        return int(spark.getExecutorMemoryStatus().size()) < 2  # the driver is one


def watch(session: SparkSession) -> Watch:
    """Begin to watch a cluster."""
    started = Watch(session)
    started.start()
    return started

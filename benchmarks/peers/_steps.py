"""The seconds of a script's steps, for its last line of output."""

from __future__ import annotations

import json
import time

#: The model that every script trains, under one objective, so that quality compares.
FACTORS, ITERATIONS, REGULARIZATION, ALPHA = 64, 15, 2.0, 2.0
LENGTH = 30
ACTIVE_DAYS = 28
#: Of the scripts on Spark.
MASTER, MEMORY = "local[2]", "4g"


class Steps:
    """Notes how long each step took."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def done(self, step: str) -> None:
        """A step has ended."""
        now = time.perf_counter()
        self.seconds[step] = round(now - self._last, 4)
        self._last = now

    def tell(self, **more: object) -> None:
        """Print them."""
        print(json.dumps({"steps": self.seconds, **more}))

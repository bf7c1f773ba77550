"""Whether Spark can be tested here."""

from __future__ import annotations

import os

import pytest

from recsys.errors import RecsysError
from recsys.settings import Settings
from recsys.spark import _preflight


def need_spark(settings: Settings) -> None:
    """Where Spark cannot start: skip on a laptop, fail in CI."""
    try:
        _preflight.look(settings.spark)
    except RecsysError as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI must test Spark: {error}")
        pytest.skip(f"Spark is not tested here: {error}")

"""What Luigi must be told for a run to be trusted, wherever it is started from."""

from __future__ import annotations

import logging
from typing import Final

import luigi.configuration

from recsys.errors import RecsysError

_DEFAULTS: Final = {
    # Without these a failed run exits with 0.
    "retcode": {
        "already_running": "10",
        "missing_data": "20",
        "not_run": "25",
        "task_failed": "30",
        "scheduling_error": "35",
        "unhandled_exception": "40",
    },
    # A stage that wrote nothing is not done.
    # It waits for a stage that is to be tried again.
    "worker": {"check_complete_on_run": "true", "keep_alive": "true"},
    # A stage fails for good at once, but for those that say otherwise.
    "scheduler": {"retry_count": "1", "retry_delay": "60"},
    # One run per home is seen to by the home's own lock, not one per command line.
    "core": {"no_lock": "true"},
}


def _tell_plainly(record: logging.LogRecord) -> bool:
    """Say an error of ours in its own words; only others need a stack trace."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, RecsysError):
        record.msg = f"{record.getMessage().strip()}: {error}"
        record.args = None
        record.exc_info = None
    return True


def apply() -> None:
    """Set each default that no configuration file sets."""
    logging.getLogger("luigi-interface").addFilter(_tell_plainly)
    config = luigi.configuration.get_config()
    for section, values in _DEFAULTS.items():
        for key, value in values.items():
            if not config.has_option(section, key):
                config.set(section, key, value)

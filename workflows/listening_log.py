"""ListeningLog: someone else's log, as it is. SplitLog: the same by day, where it has no days."""

from __future__ import annotations

import logging
from pathlib import Path

import luigi

from recsys.errors import MissingDataError
from workflows import _run
from workflows._stage import ATTEMPTS_OUTSIDE, Stage


class LogPartition(luigi.Target):
    """The files that arrived on a day."""

    def __init__(self, day: str) -> None:
        self.day = day

    def exists(self) -> bool:
        """Whether there are any."""
        return any(str(day) == self.day for day in _run.current().inventory.days)


class ListeningLog(luigi.ExternalTask):
    """One day of a partitioned log."""

    day = luigi.Parameter(description="arrival day, YYYY-MM-DD")

    def output(self) -> LogPartition:
        """The partition."""
        return LogPartition(self.day)


class SplitLog(Stage):
    """A log without partitions, read once and split by the UTC date of each listen."""

    stage = "split_log"
    retry_count = ATTEMPTS_OUTSIDE

    fingerprint = luigi.Parameter(description="names the log's files as they are now")

    @property
    def folder(self) -> Path:
        """Where the artefact is."""
        return _run.current().home.split(self.fingerprint)

    def run(self) -> None:
        """Read the whole log and split it."""
        from recsys.listens import split_dump

        with self.draft() as draft:
            report = split_dump(self.settings.listens, _run.current().inventory, draft.path)
            if not report.days:
                raise MissingDataError(
                    f"The log {self.settings.listens.source} holds no usable listen: "
                    f"{report.read} rows read, refused {dict(report.undated)}. "
                    "Check [listens] format and columns."
                )
            draft.rows = {"read": report.read, "undated": sum(report.undated.values())}
            draft.facts = {
                "days": {str(day): facts for day, facts in report.days.items()},
                "undated": dict(report.undated),
                "sources": list(report.sources),
            }
        undated = ", ".join(f"{rows} {reason}" for reason, rows in report.undated.items())
        self.tell(
            f"{report.read} rows read: {report.read - sum(report.undated.values())} on "
            f"{len(report.days)} days, {undated or 'none'} on no day",
            logging.WARNING if undated else logging.INFO,
        )

"""DailyPlays: what a day's listens come to per user, track and listening day; and all of them."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import luigi

from workflows import _run
from workflows._stage import Stage
from workflows.clean_listens import CleanListens


class DailyPlays(Stage):
    """Integer counts of one arrival day, and what the day says of its tracks."""

    stage = "daily_plays"

    day = luigi.Parameter(description="arrival day, YYYY-MM-DD")

    @property
    def folder(self) -> Path:
        """Where the artefact is."""
        return _run.current().home.plays(date.fromisoformat(self.day))

    def requires(self) -> CleanListens:
        """The day, cleaned."""
        return CleanListens(day=self.day)

    def run(self) -> None:
        """Count."""
        clean = self.input().open()
        with self.draft() as draft:
            counted = _run.current().engine.daily_plays(clean.file("listens.parquet"), draft.path)
            draft.rows = dict(counted)
            draft.inputs = {"clean_listens": clean.digest}


class DailyPlaysBefore(luigi.WrapperTask):
    """Every arrival day before a cutoff, as one task.

    Asked for one by one while a task runs, Luigi would follow each day to the log's beginning.
    """

    cutoff = luigi.Parameter(description="YYYY-MM-DD")

    def requires(self) -> list[DailyPlays]:
        """The days."""
        days = _run.current().log_days(date.fromisoformat(self.cutoff)) or []
        return [DailyPlays(day=str(day)) for day in days]

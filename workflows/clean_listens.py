"""CleanListens: a day of the log in one schema, validated and without duplicates."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import luigi

from recsys.artefact import Artefact
from recsys.requeue import DUPLICATE_DAYS, batches_for, returned_files
from workflows import _run
from workflows._stage import ATTEMPTS_OUTSIDE, Stage
from workflows.listening_log import ListeningLog, SplitLog


class CleanListens(Stage):
    """One arrival day, cleaned; what is refused is in its quarantine with a reason."""

    stage = "clean_listens"
    retry_count = ATTEMPTS_OUTSIDE

    day = luigi.Parameter(description="arrival day, YYYY-MM-DD")

    @property
    def folder(self) -> Path:
        """Where the artefact is."""
        return _run.current().home.clean(date.fromisoformat(self.day))

    def requires(self) -> dict[str, luigi.Task | list[CleanListens]]:
        """The day of the log, and the days before in which its duplicates may be."""
        run = _run.current()
        day = date.fromisoformat(self.day)
        earlier = [
            CleanListens(day=str(one))
            for one in run.log_days(day) or []
            if one >= day - timedelta(days=DUPLICATE_DAYS)
        ]
        log = (
            ListeningLog(day=self.day)
            if run.inventory.partitioned
            else SplitLog(fingerprint=run.fingerprint)
        )
        return {"log": log, "earlier": earlier}

    def run(self) -> None:
        """Clean the day."""
        run = _run.current()
        inventory = run.inventory
        day = date.fromisoformat(self.day)
        earlier: list[Artefact] = [target.open() for target in self.input()["earlier"]]
        back = batches_for(run.home, day, run.log_days(day) or [])
        with self.draft() as draft:
            if inventory.partitioned:
                source = inventory.days[day]
            else:
                split = self.input()["log"].open()
                source = split.path / f"date={day}"
                said = split.facts["days"][self.day]
                draft.facts |= {"content": said["content"], "files": said["files"]}
            report = run.engine.clean_day(
                self.settings.listens,
                day,
                source,
                [one.file("listens.parquet") for one in earlier],
                draft.path,
                [file for batch in back for file in returned_files(batch)],
            )
            draft.inputs = {"earlier": [one.digest for one in earlier]}
            if back:
                draft.inputs["requeued"] = [batch.digest for batch in back]
                draft.facts["requeued"] = [batch.path.name for batch in back]
            draft.rows = {
                "read": report.read,
                "requeued": report.requeued,
                "kept": report.kept,
                "duplicates": report.duplicates,
                "quarantined": sum(report.quarantined.values()),
            }
            draft.facts["quarantined"] = dict(report.quarantined)
            draft.facts["sources"] = list(report.sources)
        self.tell(
            f"{report.read} rows read, {report.requeued} back from quarantine: {report.kept} kept, "
            f"{report.duplicates} duplicates, "
            f"{sum(report.quarantined.values())} in quarantine"
        )

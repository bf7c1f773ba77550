"""WeeklyPlaylists: the edition's record. The one task that looks at the clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import cached_property
from pathlib import Path

import luigi

from recsys import artefact, home, tracking_process
from recsys.errors import SettingsError
from recsys.weeks import Week
from workflows import _preflight, _run
from workflows._stage import Stage, digests
from workflows.hindsight import Hindsight
from workflows.published_edition import PublishedEdition


class WeeklyPlaylists(Stage):
    """Make and publish the playlists of one week."""

    stage = "record"

    week = luigi.Parameter(
        default="", description="YYYY-Www; by default the newest week whose cutoff has passed"
    )
    revision = luigi.IntParameter(
        default=0, description="make the edition anew beside the others; by default the newest"
    )
    backfill = luigi.BoolParameter(
        default=False, significant=False, description="leave a newer edition served"
    )

    @cached_property
    def _edition(self) -> tuple[Week, int]:
        return _run.settle(self.week, self.revision)

    @property
    def folder(self) -> Path:
        """Where the artefact is."""
        week, revision = self._edition
        return _run.current().home.edition(week, revision) / self.stage

    def complete(self) -> bool:
        """Whether the edition is recorded and published; if not, all is looked at first."""
        asked = {"command": "WeeklyPlaylists", "edition": self.week, "revision": self.revision}
        return bool(_preflight.guarded(self._look, **asked))

    def _look(self) -> bool:
        published = self.published()
        week, revision = self._edition
        if published:
            from recsys.record import recorded_verdict

            if (cleaned := _run.current().home.cleaned(self.folder.parent)).exists():
                _run.LOG.info("Edition %s is published, and was cleaned: %s", week, cleaned)
            _preflight.already_published(
                command="WeeklyPlaylists",
                edition=str(week),
                revision=revision,
                verdict=recorded_verdict(self.folder.parent),
            )
            return True
        _preflight.begin(week, revision, backfill=self.backfill, command="WeeklyPlaylists")
        return False

    def published(self) -> bool:
        """Whether the edition is recorded and the store has it; nothing else is looked at."""
        self.__dict__.pop("_edition", None)
        return artefact.exists(self.folder) and self.requires()["published"].complete()

    def requires(self) -> dict[str, luigi.Task]:
        """The edition, published, and how the ones before it fared."""
        week, revision = self._edition
        return {
            "published": PublishedEdition(
                week=str(week), revision=revision, backfill=self.backfill
            ),
            "hindsight": Hindsight(week=str(week), revision=revision),
        }

    def run(self) -> None:
        """Say whose model is served, keep house, and write the report and the record."""
        from recsys.record import edition_record
        from recsys.report import write_report
        from recsys.retention import keep_house
        from recsys.store import open_store
        from recsys.tracking import make_champion

        week, revision = self._edition
        edition = _run.current().home.edition(week, revision)
        with open_store(self.settings.store_url) as store:
            served = store.current()
            if served and (served.edition, served.revision) == (str(week), revision):
                tracking_process.ask(
                    lambda failure: self.tell(f"no champion in MLflow, and going on: {failure}"),
                    make_champion,
                    self.settings.tracking_uri,
                    artefact.Artefact.open(edition / "als_model").digest,
                )
            keep_house(store, _run.current().home, self.settings)
        record = edition_record(_run.current().home, edition)
        write_report(_run.current().home, edition)
        with self.draft() as draft:
            artefact.write_json(draft.path / "record.json", record)
            draft.inputs = digests({name: one.open() for name, one in self.input().items()})
        home.record_run(
            _run.current().home.root,
            command="WeeklyPlaylists",
            edition=str(week),
            revision=revision,
            outcome="succeeded",
            verdict=record["verdict"],
            exit_code=0,
        )
        tracking_process.settle()


class BackfillPlaylists(luigi.Task):
    """Make the editions of several weeks, one after another; the first failure ends it.

    The edition that is served stays served unless a newer one is made.
    """

    first = luigi.Parameter(description="first week, YYYY-Www")
    last = luigi.Parameter(description="last week, YYYY-Www")

    def complete(self) -> bool:
        """Whether every week is recorded and published."""
        asked = {"command": "BackfillPlaylists", "edition": f"{self.first} to {self.last}"}
        return bool(_preflight.guarded(self._published, **asked))

    def _published(self) -> bool:
        weeks = self._weeks()
        _run.settle(self.last, 0)
        if all(week.published() for week in weeks):
            return True
        _preflight.hold()
        return False

    def run(self) -> Iterator[WeeklyPlaylists]:
        """Ask for one week after another."""
        for week in self._weeks():  # noqa: UP028 - Luigi sends answers, which a list cannot take
            yield week

    def _weeks(self) -> list[WeeklyPlaylists]:
        try:
            first, last = Week.parse(self.first), Week.parse(self.last)
        except ValueError as error:
            raise SettingsError(f"--first, --last: {error}") from None
        if last < first:
            raise SettingsError(f"--first {first} is later than --last {last}.")
        weeks = (last.monday - first.monday) // timedelta(weeks=1) + 1
        return [WeeklyPlaylists(week=str(first + n), backfill=True) for n in range(weeks)]

"""The run in hand: its settings, its home and its log, and the edition it is asked for."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property

from recsys import artefact, listens, plan
from recsys import engine as engines
from recsys.artefact import Artefact
from recsys.engine import Engine
from recsys.errors import MissingDataError, SettingsError
from recsys.home import Home
from recsys.listens import Inventory, LogFile, catalogue_files
from recsys.plan import Plan
from recsys.settings import Settings, load_settings
from recsys.weeks import Week

LOG = logging.getLogger("luigi-interface")


@dataclass
class Run:
    """What every stage of a run is handed."""

    settings: Settings

    @cached_property
    def home(self) -> Home:
        """Where everything is kept."""
        return Home.of(self.settings)

    @cached_property
    def engine(self) -> Engine:
        """What does the work."""
        return engines.engine(self.settings)

    @cached_property
    def inventory(self) -> Inventory:
        """The files of the log, listed once a run."""
        return listens.list_log(self.settings.listens)

    @property
    def fingerprint(self) -> str:
        """Names a log without partitions as its files are now."""
        files = [[file.name, file.size, file.modified] for file in self.inventory.files]
        return artefact.digest_of(files)[:16]

    @cached_property
    def catalogue_files(self) -> tuple[LogFile, ...]:
        """The files of the service's catalogue, listed once a run; none without one."""
        source = self.settings.catalogue.source
        return catalogue_files(source) if source else ()

    @property
    def catalogue_fingerprint(self) -> str | None:
        """Names the service's catalogue as its files are now; None without one."""
        files = [[file.name, file.size, file.modified] for file in self.catalogue_files]
        return artefact.digest_of(files)[:16] if files else None

    @cached_property
    def _split_days(self) -> set[date]:
        split = Artefact.open(self.home.split(self.fingerprint))
        return {date.fromisoformat(day) for day in split.facts["days"]}

    @cached_property
    def _days_at_home(self) -> set[date]:
        folders = self.home.plays(date.min).parent.glob("date=*")
        return {
            date.fromisoformat(folder.name.removeprefix("date="))
            for folder in folders
            if artefact.exists(folder)
        }

    def list_again(self) -> None:
        """Forget what the log was, so that it is listed as it is now."""
        for listed in ("inventory", "catalogue_files", "_split_days", "_days_at_home"):
            self.__dict__.pop(listed, None)

    def log_days(self, end: date) -> list[date] | None:
        """The arrival days before ``end``; None while a log without partitions is not split.

        A day that was read stays, also when the log keeps its days for a while only: what was heard
        on it was heard.
        """
        if self.inventory.partitioned:
            days = set(self.inventory.days)
        elif artefact.exists(self.home.split(self.fingerprint)):
            days = self._split_days
        else:
            return None
        return sorted(day for day in days | self._days_at_home if day < end)


_current: Run | None = None


def current() -> Run:
    """The run in hand.

    Raises:
        SettingsError: the settings are not usable.
    """
    global _current
    if _current is None:
        _current = Run(load_settings())
    return _current


def settle(week_text: str, revision: int) -> tuple[Week, int]:
    """Read the settings afresh and say which edition is asked for.

    Args:
        week_text: ``YYYY-Www``, or empty for the newest week whose cutoff has passed.
        revision: of the edition; 0 for the newest one planned.

    Raises:
        SettingsError: the settings or the week are not usable.
        MissingDataError: the week's cutoff has not passed.
        PlanError: the settings are not those of the plan.
    """
    week = settle_week(week_text)
    run = current()
    revisions = run.home.revisions(week)
    if revision < 0 or (revision > 1 and revision > max(revisions, default=0) + 1):
        raise SettingsError(
            f"--revision {revision}: expected at most {max(revisions, default=0) + 1}; "
            f"edition {week} has {len(revisions)} planned."
        )
    revision = revision or max(revisions, default=1)
    if revision in revisions:
        plan.check_plan(Plan.load(run.home.edition(week, revision) / "plan"), run.settings)
    return week, revision


def settle_week(week_text: str) -> Week:
    """Read the settings afresh and say which week is asked for.

    Args:
        week_text: ``YYYY-Www``, or empty for the newest week whose cutoff has passed.

    Raises:
        SettingsError: the settings or the week are not usable.
        MissingDataError: the week's cutoff has not passed.
    """
    global _current
    settings = load_settings()
    if _current is None or _current.settings != settings:
        _current = Run(settings)
    newest = Week.newest(datetime.now(UTC), settings.edition.lead_hours)
    try:
        week = Week.parse(week_text) if week_text else newest
    except ValueError as error:
        raise SettingsError(f"--week {error}") from None
    if week > newest:
        cutoff = week.cutoff(settings.edition.lead_hours)
        raise MissingDataError(
            f"Edition {week} closes its books at {cutoff:%Y-%m-%d %H:%M} UTC, which is still to "
            f"come. The newest edition that can be made is {newest}."
        )
    return week

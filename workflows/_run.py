"""The run in hand: its settings, its home, its log, and what is looked at before any work."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any, Final

from luigi.cmdline_parser import CmdlineParser

from recsys import artefact, home, listens, plan
from recsys.artefact import Artefact
from recsys.errors import (
    AlreadyRunningError,
    BadLogError,
    MissingDataError,
    PlanError,
    RecsysError,
    SettingsError,
)
from recsys.home import Home
from recsys.listens import Inventory
from recsys.plan import Plan
from recsys.settings import STOP, Settings, load_settings
from recsys.weeks import Week

LOG = logging.getLogger("luigi-interface")
#: What Luigi exits with when a stage failed, whatever it failed of.
TASK_FAILED: Final = 30


@dataclass
class Run:
    """What every stage of a run is handed."""

    settings: Settings

    @cached_property
    def home(self) -> Home:
        """Where everything is kept."""
        return Home.of(self.settings)

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
    def _split_days(self) -> set[date]:
        split = Artefact.open(self.home.split(self.fingerprint))
        return {date.fromisoformat(day) for day in split.facts["days"]}

    def log_days(self, end: date) -> list[date] | None:
        """The arrival days before ``end``; None while a log without partitions is not split."""
        if self.inventory.partitioned:
            days = set(self.inventory.days)
        elif artefact.exists(self.home.split(self.fingerprint)):
            days = self._split_days
        else:
            return None
        return sorted(day for day in days if day < end)


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
    revisions = _current.home.revisions(week)
    if revision < 0 or (revision > 1 and revision > max(revisions, default=0) + 1):
        raise SettingsError(
            f"--revision {revision}: expected at most {max(revisions, default=0) + 1}; "
            f"edition {week} has {len(revisions)} planned."
        )
    revision = revision or max(revisions, default=1)
    if revision in revisions:
        plan.check_plan(Plan.load(_current.home.edition(week, revision) / "plan"), settings)
    return week, revision


def hold() -> None:
    """Hold the home until this process and its children have ended.

    Raises:
        AlreadyRunningError: another run holds the home.
        ResourceError: the home cannot be written, or there is too little disk or memory.
    """
    root = current().home.root
    home.admit(root)
    home.lock(root)


def begin(week: Week, revision: int, *, backfill: bool, command: str) -> None:
    """Look at everything that can be looked at before the work, and hold the home.

    Raises:
        AlreadyRunningError: another run holds the home.
        ResourceError: the home cannot be written, or there is too little disk or memory.
        MissingDataError: the log does not hold what the edition needs.
        BadLogError: files have changed since they were read.
        PlanError: a later edition is planned already.
    """
    run = current()
    root = run.home.root
    hold()
    _open_record(run, week, revision, command)
    later = [one for one in run.home.weeks() if one > week]
    if later and not backfill:
        raise PlanError(
            f"Edition {max(later)} is planned already, so {week} would come too late for its "
            "listeners. To fill a gap in the history, run BackfillPlaylists."
        )
    for listed_before in ("inventory", "_split_days"):
        run.__dict__.pop(listed_before, None)
    home.admit(root, _unread_bytes(run, week))
    _check_log(run, week)


def guarded(look: Callable[[], Any], **asked: Any) -> Any:
    """Call ``look``; on the command line a refusal ends the process with its own exit code.

    Luigi would report it as a scheduling error among others and print a stack trace.

    Args:
        look: what may refuse.
        asked: what was asked for, to leave word of a refusal: ``command``, ``edition``,
            ``revision``.
    """
    try:
        return look()
    except RecsysError as error:
        _leave_word(
            asked,
            outcome="failed",
            error=type(error).__name__,
            why=str(error),
            exit_code=error.exit_code,
            stage="before the work",
        )
        if CmdlineParser.get_instance() is None:
            raise
        LOG.error("%s", error)
        raise SystemExit(error.exit_code) from None


def already_published(**asked: Any) -> None:
    """Leave word that nothing was to be done, over that of an older failure."""
    last = home.read_last_run(current().home.root) or {}
    if last.get("outcome") == "failed":
        _leave_word(asked, outcome="succeeded", exit_code=0)


def _leave_word(asked: Mapping[str, Any], **facts: Any) -> None:
    """Write how the run stands, unless there is no home or another run holds it."""
    run = _current
    if run is None or not run.home.root.is_dir():
        return
    with contextlib.suppress(AlreadyRunningError, OSError):
        home.lock(run.home.root)
        last = home.read_last_run(run.home.root) or {}
        begun = last.get("outcome") == "running" and last.get("process") == os.getpid()
        home.record_run(run.home.root, **{**(last if begun else asked), **facts})


def fail(error: BaseException, stage: str) -> None:
    """Leave word of the stage that failed, and why."""
    facts = dict(home.read_last_run(current().home.root) or {})
    facts.update(
        outcome="failed",
        error=type(error).__name__,
        why=str(error),
        exit_code=TASK_FAILED,
        stage=stage,
    )
    home.record_run(current().home.root, **facts)


def _open_record(run: Run, week: Week, revision: int, command: str) -> None:
    root = run.home.root
    home.record_run(
        root,
        command=command,
        edition=str(week),
        revision=revision,
        outcome="running",
        process=os.getpid(),
    )
    owner = os.getpid()

    def close_record() -> None:
        # A stage whose process was killed could leave no word of its own.
        facts = dict(home.read_last_run(root) or {})
        if os.getpid() == owner and facts.get("outcome") == "running":
            why = "The run ended before its last stage. Its log says where."
            facts.update(outcome="failed", error="Stopped", why=why)
            home.record_run(root, **facts)

    atexit.register(close_record)


def _unread_bytes(run: Run, week: Week) -> int:
    end = week.cutoff(run.settings.edition.lead_hours).date()
    if not run.inventory.partitioned:
        split = artefact.exists(run.home.split(run.fingerprint))
        return 0 if split else sum(file.size for file in run.inventory.files)
    return sum(
        file.size
        for day, files in run.inventory.days.items()
        if day < end and not artefact.exists(run.home.clean(day))
        for file in files
    )


def _check_log(run: Run, week: Week) -> None:
    lead = run.settings.edition.lead_hours
    end = week.cutoff(lead).date()
    days = run.log_days(end)
    if days is None:
        return
    check_days(days, week, run)
    if run.settings.listens.missing_day == STOP and (missing := missing_days(run, week, days)):
        raise MissingDataError(
            f"The log {run.settings.listens.source} has no partition for "
            f"{', '.join(str(day) for day in missing[:5])}"
            f"{f' and {len(missing) - 5} more' if len(missing) > 5 else ''}. Deliver the missing "
            "days, or accept the gap: [listens] missing_day = continue."
        )
    changed = [name for day in days for name in _changed_files(run, day)]
    if changed:
        raise BadLogError(
            f"{len(changed)} files of the log have changed since they were read: "
            f"{', '.join(changed[:5])}. Put them back, or remove {run.home.days} to read the "
            "whole log anew."
        )


def check_days(days: list[date], week: Week, run: Run) -> None:
    """See that the log reaches into the week before the cutoff.

    Raises:
        MissingDataError: it does not; names the last edition that can be made.
    """
    lead = run.settings.edition.lead_hours
    end = week.cutoff(lead).date()
    if not days:
        raise MissingDataError(
            f"The log {run.settings.listens.source} holds no day before {end}, the cutoff of "
            f"edition {week}. Name a later --week."
        )
    if days[-1] < end - timedelta(weeks=1):
        last = Week.of(days[-1] + timedelta(hours=lead)) + 1
        whole = run.settings.listens.missing_day != STOP or not run.inventory.partitioned
        if not whole and last.last_day(lead) > days[-1] and (last - 1).last_day(lead) >= days[0]:
            last -= 1  # the days up to the cutoff of the later one would be missing
        raise MissingDataError(
            f"The log {run.settings.listens.source} ends on {days[-1]}: nothing was heard in the "
            f"seven days before {end}, the cutoff of edition {week}. The last edition it can make "
            f"is {last}: --week {last}"
        )


def missing_days(run: Run, week: Week, days: list[date]) -> list[date]:
    """Partitions that are absent among the days that no taste state holds yet."""
    if not run.inventory.partitioned:
        return []
    lead = run.settings.edition.lead_hours
    known = [
        Week.parse(folder.parent.name).cutoff(lead).date()
        for folder in run.home.taste(week).parent.parent.glob("*/taste")
        if Week.parse(folder.parent.name) < week
    ]
    begin = max([days[0], *known])
    expected = (week.cutoff(lead).date() - begin).days
    present = set(days)
    return [
        day for day in (begin + timedelta(days=n) for n in range(expected)) if day not in present
    ]


def _changed_files(run: Run, day: date) -> list[str]:
    if not run.inventory.partitioned or not artefact.exists(run.home.clean(day)):
        return []
    clean = Artefact.open(run.home.clean(day))
    read_at = clean.manifest["times"]["started"]
    return listens.changed_files(run.inventory.days[day], clean.facts["sources"], read_at)

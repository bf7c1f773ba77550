"""What is looked at before any work, and the word that is left of how a run ended."""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from luigi import interface
from luigi.cmdline_parser import CmdlineParser

from recsys import home, tracking_process
from recsys.errors import AlreadyRunningError, PlanError, RecsysError, SettingsError
from recsys.settings import SPARK
from recsys.weeks import Week
from workflows._log_checks import check_exposures, check_log, unread_bytes
from workflows._run import LOG, current

#: What Luigi exits with when a stage failed, whatever it failed of.
TASK_FAILED: Final = 30


def hold() -> None:
    """Hold the home until this process and its children have ended.

    Raises:
        AlreadyRunningError: another run holds the home.
        ResourceError: the home cannot be written, or there is too little disk or memory.
    """
    root = current().home.root
    home.admit(root)
    if not home.holds(root):
        home.lock(root)
        current().home.tidy()


def check_engine() -> None:
    """See that the engine can work in this run.

    Raises:
        SettingsError: something it needs is not installed, or it cannot work beside other workers.
        ResourceError: there is too little memory, or its cluster does not answer.
    """
    run = current()
    workers = interface.core().workers
    if run.settings.engine.name == SPARK and workers > 1:
        raise SettingsError(
            f"--workers {workers}: with [engine] name = spark a run has one worker, whose session "
            "does not survive a fork. Spark does the work of several: see [spark] master."
        )
    run.engine.preflight()


def begin(week: Week, revision: int, *, backfill: bool, command: str) -> None:
    """Look at everything that can be looked at before the work, and hold the home.

    Raises:
        AlreadyRunningError: another run holds the home.
        SettingsError: the engine cannot work as it is set.
        ResourceError: the home cannot be written, there is too little disk or memory, or the
            engine's cluster does not answer.
        MissingDataError: the log does not hold what the edition needs.
        BadLogError: files have changed since they were read, or are no exposure log.
        PlanError: a later edition is planned already, or the edition was cleaned.
    """
    run = current()
    root = run.home.root
    hold()
    open_record(week, revision, command)
    if interface.core().workers == 1:  # a process cannot be shared by several
        tracking_process.begin(run.settings.tracking_uri)
    check_engine()
    run.list_again()
    home.admit(root, unread_bytes(run, week))
    check_log(run, week)
    check_exposures(run)
    LOG.debug("%d files of the service's catalogue", len(run.catalogue_files))
    folder = run.home.edition(week, revision)
    if run.home.cleaned(folder).exists():
        raise PlanError(
            f"Edition {week} revision {revision} was cleaned: what its playlists were made from is "
            f"removed, and the store does not have them. Make it anew: --revision {revision + 1}"
        )
    later = [one for one in run.home.weeks() if one > week]
    if later and not backfill:
        raise PlanError(
            f"Edition {max(later)} is planned already, so {week} would come too late for its "
            "listeners. To fill a gap in the history, run BackfillPlaylists."
        )


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
    """Leave word that nothing was to be done, over that of a run that failed or was killed."""
    root = current().home.root
    outcome = (home.read_last_run(root) or {}).get("outcome")
    if outcome == "failed" or (outcome == "running" and not home.holds(root)):
        _leave_word(asked, outcome="succeeded", exit_code=0)


def _leave_word(asked: Mapping[str, Any], **facts: Any) -> None:
    """Write how the run stands, unless there is no home or another run holds it."""
    with contextlib.suppress(AlreadyRunningError, SettingsError, OSError):
        root = current().home.root
        if not root.is_dir():
            return
        home.lock(root)
        last = home.read_last_run(root) or {}
        begun = last.get("outcome") == "running" and last.get("process") == os.getpid()
        known = last if begun else {key: value for key, value in asked.items() if value}
        home.record_run(root, **{**known, **facts})


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


def open_record(week: Week, revision: int, command: str) -> None:
    """Leave word that a run has begun; it is closed when this process ends, however it ends."""
    root = current().home.root
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

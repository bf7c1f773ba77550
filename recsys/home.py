"""Home: the folder that a deployment keeps everything under, and the one run it admits."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from recsys import artefact
from recsys.errors import AlreadyRunningError, ArtefactError, ResourceError
from recsys.settings import Settings
from recsys.weeks import Week

#: Raised by hand when a stage's result changes meaning, so that old and new never mix.
DAYS_VERSION: Final = 3  # 2 and 3 say less of the values of refused rows
STATES_VERSION: Final = 1
#: The same for the days of one format. Spotify: 2 names files without their listeners, 3 without
#: what people add to their names, and its times keep their unit, 4 and 5 are 2 and 3 of the others.
_FORMAT_VERSIONS: Final = {"spotify": 5}

#: Folders that hold artefacts, each three levels down.
_KINDS: Final = ("days", "states", "editions")
_LEAST_FREE_DISK: Final = 500 * 2**20
_LEAST_FREE_MEMORY: Final = 500 * 2**20
#: A day of the log is kept as cleaned listens and as plays, and sorted on disk where it is large.
_DISK_PER_LOG_BYTE: Final = 3


@dataclass(frozen=True)
class Home:
    """Where things are. The digests keep the artefacts of two logs apart."""

    root: Path
    days_digest: str
    states_digest: str

    @classmethod
    def of(cls, settings: Settings) -> Home:
        """The home that the settings name, seen by the log and the half-life they name."""
        log = settings.listens
        version = _FORMAT_VERSIONS.get(log.format, DAYS_VERSION)
        days = artefact.digest_of([version, log.source, log.format, log.columns, log.user])[:16]
        states = artefact.digest_of(
            [STATES_VERSION, days, log.half_life_days, settings.edition.lead_hours]
        )[:16]
        return cls(settings.home, days, states)

    @property
    def days(self) -> Path:
        """Everything made from the log day by day."""
        return self.root / "days" / self.days_digest

    def clean(self, day: date) -> Path:
        """The cleaned listens that arrived on a day."""
        return self.days / "clean" / f"date={day}"

    def plays(self, day: date) -> Path:
        """The plays that a day's listens come to."""
        return self.days / "plays" / f"date={day}"

    def requeued(self, batch: int) -> Path:
        """Rows of cleaned days that came back from quarantine, counted from 1."""
        return self.days / "requeued" / f"batch-{batch:04}"

    def split(self, fingerprint: str) -> Path:
        """A log without partitions, split by day, as it was when it had this fingerprint."""
        return self.days / "split" / fingerprint

    def taste(self, week: Week) -> Path:
        """The taste state at a week's cutoff."""
        return self.root / "states" / self.states_digest / str(week) / "taste"

    def catalogue(self, week: Week) -> Path:
        """The track catalogue at a week's cutoff."""
        return self.root / "states" / self.states_digest / str(week) / "catalogue"

    def edition(self, week: Week, revision: int) -> Path:
        """Everything of one edition."""
        return self.root / "editions" / str(week) / f"r{revision}"

    @staticmethod
    def cleaned(edition: Path) -> Path:
        """There when artefacts of an edition were removed because nothing needed them any more."""
        return edition / "cleaned.json"

    def tuning(self, week: Week) -> Path:
        """The settings that were found for an edition, with the evidence."""
        return self.root / "tuning" / str(week)

    def trials(self, week: Week) -> Path:
        """The trials of the searches for an edition: Optuna's SQLite database."""
        return self.root / "tuning" / f"{week}.db"

    def revisions(self, week: Week) -> list[int]:
        """The revisions of a week that have a plan, oldest first."""
        folders = (self.root / "editions" / str(week)).glob("r*")
        numbers = [int(f.name[1:]) for f in folders if f.name[1:].isdigit()]
        return sorted(n for n in numbers if artefact.exists(self.edition(week, n) / "plan"))

    def weeks(self) -> list[Week]:
        """The weeks that have an edition planned, oldest first."""
        folders = (self.root / "editions").glob("*-W*")
        weeks = sorted(Week.parse(folder.name) for folder in folders)
        return [week for week in weeks if self.revisions(week)]

    @property
    def store_copy(self) -> Path:
        """Our copy of the store's ledger, tombstones and blocks."""
        return self.root / "store_copy.json"

    @property
    def erased(self) -> Path:
        """Which of the forgotten users have been erased from every copy, and when."""
        return self.root / "erased.json"

    def artefacts(self) -> Iterator[Path]:
        """Every complete artefact in this home, of whatever log."""
        for kind in _KINDS:
            for manifest in sorted((self.root / kind).glob(f"*/*/*/{artefact.MANIFEST}")):
                if not manifest.parent.name.startswith("."):
                    yield manifest.parent

    def tidy(self) -> None:
        """Finish or undo what killed runs left half done; only for who holds the home."""
        for kind in _KINDS:
            for folder in (self.root / kind).glob("*/*"):
                artefact.tidy(folder)
        artefact.tidy(self.root / "tuning")


def admit(root: Path, unread: int = 0) -> None:
    """Look at a home before any work: writable, with disk and memory to work with, and make it.

    Args:
        root: the home.
        unread: bytes of the log that are still to be read.

    Raises:
        ResourceError: says what is short.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise ResourceError(
            f"The home {root} cannot be written ({error.strerror}). Check its owner and "
            "permissions, or name another folder: [recsys] home."
        ) from error
    free, needed = shutil.disk_usage(root).free, _LEAST_FREE_DISK + unread * _DISK_PER_LOG_BYTE
    if free < needed:
        raise ResourceError(
            f"Only {free / 2**20:.0f} MiB are free on the disk of {root}; this run needs about "
            f"{needed / 2**20:.0f} MiB. Free some space first."
        )
    memory = available_memory()
    if memory is not None and memory < _LEAST_FREE_MEMORY:
        raise ResourceError(
            f"Only {memory / 2**20:.0f} MiB of memory are available; a run needs at least "
            f"{_LEAST_FREE_MEMORY / 2**20:.0f} MiB. Stop something else first."
        )


def available_memory() -> int | None:
    """Bytes of memory that are free for use; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    sizes = dict(line.split(":", 1) for line in lines)
    return int(sizes["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in sizes else None


_LOCKS: dict[Path, int] = {}


def lock(root: Path) -> None:
    """Hold the home for this process and its children until the process ends.

    The operating system lets go of the lock when the last of them dies, however it dies.

    Raises:
        AlreadyRunningError: another run holds it.
    """
    path = root / ".lock"
    if path in _LOCKS:
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(descriptor, 64, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        raise AlreadyRunningError(
            f"Another run (process {holder or 'unknown'}) is working under {root}. "
            "Wait for it to end: one run per home at a time."
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode("ascii"), 0)
    _LOCKS[path] = descriptor


def holds(root: Path) -> bool:
    """Whether this process, or the one it was forked from, holds the home."""
    return root / ".lock" in _LOCKS


def record_run(home: Path, **facts: Any) -> None:
    """Write how the run stands to ``last_run.json``."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    artefact.write_json(home / "last_run.json", {**facts, "at": now})


def read_last_run(home: Path) -> Mapping[str, Any] | None:
    """What the last run left behind, or None when there was none.

    Raises:
        ArtefactError: the file cannot be read.
    """
    path = home / "last_run.json"
    try:
        facts: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path} cannot be read ({error}). Remove it.") from error
    return facts

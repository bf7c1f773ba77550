"""Rows in quarantine that can be read after a fix come back, as arrived with the next new day.

A cleaned day is never changed: plans pin it. What comes back from one or many of them is a *batch*
of its own, and the first arrival day that is cleaned afterwards takes it in.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

from recsys import artefact
from recsys.artefact import Artefact, Draft
from recsys.errors import BadLogError, MissingDataError
from recsys.home import Home
from recsys.listens import (
    SETTLED,
    Again,
    CleanedDay,
    Inventory,
    changed_files,
    read_again,
    split_dump,
)
from recsys.settings import ListensSettings

#: So many days before and any day after may hold a row of a day, too.
DUPLICATE_DAYS: Final = 7


@dataclass(frozen=True)
class Requeued:
    """What reading days again came to.

    Attributes:
        days: what each day that was read again turned out to be.
        problems: of the days that cannot be taken as they are now, why.
        batch: what was written, if anything was.
    """

    days: Mapping[date, Again]
    problems: Mapping[date, str]
    batch: Path | None

    @property
    def returned(self) -> int:
        """Rows that came back."""
        return sum(sum(again.returned.values()) for again in self.days.values())


class _NothingToKeepError(Exception):
    """The draft of a batch is given up."""


def requeue(
    settings: ListensSettings,
    home: Home,
    inventory: Inventory,
    forgotten: Collection[str],
    *,
    first: date = date.min,
    last: date = date.max,
    dry_run: bool = False,
) -> Requeued:
    """Read days that have rows in quarantine, or files that have changed, again.

    A day comes back only where it still holds every listen that was kept of it. Only for who holds
    the home.

    Args:
        settings: ``[listens]``.
        home: where the cleaned days are, and where the batch goes.
        inventory: the log as it is now.
        forgotten: users of whom nothing comes back.
        first: the first arrival day to look at.
        last: the last one.
        dry_run: write nothing.

    Raises:
        MissingDataError: none of these days was read with these settings.
        ResourceError: memory or disk ran out.
    """
    cleaned = _cleaned_days(home)
    wanted = [day for day in cleaned if first <= day <= last]
    if not wanted:
        raise MissingDataError(
            f"No such day of {settings.source} was read with these settings: there is nothing to "
            "read again. Where [listens] source, format, columns or user have changed, the next "
            "run reads the whole log anew."
        )
    before = batches(home)
    folder = home.requeued(len(before) + 1)
    days: dict[date, Again] = {}
    problems: dict[date, str] = {}
    with (
        contextlib.suppress(_NothingToKeepError),
        artefact.write(folder, stage="requeued", version=1) as draft,
    ):
        again = _Reading(settings, home, inventory, before, cleaned, forgotten, draft.path)
        with tempfile.TemporaryDirectory(dir=draft.path, prefix=".split-") as split:
            for day in again.worth_reading(wanted, Path(split)):
                try:
                    days[day] = again.read(day)
                except BadLogError as error:
                    problems[day] = str(error)
        new = {day: said for day, said in again.said.items() if day in days}
        if dry_run or not new:
            raise _NothingToKeepError
        _describe(draft, days, new, cleaned)
        return Requeued(days, problems, folder)
    return Requeued(days, problems, None)


def batches(home: Home) -> list[Artefact]:
    """Every batch that came back from days of this log, oldest first."""
    folders = sorted(home.requeued(1).parent.glob("batch-*"))
    return [Artefact.open(folder) for folder in folders if artefact.exists(folder)]


def batches_for(home: Home, day: date, before: Sequence[date]) -> list[Artefact]:
    """The batches that an arrival day takes in when it is cleaned.

    Args:
        home: where they are.
        day: the arrival day.
        before: the arrival days before it.
    """
    previous = max(before, default=date.min)
    waiting = [one for one in batches(home) if previous <= _newest_then(one) < day]
    if waiting:
        taken = set(_taken(home, _cleaned_days(home)))
        waiting = [one for one in waiting if one.path.name not in taken]
    return waiting


def returned_files(batch: Artefact) -> list[Path]:
    """The files of rows that came back with a batch."""
    return [batch.file(name) for name in sorted(batch.files)]


def last_read(home: Home, day: date) -> tuple[Sequence[Mapping[str, Any]], str]:
    """The files of a cleaned day as they were last accepted, and when reading them began."""
    for batch in reversed(batches(home)):
        if (said := batch.facts["days"].get(str(day))) is not None:
            return said["sources"], batch.manifest["times"]["started"]
    clean = Artefact.open(home.clean(day))
    return clean.facts["sources"], clean.manifest["times"]["started"]


def accepted_contents(home: Home, day: date) -> set[str]:
    """What a dump may say of a cleaned day: the digests of what it said when it was read."""
    said = [batch.facts["days"].get(str(day), {}) for batch in batches(home)]
    return {
        facts["content"]
        for facts in (Artefact.open(home.clean(day)).facts, *said)
        if "content" in facts
    }


class _Reading:
    """Days of a log, read again one by one into the draft of a batch."""

    def __init__(
        self,
        settings: ListensSettings,
        home: Home,
        inventory: Inventory,
        before: Sequence[Artefact],
        cleaned: Sequence[date],
        forgotten: Collection[str],
        out: Path,
    ) -> None:
        self._settings = settings
        self._home = home
        self._inventory = inventory
        self._before = {batch.path.name: batch for batch in before}
        self._cleaned = cleaned
        self._forgotten = forgotten
        self._out = out
        self._split: tuple[Path, Mapping[date, Mapping[str, Any]]] | None = None
        #: What the manifest has to say of each day that has changed or of which rows came back.
        self.said: dict[date, dict[str, Any]] = {}

    def worth_reading(self, days: Sequence[date], split: Path) -> Iterator[date]:
        """The days of which anything may come back; ``split``: room for a dump by day."""
        if not self._inventory.partitioned:
            report = split_dump(self._settings, self._inventory, split)
            self._split = split, report.days
            for day in days:
                now = report.days.get(day, {}).get("content")
                if now not in {None, *accepted_contents(self._home, day)}:
                    yield day
            return
        for day in days:
            if day in self._inventory.days and (self._waiting(day) or self._changed(day)):
                yield day

    def read(self, day: date) -> Again:
        """Read a day again, and keep what came back.

        Raises:
            BadLogError: a file cannot be read, or listens that were kept are not there any more.
        """
        clean = Artefact.open(self._home.clean(day))
        brought = [self._before[name] for name in clean.facts.get("requeued", [])]
        then = CleanedDay(
            clean.file("listens.parquet"),
            clean.file("quarantine.parquet"),
            [file for batch in brought for file in returned_files(batch)],
        )
        near = [one for one in self._cleaned if one >= day - timedelta(days=DUPLICATE_DAYS)]
        known = [Artefact.open(self._home.clean(one)).file("listens.parquet") for one in near]
        known += [file for batch in self._before.values() for file in returned_files(batch)]
        known += sorted(self._out.glob("*.parquet"))
        out = self._out / f"{day}.parquet"
        source = self._split[0] / f"date={day}" if self._split else self._inventory.days[day]
        again = read_again(self._settings, day, source, then, known, self._forgotten, out)
        if again.lost or not again.returned:
            out.unlink()
        if again.lost:
            raise BadLogError(
                f"{again.lost} of the listens that were kept of {day} are not in its files as they "
                f"were. Put the old rows back, or remove {self._home.days} to read the whole log "
                "anew."
            )
        content = {"content": self._split[1][day]["content"]} if self._split else {}
        if again.returned or self._split or self._changed(day):
            self.said[day] = {
                "returned": dict(again.returned),
                "known": again.known,
                "refused": dict(again.refused),
                "sources": list(again.sources),
                **content,
            }
        return again

    def _waiting(self, day: date) -> bool:
        for batch in reversed(self._before.values()):
            if str(day) in batch.facts["days"]:
                return bool(batch.facts["days"][str(day)]["refused"].keys() - SETTLED)
        facts = Artefact.open(self._home.clean(day)).facts
        return bool(facts["quarantined"].keys() - SETTLED)

    def _changed(self, day: date) -> bool:
        read, at = last_read(self._home, day)
        return bool(changed_files(self._inventory.days[day], read, at))


def _describe(
    draft: Draft,
    days: Mapping[date, Again],
    said: Mapping[date, Mapping[str, Any]],
    cleaned: Sequence[date],
) -> None:
    returned = Counter[str]()
    for again in days.values():
        returned.update(again.returned)
    draft.rows = {"returned": returned.total()}
    draft.facts = {
        "after": str(cleaned[-1]),
        "returned": dict(sorted(returned.items())),
        "days": {str(day): dict(facts) for day, facts in said.items()},
    }


def _newest_then(batch: Artefact) -> date:
    return date.fromisoformat(batch.facts["after"])


def _taken(home: Home, days: Sequence[date]) -> Iterator[str]:
    for day in days:
        yield from Artefact.open(home.clean(day)).facts.get("requeued", [])


def _cleaned_days(home: Home) -> list[date]:
    folders = home.clean(date.min).parent.glob("date=*")
    return sorted(
        date.fromisoformat(folder.name.removeprefix("date="))
        for folder in folders
        if artefact.exists(folder)
    )

"""Whether the log holds what an edition needs."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Final

from recsys import artefact, listens
from recsys.artefact import Artefact
from recsys.errors import BadLogError, MissingDataError
from recsys.requeue import last_read
from recsys.settings import STOP
from recsys.weeks import Week
from workflows._run import Run

#: Reasons that a row is left out for though the log is as it should be.
_NOTHING_WRONG: Final = ("private", "not_music")


def unread_bytes(run: Run, week: Week) -> int:
    """Bytes of the log that are still to be read for an edition."""
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


def check_log(run: Run, week: Week) -> None:
    """See that the log holds what the edition needs, and what it held when it was read.

    Raises:
        MissingDataError: days are missing.
        BadLogError: files have changed since they were read.
    """
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
            f"{', '.join(changed[:5])}. Put them back; or, where rows were mended or added, run "
            f"`recsys requeue`; or remove {run.home.days} to read the whole log anew."
        )


def check_exposures(run: Run) -> None:
    """See that the exposure log, where one is named, can be read.

    Raises:
        MissingDataError: nothing is there.
        BadLogError: a file is not what it has to be.
    """
    if run.settings.exposures.source:
        from recsys.exposures import exposure_files

        exposure_files(run.settings.exposures.source)


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


def usable_rows(run: Run, day: date) -> int:
    """Rows of a cleaned day that nothing is wrong with: kept, duplicate, private or no music."""
    clean = Artefact.open(run.home.clean(day))
    rows, refused = clean.manifest["rows"], clean.facts["quarantined"]
    left_out = sum(refused.get(reason, 0) for reason in _NOTHING_WRONG)
    return int(rows["kept"] + rows.get("duplicates", 0) + left_out)


def rows_on_no_day(run: Run, end: date) -> dict[str, Any]:
    """Rows of a log without partitions that no day before ``end`` holds.

    Returns:
        ``undated``: those without a usable time, by reason; ``later``: those of ``end`` and after.
    """
    if run.inventory.partitioned:
        return {"undated": {}, "later": 0}
    split = Artefact.open(run.home.split(run.fingerprint)).facts
    later = (said["rows"] for day, said in split["days"].items() if date.fromisoformat(day) >= end)
    return {"undated": split["undated"], "later": sum(later)}


def mostly_refused(run: Run, days: list[date]) -> list[str]:
    """A sentence for each of ``days`` that has more rows in quarantine than others, with why."""
    said = []
    for day in days:
        clean = Artefact.open(run.home.clean(day))
        refused, read = clean.manifest["rows"]["quarantined"], clean.manifest["rows"]["read"]
        if refused > usable_rows(run, day):
            why = ", ".join(f"{rows} {why}" for why, rows in clean.facts["quarantined"].items())
            said.append(f"on {day} {refused} of {read} rows are in quarantine ({why})")
    return said


def _changed_files(run: Run, day: date) -> list[str]:
    if day not in run.inventory.days or not artefact.exists(run.home.clean(day)):
        return []
    read, read_at = last_read(run.home, day)
    return listens.changed_files(run.inventory.days[day], read, read_at)

"""From the days of a log to an overlay with the settings found."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pyarrow.parquet as pq

from recsys import artefact
from recsys.artefact import Artefact
from recsys.listens import LogFile
from recsys.settings import Settings
from recsys.tuning._outcome import confirm, evidence, overlay, trials_table
from recsys.tuning._search import RUNGS, Rung, Tried, search
from recsys.tuning._space import searched
from recsys.tuning._weeks import HeldOutWeek, TuningWeeks
from recsys.weeks import Week

#: Raised by hand when a trial's score changes meaning.
_VERSION: Final = 2


def search_name(
    settings: Settings,
    week: Week,
    days: Mapping[date, Path],
    *,
    forgotten: Collection[str],
    catalogue: str | None,
) -> str:
    """Names a search by everything that its trials come out by: equal names, equal trials.

    Args:
        settings: those of now.
        week: the edition.
        days: the folder of each arrival day's plays; none from the reported week on is looked at.
        forgotten: listeners that must be in nothing.
        catalogue: names the service's own catalogue as it is; None without one.
    """
    weeks = TuningWeeks.of(week, settings.edition.lead_hours)
    shaping = settings.shaping()
    parts = ("recsys", "listens", "catalogue", "edition", "als", "evaluation")
    return artefact.digest_of(
        [
            _VERSION,
            str(week),
            {part: shaping.get(part) for part in parts},
            [repr(one) for one in (*searched(settings), *RUNGS)],
            {str(d): Artefact.open(f).digest for d, f in days.items() if d < weeks.reported},
            sorted(forgotten),
            catalogue,
        ]
    )[:16]


def tune(
    settings: Settings,
    week: Week,
    days: Mapping[date, Path],
    *,
    name: str,
    forgotten: Collection[str],
    catalogue_files: Sequence[LogFile],
    trials: Path,
    on_trial: Callable[[list[Tried]], None],
    out: Path,
) -> dict[str, Any]:
    """Look for better settings, and write what was found.

    Writes ``best.cfg``, ``evidence.json`` and ``trials.parquet``. With a limit of trials alone,
    equal input gives equal files.

    Args:
        settings: those of now, and the limits of the search.
        week: the edition before which it is looked; its reported week is not.
        days: the folder of each arrival day's plays.
        name: of the search (:func:`search_name`).
        forgotten: listeners that must be in nothing.
        catalogue_files: the service's own catalogue, where there is one.
        trials: the database that finished trials are kept in.
        on_trial: told of all trials so far, at the beginning and after each.
        out: the folder to write into.

    Returns:
        What ``evidence.json`` says.

    Raises:
        MissingDataError: too few listeners heard anything new in one of the weeks.
    """
    weeks = TuningWeeks.of(week, settings.edition.lead_hours)
    read = {day: days[day] for day in sorted(days) if day < weeks.reported}
    with TemporaryDirectory(dir=out, prefix=".weeks-") as scratch:

        def held_out(begin: date) -> HeldOutWeek:
            folder = Path(scratch) / str(begin)
            folder.mkdir()
            return HeldOutWeek(read, begin, settings, forgotten, catalogue_files, 1.0, folder)

        tuned, confirmed = held_out(weeks.tuned), held_out(weeks.confirmed)
        tuned.check()
        confirmed.check()
        samples = {rung: tuned.sampled(rung.listeners) for rung in RUNGS}

        def score(asked: Settings, rung: Rung) -> float:
            return float(samples[rung].score(asked, rung.effort).ndcg.mean())

        tried = search(score, settings, name=name, file=trials, on_trial=on_trial)
        outcome = confirm(tried, settings, confirmed)
        found = evidence(outcome, tried, settings, week, tuned, confirmed)
    artefact.write_json(out / "evidence.json", found)
    pq.write_table(trials_table(tried), out / "trials.parquet")
    (out / "best.cfg").write_text(overlay(found), encoding="utf-8")
    return found

"""EditionPlan: everything the edition is made from, pinned before anything weekly is made."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import date, timedelta

import luigi

from recsys import artefact
from recsys.artefact import Artefact
from recsys.errors import BadLogError, MissingDataError
from recsys.requeue import accepted_contents
from recsys.settings import STOP
from recsys.weeks import Week
from workflows import _run
from workflows._log_checks import (
    check_days,
    missing_days,
    mostly_refused,
    rows_on_no_day,
    usable_rows,
)
from workflows._stage import EditionStage
from workflows.daily_plays import DailyPlaysBefore
from workflows.listening_log import SplitLog


class EditionPlan(EditionStage):
    """Cutoff, days, previous state, parent, cooling editions, tombstones, blocks, settings."""

    stage = "plan"

    @property
    def cutoff(self) -> date:
        """The day at whose start the books are closed."""
        return Week.parse(self.week).cutoff(self.settings.edition.lead_hours).date()

    def requires(self) -> luigi.Task:
        """Every day of the log before the cutoff; of a log without partitions, its split."""
        run = _run.current()
        if run.inventory.partitioned:
            return DailyPlaysBefore(cutoff=str(self.cutoff))
        # Its days are asked for while this runs: Luigi takes no requirement that comes later.
        return SplitLog(fingerprint=run.fingerprint)

    def run(self) -> Iterator[luigi.Task]:
        """Write the plan."""
        from recsys.plan import PLAN_FILE, make_plan, published_as
        from recsys.publishing import refresh_copy
        from recsys.store import open_store
        from recsys.volume import empty_days, odd_days

        run = _run.current()
        days = run.log_days(self.cutoff) or []
        check_days(days, Week.parse(self.week), run)
        self._check_content(days)
        # The days of a log without partitions are known only now that it is split.
        yield DailyPlaysBefore(cutoff=str(self.cutoff))

        new = [day for day in days if day >= self.cutoff - timedelta(weeks=1)]
        usable = {day: usable_rows(run, day) for day in days}
        odd = odd_days(usable, new)
        empty = empty_days(usable, new)
        listens = self.settings.listens
        if odd and listens.odd_day == STOP:
            raise MissingDataError(
                f"{'; '.join([*odd, *mostly_refused(run, new)])}. Deliver the days again, or "
                "accept them: [listens] odd_day = continue."
            )
        if empty and listens.missing_day == STOP:
            refused = mostly_refused(run, empty)
            raise MissingDataError(
                f"The log has no rows on {', '.join(map(str, empty))}"
                f"{' that can be used: ' if refused else ''}{'; '.join(refused)}. Deliver the days "
                "again, or accept the gap: [listens] missing_day = continue."
            )
        accepted = [*odd, *(mostly_refused(run, new) if odd else [])]
        accepted += [f"{day} has no rows that can be used" for day in empty]
        missing = missing_days(run, Week.parse(self.week), days)
        accepted += [f"{day} is missing" for day in missing]
        if accepted:
            self.tell(f"accepted: {'; '.join(accepted)}", logging.WARNING)
        with open_store(self.settings.store_url) as store:
            refresh_copy(store, run.home.store_copy)
            plan = make_plan(
                self.settings,
                Week.parse(self.week),
                self.revision,
                days={day: Artefact.open(run.home.plays(day)).digest for day in days},
                log={
                    "missing": [str(day) for day in missing],
                    "empty": [str(day) for day in empty],
                    "odd": odd,
                    **rows_on_no_day(run, self.cutoff),
                },
                published=published_as(store.editions()),
                forgotten=store.tombstones(),
                blocked=store.blocks(),
                catalogue_source=run.catalogue_fingerprint,
            )
        with self.draft() as draft:
            artefact.write_json(draft.path / PLAN_FILE, plan.document)
            draft.facts = {"cutoff": str(self.cutoff), "parent": plan.parent}
            draft.rows = {"days": len(days)}

    def _check_content(self, days: list[date]) -> None:
        run = _run.current()
        if run.inventory.partitioned:
            return
        now = Artefact.open(run.home.split(run.fingerprint)).facts["days"]
        changed = [
            str(day)
            for day in days
            if str(day) in now
            and artefact.exists(run.home.clean(day))
            and now[str(day)]["content"] not in accepted_contents(run.home, day)
        ]
        if changed:
            raise BadLogError(
                f"The log says something else of {len(changed)} days than when they were read: "
                f"{', '.join(changed[:5])}. Put the old file back; or, where rows were mended or "
                f"added, run `recsys requeue`; or remove {run.home.days} to read the whole log "
                "anew."
            )

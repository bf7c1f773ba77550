"""TuneModel: better settings of the model, looked for before the week that is reported."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import luigi

from recsys import artefact, home
from recsys.artefact import Artefact
from recsys.errors import SettingsError
from recsys.weeks import Week
from workflows import _preflight, _run
from workflows._stage import ONE_AT_A_TIME, Stage
from workflows.daily_plays import DailyPlaysBefore
from workflows.listening_log import SplitLog

if TYPE_CHECKING:
    from recsys.tuning import TuningWeeks


class TuneModel(Stage):
    """An overlay with the best settings found, and the evidence. It changes no edition."""

    stage = "tuning"
    resources = ONE_AT_A_TIME

    week = luigi.Parameter(
        default="", description="YYYY-Www; by default the newest week whose cutoff has passed"
    )

    @cached_property
    def _week(self) -> Week:
        return _run.settle_week(self.week)

    @property
    def _weeks(self) -> TuningWeeks:
        from recsys.tuning import TuningWeeks

        return TuningWeeks.of(self._week, self.settings.edition.lead_hours)

    @property
    def folder(self) -> Path:
        """Where the artefact is."""
        return _run.current().home.tuning(self._week)

    def complete(self) -> bool:
        """Whether it was looked for by these days, settings and limits; if not, all is checked."""
        asked = {"command": "TuneModel", "edition": self.week}
        return bool(_preflight.guarded(self._look, **asked))

    def _look(self) -> bool:
        self.__dict__.pop("_week", None)
        week = self._week
        if importlib.util.find_spec("optuna") is None:
            raise SettingsError(
                "TuneModel needs Optuna, which is not installed. Install it: "
                "pip install 'recsys-weekly[tuning]'"
            )
        made = all(map(artefact.exists, [self.folder, *self._days().values()]))
        if made and Artefact.open(self.folder).inputs == self._asked():
            return True
        _preflight.hold()
        run = _run.current()
        run.list_again()
        days = run.log_days(self._weeks.reported)
        if days is not None:  # of a log without partitions they are known once it is split
            self._weeks.check(days, week)
        return False

    def requires(self) -> luigi.Task:
        """Every day of the log before the reported week; of a log without partitions, its split."""
        run = _run.current()
        if run.inventory.partitioned:
            return DailyPlaysBefore(cutoff=str(self._weeks.reported))
        return SplitLog(fingerprint=run.fingerprint)

    def run(self) -> Iterator[luigi.Task]:
        """Search, going on from the trials there are; compare once; write the overlay."""
        from recsys.tracking import SearchLog
        from recsys.tuning import Tried, tune

        yield DailyPlaysBefore(cutoff=str(self._weeks.reported))
        week, run = self._week, _run.current()
        self._weeks.check(run.log_days(self._weeks.reported) or [], week)
        _preflight.open_record(week, 0, "TuneModel")
        asked = self._asked()
        log = SearchLog(
            self.settings.tracking_uri,
            name=f"tuning for {week}",
            search=asked["search"],
            tags={"edition": str(week)},
            local_files=run.home.root / "mlflow",
        )

        def told(tried: list[Tried]) -> None:
            for one in tried:
                log.trial(one.number, one.values, one.scores)
            if tried:
                self.tell(_said(tried, self.settings.tuning.trials))

        with self.draft() as draft:
            found = tune(
                self.settings,
                week,
                self._days(),
                name=asked["search"],
                forgotten=self._forgotten(),
                catalogue_files=run.catalogue_files,
                trials=run.home.trials(week),
                on_trial=told,
                out=draft.path,
            )
            draft.inputs = asked
            draft.facts = {"verdict": found["verdict"], "found": found["found"]}
            draft.rows = dict(found["trials"])
        gain = found["scores"]["gain"]
        log.close({"ndcg_at_30_gain": gain["mean"]} if gain else {})
        if log.failure is not None:
            self.tell(f"not tracked in MLflow, and going on: {log.failure}")
        self.tell(f"{found['verdict']}; read {self.folder / 'best.cfg'}")
        home.record_run(
            run.home.root, command="TuneModel", edition=str(week), outcome="succeeded", exit_code=0
        )

    def _asked(self) -> dict[str, Any]:
        """What the search and its limits are named by."""
        from recsys.tuning import search_name

        run = _run.current()
        limits = self.settings.tuning
        name = search_name(
            self.settings,
            self._week,
            self._days(),
            forgotten=self._forgotten(),
            catalogue=run.catalogue_fingerprint,
        )
        return {"search": name, "trials": limits.trials, "minutes": limits.minutes}

    def _days(self) -> Mapping[date, Path]:
        run = _run.current()
        days = run.log_days(self._weeks.reported) or []
        return {day: run.home.plays(day) for day in days}

    def _forgotten(self) -> frozenset[str]:
        from recsys.store import open_store

        with open_store(self.settings.store_url) as store:
            return frozenset(store.tombstones())


def _said(tried: list[Any], trials: int) -> str:
    last = tried[-1]
    finished = [one for one in tried if one.state == "finished"]
    best = max(finished, key=lambda one: one.scores[-1], default=None)
    score = f"{last.scores[-1]:.4f}" if last.scores else "none"
    told = f"trial {last.number + 1} of {trials} {last.state}, ndcg@30 {score}"
    return told if best is None else f"{told}; best {best.scores[-1]:.4f} ({best.number + 1})"

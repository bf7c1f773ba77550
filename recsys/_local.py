"""The engine of one machine: the functions of the library, as they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from recsys.engine import Trained
from recsys.settings import ListensSettings, PlaylistsSettings, Settings

if TYPE_CHECKING:
    from recsys.artefact import Artefact
    from recsys.home import Home
    from recsys.listens import CleanReport, LogFile
    from recsys.models import ALSModel, OnIteration
    from recsys.plan import Plan
    from recsys.store import Store
    from recsys.verdict import Verdict
    from recsys.volume import WeekVolume


class LocalEngine:
    """Works in this process; see :class:`recsys.engine.Engine`.

    What does the work is imported where it is called: forked workers bear no threads of before.
    What every one of them would set up anew goes before (:meth:`preflight`).
    """

    packages: tuple[str, ...] = ()

    def preflight(self) -> None:
        """Call numba and Arrow once: each sets itself up late, in most of a second.

        Forked for a day of the log each, workers would do so again and again.
        """
        from recsys import plays, taste  # noqa: F401 - what a stage imports
        from recsys._coded import in_order_met

        in_order_met(pa.array(["any"]).dictionary_encode())

    def explained(self, error: BaseException) -> BaseException:
        """Errors are the library's, and Python's."""
        return error

    def close(self) -> None:
        """There is nothing to let go of."""

    # --- from the log to the matrix ---

    def clean_day(
        self,
        settings: ListensSettings,
        day: date,
        source: Sequence[LogFile] | Path,
        earlier: Sequence[Path],
        out: Path,
        requeued: Sequence[Path] = (),
    ) -> CleanReport:
        """:func:`recsys.listens.clean_day`."""
        from recsys.listens import clean_day

        return clean_day(settings, day, source, earlier, out, requeued)

    def daily_plays(self, listens: Path, out: Path) -> Mapping[str, int]:
        """:func:`recsys.plays.daily_plays`."""
        from recsys.plays import daily_plays

        return daily_plays(listens, out)

    def roll_taste(
        self,
        previous: tuple[Path, date] | None,
        days: Sequence[Path],
        cutoff: date,
        half_life_days: float,
        out: Path,
    ) -> int:
        """:func:`recsys.taste.roll_taste`."""
        from recsys.taste import roll_taste

        return roll_taste(previous, days, cutoff, half_life_days, out)

    def roll_catalogue(
        self, previous: Path | None, days: Sequence[Path], out: Path
    ) -> Mapping[str, int]:
        """:func:`recsys.catalogue.roll_catalogue`."""
        from recsys.catalogue import roll_catalogue

        return roll_catalogue(previous, days, out)

    def edition_catalogue(
        self, told: Path, files: Sequence[LogFile], out: Path, *, explicit: bool
    ) -> Mapping[str, int]:
        """:func:`recsys.catalogue.edition_catalogue`."""
        from recsys.catalogue import edition_catalogue

        return edition_catalogue(told, files, out, explicit=explicit)

    def build_matrix(
        self,
        taste: Path,
        catalogue: Path,
        *,
        cutoff: date,
        active_days: int,
        weights: ListensSettings,
        forgotten: Collection[str],
        out: Path,
    ) -> Mapping[str, int]:
        """:func:`recsys.matrix.build_matrix`, saved."""
        from recsys.matrix import build_matrix

        built = build_matrix(
            taste,
            catalogue,
            cutoff=cutoff,
            active_days=active_days,
            weights=weights,
            forgotten=forgotten,
            spill=out,
        )
        built.save(out)
        return built.rows

    # --- from the matrix to the store ---

    def evaluate(
        self,
        plan: Plan,
        home: Home,
        settings: Settings,
        *,
        base: Artefact,
        catalogue: Artefact,
        out: Path,
    ) -> dict[str, Any]:
        """:func:`recsys.model_evaluation.evaluate_week`."""
        from recsys.model_evaluation import evaluate_week
        from recsys.plan import pinned_models
        from recsys.unseen_week import open_unseen_week

        pinned = pinned_models(home, plan)
        unseen = open_unseen_week(
            plan, home, settings, base=base, catalogue=catalogue, scored=pinned.values(), spill=out
        )
        return evaluate_week(unseen, week=plan.week, pinned=pinned, settings=settings, out=out)

    def weekly_volumes(self, days: Mapping[date, Path], end: date, spill: Path) -> list[WeekVolume]:
        """:func:`recsys.volume.weekly_volumes`."""
        from recsys import volume

        return volume.weekly_volumes(days, end, spill)

    def train(
        self,
        matrix: Path,
        settings: Settings,
        *,
        parent: ALSModel | None,
        on_iteration: OnIteration,
    ) -> Trained:
        """:func:`recsys.models.train`."""
        from recsys import models
        from recsys.matrix import TasteMatrix

        known = TasteMatrix.load(matrix)
        model = models.train(
            known, settings.als, settings.recsys.seed, parent=parent, on_iteration=on_iteration
        )
        return Trained(model, model.with_users_of(known), known)

    def find_candidates(
        self, plan: Plan, home: Home, *, matrix: Path, model: Path, out: Path
    ) -> Mapping[str, int]:
        """:func:`recsys.candidates.edition_candidates`."""
        from recsys import models
        from recsys.candidates import edition_candidates
        from recsys.matrix import TasteMatrix

        known = TasteMatrix.load(matrix)
        found = edition_candidates(plan, home, models.load(model).with_users_of(known), known)
        found.save(out)
        return {"users": len(found.users), "candidates": len(found.songs)}

    def make_playlists(
        self,
        plan: Plan,
        home: Home,
        settings: PlaylistsSettings,
        *,
        matrix: Path,
        model: Path,
        candidates: Path,
        out: Path,
    ) -> dict[str, Any]:
        """:func:`recsys.playlists.making.edition_playlists`."""
        from recsys import models
        from recsys.candidates import Candidates
        from recsys.matrix import TasteMatrix
        from recsys.playlists import making

        known = TasteMatrix.load(matrix)
        found = Candidates.load(candidates, known)
        return making.edition_playlists(
            plan, home, models.load(model), known, found, settings=settings, out=out
        )

    def check_edition(self, home: Home, edition: Path, settings: Settings, spill: Path) -> Verdict:
        """:mod:`recsys.verification`."""
        from recsys import verification
        from recsys._threads import beside

        with beside(
            partial(verification.check_edition_shares, home, edition, settings, spill)
        ) as shares:
            verdict = verification.check_edition(home, edition, settings.playlists)
        return verdict.also(shares.result())

    def stage_edition(self, store: Store, edition: str, revision: int, playlists: Artefact) -> None:
        """:func:`recsys.publishing.stage_edition`."""
        from recsys.publishing import stage_edition

        stage_edition(store, edition, revision, playlists)

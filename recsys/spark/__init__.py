"""The Spark engine: the same week on a cluster.

Relational stages are Spark SQL; what is a kernel on one machine (judging rows, song keys, the
entries of the matrix, scoring and rules) is the same function here, over Arrow batches in the
executors' Python. The driver collects nothing that grows with listeners or events.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys.engine import Trained
from recsys.listens import CleanReport, LogFile
from recsys.settings import ListensSettings, PlaylistsSettings, Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from recsys.artefact import Artefact
    from recsys.home import Home
    from recsys.models import ALSModel, OnIteration
    from recsys.plan import Plan
    from recsys.store import Store
    from recsys.verdict import Verdict
    from recsys.volume import WeekVolume

__all__ = ["SparkEngine"]


class SparkEngine:
    """Works on a Spark cluster; see :class:`recsys.engine.Engine`.

    There is one session for the process, opened before any work.
    """

    packages: tuple[str, ...] = ("pyspark",)

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def session(self) -> SparkSession:
        """The session of this process.

        Raises:
            SettingsError: this process was forked from the one that the run began in.
            ResourceError: the cluster gives no executor.
        """
        from recsys.spark import _session

        return _session.session(self._settings)

    def preflight(self) -> None:
        """Look for Java, the package, memory and the master, and open the session."""
        from recsys.spark import _preflight, _session

        _preflight.look(self._settings.spark)
        _session.session(self._settings)

    def explained(self, error: BaseException) -> BaseException:
        """What an error of Spark's own comes of, where that is known."""
        from recsys.spark import _session

        return _session.explained(error)

    def close(self) -> None:
        """Stop the session and its Java process."""
        from recsys.spark import _session

        _session.close()

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
        from recsys.spark._clean import clean_day

        return clean_day(self.session, settings, day, source, earlier, out, requeued)

    def daily_plays(self, listens: Path, out: Path) -> Mapping[str, int]:
        """:func:`recsys.plays.daily_plays`."""
        from recsys.spark._plays import daily_plays

        return daily_plays(self.session, listens, out)

    def roll_taste(
        self,
        previous: tuple[Path, date] | None,
        days: Sequence[Path],
        cutoff: date,
        half_life_days: float,
        out: Path,
    ) -> int:
        """:func:`recsys.taste.roll_taste`."""
        from recsys.spark._taste import roll_taste

        return roll_taste(self.session, previous, days, cutoff, half_life_days, out)

    def roll_catalogue(
        self, previous: Path | None, days: Sequence[Path], out: Path
    ) -> Mapping[str, int]:
        """:func:`recsys.catalogue.roll_catalogue`."""
        from recsys.spark._catalogue import roll_catalogue

        return roll_catalogue(self.session, previous, days, out)

    def edition_catalogue(
        self, told: Path, files: Sequence[LogFile], out: Path, *, explicit: bool
    ) -> Mapping[str, int]:
        """:func:`recsys.catalogue.edition_catalogue`."""
        from recsys.spark._offer import edition_catalogue

        return edition_catalogue(self.session, told, files, out, explicit=explicit)

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
        """:func:`recsys.matrix.build_matrix`, in parts by ranges of listeners."""
        from recsys.spark._matrix import build_matrix

        return build_matrix(
            self.session,
            taste,
            catalogue,
            cutoff=cutoff,
            active_days=active_days,
            weights=weights,
            forgotten=forgotten,
            out=out,
        )

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
        """:func:`recsys.model_evaluation.evaluate_week`, of a sample or of all (`implicit`).

        The matrix one week back is made here and gone in the end.
        """
        from recsys.plan import pinned_models
        from recsys.spark._evaluation import evaluate
        from recsys.spark._parts import scratch

        with scratch(out) as spill:
            self.build_matrix(
                base.file("taste.parquet"),
                catalogue.file("catalogue.parquet"),
                cutoff=plan.base_cutoff,
                active_days=settings.edition.active_days,
                weights=settings.listens,
                forgotten=plan.forgotten,
                out=spill,
            )
            return evaluate(
                self.session, plan, home, settings, base=base, matrix=spill,
                pinned=pinned_models(home, plan), out=out,
            )  # fmt: skip

    def weekly_volumes(
        self,
        days: Mapping[date, Path],
        end: date,
        spill: Path,  # noqa: ARG002 - the local one's
    ) -> list[WeekVolume]:
        """:func:`recsys.volume.weekly_volumes`."""
        from recsys.spark._evaluation import weekly_volumes

        return weekly_volumes(self.session, days, end)

    def train(
        self,
        matrix: Path,
        settings: Settings,
        *,
        parent: ALSModel | None,
        on_iteration: OnIteration,
    ) -> Trained:
        """:func:`recsys.models.train`, by Spark or here; the model is kept without its users."""
        from recsys.spark._train import train

        return train(self.session, matrix, settings, parent=parent, on_iteration=on_iteration)

    def find_candidates(
        self, plan: Plan, home: Home, *, matrix: Path, model: Path, out: Path
    ) -> Mapping[str, int]:
        """:func:`recsys.candidates.edition_candidates`, by ranges of listeners."""
        from recsys.plan import cooling_playlists
        from recsys.spark._lists import find_candidates

        cooling = cooling_playlists(plan, home)
        return find_candidates(
            self.session, matrix, model, cooling=cooling, blocked=plan.blocked, out=out
        )

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
        """:func:`recsys.playlists.making.edition_playlists`, by ranges of listeners."""
        from recsys.fresh import older_tracks
        from recsys.plan import cooling_playlists
        from recsys.spark._lists import make_playlists

        return make_playlists(
            self.session, matrix, model, candidates, cooling=cooling_playlists(plan, home),
            blocked=plan.blocked, week=plan.week, settings=settings,
            older=older_tracks(plan, home, settings), out=out,
        )  # fmt: skip

    def check_edition(
        self,
        home: Home,
        edition: Path,
        settings: Settings,
        spill: Path,  # noqa: ARG002 - as above
    ) -> Verdict:
        """:mod:`recsys.verification`, by ranges of listeners and in Spark SQL."""
        from recsys.spark._checks import check_edition

        return check_edition(self.session, home, edition, settings)

    def stage_edition(self, store: Store, edition: str, revision: int, playlists: Artefact) -> None:
        """:func:`recsys.publishing.stage_edition`; to a server, from the executors."""
        from recsys.store import PartedStore

        if isinstance(store, PartedStore):
            from recsys.spark._publish import stage_edition

            stage_edition(self.session, store, edition, revision, playlists)
        else:
            from recsys.publishing import stage_edition as stage_here

            stage_here(store, edition, revision, playlists)

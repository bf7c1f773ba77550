"""What does the work of the stages: this machine, or a Spark cluster (``[engine] name``).

A stage asks the engine of the run and knows no other. Each engine reads what the other wrote: a
table of an artefact is one Parquet file or a folder of them (:func:`recsys._tables.parts`), sorted
within and across. ``tests/engines`` holds the engines to the same rows.

Importing this module imports neither engine.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from recsys.settings import SPARK, ListensSettings, PlaylistsSettings, Settings

if TYPE_CHECKING:
    from recsys.artefact import Artefact
    from recsys.home import Home
    from recsys.listens import CleanReport, LogFile
    from recsys.matrix import TasteMatrix
    from recsys.models import ALSModel, OnIteration
    from recsys.plan import Plan
    from recsys.store import Store
    from recsys.verdict import Verdict
    from recsys.volume import WeekVolume


class Trained(NamedTuple):
    """A model, and what it can be looked at with.

    Attributes:
        model: as it is kept.
        with_users: the same with the users of ``matrix``.
        matrix: who holds to what: all listeners, or some.
    """

    model: ALSModel
    with_users: ALSModel
    matrix: TasteMatrix


class Engine(Protocol):
    """The work of the stages, from a day of the log to an edition."""

    #: Packages whose versions shape what it makes, beside those of the library.
    packages: tuple[str, ...]

    def preflight(self) -> None:
        """Look, before any work, at what the engine needs, and set up what its work shares.

        Raises:
            SettingsError: something is not installed, or a setting cannot be.
            ResourceError: there is too little memory, or the cluster does not answer.
        """

    def explained(self, error: BaseException) -> BaseException:
        """What an error of the engine's own comes of, where that is known; else the error."""

    def close(self) -> None:
        """Let go of what the engine holds; nothing of it outlives the run."""

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

    def daily_plays(self, listens: Path, out: Path) -> Mapping[str, int]:
        """:func:`recsys.plays.daily_plays`."""

    def roll_taste(
        self,
        previous: tuple[Path, date] | None,
        days: Sequence[Path],
        cutoff: date,
        half_life_days: float,
        out: Path,
    ) -> int:
        """:func:`recsys.taste.roll_taste`."""

    def roll_catalogue(
        self, previous: Path | None, days: Sequence[Path], out: Path
    ) -> Mapping[str, int]:
        """:func:`recsys.catalogue.roll_catalogue`."""

    def edition_catalogue(
        self, told: Path, files: Sequence[LogFile], out: Path, *, explicit: bool
    ) -> Mapping[str, int]:
        """:func:`recsys.catalogue.edition_catalogue`."""

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
        """Write :func:`recsys.matrix.build_matrix` into the folder ``out``.

        Returns:
            The numbers of users, eligible users, songs and pairs.
        """

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
        """:func:`recsys.model_evaluation.evaluate_week` of an edition, from its artefacts.

        Args:
            plan: the edition's.
            home: the home that it is in.
            settings: it is made by.
            base: the taste state one week back.
            catalogue: the edition's.
            out: the folder of the evaluation.
        """

    def weekly_volumes(self, days: Mapping[date, Path], end: date, spill: Path) -> list[WeekVolume]:
        """:func:`recsys.volume.weekly_volumes`."""

    def train(
        self,
        matrix: Path,
        settings: Settings,
        *,
        parent: ALSModel | None,
        on_iteration: OnIteration,
    ) -> Trained:
        """:func:`recsys.models.train` on the matrix in a folder."""

    def find_candidates(
        self, plan: Plan, home: Home, *, matrix: Path, model: Path, out: Path
    ) -> Mapping[str, int]:
        """Write :func:`recsys.candidates.edition_candidates` into the folder ``out``.

        Returns:
            The numbers of users and candidates.
        """

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
        """:func:`recsys.playlists.making.edition_playlists`, from what is in folders."""

    def check_edition(self, home: Home, edition: Path, settings: Settings, spill: Path) -> Verdict:
        """Check every invariant on every playlist of an edition, and its shares as a whole."""

    def stage_edition(self, store: Store, edition: str, revision: int, playlists: Artefact) -> None:
        """:func:`recsys.publishing.stage_edition`."""


def engine(settings: Settings) -> Engine:
    """The engine that the settings name; nothing of it is started yet."""
    if settings.engine.name == SPARK:
        from recsys.spark import SparkEngine

        return SparkEngine(settings)
    from recsys._local import LocalEngine

    return LocalEngine()

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
from typing import TYPE_CHECKING, Protocol

from recsys.settings import SPARK, ListensSettings, Settings

if TYPE_CHECKING:
    from recsys.listens import CleanReport, LogFile


class Engine(Protocol):
    """The work of the stages, from a day of the log to an edition."""

    def preflight(self) -> None:
        """Look, before any work, at what the engine needs.

        Raises:
            SettingsError: something is not installed, or a setting cannot be.
            ResourceError: there is too little memory, or the cluster does not answer.
        """

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


def engine(settings: Settings) -> Engine:
    """The engine that the settings name; nothing of it is started yet."""
    if settings.engine.name == SPARK:
        from recsys.spark import SparkEngine

        return SparkEngine(settings)
    from recsys._local import LocalEngine

    return LocalEngine()

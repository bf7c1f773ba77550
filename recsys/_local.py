"""The engine of one machine: the functions of the library, as they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from recsys.settings import ListensSettings

if TYPE_CHECKING:
    from recsys.listens import CleanReport, LogFile


class LocalEngine:
    """Works in this process; see :class:`recsys.engine.Engine`.

    What does the work is imported where it is called: forked workers bear no threads of before.
    """

    def preflight(self) -> None:
        """There is nothing to look at."""

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

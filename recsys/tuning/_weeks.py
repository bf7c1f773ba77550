"""The weeks that settings are tuned on and confirmed on; never the week that is reported.

The evaluation of edition ``week`` reports on the seven days before its cutoff. Nothing that arrived
on them is read here, nor anything made from it:

    ... known ... | tuned on: 7 days | confirmed on: 7 days | reported: 7 days | cutoff
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path

from recsys import models
from recsys._tables import database, read_parquet, write_query
from recsys.artefact import Artefact
from recsys.catalogue import edition_catalogue, roll_catalogue
from recsys.errors import MissingDataError
from recsys.evaluation import Metrics, Truth, recommend, score, truth
from recsys.listens import LogFile
from recsys.matrix import TasteMatrix, build_matrix
from recsys.plays import DAILY_PLAYS
from recsys.settings import ALLOW, ListensSettings, Settings
from recsys.taste import roll_taste
from recsys.unseen_week import plays_of
from recsys.verdict import ENOUGH_LISTENERS
from recsys.weeks import Week

_WEEK = timedelta(weeks=1)
#: A sample has at least so many listeners, where there are so many.
_LEAST_SAMPLE = 1000


@dataclass(frozen=True)
class TuningWeeks:
    """The first day of each week; a week ends where the next begins."""

    tuned: date
    confirmed: date
    reported: date

    @classmethod
    def of(cls, week: Week, lead_hours: int) -> TuningWeeks:
        """The weeks of an edition.

        >>> TuningWeeks.of(Week.parse("2026-W47"), 24).tuned
        datetime.date(2026, 10, 25)
        """
        cutoff = week.cutoff(lead_hours).date()
        return cls(cutoff - 3 * _WEEK, cutoff - 2 * _WEEK, cutoff - _WEEK)

    def check(self, days: Sequence[date], week: Week) -> None:
        """See that the log reaches back far enough, and is there for both weeks.

        Args:
            days: the arrival days of the log, ascending.
            week: the edition.

        Raises:
            MissingDataError: it does not; says from which week on it would.
        """
        first = self.tuned - _WEEK
        if not days or days[0] > first:
            earliest = days and Week.of(days[0] + 4 * _WEEK + timedelta(days=7))
            raise MissingDataError(
                f"To tune for edition {week} the log must reach back to {first}: one week to know "
                "listeners by, one to tune on, one to confirm on, one that is reported and left "
                f"alone. It begins on {days[0] if days else 'no day'}."
                + (f" The first edition that can be tuned for is about {earliest}." if days else "")
            )
        for begin, what in ((self.tuned, "tuned"), (self.confirmed, "confirmed")):
            if not any(begin <= day < begin + _WEEK for day in days):
                raise MissingDataError(
                    f"To tune for edition {week} settings are {what} on the seven days from "
                    f"{begin}, and the log holds none of them. Name another --week."
                )


@dataclass(frozen=True, eq=False)
class HeldOutWeek:
    """Seven days to be predicted from what arrived before them.

    Attributes:
        days: the folder of each arrival day's plays, oldest first; those on or after the week's
            end are not looked at.
        begin: the first day.
        settings: today's; by them it is decided who is scored, once for all trials.
        forgotten: listeners that must be in nothing.
        catalogue_files: the service's own catalogue, where there is one.
        share: of the listeners who are looked at, drawn by a hash of their ids, so that a smaller
            share is a part of a larger one.
        folder: for what is written on the way.
    """

    days: Mapping[date, Path]
    begin: date
    settings: Settings
    forgotten: Collection[str]
    catalogue_files: Sequence[LogFile]
    share: float
    folder: Path

    @property
    def end(self) -> date:
        """The day after the last."""
        return self.begin + _WEEK

    def sampled(self, share: float) -> HeldOutWeek:
        """The same week with a part of its listeners, but never fewer than can be told apart."""
        share = min(1.0, max(share, _LEAST_SAMPLE / max(len(self.heard.users), 1)))
        return self if share == self.share else replace(self, share=share)

    def matrix(self, listens: ListensSettings) -> TasteMatrix:
        """Who held to what before the week, by these weights and this half-life."""
        taste = self.folder / f"taste-{self.share}-{listens.half_life_days}.parquet"
        if not taste.exists():
            known = [self._known] if self.share < 1 else self._plays(None, self.begin)
            roll_taste(None, known, self.begin, listens.half_life_days, taste)
        return build_matrix(
            taste,
            self._catalogue,
            cutoff=self.begin,
            active_days=self.settings.edition.active_days,
            weights=listens,
            forgotten=self.forgotten,
            spill=self.folder,
        )

    @cached_property
    def heard(self) -> Truth:
        """What is to be predicted, of whom; the same whatever the settings that are tried."""
        plays = plays_of(self._plays(self.begin, self.end), self.begin, self.end, self.folder)
        found = truth(self.matrix(self.settings.listens), plays)
        return found.sample(self.settings.evaluation.listeners, self.settings.recsys.seed)

    def check(self) -> None:
        """See that there are enough listeners to tell settings apart.

        Raises:
            MissingDataError: there are not.
        """
        if len(self.heard.users) < ENOUGH_LISTENERS:
            raise MissingDataError(
                f"Only {len(self.heard.users)} listeners heard something new from {self.begin} to "
                f"{self.end}; at least {ENOUGH_LISTENERS} are needed to tell settings apart."
            )

    def score(self, settings: Settings, effort: float = 1.0) -> Metrics:
        """How well a model with these settings finds what was heard, listener by listener.

        Args:
            settings: to try.
            effort: share of the factors and of the iterations.

        Raises:
            GateRefusedError: training ended in factors that are not finite.
        """
        matrix = self.matrix(settings.listens)
        als = replace(
            settings.als,
            factors=max(1, round(settings.als.factors * effort)),
            iterations=max(1, round(settings.als.iterations * effort)),
        )
        model = models.train(matrix, als, settings.recsys.seed)
        return score(recommend(model, matrix, self.heard.users), self.heard)

    @cached_property
    def _catalogue(self) -> Path:
        told, out = self.folder / "told.parquet", self.folder / "catalogue.parquet"
        if out.exists():
            return out
        days = [folder for day, folder in self.days.items() if day < self.end]
        roll_catalogue(None, [Artefact.open(one).file("tracks.parquet") for one in days], told)
        explicit = self.settings.catalogue.explicit == ALLOW
        edition_catalogue(told, self.catalogue_files, out, explicit=explicit)
        return out

    @cached_property
    def _known(self) -> Path:
        """The plays before the week, of the sample alone."""
        out = self.folder / f"known-{self.share}.parquet"
        source = read_parquet(self._plays(None, self.begin))
        with database(self.folder) as connection:
            write_query(
                connection,
                f"""SELECT * FROM {source} WHERE {self._drawn}
                    ORDER BY user_id, track_id, listened_on""",
                out,
                DAILY_PLAYS,
            )
        return out

    @property
    def _drawn(self) -> str:
        return f"('0x' || md5(user_id)[:8])::UBIGINT < {int(self.share * 2**32)}"

    def _plays(self, begin: date | None, end: date) -> list[Path]:
        return [
            Artefact.open(folder).file("plays.parquet")
            for day, folder in self.days.items()
            if (begin is None or begin <= day) and day < end
        ]

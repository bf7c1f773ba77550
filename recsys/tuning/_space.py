"""What is searched: the settings that shape a model, each around the value that is set now.

A search is relative to today's settings, so that it goes on from what was found before, and a
setting of 0 (off) stays off.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from recsys.settings import Settings

if TYPE_CHECKING:
    from optuna import Trial

Values = Mapping[str, float]


@dataclass(frozen=True)
class Dimension(ABC):
    """A setting that is searched."""

    section: str
    key: str

    @property
    def name(self) -> str:
        """``section.key``, as MLflow and the table of trials call it."""
        return f"{self.section}.{self.key}"

    def now(self, settings: Settings) -> float:
        """The value that is set."""
        value: float = getattr(getattr(settings, self.section), self.key)
        return value

    def allowed(self, settings: Settings, value: float) -> float:
        """``value`` as the setting takes it, or the one that is set now where it does not."""
        now = self.now(settings)
        value = round(value) if isinstance(now, int) else float(f"{value:.3g}")
        part = type(getattr(settings, self.section))
        parse = {one.name: one.metadata["parse"] for one in dataclasses.fields(part)}[self.key]
        try:
            parsed: float = parse(str(value))
        except ValueError:
            return now
        return parsed

    def drawn(self, settings: Settings) -> float:
        """What the sampler would have to draw for the value that is set now."""
        return self.now(settings)

    @abstractmethod
    def suggest(self, trial: Trial, settings: Settings) -> float:
        """The value that the sampler picks."""


@dataclass(frozen=True)
class Steps(Dimension):
    """A few multiples of what is set: for settings that are dear to change."""

    times: tuple[float, ...]

    def suggest(self, trial: Trial, settings: Settings) -> float:
        """One of the multiples."""
        now = self.now(settings)
        steps = {self.allowed(settings, now * times) for times in self.times} | {now}
        value: float = trial.suggest_categorical(self.name, sorted(steps))
        return value


@dataclass(frozen=True)
class Times(Dimension):
    """From a part of what is set to a multiple of it, evenly in the logarithm; the sign stays."""

    most: float

    def drawn(self, settings: Settings) -> float:
        """Its size: the sign is not drawn."""
        return abs(self.now(settings))

    def suggest(self, trial: Trial, settings: Settings) -> float:
        """A value between the two."""
        now = self.now(settings)
        ends = (self.allowed(settings, now / self.most), self.allowed(settings, now * self.most))
        low, high = sorted(abs(end) for end in ends)
        value = trial.suggest_float(self.name, low, high, log=True)
        return now if value == abs(now) else self.allowed(settings, value if now > 0 else -value)


@dataclass(frozen=True)
class Between(Dimension):
    """From one value to another, whatever is set: for exponents and shares."""

    low: float
    high: float

    def suggest(self, trial: Trial, settings: Settings) -> float:
        """A value between the two."""
        now = self.now(settings)
        value = trial.suggest_float(self.name, min(self.low, now), max(self.high, now))
        return now if value == now else self.allowed(settings, value)


_REGULARIZATION: Final = Times("als", "regularization", 30)
#: What a row weighs, its pairs and the unobserved together, to a power of ten or so.
_TYPICAL_ROW: Final = 3000.0

#: What plays weigh is left: only how the other events weigh against it matters, and ``alpha``.
SPACE: Final[tuple[Dimension, ...]] = (
    Steps("als", "factors", (1 / 4, 1 / 2, 1, 2, 4)),
    Between("als", "regularization_exponent", 0, 1),
    _REGULARIZATION,
    Times("als", "unobserved_weight", 10),
    Times("als", "alpha", 10),
    Steps("listens", "half_life_days", (1 / 8, 1 / 4, 1 / 2, 1, 2, 4)),
    Times("listens", "weight_part_play", 10),
    Times("listens", "weight_skip", 10),
    Times("listens", "weight_save", 10),
    Times("listens", "weight_like", 10),
)


def searched(settings: Settings, space: Sequence[Dimension] = SPACE) -> tuple[Dimension, ...]:
    """The dimensions that are on: what is set to 0 stays so, unless it may be anything."""
    return tuple(one for one in space if isinstance(one, Between) or one.now(settings) != 0)


def values_of(settings: Settings) -> dict[str, float]:
    """What is set now, by dimension."""
    return {one.name: one.now(settings) for one in searched(settings)}


def drawn_now(settings: Settings) -> dict[str, float]:
    """What the sampler would have to draw for the settings of now."""
    return {one.name: one.drawn(settings) for one in searched(settings)}


def suggest(trial: Trial, settings: Settings) -> dict[str, float]:
    """The values that a trial is to try.

    The regularization is drawn for the exponent of now, and a typical row then keeps its penalty
    under the exponent that is drawn: so the two can be searched apart.
    """
    values = {one.name: one.suggest(trial, settings) for one in searched(settings)}
    steeper = values["als.regularization_exponent"] - settings.als.regularization_exponent
    if steeper and _REGULARIZATION.name in values:
        same_penalty = values[_REGULARIZATION.name] * _TYPICAL_ROW**-steeper
        values[_REGULARIZATION.name] = _REGULARIZATION.allowed(settings, same_penalty)
    return values


def with_values(settings: Settings, values: Values) -> Settings:
    """The settings with the values of a trial.

    >>> from recsys.settings import load_settings
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder) / "some.cfg"
    ...     _ = file.write_text("[listens]\\nsource = log\\n")
    ...     settings = load_settings([file])
    >>> with_values(settings, {"als.factors": 128, "listens.weight_skip": -1.0}).als.factors
    128
    """
    parts: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        section, key = name.split(".")
        parts.setdefault(section, {})[key] = value
    changed: dict[str, Any] = {
        section: dataclasses.replace(getattr(settings, section), **keys)
        for section, keys in parts.items()
    }
    return dataclasses.replace(settings, **changed)

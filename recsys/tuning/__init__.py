"""Better settings of the model, looked for on weeks before the one that is reported."""

from recsys.tuning._outcome import BETTER, NONE_BETTER, NOT_SHOWN, Outcome
from recsys.tuning._search import FAILED, FINISHED, STOPPED, Tried
from recsys.tuning._space import SPACE, Between, Dimension, Steps, Times, with_values
from recsys.tuning._tune import search_name, tune
from recsys.tuning._weeks import TuningWeeks

__all__ = [
    "BETTER",
    "FAILED",
    "FINISHED",
    "NONE_BETTER",
    "NOT_SHOWN",
    "SPACE",
    "STOPPED",
    "Between",
    "Dimension",
    "Outcome",
    "Steps",
    "Times",
    "Tried",
    "TuningWeeks",
    "search_name",
    "tune",
    "with_values",
]

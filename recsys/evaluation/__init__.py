"""How well a model finds what listeners went on to hear for the first time.

The task is the product's own: from everything known at the base, rank the songs a listener has
*not* heard, and see which of them were heard in the week after. Hearing an old song again counts
neither for nor against. Every model is scored on the same base, the same listeners and the same
songs, so that two of them can be compared listener by listener.
"""

from recsys.evaluation._comparison import Comparison, Segment, compare
from recsys.evaluation._evaluate import Model, evaluate, fit_and_recommend
from recsys.evaluation._intervals import Interval, intervals, paired
from recsys.evaluation._metrics import CUTOFF, Metrics, score
from recsys.evaluation._rankers import (
    POPULARITY,
    events,
    recommend,
    recommend_als_defaults,
    recommend_baselines,
    recommend_neighbours,
    recommend_popular,
)
from recsys.evaluation._split import Frame
from recsys.evaluation._truth import Truth, truth

__all__ = [
    "CUTOFF",
    "POPULARITY",
    "Comparison",
    "Frame",
    "Interval",
    "Metrics",
    "Model",
    "Segment",
    "Truth",
    "compare",
    "evaluate",
    "events",
    "fit_and_recommend",
    "intervals",
    "paired",
    "recommend",
    "recommend_als_defaults",
    "recommend_baselines",
    "recommend_neighbours",
    "recommend_popular",
    "score",
    "truth",
]

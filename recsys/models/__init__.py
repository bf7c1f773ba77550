"""Models: how a taste matrix becomes factors, and factors a ranking."""

from recsys.models._als import ALSModel, OnIteration, train
from recsys.models._check import check_factors
from recsys.models._files import ITEM_FILES, load, save
from recsys.models._fold_in import WhitenedSongs, contributions, fold_in, strongest, whiten
from recsys.models._known import CUTOFF
from recsys.models._rank import Ranking, rank

__all__ = [
    "CUTOFF",
    "ITEM_FILES",
    "ALSModel",
    "OnIteration",
    "Ranking",
    "WhitenedSongs",
    "check_factors",
    "contributions",
    "fold_in",
    "load",
    "rank",
    "save",
    "strongest",
    "train",
    "whiten",
]

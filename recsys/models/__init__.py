"""Models: how a taste matrix becomes factors, and factors a ranking."""

from recsys.models._als import ALSModel, OnIteration, train
from recsys.models._check import check_factors
from recsys.models._files import ITEM_FILES, load, save
from recsys.models._fold_in import RotatedItems, contributions, fold_in, rotate
from recsys.models._implicit_als import ImplicitALS
from recsys.models._known import CUTOFF
from recsys.models._rank import Ranking, rank
from recsys.models._strongest import strongest

__all__ = [
    "CUTOFF",
    "ITEM_FILES",
    "ALSModel",
    "ImplicitALS",
    "OnIteration",
    "Ranking",
    "RotatedItems",
    "check_factors",
    "contributions",
    "fold_in",
    "load",
    "rank",
    "rotate",
    "save",
    "strongest",
    "train",
]

"""A trained model of the weekly run: factors under song keys and user ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from implicit.recommender_base import ModelFitError
from scipy.sparse import csr_matrix

from recsys import columns as c
from recsys.errors import GateRefusedError, MissingDataError, RecsysError
from recsys.matrix import TasteMatrix
from recsys.models._fold_in import RotatedItems, fold_in, rotate
from recsys.models._implicit_als import ImplicitALS
from recsys.models._objective import Objective, confidences
from recsys.settings import AlsSettings

#: A cold training ends where iterations lower the loss by less than this share of it.
_TOLERANCE: Final = 1e-4

#: Called after each iteration with its number (from 0), the loss, and the seconds it took.
OnIteration = Callable[[int, float, float], None]


@dataclass(frozen=True, eq=False)
class ALSModel:
    """Factors of users and songs; the score of a song for a user is their product.

    The objective is that of :class:`recsys.models.ImplicitALS`, with the confidence ``1 + alpha *
    strength`` on what was heard with pleasure. The user factors are the exact minimum for the item
    factors, so a score is the sum of what each heard song adds to it
    (:func:`recsys.reasons.reasons`).

    Attributes:
        item_factors: float32 ``[songs, factors]``; zero for a song nobody has strength for.
        user_factors: float64 ``[users, factors]``; zero for a user without strength.
        song_keys: string, one per row of ``item_factors``.
        user_ids: string, one per row of ``user_factors``.
        settings: what it was trained with.
        seed: of the first factors.
        warm: whether training went on from a parent.
        loss: after each iteration, as :meth:`recsys.models.ImplicitALS.loss` defines it.
    """

    item_factors: npt.NDArray[np.float32]
    user_factors: npt.NDArray[np.float64]
    song_keys: pa.StringArray
    user_ids: pa.StringArray
    settings: AlsSettings
    seed: int
    warm: bool
    loss: tuple[float, ...]

    @property
    def learnt(self) -> npt.NDArray[np.bool_]:
        """Bool ``[songs]``: the songs that have factors, and so can be ranked."""
        return np.asarray(self.item_factors.any(axis=1))

    def without_users(self) -> ALSModel:
        """The item factors alone, which say nothing of any listener."""
        nobody = np.zeros((0, self.settings.factors))
        return replace(self, user_factors=nobody, user_ids=pa.array([], pa.string()))

    @property
    def implicit(self) -> ImplicitALS:
        """An `implicit` model of the same factors, users and songs by their rows here."""
        model = _implicit(self.settings, self.seed)
        model.user_factors = self.user_factors.astype(np.float32)
        model.item_factors = self.item_factors
        return model

    def confidences(self, strength: csr_matrix) -> csr_matrix:
        """What the model makes of a matrix of strengths; beside its entries."""
        return confidences(strength, self.settings.alpha)

    def rotated(self) -> RotatedItems:
        """The item factors, made ready for folding in users and for giving reasons."""
        return self._rotated

    @cached_property
    def _rotated(self) -> RotatedItems:
        return rotate(self.item_factors, Objective.of(self.settings))

    def folded(self, matrix: TasteMatrix) -> ALSModel:
        """The same item factors with the users of a matrix of the same songs, folded in exactly."""
        model = replace(
            self,
            user_factors=fold_in(self._rotated, self.confidences(matrix.strength)),
            user_ids=strings(matrix.users, c.USER_ID),
        )
        model.__dict__["_rotated"] = self._rotated  # of the same items: made once for all slices
        return model

    def refolded(self, matrix: TasteMatrix) -> ALSModel:
        """The same item factors under the songs of another matrix, its users folded in exactly.

        Songs that the model does not know have zero factors: they are never ranked.
        """
        songs = strings(matrix.songs, c.SONG_KEY)
        items = aligned(self.item_factors, self.song_keys, songs)
        return replace(self, item_factors=items, song_keys=songs).folded(matrix)

    def with_users_of(self, matrix: TasteMatrix) -> ALSModel:
        """The model itself where it holds its users, else those of the matrix it was trained on."""
        return self if len(self.user_ids) else self.folded(matrix)


def train(
    matrix: TasteMatrix,
    settings: AlsSettings,
    seed: int,
    *,
    parent: ALSModel | None = None,
    with_users: bool = True,
    on_iteration: OnIteration | None = None,
) -> ALSModel:
    """Train a model: cold from random item factors, or going on from ``parent``.

    Cold, at most ``settings.iterations`` are run: training ends where two running have each lowered
    the loss by less than a ten-thousandth of it (``docs/adr/0061``). With a parent, factors are
    carried over by song key and user id, ``settings.warm_iterations`` are run, and songs and users
    that the parent did not know begin at zero: the first sweep over the users solves the new users,
    the one over the songs that follows solves the new songs. The same input and seed give the same
    bytes for any number of threads.

    Args:
        matrix: who holds to what, and how strongly. A matrix without any strength gives a model
            whose factors are all zero: it ranks nothing.
        settings: the model's settings.
        seed: of the first item factors (cold) only.
        parent: the model to go on from; it may hold no users.
        with_users: whether the users are folded in at the end.
        on_iteration: told of each iteration.

    Raises:
        MissingDataError: there are no users or no songs.
        RecsysError: the parent has another number of factors.
        GateRefusedError: the factors are no longer finite.
    """
    users, songs = matrix.strength.shape
    if not users or not songs:
        raise MissingDataError(
            f"There is nothing to train on: {users} users and {songs} songs in the matrix. "
            "Check that the log holds listens before the edition's cutoff."
        )
    song_keys, user_ids = strings(matrix.songs, c.SONG_KEY), strings(matrix.users, c.USER_ID)
    als = _implicit(settings, seed, warm=parent is not None)
    als.user_factors = np.zeros((users, settings.factors), np.float32)
    if parent is not None:
        _check_parent(parent, settings)
        als.item_factors = aligned(parent.item_factors, parent.song_keys, song_keys)
        als.user_factors = aligned(parent.user_factors, parent.user_ids, user_ids).astype(
            np.float32
        )
    losses: list[float] = []

    def after(iteration: int, seconds: float, loss: float | None) -> None:
        assert loss is not None
        losses.append(loss)
        if on_iteration is not None:
            on_iteration(iteration, loss, seconds)

    confidence = confidences(matrix.strength, settings.alpha)
    if confidence.nnz:
        try:
            als.fit(confidence, show_progress=False, callback=after)
        except ModelFitError as error:
            raise GateRefusedError(
                f"Training ended with factors that are not finite ({error}). Try a higher "
                "[als] regularization or a lower alpha."
            ) from error
    else:
        als.item_factors = np.zeros((songs, settings.factors), np.float32)
    model = ALSModel(
        item_factors=als.item_factors,
        user_factors=np.zeros((0, settings.factors)),
        song_keys=song_keys,
        user_ids=pa.array([], pa.string()),
        settings=settings,
        seed=seed,
        warm=parent is not None,
        loss=tuple(losses),
    )
    return model.folded(matrix) if with_users else model


def _check_parent(parent: ALSModel, settings: AlsSettings) -> None:
    if parent.settings.factors != settings.factors:
        raise RecsysError(
            f"The parent model has {parent.settings.factors} factors and [als] factors = "
            f"{settings.factors}: training cannot go on from it. Train without a parent (cold)."
        )


def _implicit(settings: AlsSettings, seed: int, *, warm: bool = False) -> ImplicitALS:
    """With ``alpha`` 1: the confidences are made by :func:`confidences`."""
    return ImplicitALS(
        factors=settings.factors,
        regularization=settings.regularization,
        unobserved_weight=settings.unobserved_weight,
        regularization_exponent=settings.regularization_exponent,
        iterations=settings.warm_iterations if warm else settings.iterations,
        tolerance=0.0 if warm else _TOLERANCE,
        calculate_training_loss=True,
        random_state=seed,
    )


def strings(table: pa.Table, name: str) -> pa.StringArray:
    """A string column as one array."""
    return pa.concat_arrays([pa.array([], pa.string()), *table[name].chunks])


def aligned(
    factors: npt.NDArray[Any], known: pa.StringArray, wanted: pa.StringArray
) -> npt.NDArray[Any]:
    """The rows of ``wanted`` by their id; zero for an id that is not known."""
    found = pc.index_in(wanted, value_set=known)
    aligned = np.zeros((len(wanted), factors.shape[1]), factors.dtype)
    here = found.is_valid().to_numpy(zero_copy_only=False)
    aligned[here] = factors[found.drop_null().to_numpy()]
    return aligned

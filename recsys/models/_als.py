"""Alternating least squares on implicit feedback, by `implicit`, as a model of ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from implicit.cpu.als import AlternatingLeastSquares
from implicit.recommender_base import ModelFitError
from scipy.sparse import csr_matrix

from recsys import columns as c
from recsys._threads import cores, one_blas_thread
from recsys.errors import GateRefusedError, MissingDataError, RecsysError
from recsys.matrix import TasteMatrix
from recsys.models._fold_in import WhitenedSongs, fold_in, whiten
from recsys.models._loss import loss
from recsys.settings import AlsSettings

#: Called after each iteration with its number (from 0), the loss, and the seconds it took.
OnIteration = Callable[[int, float, float], None]

_FIRST_FACTORS: Final = 0.01


@dataclass(frozen=True, eq=False)
class ALSModel:
    """Factors of users and songs; the score of a song for a user is their product.

    The objective is that of Hu, Koren and Volinsky (2008), equation 3: confidence ``1 + alpha *
    strength`` on what was heard with pleasure, 1 on everything else, and ``regularization`` on the
    squared norms. The user factors are the exact minimum for the item factors, so a score is the
    sum of what each heard song adds to it (:func:`recsys.reasons.reasons`).

    Attributes:
        item_factors: float32 ``[songs, factors]``; zero for a song nobody has strength for.
        user_factors: float64 ``[users, factors]``; zero for a user without strength.
        song_keys: string, one per row of ``item_factors``.
        user_ids: string, one per row of ``user_factors``.
        settings: what it was trained with.
        seed: of the first factors.
        warm: whether training went on from a parent.
        loss: after each iteration, as :func:`recsys.models._loss.loss` defines it.
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

    def whitened(self) -> WhitenedSongs:
        """The item factors, made ready for folding in users and for giving reasons."""
        return whiten(
            self.item_factors,
            regularization=self.settings.regularization,
            alpha=self.settings.alpha,
        )

    def refolded(self, matrix: TasteMatrix) -> ALSModel:
        """The same item factors under the songs of another matrix, its users folded in exactly.

        Songs that the model does not know have zero factors: they are never ranked.
        """
        items = aligned(self.item_factors, self.song_keys, strings(matrix.songs, c.SONG_KEY))
        model = replace(
            self, item_factors=items, song_keys=strings(matrix.songs, c.SONG_KEY),
            user_ids=strings(matrix.users, c.USER_ID),
        )  # fmt: skip
        return replace(model, user_factors=fold_in(model.whitened(), matrix.strength))


def train(
    matrix: TasteMatrix,
    settings: AlsSettings,
    seed: int,
    *,
    parent: ALSModel | None = None,
    on_iteration: OnIteration | None = None,
) -> ALSModel:
    """Train a model: cold from random item factors, or going on from ``parent``.

    With a parent, factors are carried over by song key and user id, ``settings.warm_iterations``
    are run, and songs and users that the parent did not know begin at zero: the first sweep over
    the users solves the new users, the one over the songs that follows solves the new songs. The
    same input and seed give the same bytes for any number of threads.

    Args:
        matrix: who holds to what, and how strongly. A matrix without any strength gives a model
            whose factors are all zero: it ranks nothing.
        settings: the model's settings.
        seed: of the first item factors (cold) only.
        parent: the model to go on from.
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
    user_factors = np.zeros((users, settings.factors), np.float32)
    if parent is None:
        rng = np.random.default_rng(seed)
        item_factors = rng.random((songs, settings.factors), np.float32) * np.float32(
            _FIRST_FACTORS
        )
    else:
        _check_parent(parent, settings)
        item_factors = aligned(parent.item_factors, parent.song_keys, song_keys)
        user_factors = aligned(parent.user_factors, parent.user_ids, user_ids).astype(np.float32)
    iterations = settings.iterations if parent is None else settings.warm_iterations
    losses = _sweep(matrix.strength, user_factors, item_factors, settings, iterations, on_iteration)
    model = ALSModel(
        item_factors=item_factors,
        user_factors=np.zeros((users, settings.factors)),
        song_keys=song_keys,
        user_ids=user_ids,
        settings=settings,
        seed=seed,
        warm=parent is not None,
        loss=tuple(losses),
    )
    return replace(model, user_factors=fold_in(model.whitened(), matrix.strength))


def _check_parent(parent: ALSModel, settings: AlsSettings) -> None:
    if parent.settings.factors != settings.factors:
        raise RecsysError(
            f"The parent model has {parent.settings.factors} factors and [als] factors = "
            f"{settings.factors}: training cannot go on from it. Train without a parent (cold)."
        )


def _sweep(
    strength: csr_matrix,
    user_factors: npt.NDArray[np.float32],
    item_factors: npt.NDArray[np.float32],
    settings: AlsSettings,
    iterations: int,
    on_iteration: OnIteration | None,
) -> list[float]:
    """Run ALS on the factors, in place, and return the loss after each iteration."""
    if not strength.nnz:
        item_factors[:] = 0
        return []
    confidence = strength.astype(np.float32)
    confidence.data = 1 + np.float32(settings.alpha) * strength.data
    losses: list[float] = []

    def told(iteration: int, seconds: float, _: Any) -> None:
        losses.append(
            loss(strength, user_factors, item_factors, settings.alpha, settings.regularization)
        )
        if on_iteration is not None:
            on_iteration(iteration, losses[-1], seconds)

    with one_blas_thread():
        # Confidence is ours to make: implicit takes its data as c itself, with p = 1.
        solver = AlternatingLeastSquares(
            factors=settings.factors,
            regularization=settings.regularization,
            alpha=1.0,
            iterations=iterations,
            num_threads=cores(),
        )
        solver.user_factors, solver.item_factors = user_factors, item_factors
        try:
            solver.fit(confidence, show_progress=False, callback=told)
        except ModelFitError as error:
            raise GateRefusedError(
                f"Training ended with factors that are not finite ({error}). Try a higher "
                "[als] regularization or a lower alpha."
            ) from error
    return losses


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

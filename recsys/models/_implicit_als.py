"""Implicit ALS under our objective, as an `implicit` model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix

from recsys._threads import one_blas_thread
from recsys.errors import RecsysError
from recsys.models._fold_in import RotatedItems, contributions, fold_in, rotate
from recsys.models._loss import loss, penalty, settled, weight_of
from recsys.models._momentum import Momentum
from recsys.models._objective import Objective
from recsys.models._sweep import sweep

#: What a saved model must name, for `implicit` would read a file without it and know no better.
_OBJECTIVE: Final = ("unobserved_weight", "regularization_exponent")
_SAVED: Final = ("factors", "regularization", "alpha", *_OBJECTIVE, "iterations", "cg_steps")

Callback = Callable[[int, float, float | None], None]


class ImplicitALS(AlternatingLeastSquares):
    """Implicit ALS with a weight for the unobserved and regularization scaled by frequency.

    It minimises, with ``s = x_u'y_i`` over all pairs (Rendle, Krichene, Zhang, Koren, "Revisiting
    the Performance of iALS on Item Recommendation Benchmarks", RecSys 2022):

        sum over observed (u, i) of  c_ui (1 - s)^2  +  sum over all others of  w0 s^2
        + regularization (sum over u of (n_u + w0 N_items)^nu |x_u|^2
                          + sum over i of (n_i + w0 N_users)^nu |y_i|^2)

    ``c_ui = alpha * user_items[u, i]``, ``n`` counts the observed pairs of a row. With
    ``unobserved_weight=1, regularization_exponent=0`` it is the objective of `implicit`'s own
    ``AlternatingLeastSquares``, whose interface this is: ``fit``, ``recommend``, ``similar_items``,
    ``partial_fit_users`` and the rest as they are there. Folding in and explaining are exact, in
    float64, and made for many rows at once: each call looks at all factors of the other side.

    Iterations have momentum (:mod:`recsys.models._momentum`), so the loss falls faster, and may
    rise a little on the way; the sweeps measure it themselves, to a millionth. The same matrix and
    ``random_state`` give the same bytes for any ``num_threads``.

    Args:
        factors: of each user and item, from 1.
        regularization: pull of the factors towards zero, from 0.
        alpha: multiplies ``user_items``, above 0.
        unobserved_weight: ``w0``, above 0. The sweeps are in float32: confidences of a billionth of
            it train nothing.
        regularization_exponent: ``nu``: 0 for every row alike, 1 for each in proportion.
        iterations: a sweep over the users and one over the items each; at most so many.
        tolerance: training ends where two iterations running have each lowered the loss by less
            than this share of it; 0 for never.
        calculate_training_loss: whether the callback is told the loss.
        num_threads: 0 for one a core.
        random_state: a seed, or a generator of `numpy`, for the first factors.

    Raises:
        RecsysError: a value is out of its range.
    """

    calculate_training_loss: bool

    def __init__(
        self,
        factors: int = 64,
        regularization: float = 0.01,
        alpha: float = 1.0,
        *,
        unobserved_weight: float = 1.0,
        regularization_exponent: float = 0.0,
        iterations: int = 15,
        tolerance: float = 0.0,
        calculate_training_loss: bool = False,
        num_threads: int = 0,
        random_state: int | np.random.Generator | None = None,
    ) -> None:
        for name, value, allowed, expected in (
            ("factors", factors, factors >= 1, "from 1"),
            ("regularization", regularization, regularization >= 0, "from 0"),
            ("alpha", alpha, alpha > 0, "above 0"),
            ("unobserved_weight", unobserved_weight, unobserved_weight > 0, "above 0"),
            ("tolerance", tolerance, tolerance >= 0, "from 0"),
        ):
            if not (allowed and np.isfinite(value)):
                raise RecsysError(f"{name} is {value}: expected a finite number {expected}.")
        with one_blas_thread():  # it warns where BLAS has more
            super().__init__(
                factors=factors,
                regularization=regularization,
                alpha=alpha,
                iterations=iterations,
                calculate_training_loss=calculate_training_loss,
                num_threads=num_threads,
                random_state=random_state,
            )
        self.cg_steps = 2  # preconditioned, they reach what three of implicit's do
        self.unobserved_weight = unobserved_weight
        self.regularization_exponent = regularization_exponent
        self.tolerance = tolerance
        self._left = 0.0  # of the objective, as the last sweep over the items found it

    @property
    def objective(self) -> Objective:
        """What is minimised."""
        return Objective(self.unobserved_weight, self.regularization, self.regularization_exponent)

    @property
    def solver(self) -> Callable[..., None]:
        """Called by ``fit`` for each side of each iteration, the users first."""
        momentum = Momentum()
        sides = itertools.cycle(("users", "items"))

        def solve(
            confidence: csr_matrix,
            rows: npt.NDArray[np.float32],
            columns: npt.NDArray[np.float32],
            regularization: float,
            num_threads: int,
        ) -> None:
            objective = Objective(
                self.unobserved_weight, regularization, self.regularization_exponent
            )
            side = next(sides)
            if side == "users":
                momentum.carry_on(columns)
            left = sweep(
                confidence, rows, columns, objective, steps=self.cg_steps, threads=num_threads
            )
            if side == "users":
                self._left = penalty(rows, objective.ridge(confidence.indptr, len(columns)))
            else:
                self._left += left

        return solve

    def fit(
        self, user_items: csr_matrix, show_progress: bool = True, callback: Callback | None = None
    ) -> None:
        """Train, from the factors there are or else from small random ones.

        Args:
            user_items: ``[users, items]``, positive; zeros count as unobserved.
            show_progress: whether to draw a progress bar.
            callback: called after each iteration with its number, seconds, and the loss or None.

        Raises:
            RecsysError: a value is negative or not finite, or the factors there are, are those of a
                matrix of another shape.
            ModelFitError: the factors are no longer finite (`implicit`).
        """
        user_items = self._checked(user_items)
        self._check_shape(user_items)
        told = callback or self.fit_callback
        wanted, self.calculate_training_loss = self.calculate_training_loss, False
        weight = weight_of(self._weighted(user_items), self.objective)
        losses: list[float] = []

        def after(iteration: int, seconds: float, _: None) -> None:
            losses.append(self._left / weight)
            if told:
                told(iteration, seconds, losses[-1] if wanted else None)
            if settled(losses, self.tolerance):
                raise _Settled

        try:
            super().fit(user_items, show_progress=show_progress, callback=after)
        except _Settled:
            self._check_fit_errors()
        finally:
            self.calculate_training_loss = wanted

    def loss(self, user_items: csr_matrix) -> float:
        """The objective, divided by the sum of all ``c`` and ``w0``.

        Args:
            user_items: ``[users, items]``, as :meth:`fit` takes it.

        Raises:
            RecsysError: there are no factors yet, those there are, are those of a matrix of another
                shape, or a value is negative or not finite.
        """
        user_items = self._checked(user_items)
        users, items = _there(self.user_factors), _there(self.item_factors)
        self._check_shape(user_items)
        return loss(self._weighted(user_items), users, items, self.objective)

    def recalculate_user(
        self, userid: int | Sequence[int], user_items: csr_matrix
    ) -> npt.NDArray[np.float32]:
        """The factors of users for their rows of ``user_items``, solved exactly; nothing is kept.

        Returns:
            float32 ``[factors]`` for one id, ``[ids, factors]`` for several.
        """
        return self._folded(userid, user_items, self.item_factors)

    def recalculate_item(
        self, itemid: int | Sequence[int], item_users: csr_matrix
    ) -> npt.NDArray[np.float32]:
        """The factors of items for their rows of ``item_users``, solved exactly; nothing is kept.

        Returns:
            float32 ``[factors]`` for one id, ``[ids, factors]`` for several.
        """
        return self._folded(itemid, item_users, self.user_factors)

    def explain(
        self,
        userid: int,
        user_items: csr_matrix,
        itemid: int,
        user_weights: RotatedItems | None = None,
        N: int = 10,  # noqa: N803 - implicit's
    ) -> tuple[float, list[tuple[int, float]], RotatedItems]:
        """What each item that a user has observed adds to the score of another, exactly.

        Args:
            userid: a row of ``user_items``.
            user_items: ``[users, items]``.
            itemid: the item whose score is taken apart.
            user_weights: the third value of an earlier call, of whatever user: it saves the work
                that all users share.
            N: how many contributions, largest first.

        Returns:
            The score, the contributions ``(item, part of the score)``, and ``user_weights``.

        Raises:
            RecsysError: there are no factors yet, or no such user or item, or the matrix is not as
                wide as there are items.
        """
        items = _there(self.item_factors)
        users, width = user_items.shape
        if width != len(items):
            raise RecsysError(
                f"The matrix has {width} columns: expected {len(items)}, one for each item."
            )
        for what, number, count in (("user", userid, users), ("item", itemid, width)):
            if not 0 <= number < count:
                raise RecsysError(f"There is no {what} {number}: expected 0 to {count - 1}.")
        row = self._weighted(self._checked(csr_matrix(user_items)[userid]))
        rotated = user_weights or rotate(items, self.objective)
        parts = contributions(rotated, row, np.array([itemid], np.int32))[:, 0]
        best = np.argsort(-parts, kind="stable")[:N]
        top = [(int(row.indices[k]), float(parts[k])) for k in best]
        return float(parts.sum()), top, rotated

    def save(self, fileobj_or_path: Any) -> None:
        """Write factors and settings as npz; a ``random_state`` only where it is a seed."""
        values = {name: getattr(self, name) for name in _SAVED} | {
            "user_factors": self.user_factors,
            "item_factors": self.item_factors,
        }
        if isinstance(self.random_state, int | np.integer):
            values["random_state"] = int(self.random_state)
        np.savez(fileobj_or_path, **{k: v for k, v in values.items() if v is not None})

    @classmethod
    def load(cls, fileobj_or_path: Any) -> ImplicitALS:
        """Read what :meth:`save` wrote.

        Raises:
            RecsysError: the file is of another model, such as `implicit`'s own.
        """
        if isinstance(fileobj_or_path, str | Path):
            name = str(fileobj_or_path)  # as np.savez names it
            fileobj_or_path = name if name.endswith(".npz") else f"{name}.npz"
        with np.load(fileobj_or_path, allow_pickle=False) as data:
            missing = [name for name in _SAVED if name not in data]
            if missing:
                raise RecsysError(
                    f"{fileobj_or_path} is no ImplicitALS: it names no {', '.join(missing)}. A "
                    "model saved by implicit itself has another objective and cannot be taken on; "
                    "train it again."
                )
            model = cls()
            for name in data:
                value = data[name]
                setattr(model, name, value if value.ndim else value.item())
        return model

    def to_gpu(self) -> None:
        """Not there: `implicit`'s models for the GPU have another objective."""
        raise NotImplementedError("ImplicitALS has no version for the GPU")

    def _folded(
        self,
        ids: int | Sequence[int],
        observed: csr_matrix,
        others: npt.NDArray[np.float32] | None,
    ) -> npt.NDArray[np.float32]:
        others = _there(others)
        rows = 1 if np.isscalar(ids) else len(cast("Sequence[int]", ids))
        if observed.shape != (rows, len(others)):
            raise ValueError(
                f"The matrix is {observed.shape[0]} x {observed.shape[1]}: expected one row for "
                f"each of {rows} ids, and {len(others)} columns"
            )
        found = fold_in(
            rotate(others, self.objective), self._weighted(self._checked(observed))
        ).astype(np.float32)
        return found[0] if np.isscalar(ids) else found

    def _check_shape(self, user_items: csr_matrix) -> None:
        """Compiled code would read past the end of factors that do not fit."""
        shape = user_items.shape
        own = [
            wanted if factors is None else len(factors)
            for wanted, factors in zip(shape, (self.user_factors, self.item_factors), strict=True)
        ]
        if tuple(own) != shape:
            raise RecsysError(
                f"These factors are of {own[0]} x {own[1]} users and items, the matrix of "
                f"{shape[0]} x {shape[1]}: make a new model for it."
            )

    def _weighted(self, observed: csr_matrix) -> csr_matrix:
        return observed if self.alpha == 1 else np.float32(self.alpha) * observed

    @staticmethod
    def _checked(observed: csr_matrix) -> csr_matrix:
        observed = csr_matrix(observed, dtype=np.float32)
        wrong = np.flatnonzero(~((observed.data >= 0) & np.isfinite(observed.data)))
        if len(wrong):
            row = int(np.searchsorted(observed.indptr, wrong[0], side="right")) - 1
            raise RecsysError(
                f"Row {row}, column {observed.indices[wrong[0]]} of the matrix is "
                f"{observed.data[wrong[0]]:g}: expected a confidence from 0 that is finite. What "
                "is disliked has to be left out: it is unobserved, and filtered when ranking."
            )
        if not observed.has_canonical_format or not observed.data.all():
            observed = observed.copy()
            observed.sum_duplicates()
            observed.eliminate_zeros()
        return observed


class _Settled(Exception):  # noqa: N818 - it ends a training, and is no error
    """Further iterations would change nothing that matters."""


def _there(factors: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32]:
    if factors is None:
        raise RecsysError("The model has no factors yet: train it with fit, or load it.")
    return factors

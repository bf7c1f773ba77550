"""Whether a model's factors are sane: the gate between training and candidates."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from recsys.matrix import TasteMatrix
from recsys.models._als import ALSModel
from recsys.verdict import PASSED, REFUSED, UNPROVEN, Check, Verdict

#: The longest row of factors over the median of those that are not zero.
LONGEST_NORM: Final = 1000.0
#: How far the last loss may lie above the lowest one: a share of it, and of a unit of confidence
#: (a fit that is next to perfect wavers by rounding alone).
RISING_LOSS: Final = 0.01
ROUNDING_LOSS: Final = 1e-4


def check_factors(model: ALSModel, matrix: TasteMatrix) -> Verdict:
    """Look at the factors and the loss of a model that was trained on ``matrix``.

    Refused: a factor or a loss that is not finite; a user or song side that is all zero; a row
    over 1000 times as long as the median row; a last loss more than 1% above the lowest. Where the
    matrix holds no strength at all there is nothing to learn, and the verdict is *unproven*.
    """
    checks = [
        *_finite(model),
        Check(
            "model_fits_matrix",
            (len(model.user_factors), len(model.item_factors)) == matrix.strength.shape,
            f"{len(model.user_factors)} x {len(model.item_factors)}",
            "{} x {} users x songs".format(*matrix.strength.shape),
        ),
    ]
    if all(check.passed for check in checks):
        if not matrix.strength.nnz:
            return Verdict(UNPROVEN, tuple(checks))
        checks += [
            *_norms("item", model.item_factors),
            *_norms("user", model.user_factors),
            _loss(model.loss),
        ]
    passed = all(check.passed for check in checks)
    return Verdict(PASSED if passed else REFUSED, tuple(checks))


def _finite(model: ALSModel) -> list[Check]:
    return [
        Check(f"{name}_finite", bad == 0, bad, "0 values that are not finite")
        for name, bad in (
            (name, int(np.size(values) - np.isfinite(values).sum()))
            for name, values in (
                ("item_factors", model.item_factors),
                ("user_factors", model.user_factors),
                ("loss", np.asarray(model.loss, np.float64)),
            )
        )
    ]


def _norms(side: str, factors: npt.NDArray[np.floating[Any]]) -> list[Check]:
    norms = np.sqrt(np.einsum("ij,ij->i", factors, factors, dtype=np.float64))
    norms = norms[norms > 0]
    learnt = Check(
        f"{side}_factors_learnt", bool(len(norms)), len(norms), "at least 1 non-zero row"
    )
    if not len(norms):
        return [learnt]
    ratio = round(float(norms.max() / np.median(norms)), 3)
    return [
        learnt,
        Check(
            f"{side}_factors_norm", ratio <= LONGEST_NORM, ratio,
            f"at most {LONGEST_NORM:g} times the median norm",
        ),
    ]  # fmt: skip


def _loss(losses: tuple[float, ...]) -> Check:
    limit = min(losses) * (1 + RISING_LOSS) + ROUNDING_LOSS
    return Check("loss_not_rising", losses[-1] <= limit, losses[-1], f"at most {limit:.6g}")

"""The objective of the model: which weights, which penalty.

Training, folding in, the loss, explanations and checks all minimise, or take apart, this one sum
over all pairs of user and item, with ``s = x_u'y_i`` (Rendle, Krichene, Zhang, Koren, "Revisiting
the Performance of iALS on Item Recommendation Benchmarks", RecSys 2022, equations 1 to 4; Hu,
Koren, Volinsky 2008, equation 3):

    sum over observed (u, i) of    c_ui (1 - s)^2
    + sum over all others of         w0 s^2
    + r (sum over u of (n_u + w0 N_items)^nu |x_u|^2
         + sum over i of (n_i + w0 N_users)^nu |y_i|^2)

``c`` is the confidence of what was observed, ``w0`` the weight of the unobserved, ``n`` how many
pairs of a row are observed, ``nu`` the exponent and ``r`` the strength of regularization. With ``w0
= 1`` and ``nu = 0`` it is the objective of Hu, Koren and Volinsky, and of `implicit`. Rendle et al.
let the unobserved weight ``a`` run over all pairs, the observed too; for equal confidences that is
the same model under ``w0 = a / (1 + a)``, its scores times ``1 - w0``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys.settings import AlsSettings


@dataclass(frozen=True)
class Objective:
    """What does not depend on the data: ``w0``, ``r`` and ``nu`` above."""

    unobserved_weight: float
    regularization: float
    regularization_exponent: float

    @classmethod
    def of(cls, settings: AlsSettings) -> Objective:
        """The objective of ``[als]``."""
        return cls(
            settings.unobserved_weight,
            settings.regularization,
            settings.regularization_exponent,
        )

    def ridge(self, indptr: npt.NDArray[np.integer[Any]], others: int) -> npt.NDArray[np.float64]:
        """float64 ``[rows]``: what the squared norm of each row's factors is multiplied by.

        Args:
            indptr: of a CSR matrix, or a stretch of it.
            others: the rows of the other side, ``N`` above.
        """
        weights = np.diff(indptr) + self.unobserved_weight * others
        ridge: npt.NDArray[np.float64] = self.regularization * weights**self.regularization_exponent
        return ridge


def confidences(strength: csr_matrix, alpha: float) -> csr_matrix:
    """float32 ``1 + alpha * strength``, beside the entries of ``strength``."""
    data = 1 + np.float32(alpha) * strength.data.astype(np.float32, copy=False)
    return csr_matrix((data, strength.indices, strength.indptr), strength.shape)


def index_arrays(matrix: csr_matrix) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """``indptr`` as int64 and ``indices`` as int32, which the compiled code is made for."""
    return (
        matrix.indptr.astype(np.int64, copy=False),
        matrix.indices.astype(np.int32, copy=False),
    )


def sorted_arrays(matrix: csr_matrix) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """:func:`index_arrays`, each row's columns ascending."""
    return index_arrays(matrix if matrix.has_sorted_indices else matrix.sorted_indices())

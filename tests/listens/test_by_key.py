"""Rows in the order of a key, however many agree in its first column."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from recsys.listens import _by_key
from recsys.listens._by_key import by_key

KEY = ("user", "track", "at", "event")


def some_rows(rows: int, users: int, most: int) -> pa.Table:
    rng = np.random.default_rng(3)
    user, track, event = (rng.integers(many, size=rows) for many in (users, 4, 2))
    return pa.table(
        {
            "user": [f"u{n}" for n in user.tolist()],
            "track": pa.array([f"t{n}" for n in track.tolist()]).dictionary_encode(),
            "at": rng.choice([0, 1, most], rows),
            "event": event,
        }
    )


@pytest.mark.parametrize("group_rows", [1, 1 << 12])
@pytest.mark.parametrize("most", [2, 2**61])
@pytest.mark.parametrize(("rows", "users"), [(0, 1), (1, 1), (3000, 1), (3000, 40), (900, 800)])
def test_rows_that_agree_stay_in_their_order(
    monkeypatch: pytest.MonkeyPatch, rows: int, users: int, most: int, group_rows: int
) -> None:
    monkeypatch.setattr(_by_key, "_GROUP_ROWS", group_rows)
    table = some_rows(rows, users, most)
    keys = list(zip(*(table[name].to_pylist() for name in KEY), strict=True))
    order, first = by_key(table, KEY)
    expected = sorted(range(rows), key=lambda row: (keys[row], row))
    assert order.tolist() == expected
    ordered = [keys[row] for row in expected]
    before = [None, *ordered[:-1]]
    differs = [one != other for one, other in zip(ordered, before[: len(ordered)], strict=True)]
    assert first.tolist() == differs


def test_one_column_alone_is_a_key() -> None:
    order, first = by_key(pa.table({"track": ["b", "a", "b"]}), ["track"])
    assert order.tolist() == [1, 0, 2]
    assert first.tolist() == [True, True, False]

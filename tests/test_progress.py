"""Progress is shown where there is something to wait for."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import pytest

from recsys.progress import progress


def test_a_terminal_gets_a_bar_unless_there_is_a_single_item(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = []

    def bar(items: Iterable[int], what: str, **_: Any) -> Iterable[int]:
        shown.append(what)
        return items

    monkeypatch.setattr("recsys.progress.track", bar)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(progress(iter([7]), "one", 1)) == [7]
    assert list(progress(iter([7, 8]), "two", 2)) == [7, 8]
    assert shown == ["two"]

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from recsys.store import Store, open_store
from tests.serve.asking import Client
from tests.store.making import make


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store'}"


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An empty store."""
    with open_store(store_url) as opened:
        yield opened


@pytest.fixture
def served(store: Store) -> Store:
    """A store that serves 2026-W47, after 2026-W46."""
    for week in ("2026-W46", "2026-W47"):
        make(week).publish(store)
    return store


@pytest.fixture
def client(served: Store) -> Iterator[Client]:
    made = Client(served)
    yield made
    made.close()

"""The stores that the contract is tested on: one more store is one more entry in STORES."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from recsys.store import Store, open_store
from tests.store.deployment import STORES, Deployment, started


@pytest.fixture(params=STORES)
def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    """The store under test, empty."""
    with started(request.param, tmp_path) as deployed:
        yield deployed


@pytest.fixture
def url(deployment: Deployment) -> str:
    return deployment.url


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with open_store(url) as opened:
        yield opened


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the store of ``sqlite_url`` lives."""
    return tmp_path / "store"


@pytest.fixture
def sqlite_url(directory: Path) -> str:
    return f"sqlite:///{directory}"


@pytest.fixture
def unprivileged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Permissions mean nothing to root: be somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    base = tmp_path_factory.getbasetemp()
    for folder in (base, *base.parents):
        if folder.stat().st_uid == 0 and folder.stat().st_mode & 0o077 == 0:
            folder.chmod(0o755)
    os.seteuid(65534)
    yield
    os.seteuid(0)

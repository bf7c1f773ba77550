"""A store written once, by an earlier version of this code, must stay readable.

After a change of format, keep what is there, write one more beside it, and add it below::

    python -m tests.store.test_golden sqlite-v5
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from recsys.store import State, Store, open_store
from tests.store.deployment import started
from tests.store.making import make, stored_rows

GOLDEN = Path(__file__).parent / "golden"


def write_golden(name: str, folder: Path) -> None:
    """A user forgotten, a track blocked, an edition pinned, another rolled back."""
    with started(kind_of(name), folder) as deployed, open_store(deployed.url) as store:
        make("2026-W46").publish(store)
        store.pin("2026-W46")
        store.forget("cleo")
        store.block("2026-W46/bob/1")
        make("2026-W47").publish(store)
        make("2026-W48").publish(store)
        store.rollback()
        deployed.dump(GOLDEN / name)


def kind_of(name: str) -> str:
    """The store that a golden file is of."""
    kind = name.partition("-v")[0]
    return "sqlite-3-shards" if kind == "sqlite" else kind


@pytest.fixture(params=sorted(path.name for path in GOLDEN.iterdir()))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with started(kind_of(request.param), tmp_path) as deployed:
        deployed.load(GOLDEN / request.param)
        yield deployed.url


@pytest.fixture
def golden(url: str) -> Iterator[Store]:
    with open_store(url) as store:
        yield store


@pytest.fixture
def has_spares(request: pytest.FixtureRequest, url: str) -> bool:
    return str(request.node.callspec.params["url"]) != "sqlite-v1"


def test_every_row_is_still_read(golden: Store, has_spares: bool) -> None:
    for edition in golden.editions():
        users = ["ada", "bob", "cleo"] if edition.edition == "2026-W46" else ["ada", "bob"]
        rows = make(edition.edition, users).batches[0].to_pylist()
        if not has_spares:
            rows = [{**row, "spares": []} for row in rows]
        assert stored_rows(golden, edition.digest) == rows
        assert edition.rows == len(rows)
        if edition.readable:
            read = golden.playlist("ada", edition=edition.edition).to_dict()
            assert (read["tracks"], read["relaxed"]) == (rows[0]["tracks"], rows[0]["relaxed"])


def test_what_had_happened_is_still_known(golden: Store, has_spares: bool) -> None:
    assert golden.playlist("ada").edition == "2026-W47"
    assert golden.default_playlist().kind == "popular"
    assert golden.tombstones() == {"cleo"}
    assert golden.blocks() == ({"2026-W46/bob/1"} if has_spares else set())
    assert [(one.state, one.present, one.pinned, one.pruned) for one in golden.editions()] == [
        (State.ROLLED_BACK, True, False, False),
        (State.ACTIVATED, True, False, False),
        (State.SUPERSEDED, True, has_spares, False),
    ]


def test_it_is_still_written(golden: Store, url: str, has_spares: bool) -> None:
    with open_store(url) as reader:
        assert reader.playlist("bob").tracks[0].track_id == "2026-W47/bob/1"
        golden.block("2026-W47/bob/1")
        first = "2026-W47/bob/spare 2" if has_spares else "2026-W47/bob/2"
        assert reader.playlist("bob").tracks[0].track_id == first
    assert golden.erase() == 1
    (oldest,) = [one for one in golden.editions() if one.edition == "2026-W46"]
    assert (oldest.rows, oldest.left_out, oldest.present) == (2, 1, True)
    assert [row["user_id"] for row in stored_rows(golden, oldest.digest)] == ["ada", "bob"]
    make("2026-W49").publish(golden)
    assert golden.playlist("ada").edition == "2026-W49"
    golden.pin("2026-W47")
    assert [one.edition for one in golden.prune(2)] == ([] if has_spares else ["2026-W46"])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        write_golden(sys.argv[1], Path(scratch))

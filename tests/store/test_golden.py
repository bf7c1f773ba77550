"""A store written once, by an earlier version of this code, must stay readable.

After a change of format, keep the old folder, write a new one beside it, and add it below::

    python -m tests.store.test_golden tests/store/golden/v2
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from recsys.store import State, open_store
from tests.store.making import make, stored_rows

GOLDEN = Path(__file__).parent / "golden"


def write_golden(folder: Path) -> None:
    """Two editions in two shards, one user forgotten between them, one edition rolled back."""
    with open_store(f"sqlite:///{folder}?shards=2") as store:
        make("2026-W46").publish(store)
        store.forget("cleo")
        make("2026-W47").publish(store)
        make("2026-W48").publish(store)
        store.rollback()


@pytest.mark.parametrize("version", ["v1"])
def test_a_store_of_this_version_is_still_read(version: str, tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / version, tmp_path / "store")
    with open_store(f"sqlite:///{tmp_path / 'store'}") as store:
        for edition, users in (("2026-W46", ["ada", "bob"]), ("2026-W47", ["ada", "bob"])):
            made = make(edition)
            rows = {row["user_id"]: row for row in made.batches[0].to_pylist()}
            for user in users:
                read = store.playlist(user, edition=edition).to_dict()
                assert read["tracks"] == rows[user]["tracks"]
                assert read["relaxed"] == rows[user]["relaxed"]
            stored = store.state(made.digest)
            assert stored is not None
            assert stored.present
            assert len(stored_rows(store, made.digest)) == stored.rows
        assert store.playlist("ada").edition == "2026-W47"
        assert store.default_playlist().kind == "popular"
        assert store.tombstones() == {"cleo"}
        assert [edition.state for edition in store.editions()] == [
            State.ROLLED_BACK,
            State.ACTIVATED,
            State.SUPERSEDED,
        ]
        make("2026-W49").publish(store)
        assert store.playlist("ada").edition == "2026-W49"


if __name__ == "__main__":
    write_golden(Path(sys.argv[1]))

"""How each kind of artefact is rewritten without some users.

A matrix keeps their rows, empty and without a name, so that those of the others keep their numbers.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from markupsafe import escape
from scipy.sparse import csr_matrix

from recsys import artefact
from recsys import columns as c
from recsys._tables import TableWriter
from recsys.artefact import Artefact, Draft
from recsys.candidates import Candidates
from recsys.matrix import TasteMatrix
from recsys.plan import PLAN_FILE
from recsys.publishing import encoded_batches
from recsys.store import playlists_digest
from recsys.untrusted import harmless_name

Users = Collection[str]


def erase_artefact(made: Artefact, users: Users) -> bool:
    """Rewrite an artefact without some users; whether there was anything to rewrite."""
    with artefact.rewrite(made) as draft:
        _ERASE.get(made.path.name, _erase_files)(made, users, draft)
        return any(draft.path.iterdir())


def _erase_files(made: Artefact, users: Users, draft: Draft) -> None:
    for name in made.files:
        old, new = made.file(name), draft.path / name
        if old.suffix == ".parquet":
            _erase_table(old, new, users)
        elif old.suffix == ".json":
            _erase_json(old, new, users)


def _erase_table(old: Path, new: Path, users: Users) -> None:
    """Leave out the rows of some users, and those of a quarantine that name one in a text."""
    schema = pq.read_schema(old)
    if c.USER_ID in schema.names:
        names, column = _strings(users), c.USER_ID
        if pq.read_table(old, columns=[column], filters=[(column, "in", set(users))]).num_rows == 0:
            return

        def unwanted(batch: pa.RecordBatch) -> Any:
            return pc.is_in(batch[column], names)

    elif c.ORIGIN_FILE in schema.names:
        pattern = _named(users).pattern

        def unwanted(batch: pa.RecordBatch) -> Any:
            text = pc.binary_join_element_wise(
                batch[c.ORIGIN_FILE], batch[c.DETAIL], " ", null_handling="skip"
            )
            return pc.match_substring_regex(text, pattern)

        if not any(pc.any(unwanted(batch)).as_py() for batch in pq.ParquetFile(old).iter_batches()):
            return
    else:
        return
    new.parent.mkdir(parents=True, exist_ok=True)
    with TableWriter(new, schema) as writer:
        for batch in pq.ParquetFile(old).iter_batches():
            writer.write(batch.filter(pc.invert(unwanted(batch))))


def _erase_json(old: Path, new: Path, users: Users) -> bool:
    """Leave out samples that name some users, and whom a plan leaves out; whether there was any."""
    value = json.loads(old.read_text(encoding="utf-8"))
    left = _without(value, users)
    if left == value:
        return False
    artefact.write_json(new, left)
    return True


def _without(value: Any, users: Users) -> Any:
    if isinstance(value, list):
        return [
            _without(one, users)
            for one in value
            if not (isinstance(one, dict) and one.get(c.USER_ID) in users)
        ]
    if isinstance(value, dict):
        return {key: _without(one, users) for key, one in value.items()}
    return value


def _erase_plan(made: Artefact, users: Users, draft: Draft) -> None:
    """Once the days are without them, a plan need not say whom to leave out."""
    plan = json.loads(made.file(PLAN_FILE).read_text(encoding="utf-8"))
    left = [user for user in plan["forgotten"] if user not in users]
    if left != plan["forgotten"]:
        artefact.write_json(draft.path / PLAN_FILE, {**plan, "forgotten": left})


def _erase_playlists(made: Artefact, users: Users, draft: Draft) -> None:
    _erase_files(made, users, draft)
    names = made.parts("playlists.parquet")
    new = {name: draft.path / name for name in names if (draft.path / name).exists()}
    if new:
        default = pq.read_table(made.file("default.parquet"))
        rows = (
            batch for name in names for batch in encoded_batches(new.get(name, made.file(name)))
        )
        draft.facts["digest"] = playlists_digest(rows, default)


def _erase_candidates(made: Artefact, users: Users, draft: Draft) -> None:
    if not made.parts("users.npy"):  # a table that names its users
        _erase_files(made, users, draft)
        return
    named = made.path.parent / "matrix" / "users.parquet"
    if not named.exists():
        return
    candidates = Candidates.load(made.path)
    keep = ~np.isin(candidates.users, np.flatnonzero(_gone(named, users)))
    if keep.all():
        return
    counts = np.diff(candidates.offsets)
    entries = np.repeat(keep, counts)
    Candidates(
        users=candidates.users[keep],
        offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(counts[keep])]),
        songs=candidates.songs[entries],
        scores=candidates.scores[entries],
    ).save(draft.path)


def _erase_matrix(made: Artefact, users: Users, draft: Draft) -> None:
    if not made.parts("users.parquet"):  # a table that names its users
        _erase_files(made, users, draft)
        return
    gone = _gone(made.file("users.parquet"), users)
    if not gone.any():
        return
    matrix = TasteMatrix.load(made.path)
    strength, kept = _emptied(matrix.strength, gone)
    dataclasses.replace(
        matrix,
        users=_nameless(matrix.users, gone),
        strength=strength,
        played_track=matrix.played_track[kept],
        excluded=_emptied(matrix.excluded, gone)[0],
    ).save(draft.path)


def _emptied(
    matrix: csr_matrix, gone: npt.NDArray[np.bool_]
) -> tuple[csr_matrix, npt.NDArray[np.bool_]]:
    """The matrix with some rows empty, and which of its entries are left."""
    counts = np.diff(matrix.indptr)
    kept = ~np.repeat(gone, counts)
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.where(gone, 0, counts))])
    entries = (matrix.data[kept], matrix.indices[kept], indptr)
    return csr_matrix(entries, matrix.shape), kept


def _nameless(users: pa.Table, gone: npt.NDArray[np.bool_]) -> pa.Table:
    blank = {c.USER_ID: "", c.LAST_HEARD: None, "eligible": False}
    columns = [
        pc.if_else(pa.array(gone), pa.scalar(blank[name], users.schema.field(name).type), column)
        for name, column in zip(users.column_names, users.columns, strict=True)
    ]
    return pa.table(columns, users.schema)


def _erase_model(made: Artefact, users: Users, draft: Draft) -> None:
    """The songs' side stays: what a user left in it ends with the next cold start."""
    if (made.path / "verdict.json").exists():
        _erase_json(made.file("verdict.json"), draft.path / "verdict.json", users)
    if not made.parts("users.parquet"):  # the songs' side alone
        return
    gone = _gone(made.file("users.parquet"), users)
    if not gone.any():
        return
    factors = np.load(made.file("user_factors.npy"))
    factors[gone] = 0
    np.save(draft.path / "user_factors.npy", factors)
    named = pq.read_table(made.file("users.parquet"))
    nameless = pc.if_else(pa.array(gone), "", named[c.USER_ID])
    pq.write_table(pa.table({c.USER_ID: nameless}), draft.path / "users.parquet")


_ERASE: Final[Mapping[str, Callable[[Artefact, Users, Draft], None]]] = {
    "als_model": _erase_model,
    "candidates": _erase_candidates,
    "matrix": _erase_matrix,
    "plan": _erase_plan,
    "playlists": _erase_playlists,
}


def _gone(users: Path, forgotten: Users) -> npt.NDArray[np.bool_]:
    """Which rows of a table of users name one of them."""
    named = pq.read_table(users, columns=[c.USER_ID])[c.USER_ID]
    gone: npt.NDArray[np.bool_] = pc.is_in(named, _strings(forgotten)).to_numpy()
    return gone


def erase_report(path: Path, users: Users) -> bool:
    """Leave the users out of a refusal's samples; a page that names one goes as a whole."""
    if path.suffix == ".json":
        return _erase_json(path, path, users)
    if not page_names(path.read_text(encoding="utf-8"), users):
        return False
    path.unlink()
    return True


def page_names(page: str, users: Users) -> bool:
    """Whether a page names one of some users, whose ids it has tamed and escaped.

    >>> page_names("<bdi>a&lt;b</bdi>", {"a<b"}), page_names("bobby", {"bob"})
    (True, False)
    """
    written = {str(escape(harmless_name(user))) for user in users}
    return bool(users) and _named(written).search(page) is not None


def _named(users: Users) -> re.Pattern[str]:
    """Finds a user id that stands by itself, not as a part of another word."""
    ids = "|".join(re.escape(user) for user in sorted(users))
    return re.compile(rf"(?:^|[^\w-])(?:{ids})(?:$|[^\w-])")


def _strings(users: Users) -> pa.Array:
    return pa.array(sorted(users), pa.string())

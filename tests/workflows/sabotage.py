"""Faults that a gate must refuse, planted in a week on its way."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys import model_evaluation, models
from recsys.candidates import Candidates
from recsys.matrix import TasteMatrix
from recsys.playlists import making
from tests.workflows.conftest import LAST_DAYS, NOW, Deployment

Sabotage = Callable[[Deployment, pytest.MonkeyPatch], None]


def training(patch: pytest.MonkeyPatch, spoil: Callable[[Any, TasteMatrix], Any]) -> None:
    """Spoil the edition's own model, not one that is only evaluated."""
    right = models.train

    def wrong(matrix: TasteMatrix, *arguments: Any, **named: Any) -> models.ALSModel:
        model = right(matrix, *arguments, **named)
        return spoil(model, matrix) if "on_iteration" in named else model

    patch.setattr(models, "train", wrong)


def playlists(patch: pytest.MonkeyPatch, spoil: Callable[[list[dict[str, Any]]], None]) -> None:
    """Spoil the playlists that are written."""
    right = making.make_playlists

    def wrong(*arguments: Any, out: Path, **named: Any) -> dict[str, Any]:
        facts = right(*arguments, out=out, **named)
        rows = pq.read_table(out / "playlists.parquet")
        lists = rows.to_pylist()
        spoil(lists)
        pq.write_table(pa.Table.from_pylist(lists, rows.schema), out / "playlists.parquet")
        return facts

    patch.setattr(making, "make_playlists", wrong)


def shuffled(model: models.ALSModel, matrix: TasteMatrix, share: float = 1.0) -> models.ALSModel:
    rng = np.random.default_rng(3)
    some = rng.permutation(len(model.item_factors))[: round(share * len(model.item_factors))]
    items = model.item_factors.copy()
    items[some] = model.item_factors[rng.permutation(some)]
    return replace(model, item_factors=items).refolded(matrix)


def disguised(model: models.ALSModel, matrix: TasteMatrix) -> models.ALSModel:
    """Popularity under a model's name: one factor, and everybody's is the same way up."""
    items = np.zeros_like(model.item_factors)
    popularity = matrix.songs["popularity"].to_numpy()
    items[:, 0] = popularity / popularity.max()
    return replace(model, item_factors=items).refolded(matrix)


def shuffled_factors(_: Deployment, patch: pytest.MonkeyPatch) -> None:
    training(patch, shuffled)


def shuffled_songs_alone(_: Deployment, patch: pytest.MonkeyPatch) -> None:
    training(
        patch, lambda model, matrix: replace(model, item_factors=model.item_factors[::-1].copy())
    )


def not_finite(_: Deployment, patch: pytest.MonkeyPatch) -> None:
    def spoil(model: models.ALSModel, _: TasteMatrix) -> models.ALSModel:
        model.item_factors[3, 0] = np.nan
        return model

    training(patch, spoil)


def popularity_in_disguise(_: Deployment, patch: pytest.MonkeyPatch) -> None:
    training(patch, disguised)


def a_challenger_in_disguise(deployment: Deployment, patch: pytest.MonkeyPatch) -> None:
    deployment.configure(als={"factors": 7})  # going on is impossible
    right = models.train
    patch.setattr(
        models, "train", lambda matrix, *rest, **named: disguised(right(matrix, *rest), matrix)
    )


def worse_than_popularity(_: Deployment, patch: pytest.MonkeyPatch) -> None:
    right = model_evaluation.recommend

    def wrong(*arguments: Any) -> models.Ranking:
        ranking = right(*arguments)
        return replace(ranking, songs=(ranking.songs + 80) % 240)  # another tribe's songs

    patch.setattr(model_evaluation, "recommend", wrong)


def half_the_users(deployment: Deployment, _: pytest.MonkeyPatch) -> None:
    for n in range(7):
        path = deployment.log / f"date={LAST_DAYS[NOW] - timedelta(days=n)}" / "listens.jsonl"
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        kept = [row for row in rows if int(row["user_id"][-2:]) % 2]
        assert len(kept) == len(rows) / 2
        path.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")


def a_heard_track(_: Deployment, patch: pytest.MonkeyPatch) -> None:
    def spoil(lists: list[dict[str, Any]]) -> None:
        track = lists[5]["tracks"][7]
        track["track_id"] = track["because_track_id"]

    playlists(patch, spoil)


def swapped_playlists(_: Deployment, patch: pytest.MonkeyPatch) -> None:
    def spoil(lists: list[dict[str, Any]]) -> None:
        one, other = lists[3], lists[4]  # of one tribe: their tracks are much alike
        one["tracks"], other["tracks"] = other["tracks"], one["tracks"]

    playlists(patch, spoil)


def exchanged_candidates(_: Deployment, patch: pytest.MonkeyPatch) -> None:
    """Listeners get what was found for another one; reasons are looked for under the new owner."""
    right = making.make_playlists

    def wrong(matrix: Any, model: Any, candidates: Candidates, **named: Any) -> dict[str, Any]:
        rows = np.arange(len(candidates.users)) ^ 1  # pairs of neighbours
        parts = [slice(*candidates.offsets[row : row + 2]) for row in rows]
        lengths = np.array([part.stop - part.start for part in parts])
        mixed = Candidates(
            users=candidates.users,
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            songs=np.concatenate([candidates.songs[part] for part in parts]),
            scores=np.concatenate([candidates.scores[part] for part in parts]),
        )
        return right(matrix, model, mixed, **named)

    patch.setattr(making, "make_playlists", wrong)


def lists_much_alike(deployment: Deployment, _: pytest.MonkeyPatch) -> None:
    deployment.configure(gates={"most_alike": 0.01})

"""A model of one's own, put through the evaluation and the rules of the weekly run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from recsys import artefact, models
from recsys.artefact import Artefact
from recsys.candidates import edition_candidates
from recsys.columns import SONG_KEY
from recsys.errors import ArtefactError, MissingDataError, RecsysError
from recsys.evaluation import (
    POPULARITY,
    Comparison,
    Model,
    events,
    fit_and_recommend,
    recommend,
)
from recsys.home import Home
from recsys.matrix import TasteMatrix
from recsys.model_evaluation import compare_rankings, rank_known
from recsys.models import ALSModel
from recsys.plan import Plan
from recsys.playlists.making import edition_playlists
from recsys.settings import AlsSettings, Settings
from recsys.unseen_week import UnseenWeek
from recsys.verification import check_edition, check_edition_shares, models_beside


def evaluate_models(
    unseen: UnseenWeek,
    tried: Mapping[str, ALSModel | AlsSettings | Model],
    *,
    pinned: Mapping[str, Artefact],
    settings: Settings,
) -> Comparison:
    """Score models beside all that the weekly run scores, on the week that it scores them on.

    Args:
        unseen: the week, and the base before it.
        tried: name -> settings of ours (trained here, cold, on the base), a model of ours that was
            trained on the base or earlier, or a model with ``fit`` and ``recommend`` (trained here
            on the decayed, weighted events of the base).
        pinned: the models of earlier editions.
        settings: of the run.

    Returns:
        Every measure; ``paired`` holds each of ``tried`` against every other model.

    Raises:
        ArtefactError: a model of ours knows listeners or songs that came after the base.
        MissingDataError: nobody heard anything new in the week.
        RecsysError: a name is that of a model that is scored anyway, or a model is none.
    """
    _check_tried(tried, {POPULARITY, *settings.evaluation.baseline_names, *pinned})
    base, seed = unseen.base, settings.recsys.seed
    _, heard, rankings = rank_known(unseen, pinned, settings)
    if not len(heard.users):
        raise MissingDataError(
            f"No listener known before {unseen.begin} heard a song for the first time from then to "
            f"{unseen.end}: there is nothing to score a model on."
        )
    others = list(rankings)
    for name, model in tried.items():
        if isinstance(model, AlsSettings):
            rankings[name] = recommend(models.train(base, model, seed), base, heard.users)
        elif isinstance(model, ALSModel):
            _refuse_what_knows_the_week(name, model, unseen)
            rankings[name] = recommend(model, base, heard.users)
        else:
            rankings[name] = fit_and_recommend(
                model, events(base), heard.users, excluded=base.excluded
            )
    mine = list(tried)
    pairs = [(one, other) for n, one in enumerate(mine) for other in (*others, *mine[:n])]
    return compare_rankings(unseen, heard, rankings, pairs=pairs, seed=seed)


def _check_tried(
    tried: Mapping[str, ALSModel | AlsSettings | Model], reserved: Collection[str]
) -> None:
    for name, model in tried.items():
        if name in reserved:
            raise RecsysError(
                f"There is a model {name!r} already, which yours would be compared with. Name "
                f"yours otherwise than {', '.join(sorted(reserved))}."
            )
        is_model = not isinstance(model, type) and all(
            callable(getattr(model, does, None)) for does in ("fit", "recommend")
        )
        if not (isinstance(model, ALSModel | AlsSettings) or is_model):
            raise RecsysError(
                f"{name!r} is {model!r}: expected an AlsSettings, an ALSModel of "
                "recsys.models.train, or a model with fit and recommend."
            )


def _refuse_what_knows_the_week(name: str, model: ALSModel, unseen: UnseenWeek) -> None:
    """A model that was trained on the week it is judged by knows what came into the log in it."""
    base = unseen.base
    users = pc.sum(pc.invert(pc.is_in(model.user_ids, base.users["user_id"]))).as_py() or 0
    known = base.excluded.getnnz(axis=0) + base.strength.getnnz(axis=0) > 0
    songs = base.songs[SONG_KEY].filter(pa.array(known))
    learnt = model.song_keys.filter(pa.array(model.learnt))
    new = pc.sum(pc.invert(pc.is_in(learnt, songs))).as_py() or 0
    if users or new:
        raise ArtefactError(
            f"The model {name!r} knows {users} listeners and {new} songs that nobody knew of "
            f"before {unseen.begin}, where the week begins that it would be judged by: it may know "
            "the answers. Train it on `edition.unseen.base`, or hand in its settings."
        )


def make_trial(home: Home, edition: Path, model: ALSModel, settings: Settings, out: Path) -> None:
    """Make the later stages of an edition anew with another model, in a folder of their own.

    Writes ``als_model``, ``candidates``, ``playlists`` and ``playlist_gate``, each as the weekly
    run does, a verdict that refuses among them; the stages before are linked to. Nothing is
    published.

    Args:
        home: the home that the edition is in.
        edition: the edition's folder, with plan, catalogue, evaluation and matrix.
        model: of ours. One of another matrix is put under the songs of the edition's, and the
            edition's listeners are folded in.
        settings: the edition's.
        out: a folder outside of home.
    """
    for stage in ("plan", "catalogue", "evaluation", "matrix"):
        (out / stage).symlink_to(edition / stage)
    plan = Plan.load(edition / "plan")
    matrix = TasteMatrix.load(Artefact.open(edition / "matrix").path)
    if not _fits(model, matrix):
        model = model.refolded(matrix)
    parent, challenger = models_beside(home, edition)
    seed = settings.recsys.seed

    def write(stage: str) -> Any:
        return artefact.write(out / stage, stage=stage, version=1, seed=seed)

    with write("als_model") as draft:
        models.save(model, draft.path)
        verdict = models.check_factors(
            model, matrix, settings.gates, parent=parent, challenger=challenger, seed=seed
        )
        artefact.write_json(draft.path / "verdict.json", verdict.to_dict())
    with write("candidates") as draft:
        found = edition_candidates(plan, home, model, matrix)
        found.save(draft.path)
    with write("playlists") as draft:
        draft.facts = edition_playlists(
            plan, home, model, matrix, found, settings=settings.playlists, out=draft.path
        )
    with write("playlist_gate") as draft:
        verdict = check_edition(home, out, settings.playlists).also(
            check_edition_shares(home, out, settings, draft.path)
        )
        artefact.write_json(draft.path / "verdict.json", verdict.to_dict())


def _fits(model: ALSModel, matrix: TasteMatrix) -> bool:
    return bool(
        model.song_keys.equals(matrix.songs[SONG_KEY].combine_chunks())
        and model.user_ids.equals(matrix.users["user_id"].combine_chunks())
    )

"""A home whose parent was trained before the objective had a weight and an exponent."""

import dataclasses
from pathlib import Path

from recsys import artefact
from recsys.artefact import Artefact
from recsys.choice import choose
from recsys.model_evaluation import evidence_of
from recsys.models import save, train
from recsys.settings import GatesSettings
from recsys.verdict import Verdict
from tests.evaluation.test_unseen_week import evaluated, seen_from, settings_of
from tests.models.worlds import SETTINGS, as_format_1, world


def test_it_is_scored_by_its_own_objective_beside_a_challenger(tmp_path: Path) -> None:
    clear = world()
    base = seen_from(clear.base)
    before = dataclasses.replace(
        SETTINGS, regularization=2.0, unobserved_weight=1.0, regularization_exponent=0.0
    )
    then = settings_of(tmp_path).shaping()
    for name in ("unobserved_weight", "regularization_exponent"):
        del then["als"][name]
    with artefact.write(tmp_path / "als_model", stage="als_model", version=1) as draft:
        save(train(base, before, seed=1), draft.path)
        as_format_1(draft.path)
        draft.facts = {"settings": then, "cold_in": "2026-W46"}
    parent = Artefact.open(tmp_path / "als_model")
    found = evaluated(tmp_path, base, clear.plays, pinned={"parent": parent})
    assert found["challenger"] == "the settings have changed"
    assert found["metrics"]["parent"]["ndcg_at_30"]["mean"] > 0.1
    evidence = evidence_of(found)
    assert evidence.challenger_parent is not None
    choice = choose(evidence, GatesSettings(), quality={}, log=Verdict.of([]))
    assert choice.because.startswith("the settings have changed, and the")

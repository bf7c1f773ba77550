"""Whether a model's factors are sane: the gate between training and candidates."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from recsys import columns as c
from recsys.matrix import TasteMatrix
from recsys.models._als import ALSModel, strings
from recsys.models._fold_in import Floats
from recsys.models._known import (
    Knowledge,
    Sample,
    draw_sample,
    items_of,
    knowledge,
    list_overlaps,
    popularity_recall,
)
from recsys.models._objective import Objective
from recsys.settings import GatesSettings
from recsys.verdict import DOUBT, ENOUGH_LISTENERS, MOST_SAMPLES, SOFT, Check, Verdict

#: The longest row of factors over the median of those that are not zero.
LONGEST_NORM: Final = 1000.0
#: How far the last loss may lie above the lowest one: a share of it, and of a unit of confidence
#: (a fit that is next to perfect wavers by rounding alone).
RISING_LOSS: Final = 0.01
ROUNDING_LOSS: Final = 1e-4
#: How far user factors may lie from what folding in gives, by the largest of them.
FOLDED_IN: Final = 1e-6
#: Where popularity alone comes so close to finding all, known-item recall says nothing.
_TOO_EASY: Final = 0.9

_CHALLENGER: Final = "known_recall_near_challenger"
_BESIDE: Final = ("loss_near_parent", "known_recall_near_parent", "lists_near_parent")


def check_factors(
    model: ALSModel,
    matrix: TasteMatrix,
    gates: GatesSettings,
    *,
    parent: ALSModel | None,
    challenger: ALSModel | None = None,
    seed: int,
) -> Verdict:
    """Look at the factors that will ship, alone and beside those of last week.

    By themselves: finite, of the matrix's shape, learnt, of sane length, their loss not rising, and
    the user factors what folding in gives. On a sample of listeners: the songs they are known to
    hold to are found again better than popularity finds them, and nearly as well as the parent
    does, or where there is none the challenger; the loss is near the parent's; their lists are the
    parent's to some degree. Where the matrix holds no strength at all there is nothing to learn,
    and the verdict is *unproven*.

    Args:
        model: with the users of ``matrix``.
        matrix: who holds to what; some listeners of it will do, with all songs.
        gates: what is allowed.
        parent: last week's model, if there is one.
        challenger: trained cold one week back, if there is one: what a model without a parent is
            held against.
        seed: of the sample.
    """
    checks = [
        *_finite(model),
        Check(
            "model_fits_matrix",
            (len(model.user_factors), len(model.item_factors)) == matrix.strength.shape,
            f"{len(model.user_factors)} x {len(model.item_factors)}",
            "{} x {} users x songs".format(*matrix.strength.shape),
        ),
    ]
    verdict = Verdict.of(checks)
    if not verdict.passed:
        return verdict
    if not matrix.strength.nnz:
        nothing = Check("something_to_learn", False, 0, "at least 1 song held to", severity=DOUBT)
        return verdict.also(Verdict.of([nothing]))
    alone = Verdict.of(
        [
            *_norms("item", model.item_factors),
            *_norms("user", model.user_factors),
            *([_loss(model.loss)] if model.loss else []),
        ],
        {} if model.loss else {"loss_not_rising": "what trained the model tells no losses"},
    )
    beside = _BESIDE if parent else (*_BESIDE, _CHALLENGER)
    if alone.final:
        return verdict.also(alone)
    sample = draw_sample(matrix, seed)
    if not len(sample):
        rules = ("users_folded_in", "known_recall", *beside)
        nobody = Verdict.of([], dict.fromkeys(rules, "nobody holds to two songs"))
        return verdict.also(alone).also(nobody)
    ours = knowledge(model.item_factors, sample, model.settings)
    return (
        verdict.also(alone)
        .also(_folded_in(model.user_factors[sample.rows], ours))
        .also(_known(ours, sample, matrix, gates))
        .also(
            _beside_challenger(model, ours, sample, matrix, gates, challenger)
            if parent is None
            else _beside(model, ours, sample, matrix, gates, parent)
        )
    )


def _folded_in(factors: npt.NDArray[np.float64], ours: Knowledge) -> Verdict:
    scale = max(float(np.abs(ours.factors).max(initial=0.0)), np.finfo(np.float64).tiny)
    off = float(np.abs(factors - ours.factors).max(initial=0.0)) / scale
    limit = f"at most {FOLDED_IN:g} from what folding in gives"
    return Verdict.of([Check("users_folded_in", off <= FOLDED_IN, float(f"{off:.3g}"), limit)])


def _known(ours: Knowledge, sample: Sample, matrix: TasteMatrix, gates: GatesSettings) -> Verdict:
    """Known-item recall over popularity's: factors under the wrong songs know nothing."""
    rule = "known_recall"
    if len(sample) < ENOUGH_LISTENERS:
        return Verdict.of([], {rule: "too few listeners to tell"})
    popular = popularity_recall(matrix.songs["popularity"].to_numpy(), sample)
    least = gates.least_known_recall * popular
    if least > _TOO_EASY:
        return Verdict.of(
            [], {rule: f"too few songs to tell: popularity alone finds {popular:.3f}"}
        )
    limit = f"at least {least:.4f} ({gates.least_known_recall:g} times popularity's)"
    return Verdict.of(
        [Check(rule, ours.recall >= least, round(ours.recall, 4), limit, severity=SOFT)]
    )


def _beside_challenger(
    model: ALSModel,
    ours: Knowledge,
    sample: Sample,
    matrix: TasteMatrix,
    gates: GatesSettings,
    challenger: ALSModel | None,
) -> Verdict:
    """A first model's known-item recall beside the challenger's, which knows a week less."""
    skipped = dict.fromkeys(_BESIDE, "there is no parent")
    if len(sample) < ENOUGH_LISTENERS:
        return Verdict.of([], {**skipped, _CHALLENGER: "too few listeners to tell"})
    if challenger is None:
        why = "no challenger could be scored one week back"
        return Verdict.of([], {**skipped, _CHALLENGER: why})
    theirs = knowledge(items_of(challenger, matrix), sample, model.settings).recall
    worse = gates.worse_known_recall
    return Verdict.of([_recall_near(_CHALLENGER, "challenger", ours, theirs, worse)], skipped)


def _recall_near(rule: str, whose: str, ours: Knowledge, theirs: float, worse: float) -> Check:
    least = theirs * (1 - worse)
    return Check(
        rule, ours.recall >= least, round(ours.recall, 4),
        f"at least {least:.4f} (the {whose}'s {theirs:.4f} less {worse:g})",
        severity=SOFT,
    )  # fmt: skip


def _beside(
    model: ALSModel,
    ours: Knowledge,
    sample: Sample,
    matrix: TasteMatrix,
    gates: GatesSettings,
    parent: ALSModel,
) -> Verdict:
    """Loss, known-item recall and lists beside the parent's."""
    if len(sample) < ENOUGH_LISTENERS:
        return Verdict.of([], dict.fromkeys(_BESIDE, "too few listeners to tell"))
    theirs = knowledge(items_of(parent, matrix), sample, model.settings)
    most = theirs.loss * (1 + gates.worse_loss)
    overlaps = list_overlaps(ours.lists, theirs.lists)
    common = float(np.nanmean(overlaps)) if not np.isnan(overlaps).all() else 1.0
    near = gates.least_list_overlap <= common <= gates.most_list_overlap
    telling = _telling(overlaps, sample, matrix, highest=common > gates.most_list_overlap)
    checks = {
        "loss_near_parent": Check(
            "loss_near_parent", ours.loss <= most, round(ours.loss, 6),
            f"at most {most:.6f} (the parent's {theirs.loss:.6f} and {gates.worse_loss:g} more)",
            severity=SOFT,
        ),
        "known_recall_near_parent": _recall_near(
            "known_recall_near_parent", "parent", ours, theirs.recall, gates.worse_known_recall
        ),
        "lists_near_parent": Check(
            "lists_near_parent", near, round(common, 4),
            f"{gates.least_list_overlap:g} to {gates.most_list_overlap:g} of the parent's lists",
            () if near else telling, SOFT,
        ),
    }  # fmt: skip
    skipped = {}
    if _shape(parent) != _shape(model):
        for rule in ("loss_near_parent", "lists_near_parent"):
            del checks[rule]
            skipped[rule] = "the parent was made with other settings"
    return Verdict.of(list(checks.values()), skipped)


def _telling(
    overlaps: Floats, sample: Sample, matrix: TasteMatrix, *, highest: bool
) -> tuple[dict[str, Any], ...]:
    """The listeners at one end of the overlaps; whoever has no lists (nan) is not there."""
    order = np.argsort(-overlaps if highest else overlaps, kind="stable")
    shown = [n for n in order[:MOST_SAMPLES].tolist() if np.isfinite(overlaps[n])]
    users = strings(matrix.users, c.USER_ID).take(sample.rows[shown]).to_pylist()
    return tuple(
        {c.USER_ID: user, "in_common": round(float(overlaps[n]), 4)}
        for user, n in zip(users, shown, strict=True)
    )


def _shape(model: ALSModel) -> tuple[int, float, Objective]:
    return model.settings.factors, model.settings.alpha, Objective.of(model.settings)


def _finite(model: ALSModel) -> list[Check]:
    return [
        Check(f"{name}_finite", bad == 0, bad, "0 values that are not finite")
        for name, bad in (
            (name, int(np.size(values) - np.isfinite(values).sum()))
            for name, values in (
                ("item_factors", model.item_factors),
                ("user_factors", model.user_factors),
                ("loss", np.asarray(model.loss, np.float64)),
            )
        )
    ]


def _norms(side: str, factors: npt.NDArray[np.floating[Any]]) -> list[Check]:
    norms = np.sqrt(np.einsum("ij,ij->i", factors, factors, dtype=np.float64))
    norms = norms[norms > 0]
    learnt = Check(
        f"{side}_factors_learnt", bool(len(norms)), len(norms), "at least 1 non-zero row"
    )
    if not len(norms):
        return [learnt]
    ratio = round(float(norms.max() / np.median(norms)), 3)
    return [
        learnt,
        Check(
            f"{side}_factors_norm", ratio <= LONGEST_NORM, ratio,
            f"at most {LONGEST_NORM:g} times the median norm", severity=SOFT,
        ),
    ]  # fmt: skip


def _loss(losses: tuple[float, ...]) -> Check:
    limit = min(losses) * (1 + RISING_LOSS) + ROUNDING_LOSS
    return Check(
        "loss_not_rising", losses[-1] <= limit, losses[-1], f"at most {limit:.6g}", severity=SOFT
    )

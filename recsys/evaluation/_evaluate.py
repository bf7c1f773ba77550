"""The same evaluation for any frame of listens and any model: one call, from a notebook."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Collection, Mapping
from datetime import date
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
from implicit.utils import ParameterWarning
from scipy.sparse import csr_matrix

from recsys import models as ours
from recsys._threads import one_blas_thread
from recsys.errors import MissingDataError, SettingsError
from recsys.evaluation._comparison import Comparison, compare
from recsys.evaluation._metrics import CUTOFF
from recsys.evaluation._rankers import recommend, recommend_baselines
from recsys.evaluation._split import Frame, split_listens
from recsys.evaluation._truth import truth
from recsys.models import Ranking
from recsys.settings import BASELINES, AlsSettings

_USERS_AT_ONCE: Final = 4096
#: implicit fills a list that is too short with songs at about -3.4e38.
_PADDING: Final = -1e38


class Model(Protocol):
    """A model with the two methods of ``implicit.recommender_base.RecommenderBase``."""

    def fit(self, user_items: csr_matrix) -> Any:
        """Train on plays: float32 ``[users, songs]``."""

    def recommend(
        self,
        userid: npt.NDArray[np.int32],
        user_items: csr_matrix,
        N: int = 10,  # noqa: N803 - implicit's name
        filter_already_liked_items: bool = True,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Songs and scores, each ``[len(userid), N]``, best first; padding is a song below 0 or a
        score that is not finite or below -1e38.
        """


def evaluate(
    listens: Frame,
    models: Mapping[str, Model | AlsSettings],
    *,
    cutoff: date,
    baselines: Collection[str] = BASELINES,
    listeners: int = 20_000,
    seed: int = 0,
    k: int = CUTOFF,
) -> Comparison:
    """Train models on what was known at a moment, and score them on the seven days after it.

    The split is by time and one for all listeners. What was listened to before ``cutoff`` is known.
    The truth is what a listener heard in ``[cutoff, cutoff + 7 days)`` and never before. Later rows
    are not looked at.

    Nothing leaks from the truth into a model:

    - ``fit`` is called here, with a matrix of plays before the cutoff and nothing else: no times,
      no column for a song that nobody had played by then, no row for a listener who came later. A
      model that was fitted before is fitted again.
    - One moment divides all listeners. Were each listener's last songs held out instead, a model
      would learn from what others played *after* them: the hit of next month gives itself away.
    - The interval is half-open, so a listen at the very moment of the cutoff is in the truth, and
      in that alone.
    - What a listener had heard is neither recommended nor in the truth: a song heard on both sides
      of the cutoff counts for nobody, and repeats do not make a model look good.
    - A song that is new in the week cannot be recommended; it counts as missed, for all alike.
    - The choice of listeners looks at the week (only who heard something new can be scored), but no
      model is told who they are.

    What it cannot see: settings that were chosen by looking at this very week. Choose them on an
    earlier cutoff, and look at this one once.

    Args:
        listens: one row a listen: ``user_id``, ``track_id`` (string or integer), ``listened_at`` (a
            timestamp, UTC where it is naive, or a date), and, if there are any, ``artist_ids`` (a
            list of strings). Other columns are not read. A repeat counts as a play more.
        models: name -> a model of ``implicit`` or one like it, or the settings of ours.
        cutoff: a moment (UTC where it is naive), or a day, at its start.
        baselines: of :data:`recsys.settings.BASELINES`; popularity is always scored.
        listeners: at most so many are scored, drawn by ``seed``.
        seed: of the sample, the intervals, and models of ours.
        k: the length of the lists.

    Raises:
        BadLogError: a column is missing, of a wrong type, or has nulls.
        MissingDataError: nobody known before the cutoff heard anything new in the week.
        SettingsError: a model has the name of a baseline, a baseline is not known, or the cutoff
            is no date.

    Two tribes, each of which plays its own 40 songs, three new ones a day:

    >>> import pyarrow as pa
    >>> from implicit.nearest_neighbours import TFIDFRecommender
    >>> rng = np.random.default_rng(1)
    >>> user = np.repeat(np.arange(60), 42)
    >>> day = np.tile(np.repeat(np.arange(14), 3), 60)
    >>> listens = pa.table({
    ...     "user_id": user,
    ...     "track_id": user % 2 * 40 + (40 * rng.beta(1, 2, len(user))).astype(int),
    ...     "listened_at": np.datetime64("2026-11-01") + day,
    ... })
    >>> found = evaluate(
    ...     listens,
    ...     {"mine": TFIDFRecommender(K=20), "ours": AlsSettings(factors=8)},
    ...     cutoff=date(2026, 11, 8),
    ...     baselines=["popularity", "item_knn"],
    ... )
    >>> print(found)  # doctest: +ELLIPSIS
    model             recall@30          ndcg@30      hit rate@30           map@30
    popularity  0.6... ± 0.0...  0.3... ± 0.0...  1.0000 ± 0.0000  0.1... ± 0.0...
    item_knn    0.9... ± 0.0...  0.7... ± 0.0...  1.0000 ± 0.0000  0.5... ± 0.0...
    mine        0.9... ± 0.0...  0.7... ± 0.0...  1.0000 ± 0.0000  0.5... ± 0.0...
    ours        0.9... ± 0.0...  0.7... ± 0.0...  1.0000 ± 0.0000  0.5... ± 0.0...
    <BLANKLINE>
    model       coverage   gini  novelty ...
    60 listeners; ± is half the 95% interval
    >>> found.paired["mine_over_popularity"].low > 0.1
    True
    """
    taken = sorted({*models} & {*BASELINES})
    unknown = sorted({*baselines} - {*BASELINES})
    if taken or unknown:
        raise SettingsError(
            f"{', '.join(taken)}: a baseline has that name; give the model another."
            if taken
            else f"{', '.join(unknown)}: no such baseline. Known: {', '.join(BASELINES)}."
        )
    if not isinstance(cutoff, date):
        raise SettingsError(
            f"cutoff = {cutoff!r}: expected a datetime.date or datetime.datetime, such as "
            "date(2026, 11, 8)."
        )
    split = split_listens(listens, cutoff)
    heard = truth(split.base, split.after).sample(listeners, seed)
    if not len(heard.users):
        raise MissingDataError(
            f"None of the {len(split.base.users)} listeners known before {cutoff} heard a song for "
            "the first time in the seven days from then on. Is the cutoff within the log?"
        )
    rankings = recommend_baselines(
        baselines, split.base, heard.users, k, recent=split.recent, seed=seed
    )
    for name, model in models.items():
        if isinstance(model, AlsSettings):
            trained = ours.train(split.base, model, seed)
            rankings[name] = recommend(trained, split.base, heard.users, k)
        else:
            rankings[name] = fit_and_recommend(model, split.plays, heard.users, k)
    mine = list(models)
    pairs = [
        (name, other)
        for at, name in enumerate(mine)
        for other in (*(one for one in rankings if one not in models), *mine[:at])
    ]
    return compare(split.base, heard, rankings, pairs=pairs, seed=seed, k=k)


def fit_and_recommend(
    model: Model,
    plays: csr_matrix,
    users: npt.NDArray[np.int32],
    k: int = CUTOFF,
    *,
    excluded: csr_matrix | None = None,
) -> Ranking:
    """Train a model on plays, and rank for each of ``users`` what they have not heard.

    Args:
        model: trained here, whatever it was trained on before.
        plays: float32 ``[users, songs]``.
        users: rows of ``plays``.
        k: the length of the lists.
        excluded: bool ``[users, songs]``, what is left out of the lists beside what is in
            ``plays``: songs disliked, or heard with no pleasure.
    """
    songs = plays.shape[1]
    out = plays[users].astype(bool)
    more = 0
    if excluded is not None:
        out = out + excluded[users]
        more = int((np.diff(out.indptr) - np.diff(plays[users].indptr)).max(initial=0))
    with one_blas_thread(), warnings.catch_warnings():
        # implicit's item-item models warn of the matrix that they make themselves.
        warnings.simplefilter("ignore", ParameterWarning)
        fit: Callable[..., Any] = model.fit
        draws = "show_progress" in inspect.signature(fit).parameters  # as implicit's models do
        fit(plays, **({"show_progress": False} if draws else {}))
        blocks = [
            model.recommend(
                users[start : start + _USERS_AT_ONCE],
                plays[users[start : start + _USERS_AT_ONCE]],
                N=min(k + more, songs),
                filter_already_liked_items=True,
            )
            for start in range(0, len(users), _USERS_AT_ONCE)
        ]
    song = np.concatenate([np.asarray(ids, np.int64) for ids, _ in blocks])
    score = np.concatenate([np.asarray(scores, np.float64) for _, scores in blocks])
    real = (song >= 0) & (song < songs) & np.isfinite(score) & (score > _PADDING)
    row = np.broadcast_to(np.arange(len(users))[:, None], song.shape)
    # A model that recommends what was heard, or one song twice, gains nothing by it.
    real &= ~np.asarray(out[row.ravel(), np.where(real, song, 0).ravel()]).reshape(song.shape)
    keys = np.where(real, row * songs + song, -1)
    first = np.zeros(keys.size, bool)
    first[np.unique(keys, return_index=True)[1]] = True
    real &= first.reshape(keys.shape)
    real &= real.cumsum(axis=1) <= k
    offsets = np.concatenate([[0], np.cumsum(real.sum(axis=1))])
    return Ranking(offsets, song[real].astype(np.int32), score[real])

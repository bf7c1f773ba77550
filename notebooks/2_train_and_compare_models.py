# %% [markdown]
# # 2. Train and compare models
#
# Models of one's own, held against the weekly run's on the same unseen week, listeners, baselines
# and measures, and then put through the same rules and gates. Nothing here is published.

# %%
import os
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl
from implicit.nearest_neighbours import BM25Recommender

import recsys
from recsys import models

if not Path("luigi.cfg").exists():  # Jupyter starts a notebook in the notebook's own folder
    os.chdir("..")
plt.style.use("notebooks/plots.mplstyle")

WEEK = "2026-W47"
edition = recsys.load(WEEK)
settings, seed = edition.settings.als, edition.settings.recsys.seed
settings

# %% [markdown]
# `edition.unseen` is the week before the edition's cutoff and the matrix as it was before that
# week. A model that is to be judged learns from that base; one that knows the week is refused.

# %%
base = edition.unseen.base
small = models.train(base, replace(settings, factors=settings.factors // 2), seed)
fig, axes = plt.subplots(figsize=(8, 3.2))
axes.plot(range(1, len(small.loss) + 1), small.loss, marker="o")
axes.set(title="Loss while training", xlabel="iteration", ylabel="loss, per unit of confidence")
axes.set_xticks(range(1, len(small.loss) + 1))
plt.show()

# %% [markdown]
# ## On the unseen week
#
# A trained model, settings (trained here on the base), or anything with `fit` and `recommend`.

# %%
found = edition.evaluate(
    {
        "half the factors": small,
        "twice the factors": replace(settings, factors=settings.factors * 2),
        "BM25": BM25Recommender(K=100),
    }
)
print(found)

# %% [markdown]
# A dot is the mean over listeners, its line the 95% interval. Intervals that overlap do *not* say
# that two models are equal: the paired comparison further down does better.

# %%
measures = pl.from_arrow(found.to_arrow())
ndcg = measures.filter(segment="all", measure="ndcg_at_30").sort("mean")
mine = ["half the factors", "twice the factors", "BM25"]
colours = ["C1" if model in mine else "C0" for model in ndcg["model"]]
fig, axes = plt.subplots(figsize=(8, 0.8 + 0.35 * len(ndcg)))
names = ndcg["model"].str.replace_all("_", " ").to_list()
axes.hlines(names, ndcg["low"], ndcg["high"], colors=colours)
axes.scatter(ndcg["mean"], names, color=colours, zorder=3)
for name, row in zip(names, ndcg.iter_rows(named=True), strict=True):
    axes.annotate(f"{row['mean']:.3f}", (row["high"], name), (6, -3), textcoords="offset points")
axes.set(
    title=f"ndcg@30 of {found.listeners} listeners; orange: tried here",
    xlabel="mean, with its 95% interval",
    xlim=(0, None),
)
axes.margins(x=0.1)
plt.show()

# %% [markdown]
# ## Whom it serves
#
# A mean hides whom a model fails. *New* listeners have heard fewer than 20 songs; *tail* is what
# few have heard.

# %%
segments = ["new", "light", "heavy", "head", "tail"]
shown = ["popularity", "item_knn", *mine]
fig, axes = plt.subplots(figsize=(8, 4))
for nth, model in enumerate(shown):
    of = measures.filter(pl.col("segment").is_in(segments), model=model, measure="ndcg_at_30")
    rows = {row["segment"]: row["mean"] for row in of.iter_rows(named=True)}
    there = [one for one in segments if one in rows]
    beside = [segments.index(one) + 0.12 * (nth - (len(shown) - 1) / 2) for one in there]
    means = [rows[one] for one in there]
    axes.plot(beside, means, "o", markersize=7, label=model.replace("_", " "))
axes.set_xticks(range(len(segments)), segments)
axes.set(title="ndcg@30 by part of the listeners and of the songs", ylabel="mean", ylim=(0, None))
axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# ## One against the other
#
# Listener by listener: an interval wholly right of zero (green) is a model that is better, wholly
# left of it (orange) one that is worse; grey shows neither. This is what the weekly choice goes by.

# %%
pairs = {
    name.replace("_over_", " over ").replace("_", " "): one
    for name, one in found.paired.items()
    if name.split("_over_")[1] not in ("popularity", "recent_popularity")
}
fig, axes = plt.subplots(figsize=(8, 0.8 + 0.32 * len(pairs)))
for name, one in pairs.items():
    colour = "#999999" if one.low <= 0 <= one.high else "C2" if one.low > 0 else "C1"
    axes.plot([one.low, one.high], [name, name], color=colour)
    axes.plot(one.mean, name, "o", color=colour)
axes.axvline(0, color="#666666", linewidth=1)
axes.set(
    title="Difference of ndcg@30, paired",
    xlabel="mean difference, with its 95% interval",
)
axes.invert_yaxis()
plt.show()

# %% [markdown]
# ## The weekly run's own rules
#
# `judge` is what the gate before training would say. `playlists_from` makes everybody's playlist
# with a model trained on the edition's matrix, by the same rules, and asks the other gates.

# %%
print(edition.judge("half the factors", found).summary())

# %%
trial = edition.playlists_from(
    models.train(edition.matrix, replace(settings, factors=settings.factors // 2), seed)
)
for gate, verdict in trial.verdicts.items():
    print(f"{gate}: {verdict.summary()}")

# %% [markdown]
# How far it would change what people get: the share of each listener's tracks that stay.


# %%
def tracks(edition: recsys.loading.Edition) -> pl.DataFrame:
    """One row a listener and track."""
    return (
        edition.playlists.to_polars()
        .select("user_id", "tracks")
        .explode("tracks")
        .select("user_id", track_id=pl.col("tracks").struct.field("track_id"))
    )


theirs = tracks(trial).with_columns(again=True)
stay = (
    tracks(edition)
    .join(theirs, on=["user_id", "track_id"], how="left")
    .group_by("user_id")
    .agg(stay=pl.col("again").fill_null(value=False).mean())
)["stay"]
fig, axes = plt.subplots(figsize=(8, 3.2))
axes.hist(100 * stay, bins=range(0, 104, 4), color="C0", edgecolor="white")
axes.axvline(100 * stay.mean(), color="C1")
axes.annotate(
    f"mean {stay.mean():.0%}",
    (100 * stay.mean(), 0.92),
    (-6, 0),
    xycoords=("data", "axes fraction"),
    textcoords="offset points",
    ha="right",
    color="C1",
)
axes.set(
    title="Tracks of this week's playlist that the other model picks, too",
    xlabel="% of a listener's tracks",
    ylabel="listeners",
    xlim=(0, 100),
)
plt.show()

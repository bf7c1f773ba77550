# %% [markdown]
# # 5. Follow editions over weeks
#
# One week is an anecdote. How good the models were, what listeners did with the lists, what stayed
# and what moved, and what it cost, week by week.

# %%
import itertools
import os
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl

import recsys

if not Path("luigi.cfg").exists():  # Jupyter starts a notebook in the notebook's own folder
    os.chdir("..")
plt.style.use("notebooks/plots.mplstyle")

newest = recsys.load("2026-W47")
editions = [recsys.load(str(week), home=newest.home.root) for week in newest.home.weeks()]
weeks = [str(one.week) for one in editions]
weeks

# %% [markdown]
# ## How good, on weeks that no model had seen
#
# The model that was judged each week: the parent, or in a first week a challenger. What moves
# together with popularity is the week, not the model.

# %%
measures = pl.concat(
    pl.from_arrow(one.evaluation.to_arrow()).with_columns(week=pl.lit(str(one.week)))
    for one in editions
).filter(segment="all", measure="ndcg_at_30")
judged = pl.when(pl.col("model").is_in(["parent", "challenger"])).then(pl.lit("ours"))
lines = (
    measures.with_columns(line=judged.otherwise(pl.col("model")))
    .filter(pl.col("model") != "grandparent")
    .unique(["week", "line"], keep="last", maintain_order=True)
)
fig, axes = plt.subplots(figsize=(8, 4.2))
for name in ("ours", "als_defaults", "item_knn", "popularity"):
    of = lines.filter(line=name).sort("week")
    if len(of):
        (line,) = axes.plot(of["week"], of["mean"], marker="o")
        axes.fill_between(of["week"], of["low"], of["high"], alpha=0.15, color=line.get_color(),
                          linewidth=0)  # fmt: skip
        axes.annotate(name.replace("_", " "), (of["week"][-1], of["mean"][-1]), (10, -3),
                      textcoords="offset points", color=line.get_color())  # fmt: skip
axes.set(title="ndcg@30 on the unseen week, with 95% intervals", ylabel="mean", ylim=(0, None))
axes.margins(x=0.16)
plt.show()

# %% [markdown]
# ## What listeners did with the lists
#
# Hindsight counts, for each earlier edition, the tracks of active listeners that were played and
# kept. Most never open a list, so the level says little; watch it over weeks.

# %%
seen = {one["edition"]: one for edition in editions for one in edition.hindsight["editions"]}
fig, axes = plt.subplots(figsize=(8, 3.6))
for name in ("played", "kept", "skipped"):
    totals = {week: one["audiences"]["active"]["total"] for week, one in sorted(seen.items())}
    share = {week: 100 * one[name] / one["tracks"] for week, one in totals.items()}
    (line,) = axes.plot(list(share), list(share.values()), marker="o")
    week, value = list(share.items())[-1]
    axes.annotate(name, (week, value), (10, -3), textcoords="offset points",
                  color=line.get_color())  # fmt: skip
axes.set(
    title="Tracks of active listeners' playlists, by what became of them",
    ylabel="% of the tracks",
    xlabel="edition",
    ylim=(0, None),
)
axes.margins(x=0.2)
plt.show()

# %% [markdown]
# By place, all editions together. What falls is partly taste, partly that listeners stop.

# %%
places = pl.concat(pl.DataFrame(one["audiences"]["active"]["by_position"]) for one in seen.values())
by_place = places.group_by("position").sum().sort("position")
fig, axes = plt.subplots(figsize=(8, 3.4))
axes.bar(by_place["position"], 100 * by_place["played"] / by_place["tracks"], color="#d9d9d9")
axes.bar(by_place["position"], 100 * by_place["kept"] / by_place["tracks"], color="C0")
axes.annotate("played", (0.99, 0.9), xycoords="axes fraction", ha="right", color="#888888")
axes.annotate("of these, kept", (0.99, 0.8), xycoords="axes fraction", ha="right", color="C0")
axes.set(
    title="Played and kept, by position",
    xlabel="position in the playlist",
    ylabel="% of the tracks",
)
plt.show()

# %% [markdown]
# ## What stays and what moves
#
# No track comes back within `cooldown_editions` weeks; artists may. Of a listener's tracks, the
# share by an artist who was on the list the week before.


# %%
def artists(edition: recsys.loading.Edition) -> pl.DataFrame:
    """One row a listener, track and main artist."""
    return (
        edition.playlists.to_polars()
        .explode("tracks")
        .unnest("tracks")
        .select("user_id", "track_id", artist=pl.col("artist_names").list.first())
    )


again = []
for before, after in itertools.pairwise(editions):
    then = artists(before)
    now = artists(after).filter(pl.col("user_id").is_in(then["user_id"].implode()))
    again.append(
        {
            "week": str(after.week),
            "tracks": 100 * len(now.join(then, on=["user_id", "track_id"], how="semi")) / len(now),
            "artists": 100 * len(now.join(then, on=["user_id", "artist"], how="semi")) / len(now),
        }
    )
repeated = pl.DataFrame(again)
fig, axes = plt.subplots(figsize=(8, 3.2))
for name, what in (("artists", "by an artist of last week's"), ("tracks", "on last week's list")):
    (line,) = axes.plot(repeated["week"], repeated[name], marker="o")
    axes.annotate(what, (repeated["week"][-1], repeated[name][-1]), (10, -3),
                  textcoords="offset points", color=line.get_color())  # fmt: skip
axes.set(
    title="What was there the week before, of a listener's tracks",
    ylabel="% of the tracks",
    ylim=(-3, 100),
)
axes.margins(x=0.45)
plt.show()

# %% [markdown]
# ## What it cost
#
# Seconds by stage; the days of the log are read once, so a first week pays for all of them.

# %%
seconds = pl.DataFrame([{"week": str(one.week), **one.record["seconds"]} for one in editions])
stages = [name for name in seconds.columns if name != "week"]
longest = sorted(stages, key=lambda name: -seconds[name].sum())[:5]
fig, axes = plt.subplots(figsize=(8, 0.9 + 0.5 * len(weeks)))
start = pl.zeros(len(weeks), eager=True)
parts = {name.replace("_", " "): seconds[name].fill_null(0) for name in longest}
parts["all else"] = seconds.select(pl.sum_horizontal(set(stages) - set(longest))).to_series()
for n, (name, values) in enumerate(parts.items()):
    colour = f"C{n}" if name != "all else" else "#d9d9d9"
    axes.barh(weeks, values, left=start, color=colour, edgecolor="white", label=name)
    start = start + values
axes.invert_yaxis()
axes.set(title="Seconds by stage", xlabel="seconds")
axes.grid(visible=False, axis="y")
axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

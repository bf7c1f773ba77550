# %% [markdown]
# # 1. Look at the log
#
# What the weekly run read, before any model sees it: how much, when, what was refused, and how
# much of it is new to its listeners. Every table below is one attribute of
# `recsys.load(week)`, as Polars, pandas or Arrow.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl

import recsys

if not Path("luigi.cfg").exists():  # Jupyter starts a notebook in the notebook's own folder
    os.chdir("..")
plt.style.use("notebooks/plots.mplstyle")

WEEK = "2026-W47"
edition = recsys.load(WEEK)
edition.listens

# %% [markdown]
# The files behind a table are there for lazy readers: Polars reads no more than a query needs.

# %%
listens = pl.scan_parquet(edition.listens.files)
by_day = (
    listens.group_by(day=pl.col("listened_at").dt.date())
    .agg(listens=pl.len(), listeners=pl.col("user_id").n_unique())
    .sort("day")
    .collect()
)
by_day.tail(3)

# %% [markdown]
# ## How much, and when
#
# Look for days that are missing or far off: the run refuses a week that has lost listeners, but
# not a slow decline. The first days of a log are thin where the first listens arrived late.

# %%
fig, (above, below) = plt.subplots(2, sharex=True, figsize=(8, 4.5))
above.plot(by_day["day"], by_day["listens"], color="C0")
below.plot(by_day["day"], by_day["listeners"], color="C1")
for axes, what in ((above, "listens"), (below, "listeners")):
    axes.set(ylim=(0, 1.1 * by_day[what].max()), ylabel=f"{what} a day")
above.set_title("Listens and listeners a day")
below.xaxis.set_major_formatter(plt.matplotlib.dates.DateFormatter("%-d %b"))
plt.show()

# %% [markdown]
# By hour (UTC) and weekday. A flat night would mean machines, or listeners all around the world.

# %%
hours = (
    listens.group_by(
        weekday=pl.col("listened_at").dt.weekday(), hour=pl.col("listened_at").dt.hour()
    )
    .len()
    .collect()
    .pivot("hour", index="weekday", values="len", sort_columns=True)
    .sort("weekday")
    .fill_null(0)
)
share = hours.drop("weekday").to_numpy() / hours.drop("weekday").to_numpy().sum()
fig, axes = plt.subplots(figsize=(8, 2.8))
image = axes.imshow(100 * share, cmap="cividis", aspect="auto")
days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
axes.set_yticks(range(len(hours)), [days[n - 1] for n in hours["weekday"]])
axes.set(xlabel="hour of the day, UTC", title="When people listen: share of all listens")
axes.grid(visible=False)
fig.colorbar(image, label="% of listens")
plt.show()

# %% [markdown]
# ## What was refused
#
# Rows that cannot be used go to quarantine, with file, row and reason
# ([docs/listens.md](../docs/listens.md)). Private listens are counted there and nothing of them
# is kept.

# %%
refused = edition.quarantine.to_polars()["reason"].value_counts(sort=True).sort("count")
total = len(edition.listens) + refused["count"].sum()
fig, axes = plt.subplots(figsize=(8, 0.6 + 0.32 * len(refused)))
bars = axes.barh(refused["reason"].str.replace_all("_", " "), refused["count"], color="C0")
axes.bar_label(bars, [f" {n:,} ({n / total:.2%})" for n in refused["count"]], color="#444444")
axes.set(title="Rows refused, by reason", xlabel="rows; in brackets the share of all rows")
axes.margins(x=0.2)
plt.show()

# %% [markdown]
# ## A few songs, and all the others
#
# Tracks by the number of people who heard them. The further the curve bulges above the diagonal,
# the more popularity alone explains, and the more a list of hits looks like a recommender.

# %%
taste = edition.taste.to_polars()
listeners = taste.filter("heard").group_by("track_id").len()["len"].sort(descending=True)
heard = listeners.cum_sum() / listeners.sum()
top = int((heard < 0.5).sum()) + 1
fig, axes = plt.subplots(figsize=(8, 3.6))
rank = pl.int_range(1, len(heard) + 1, eager=True)
axes.plot(100 * rank / len(heard), 100 * heard)
axes.plot([0, 100], [0, 100], color="#bbbbbb", linewidth=1)
axes.annotate(
    f"half of it: {top:,} of {len(heard):,} tracks",
    (100 * top / len(heard), 50),
    xytext=(18, -6),
    textcoords="offset points",
    color="C0",
)
axes.set(
    title="What share of the listening goes to the most heard tracks",
    xlabel="% of the tracks, most heard first",
    ylabel="% of (listener, track) pairs",
    xlim=(0, 100),
    ylim=(0, 100),
)
plt.show()

# %% [markdown]
# ## What is new to a listener
#
# The product lives on what people hear for the first time. In the log's first weeks all looks
# new; where the curve settles is how much there is to predict.

# %%
plays = pl.scan_parquet(edition.plays.files).filter(pl.col("plays") + pl.col("part_plays") > 0)
new = (
    plays.with_columns(first=pl.col("listened_on").min().over("user_id", "track_id"))
    .group_by(week=pl.col("listened_on").dt.truncate("1w"))
    .agg(new=(pl.col("listened_on") == pl.col("first")).mean())
    .sort("week")
    .collect()
)
fig, axes = plt.subplots()
axes.plot(new["week"], 100 * new["new"], marker="o", clip_on=False)
axes.set(
    ylim=(0, 100),
    title="Of the tracks a listener plays on a day, those never heard before",
    ylabel="% of (listener, track, day)",
    xlabel="week beginning",
)
axes.xaxis.set_major_formatter(plt.matplotlib.dates.DateFormatter("%-d %b"))
plt.show()

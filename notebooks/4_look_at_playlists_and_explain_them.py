# %% [markdown]
# # 4. Look at playlists and explain them
#
# One listener's playlist, why each track is on it and others are not; then all playlists
# together: how new, how alike, how popular.

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
playlists = edition.playlists.to_polars()
playlists["kind"].value_counts(sort=True)

# %% [markdown]
# ## One listener
#
# Somebody with a personal list; put any id in its place.

# %%
user_id = playlists.filter(kind="personal")["user_id"][0]
listener = edition.listener(user_id)
listed = listener.playlist()
pl.DataFrame(
    {
        "position": [one.position for one in listed],
        "track": [one.track.track_name for one in listed],
        "artists": [", ".join(one.track.artist_names) for one in listed],
        "score": [one.score for one in listed],
        "mostly because of": [
            one.parts[0].track.track_name if one.parts else None for one in listed
        ],
    }
).head(10)

# %% [markdown]
# A score is exactly the sum of what each song that the listener holds to adds to it. Below, the
# three that add most to each track, and all others together (songs that speak against it are taken
# off there). Long grey bars are a taste that is broad; one long blue bar is one song's echo.

# %%
top = [one for one in listed if one.parts][:12]
fig, axes = plt.subplots(figsize=(9, 0.9 + 0.36 * len(top)))
names = [f"{one.position}. {one.track.track_name}" for one in top]
start = [0.0] * len(top)
for n, colour in enumerate(("C0", "C5", "#b9dcf2")):
    width = [one.parts[n].weight if n < len(one.parts) else 0 for one in top]
    axes.barh(names, width, left=start, color=colour, edgecolor="white")
    start = [a + b for a, b in zip(start, width, strict=True)]
rest = [one.score - begun for one, begun in zip(top, start, strict=True)]
axes.barh(names, rest, left=start, color="#d9d9d9", edgecolor="white")
for name, one in zip(names, top, strict=True):
    axes.annotate(
        one.parts[0].track.track_name, (one.score, name), (6, -3), color="C0",
        fontsize=9, textcoords="offset points",
    )  # fmt: skip
axes.margins(x=0.3)
axes.invert_yaxis()
axes.set(
    title="Why these tracks: beside the bar, the song that adds most",
    xlabel="score, as a sum over the songs that the listener holds to",
)
axes.grid(visible=False, axis="y")
plt.show()

# %% [markdown]
# And why not? The first rule that kept a track out, from the listener's own candidates and from
# what everybody hears.

# %%
candidates = edition.candidates.to_polars().filter(user_id=user_id)["track_id"]
popular = (
    edition.matrix.songs.select(["track_id", "popularity"]).sort_by([("popularity", "descending")])
)["track_id"][:60]
asked = [*candidates[:60], *popular.to_pylist()]
reasons = pl.Series("reason", [str(listener.why(one).reason) for one in dict.fromkeys(asked)])
reasons.value_counts(sort=True)

# %% [markdown]
# ## All playlists
#
# One row a listener and track, beside how many people hold to the song.

# %%
tracks = (
    playlists.explode("tracks")
    .unnest("tracks")
    .select("user_id", "kind", "position", "track_id", "source", "score")
    .join(
        pl.from_arrow(edition.matrix.songs.select(["track_id", "listeners"])),
        on="track_id",
        how="left",
    )
)
tracks.head(3)

# %% [markdown]
# **How popular.** The typical number of listeners of the track in each place. A curve that falls
# begins with what is safe; popular fill stands far above.

# %%
by_place = (
    tracks.group_by("source", "position")
    .agg(
        middle=pl.col("listeners").median(),
        low=pl.col("listeners").quantile(0.25),
        high=pl.col("listeners").quantile(0.75),
    )
    .sort("source", "position")
)
fig, axes = plt.subplots()
ours = by_place.filter(source="als")
axes.fill_between(ours["position"], ours["low"], ours["high"], alpha=0.2, linewidth=0)
axes.plot(ours["position"], ours["middle"])
axes.annotate("personal: half of the\ntracks are in the band", (30, ours["middle"][-1]), (8, -8),
              textcoords="offset points", color="C0")  # fmt: skip
axes.set(
    title="How many people hold to a track of a playlist, by its place",
    xlabel="position in the playlist",
    ylabel="listeners of the song",
    xlim=(1, 38),
    ylim=(0, None),
)
axes.set_xticks([1, 10, 20, 30])
plt.show()

# %% [markdown]
# **How alike.** Songs by the number of playlists they are on. A curve that starts near everybody
# is a list of hits for all.

# %%
counts = tracks.filter(source="als")["track_id"].value_counts()["count"].sort(descending=True)
fig, axes = plt.subplots()
axes.loglog(range(1, len(counts) + 1), 100 * counts / len(playlists))
axes.annotate(
    f"the most listed track is on {counts[0] / len(playlists):.0%} of all playlists",
    (1, 100 * counts[0] / len(playlists)),
    (12, 2),
    textcoords="offset points",
    color="C0",
)
axes.annotate(
    f"{len(counts):,} of {len(edition.matrix.songs):,} songs\nare on somebody's",
    (len(counts), 100 * counts[-1] / len(playlists)),
    (-130, 20),
    textcoords="offset points",
    color="C0",
)
axes.set(
    title="Songs by the number of playlists they are on",
    xlabel="songs, most listed first",
    ylabel="% of all playlists",
)
axes.xaxis.set_major_formatter("{x:,.0f}")
axes.yaxis.set_major_formatter("{x:g}")
plt.show()

# %% [markdown]
# **What the gate asked.** Every rule, of every playlist, read back from the files.

# %%
verdict = edition.verdicts["playlist_gate"]
print(verdict.summary())
pl.DataFrame([{"check": one.name, "found": str(one.value), "allowed": one.limit}
              for one in verdict.checks])[-6:]  # fmt: skip

# %% [markdown]
# # 3. Tune
#
# `luigi --module workflows TuneModel --week 2026-W47` looks for better settings of the model, on a
# week that ends two weeks before the edition's cutoff; compares the best with today's once, on the
# week after; and never looks at the week that the edition's evaluation reports on
# ([docs/tuning.md](../docs/tuning.md)). Here is what it found.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt

import recsys

if not Path("luigi.cfg").exists():  # Jupyter starts a notebook in the notebook's own folder
    os.chdir("..")
plt.style.use("notebooks/plots.mplstyle")

WEEK = "2026-W47"
edition = recsys.load(WEEK)
found, trials = edition.tuning, edition.trials.to_polars()
print(found["verdict"], found["trials"])
trials.head()

# %% [markdown]
# ## Cheap trials first
#
# A trial begins with a quarter of the listeners, factors and iterations. Only those that do well
# among the trials before them get half, and then all. The worst quarter lies below the picture.

# %%
rungs = [name for name in trials.columns if name.startswith("rung_")]
fig, axes = plt.subplots(figsize=(8, 4.2))
for row in trials.iter_rows(named=True):
    scores = [row[rung] for rung in rungs if row[rung] is not None]
    finished = row["state"] == "finished"
    colour = "black" if row["trial"] == 0 else "C0" if finished else "#bbbbbb"
    axes.plot(range(len(scores)), scores, "o-", color=colour, linewidth=1.5, markersize=5,
              zorder=3 if finished else 2)  # fmt: skip
    name = {0: "today's settings", found["best_trial"]["number"]: "best"}.get(row["trial"])
    if name is not None:
        axes.annotate(
            name, (len(scores) - 1, scores[-1]), (8, -3), textcoords="offset points", color=colour
        )
axes.set_xticks(range(len(rungs)), ["a quarter", "half", "all"][: len(rungs)])
axes.set(
    title=f"{len(trials)} trials; grey: stopped early",
    xlabel="of the listeners, factors and iterations",
    ylabel="ndcg@30 on the week tuned on",
    xlim=(-0.15, len(rungs) - 0.5),
    ylim=(0.95 * trials[rungs[0]].quantile(0.25), None),
)
plt.show()

# %% [markdown]
# ## Which settings matter
#
# Each dot is a trial on the first rung, where all trials can be compared. The best one is that of
# the last rung, so others may lie above it here. A cloud without a slope is a setting that matters
# little; a slope that ends at the edge asks for a wider search next week, which begins from the
# settings found. The line is today's value.

# %%
names = list(found["now"])
columns = 4
rows = -(-len(names) // columns)
fig, grid = plt.subplots(rows, columns, figsize=(9, 2.3 * rows), sharey=True, squeeze=False)
finished = trials.filter(state="finished")
best = trials.filter(trial=found["best_trial"]["number"])
for axes, name in zip(grid.flat, names, strict=False):
    axes.scatter(trials[name].abs(), trials[rungs[0]], s=16, color="#999999")
    axes.scatter(finished[name].abs(), finished[rungs[0]], s=24, color="C0", zorder=2)
    axes.scatter(best[name].abs(), best[rungs[0]], s=60, color="C1", zorder=3)
    axes.axvline(abs(found["now"][name]), color="black", linewidth=1)
    section, key = name.split(".")
    axes.set_xscale("log")
    axes.minorticks_off()
    ends = sorted({trials[name].abs().min(), trials[name].abs().max()})
    axes.set_xticks(ends, [f"{one:g}" for one in ends])
    axes.set_xlabel(f"{key}" + (", minus" if found["now"][name] < 0 else ""), fontsize=9)
for axes in grid.flat[len(names) :]:
    axes.set_visible(False)
fig.supylabel("ndcg@30 on the first rung", fontsize=10, color="#444444")
fig.suptitle("Settings tried (log scale); blue: to the last rung; orange: the best there",
             x=0.01, ha="left", weight="bold", size=12)  # fmt: skip
plt.show()

# %% [markdown]
# ## Whether it is real
#
# The best of many trials looks better than it is, on the week it was picked by. So it is compared
# once, listener by listener, on another week.

# %%
scores = found["scores"]
shown = {"today's settings": scores["now"], "the best trial's": scores["best"]}
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 2.4))
for name, one in shown.items():
    if one is not None:
        left.plot([one["low"], one["high"]], [name, name], color="C0")
        left.plot(one["mean"], name, "o", color="C0")
left.set(title="ndcg@30 where it was confirmed", xlabel="mean, with its 95% interval")
left.set_ylim(1.6, -0.6)
if scores["gain"] is not None:
    gain = scores["gain"]
    right.plot([gain["low"], gain["high"]], [0, 0], color="C2" if gain["low"] > 0 else "#999999")
    right.plot(gain["mean"], 0, "o", color="C2" if gain["low"] > 0 else "#999999")
    right.annotate(f"{gain['mean']:+.4f}", (gain["mean"], 0), (0, 10), ha="center",
                   textcoords="offset points")  # fmt: skip
right.axvline(0, color="#666666", linewidth=1)
right.set(title=f"Gain, paired: {found['verdict']}", xlabel="difference, with its 95% interval")
right.set_yticks([])
plt.show()

# %% [markdown]
# ## The overlay
#
# A file to read, to check in under `configs/`, and to name in `LUIGI_CONFIG_PATH`.

# %%
print((edition.home.tuning(edition.week) / "best.cfg").read_text(encoding="utf-8"))

# %% [markdown]
# The week that the search never saw is there for a last look, with the settings as they would
# ship: one evaluation, beside today's.

# %%
from recsys.tuning import with_values

tuned = with_values(edition.settings, {k: v for k, v in found["found"].items() if "als." in k})
print(edition.evaluate({"today": edition.settings.als, "tuned": tuned.als}))

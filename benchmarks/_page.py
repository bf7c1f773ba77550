"""The results for people: the tables and the plot of docs/benchmarks.md."""

from __future__ import annotations

import importlib.util
import os
import platform
from pathlib import Path
from typing import Any, Final

PAGE: Final = Path("docs/benchmarks.md")
PLOT: Final = Path("docs/benchmarks.svg")

Record = dict[str, Any]


def table(records: list[Record]) -> str:
    """Markdown: a row a contender; a ratio is its figure over ours of the same round."""
    lines = [
        "| stage | size | contender | seconds | time / ours | processor s | / ours | peak MB "
        "| / ours | recall@30 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in records:
        quality = one["quality"]
        recall = f"{quality['recall']:.4f} ± {quality['plus_minus']:.4f}" if quality else ""
        cells = [
            one["stage"], one["size"], one["contender"],
            f"{one['seconds']:.2f}", _ratio(one, "ratio"),
            f"{one['cpu_seconds']:.2f}", _ratio(one, "cpu_ratio"),
            f"{one['peak_mb']:.0f}", _ratio(one, "memory_ratio"), recall,
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _ratio(record: Record, name: str) -> str:
    if name not in record:
        return ""
    found = record[name]
    return f"{found['median']:.2f} ({found['lowest']:.2f}–{found['highest']:.2f})"


def shares(records: list[Record]) -> str:
    """Markdown: what each stage of an edition takes of its seconds."""
    whole = ("everything", "overhead")
    editions = [r for r in records if r["contender"] == "ours" and r["stage"].endswith(whole)]
    names = list(dict.fromkeys(name for one in editions for name in one["steps"]))
    if not editions:
        return ""
    titles = [f"{one['stage'].partition(',')[0]}, {one['size']}" for one in editions]
    lines = [f"| seconds of | {' | '.join(titles)} |", "|---|" + "---|" * len(editions)]
    for name in names:
        cells = (f"{one['steps'].get(name, 0.0):.2f}" for one in editions)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    rest = (f"{one['seconds'] - sum(one['steps'].values()):.2f}" for one in editions)
    lines.append(f"| everything else | {' | '.join(rest)} |")
    return "\n".join(lines)


def runs(records: list[Record]) -> str:
    """Markdown: which stages were measured together, by what command, of what code, and where."""
    stages: dict[str, list[str]] = {}
    for one in records:
        about = one["about"]
        packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
        told = (
            f"`{about['command']}` of {about['commit'] or 'no commit'}, on {about['machine']}; "
            f"Python {about['python']}, {packages}"
        )
        stages.setdefault(told, []).append(one["stage"])
    return "\n".join(f"- {'; '.join(dict.fromkeys(of))}: {told}." for told, of in stages.items())


def write(results: dict[str, Any]) -> None:
    """Put the results into the page, between its two marks, and draw the plot."""
    records = results["records"]
    put("results", f"{table(records)}\n\n{shares(records)}\n\n{runs(records)}")
    if importlib.util.find_spec("matplotlib"):
        _plot(records)


def put(name: str, text: str, file: Path = PAGE) -> None:
    """Put text into a page, between the two marks of a name."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    page = file.read_text(encoding="utf-8")
    before, after = page.split(begin)[0], page.split(end)[1]
    file.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}", encoding="utf-8")


def _plot(records: list[Record]) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "recsys"
    from matplotlib import pyplot as plt

    held = [one for one in records if "ratio" in one]
    figure, axis = plt.subplots(figsize=(8, 0.6 + 0.28 * len(held)))
    for at, one in enumerate(held):
        ratio = one["ratio"]
        spread = [[ratio["median"] - ratio["lowest"]], [ratio["highest"] - ratio["median"]]]
        axis.errorbar(ratio["median"], at, xerr=spread, fmt="o", color="C0", capsize=3)
    axis.axvline(1, color="black", linewidth=0.8)
    labels = [f"{one['stage']} ({one['size']}): {one['contender']}" for one in held]
    axis.set(yticks=range(len(held)), yticklabels=labels, xscale="log")
    axis.invert_yaxis()
    axis.set_xlabel("their seconds over ours: median, lowest and highest of the rounds")
    figure.tight_layout()
    figure.savefig(PLOT, metadata={"Date": None, "Creator": None})
    plt.close(figure)


def machine() -> str:
    """Processor, cores and memory, in words."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(": ")[2] if names else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GB"

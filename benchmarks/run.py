"""The product beside what people would use instead: ``make bench``.

    python -m benchmarks.run [--size smoke|S|M] [--rounds N] [--only NAME ...]

All contenders of a benchmark run in turn, each as a process of its own, round after round; the
ratio within a round is what counts. Results go to ``benchmarks/latest.json`` and, with plots, into
``docs/benchmarks.md``; ``--size smoke`` judges no time and writes neither.

A contender whose package, or Java, is not installed is left out, and said so.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from benchmarks import _page
from benchmarks._editions import make_edition, playlists
from benchmarks._logs import CUTOFF, FOLLOWING, SIZES, WEEK, Log, open_log
from benchmarks._measure import Ratio, Run, median_of, python, run
from benchmarks._quality import check_alike, check_lists, recall
from benchmarks.stages import prepare

CACHE: Final = Path("data/bench")
LATEST: Final = Path("benchmarks/latest.json")

_JAVA: Final = os.environ.get("JAVA_HOME") or shutil.which("java")
_SPARK: Final = _JAVA is not None and importlib.util.find_spec("pyspark") is not None

Record = dict[str, Any]
Contenders = dict[str, Callable[[], Run]]


def peers_work(log: Log, work: Path, rounds: int) -> Iterator[Record]:
    """First run, the peers' work only: read, count, train, recommend unheard, write."""

    def of(name: str, module: str) -> Callable[[], Run]:
        out = work / f"{name}.parquet"
        return lambda: run(python(module, log.source, CUTOFF, out))

    contenders = {
        "ours": of("ours", "benchmarks.ours"),
        "pandas + implicit": of("pandas + implicit", "benchmarks.peers.pandas_implicit"),
    }
    if _installed("polars"):
        contenders["polars + implicit"] = of(
            "polars + implicit", "benchmarks.peers.polars_implicit"
        )
    if log.name == "S" and not _SPARK:
        print("pyspark or Java is not installed, and Spark is left out")
    elif log.name == "S":
        contenders["spark"] = of("spark", "benchmarks.peers.spark_als")

    quality, same = partial(_quality, log, work), _same_bytes(work / "ours.parquet")
    yield from _compared("first run, the peers' work", log, contenders, rounds, quality, same)


def everything(log: Log, work: Path, rounds: int) -> Iterator[Record]:
    """First run and following week, everything; beside the peer doing only its own work."""
    homes = iter(range(2 * rounds))

    def first() -> Run:
        home = work / f"home-{next(homes)}"
        done = make_edition(log, home, WEEK)
        shutil.copy(playlists(home, WEEK), work / "ours.parquet")
        first.home = home  # type: ignore[attr-defined]
        return done

    def following() -> Run:
        home: Path = first.home  # type: ignore[attr-defined]
        done = make_edition(log, home, FOLLOWING)
        shutil.rmtree(home)
        return done

    def peer(cutoff: object) -> Callable[[], Run]:
        out = work / "peer.parquet"
        return lambda: run(python("benchmarks.peers.pandas_implicit", log.source, cutoff, out))

    def quality(name: str) -> Record:
        return _quality(log, work, name if name == "ours" else "peer")

    same = _same_bytes(work / "ours.parquet")
    week_later = CUTOFF + timedelta(days=7)
    both: dict[str, Contenders] = {
        "first run, everything": {"ours": first, "pandas + implicit": peer(CUTOFF)},
        "following week, everything": {
            "ours": following,
            "pandas + implicit": peer(week_later),
        },
    }
    runs: dict[str, dict[str, list[Run]]] = {
        stage: {name: [] for name in contenders} for stage, contenders in both.items()
    }
    qualities: dict[str, Record] = {}
    for _ in range(rounds):
        for stage, contenders in both.items():
            for name, work_of in contenders.items():
                runs[stage][name].append(work_of())
                if stage == "first run, everything":
                    qualities[name] = quality(name)
                    if name == "ours":
                        same()
    for stage, found in runs.items():
        yield from _records(stage, log, found, qualities if "first" in stage else {})


def overhead(_: Log, work: Path, rounds: int) -> Iterator[Record]:
    """Imports, Luigi, MLflow: editions of a log so small that there is nothing else to do.

    In what ``requirements.txt`` installs, without the packages that the peers need.
    """
    tiny = open_log("tiny", CACHE)
    weeks = {"first run, overhead": WEEK, "following week, overhead": FOLLOWING}
    runs: dict[str, list[Run]] = {stage: [] for stage in weeks}
    make_edition(tiny, work / "warm-up", WEEK)
    for number in range(rounds):
        for stage, week in weeks.items():
            home = work / f"tiny-{number}"
            runs[stage].append(make_edition(tiny, home, week, luigi="benchmarks._as_installed"))
    for stage, done in runs.items():
        yield from _records(stage, tiny, {"ours": done}, {})


def aggregation(log: Log, _: Path, rounds: int) -> Iterator[Record]:
    """Listens to plays per listener and track; beside it, merely reading the same columns."""
    names = ["ours", "pandas", *(["polars"] if _installed("polars") else []), "reading"]
    yield from _stage("aggregate", "aggregation", names, log, log.source, rounds)


def training(log: Log, _: Path, rounds: int) -> Iterator[Record]:
    """Five iterations at 64 and at 128 factors."""
    folder = prepare(log, CACHE / f"{log.name}-model")
    names = ["ours", "implicit", *(["lenskit"] if _installed("lenskit") else [])]
    for factors in (64, 128):
        yield from _stage(
            "training", f"training, {factors} factors", names, log, folder, rounds,
            "--factors", factors,
        )  # fmt: skip


def candidates(log: Log, _: Path, rounds: int) -> Iterator[Record]:
    """The best 200 unheard, at the log's own catalogue and at a wider one."""
    folder = prepare(log, CACHE / f"{log.name}-model")
    names = ["ours", "implicit", "product"]
    wider = [] if log.name == "smoke" else [(100_000, 20_000), (1_000_000, 8_000)]
    sizes = [(None, 20_000), *wider]
    for tracks, listeners in sizes:
        size = f"{tracks:,} tracks" if tracks else "the log's own tracks"
        wide = ("--tracks", tracks) if tracks else ()
        yield from _stage(
            "candidates", f"candidates, {size}", names, log, folder, rounds,
            "--listeners", listeners, *wide,
        )  # fmt: skip


def rules(log: Log, work: Path, rounds: int) -> Iterator[Record]:
    """Rules, order and reasons of a whole edition, beside finding its candidates."""
    make_edition(log, work / "home", WEEK)
    edition = playlists(work / "home", WEEK).parents[1]
    names = ["ours", "candidates"]
    yield from _stage("rules", "rules, order and reasons", names, log, edition, rounds)


def on_spark(log: Log, work: Path, rounds: int) -> Iterator[Record]:
    """The peers' work on Spark: by the engine, training either way, and by a plain pipeline."""

    def of(name: str, module: str, *more: str) -> Callable[[], Run]:
        out = work / f"{name}.parquet"
        return lambda: run(python(module, log.source, CUTOFF, out, *more))

    contenders = {
        "ours": of("ours", "benchmarks.ours_spark"),
        "ours, training = spark": of("ours, training = spark", "benchmarks.ours_spark", "spark"),
        "spark": of("spark", "benchmarks.peers.spark_als"),
    }
    quality, same = partial(_quality, log, work), _same_bytes(work / "ours.parquet")
    yield from _compared("on Spark, the peers' work", log, contenders, rounds, quality, same)


def candidates_on_spark(log: Log, work: Path, rounds: int) -> Iterator[Record]:
    """From the same factors to lists of unheard tracks, on Spark: our kernel and Spark's way."""
    folder = work / "prepared"
    run(python("benchmarks.spark_stages", "prepare", log.source, folder))

    def of(name: str) -> Callable[[], Run]:
        out = work / f"{name}.parquet"
        return lambda: run(python("benchmarks.spark_stages", name, folder, out))

    contenders = {name: of(name) for name in ("ours", "spark")}
    quality, same = partial(_quality, log, work), _same_bytes(work / "ours.parquet")
    yield from _compared("on Spark, candidates", log, contenders, rounds, quality, same)


def _quality(log: Log, work: Path, name: str) -> Record:
    check_lists(log, CUTOFF, work / f"{name}.parquet")
    return recall(log, work / f"{name}.parquet")


BENCHMARKS: Final = {
    "peers-work": peers_work,
    "everything": everything,
    "overhead": overhead,
    "aggregation": aggregation,
    "training": training,
    "candidates": candidates,
    "rules": rules,
    **({"spark": on_spark, "spark-candidates": candidates_on_spark} if _SPARK else {}),
}
#: What the smoke test runs: `everything` is what tests/workflows are for.
SMOKE: Final = ("peers-work", "candidates", "rules")


def _stage(
    name: str, title: str, contenders: list[str], log: Log, given: Path, rounds: int, *more: object
) -> Iterator[Record]:
    works: Contenders = {
        one: (lambda one=one: run(python("benchmarks.stages", name, one, given, *more)))
        for one in contenders
    }
    yield from _compared(title, log, works, rounds)


def _compared(
    stage: str,
    log: Log,
    contenders: Contenders,
    rounds: int,
    quality: Callable[[str], Record] | None = None,
    after_ours: Callable[[], None] = lambda: None,
) -> Iterator[Record]:
    runs: dict[str, list[Run]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, work in contenders.items():
            runs[name].append(work())
            if name == "ours":
                after_ours()
    qualities = {name: quality(name) for name in contenders} if quality else {}
    yield from _records(stage, log, runs, qualities)


def _records(
    stage: str, log: Log, runs: dict[str, list[Run]], qualities: dict[str, Record]
) -> Iterator[Record]:
    """One record per contender; ratios over one are in our favour."""
    alike = check_alike({name: done[-1].said for name, done in runs.items()})
    for name, done in runs.items():
        record: Record = {"stage": stage, "size": log.name, "contender": name, **median_of(done)}
        if name != "ours":
            ours = runs["ours"]
            record["ratio"] = asdict(Ratio.of([r.seconds for r in ours], [r.seconds for r in done]))
            record["cpu_ratio"] = asdict(
                Ratio.of([r.cpu_seconds for r in ours], [r.cpu_seconds for r in done])
            )
            record["memory_ratio"] = asdict(
                Ratio.of([r.peak_mb for r in ours], [r.peak_mb for r in done])
            )
        told = ("seconds", "cpu", "steps", "best")
        checked = {k: v for k, v in done[-1].said.items() if k not in told}
        if name in alike:
            checked["alike"] = alike[name]
        yield {**record, "quality": qualities.get(name, {}), "checked": checked}


def _same_bytes(out: Path) -> Callable[[], None]:
    """A check that every run wrote the same.

    Raises:
        RuntimeError: it did not.
    """
    seen: set[str] = set()

    def check() -> None:
        seen.add(hashlib.sha256(out.read_bytes()).hexdigest())
        if len(seen) > 1:
            raise RuntimeError(f"{out}: two runs on one log wrote different bytes")

    return check


def _installed(package: str) -> bool:
    if importlib.util.find_spec(package):
        return True
    print(f"{package} is not installed and is left out")
    return False


def about(command: str) -> Record:
    """The command, the code it ran, the machine, and the versions."""
    packages = ("duckdb", "implicit", "numba", "numpy", "pandas", "polars", "pyarrow", "pyspark")
    found = {dist.metadata["Name"].lower(): dist.version for dist in metadata.distributions()}
    return {
        "command": command,
        "commit": _commit(),
        "machine": _page.machine(),
        "python": platform.python_version(),
        "packages": {name: found[name] for name in packages if name in found},
    }


def _commit() -> str | None:
    """The code in hand, in short; None where it is not in a repository."""
    if (git := shutil.which("git")) is None:
        return None
    asked = [git, "describe", "--always", "--dirty"]
    return subprocess.run(asked, check=False, capture_output=True, text=True).stdout.strip() or None


def _rounds(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected 1 or more")
    return int(text)


def main(arguments: list[str] | None = None) -> None:
    """Run them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", choices=[name for name in SIZES if name != "tiny"], default="S")
    parser.add_argument("--rounds", type=_rounds, default=3)
    parser.add_argument("--only", nargs="*", choices=BENCHMARKS, help="of the benchmarks")
    given = parser.parse_args(arguments)
    smoke = given.size == "smoke"
    names = given.only or (SMOKE if smoke else BENCHMARKS)
    command = f"python -m benchmarks.run --size {given.size} --rounds {given.rounds}"
    of = about(f"{command} --only {' '.join(given.only)}" if given.only else command)
    log = open_log(given.size, CACHE)
    work = CACHE / "work"
    results = json.loads(LATEST.read_text()) if LATEST.exists() else {"records": []}
    for name in names:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        records = list(BENCHMARKS[name](log, work.absolute(), given.rounds))
        print(_page.table(records), file=sys.stderr if smoke else sys.stdout)
        stages = {(record["stage"], record["size"]) for record in records}
        kept = [r for r in results["records"] if (r["stage"], r["size"]) not in stages]
        results = {"records": kept + [{**record, "about": of} for record in records]}
        if not smoke:
            LATEST.write_text(json.dumps(results, indent=1) + "\n")
            _page.write(results)
    shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()

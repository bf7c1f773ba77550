"""What is kept under home, and for how long: old artefacts that nothing needs any more.

The weeks whose playlists the store keeps are whole at home, so that a lost store can be filled from
them. Of older editions the plan, the verdicts, the report and the record stay. Days always stay:
they are the history, and a lost state is made again from them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from recsys import artefact
from recsys.artefact import Artefact
from recsys.erasure import erase_forgotten
from recsys.home import Home
from recsys.plan import HINDSIGHT_EDITIONS, Plan, lineage, published_as
from recsys.publishing import refresh_copy
from recsys.settings import Settings
from recsys.store import Edition, Store
from recsys.weeks import Week

#: The stages of an edition that take room; the others are its record.
HEAVY: Final = ("catalogue", "matrix", "als_model", "candidates", "playlists")


@dataclass(frozen=True)
class Unneeded:
    """An artefact that may go.

    Attributes:
        path: its folder.
        size: bytes in it.
        why: for people.
    """

    path: Path
    size: int
    why: str


def keep_house(store: Store, home: Home, settings: Settings) -> None:
    """After a publication: erase the forgotten from every copy, and prune the store.

    Raises:
        StoreError: the store refuses.
        ResourceError: the disk is full.
    """
    erase_forgotten(store, home)
    store.prune(settings.store.keep_weeks)
    refresh_copy(store, home.store_copy)


def unneeded(home: Home, settings: Settings, editions: Sequence[Edition]) -> list[Unneeded]:
    """The artefacts that no edition to come and no reader needs, by path.

    Args:
        home: where to look.
        settings: ``[store] keep_weeks`` and ``[playlists] cooldown_editions``.
        editions: the store's.
    """
    if not home.weeks():
        return []
    needs = _Needs.of(home, settings, editions)
    old = f"not of the newest {settings.store.keep_weeks} weeks, and no edition to come needs it"
    stages = (
        (home.edition(week, revision) / stage, old)
        for week in home.weeks()
        for revision in home.revisions(week)
        for stage in HEAVY
        if not needs.edition(week, revision, stage)
    )
    states = (
        (folder, "no edition that is kept was made from it")
        for folder in (home.root / "states").glob("*/*-W*/*")
        if not needs.state(Week.parse(folder.parent.name))
    )
    splits = ((folder, "the log has been divided anew") for folder in _superseded_splits(home))
    return [
        Unneeded(folder, _size(folder), why)
        for folder, why in sorted((*stages, *states, *splits))
        if artefact.exists(folder)
    ]


def remove(home: Home, entries: Sequence[Unneeded]) -> None:
    """Remove artefacts; an edition that loses some is marked as cleaned before.

    Only for who holds the home.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for entry in entries:
        if entry.path.is_relative_to(home.root / "editions"):
            artefact.write_json(home.cleaned(entry.path.parent), {"at": now})
        artefact.remove(entry.path)
        if not any(entry.path.parent.iterdir()):
            entry.path.parent.rmdir()


@dataclass(frozen=True)
class _Needs:
    """What is needed still."""

    #: Editions, as week and revision, that stay whole.
    whole: frozenset[tuple[Week, int]]
    #: Editions of which one stage is needed, with its name.
    stages: frozenset[tuple[Week, int, str]]
    #: Playlists of this week and later rest, or are looked back on.
    playlists_since: Week
    #: States of this week and later.
    states_since: Week

    @classmethod
    def of(cls, home: Home, settings: Settings, editions: Sequence[Edition]) -> _Needs:
        at_home = [(week, revision) for week in home.weeks() for revision in home.revisions(week)]
        staged = {(Week.parse(one.edition), one.revision): one for one in editions}
        weeks = sorted({week for week, _ in (*at_home, *staged)}, reverse=True)
        recent = weeks[: settings.store.keep_weeks]
        served = next((one for one in editions if one.served), None)
        stay = {served.digest, served.replaced} if served else set()
        stay |= {one.digest for one in editions if one.pinned}
        whole = {one for one in at_home if one[0] in recent}
        whole |= {key for key, one in staged.items() if one.digest in stay}
        kept = [home.edition(*key) for key in sorted(whole & set(at_home))]
        return cls(
            whole=frozenset(whole),
            stages=frozenset(
                (Week.parse(pin["edition"]), pin["revision"], stage)
                for stage, pin in (*_pins(kept), *_models(home, recent[0], editions))
            ),
            playlists_since=recent[0]
            - max(settings.playlists.cooldown_editions, HINDSIGHT_EDITIONS),
            states_since=recent[-1] - 1,
        )

    def edition(self, week: Week, revision: int, stage: str) -> bool:
        return (
            (week, revision) in self.whole
            or (week, revision, stage) in self.stages
            or (stage == "playlists" and week >= self.playlists_since)
        )

    def state(self, week: Week) -> bool:
        # Each edition stands on the state a week before it, too.
        return week >= self.states_since or any(kept in (week, week + 1) for kept, _ in self.whole)


def _pins(kept: Sequence[Path]) -> Iterator[tuple[str, Any]]:
    """What kept editions stand on: to be explained and verified, and to be made to the end."""
    for folder in kept:
        plan = Plan.load(folder / "plan")
        for playlists in (*plan.cooling, *plan.past):
            yield "playlists", playlists
        if artefact.exists(folder / "record"):
            continue
        for model in (plan.parent, plan.grandparent):
            if model is not None:
                yield "als_model", model


def _models(home: Home, newest: Week, editions: Sequence[Edition]) -> Iterator[tuple[str, Any]]:
    """What the next week's plan will go on from, and another revision of the newest one."""
    for week in (newest, newest + 1):
        for model in lineage(home, week, published_as(editions)):
            if model is not None:
                yield "als_model", model


def _superseded_splits(home: Home) -> list[Path]:
    by_log: dict[Path, list[tuple[str, Path]]] = defaultdict(list)
    for folder in home.root.glob("days/*/split/*"):
        if artefact.exists(folder):
            finished = Artefact.open(folder).manifest["times"]["finished"]
            by_log[folder.parent].append((finished, folder))
    return [folder for splits in by_log.values() for _, folder in sorted(splits)[:-1]]


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())

"""The editions that there are: in the store, at home, or in both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from recsys import artefact
from recsys.artefact import Artefact
from recsys.errors import ArtefactError
from recsys.hindsight import HINDSIGHT_FILE
from recsys.home import Home
from recsys.refusals import GATES
from recsys.report import REPORT_FILE
from recsys.store import Edition, Store
from recsys.verdict import Verdict
from recsys.weeks import Week

#: What reading a damaged file may raise.
_DAMAGE: Final = (ArtefactError, OSError, ValueError, KeyError, TypeError)


@dataclass(frozen=True)
class Known:
    """An edition that the store or home knows.

    Attributes:
        week: its week.
        revision: its revision.
        stored: what the store says of it, or None: it was never staged.
        folder: its folder at home, which need not be there.
    """

    week: Week
    revision: int
    stored: Edition | None
    folder: Path

    @property
    def state(self) -> str:
        """What has become of it, in a word or two."""
        if self.stored is None:
            return "refused" if any(self.verdicts(refused=True)) else "not published"
        if self.stored.served:
            return "served"
        return "pruned" if self.stored.pruned else str(self.stored.state).replace("_", " ")

    @property
    def activated_at(self) -> datetime | None:
        """When readers could first see it (UTC)."""
        return self.stored.activated_at if self.stored else None

    @property
    def report(self) -> Path | None:
        """Its report, if there is one."""
        path = self.folder / REPORT_FILE
        return path if path.is_file() else None

    @property
    def facts(self) -> Mapping[str, Any]:
        """What its playlists come to, by count; empty where they are gone."""
        made = self.folder / "playlists"
        try:
            return Artefact.open(made).facts if artefact.exists(made) else {}
        except _DAMAGE:
            return {}

    def verdicts(self, *, refused: bool = False) -> list[tuple[str, Verdict | None]]:
        """What each gate said: of what it let go on, else of what it refused.

        None stands for what cannot be read.

        Args:
            refused: only what was refused, and not let go on since.
        """
        said = []
        for gate in GATES:
            passed = artefact.exists(self.folder / gate)
            kept = self.folder / "refused" / f"{gate}.json"
            if (passed or kept.is_file()) and not (refused and passed):
                said.append((gate, _verdict(self.folder / gate if passed else None, kept)))
        return said

    @property
    def hindsight(self) -> list[dict[str, Any]] | None:
        """What it says of the editions before it; None where that cannot be read."""
        made = self.folder / "hindsight"
        if not artefact.exists(made):
            return []
        try:
            path = Artefact.open(made).file(HINDSIGHT_FILE)
            found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["editions"]
        except _DAMAGE:
            return None
        return found


def _verdict(passed: Path | None, refused: Path) -> Verdict | None:
    try:
        path = Artefact.open(passed).file("verdict.json") if passed else refused
        return Verdict.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except _DAMAGE:
        return None


def known_editions(store: Store, home: Home) -> list[Known]:
    """Every edition, newest first."""
    stored = {(one.edition, one.revision): one for one in store.editions()}
    planned = {(str(week), revision) for week in home.weeks() for revision in home.revisions(week)}
    return [
        Known(
            Week.parse(name),
            revision,
            stored.get((name, revision)),
            home.edition(Week.parse(name), revision),
        )
        for name, revision in sorted({*stored, *planned}, reverse=True)
    ]


def readable_editions(store: Store, home: Home) -> list[Known]:
    """What readers may see, one revision a week, newest first."""
    newest: dict[Week, Known] = {}
    for one in known_editions(store, home):
        if one.stored is not None and one.stored.readable:
            newest.setdefault(one.week, one)
    return list(newest.values())


def weeks_in_hindsight(editions: list[Known]) -> list[dict[str, Any]]:
    """What became of each week's playlists, newest week first, as it was last counted.

    Args:
        editions: newest first; each looked back at some weeks before it.
    """
    counted: dict[str, dict[str, Any]] = {}
    for edition in editions:
        for one in edition.hindsight or ():
            counted.setdefault(one["edition"], one)
    return [counted[week] for week in sorted(counted, reverse=True)]

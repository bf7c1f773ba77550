"""Refusals of gates: kept as reports, and let go on only by an operator, on purpose.

A release is an entry in the store's ledger that names the edition, its revision and the digest of
the verdict that refused it. The same refusal, made again by the next run, then goes on; any other
is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from recsys import artefact
from recsys.errors import ArtefactError, GateRefusedError, SettingsError
from recsys.home import Home
from recsys.store import Action, LedgerEntry, Store
from recsys.verdict import Verdict
from recsys.weeks import Week

#: The stages that may refuse, in their order.
GATES: Final = ("model_choice", "als_model", "playlist_gate")


@dataclass(frozen=True)
class Refusal:
    """A gate's refusal of an edition.

    Attributes:
        edition: the week.
        revision: of the edition.
        stage: the gate.
        report: the file that it is kept in.
        document: what is in the file.
    """

    edition: str
    revision: int
    stage: str
    report: Path
    document: Mapping[str, Any]

    @property
    def verdict(self) -> Verdict:
        """The gate's verdict."""
        return Verdict.from_dict(self.document)

    @property
    def digest(self) -> str:
        """The digest of the document: what a release names."""
        return artefact.digest_of(self.document)

    @property
    def command(self) -> str:
        """The command that releases it, but for the reason."""
        return f"recsys release --edition {self.edition} --revision {self.revision} --because"


def held(home: Home, week: Week, revision: int) -> Refusal | None:
    """The refusal that keeps an edition from going on, if there is one.

    Raises:
        ArtefactError: its report cannot be read.
    """
    folder = home.edition(week, revision)
    for stage in GATES:
        report = folder / "refused" / f"{stage}.json"
        if not report.exists() or artefact.exists(folder / stage):
            continue
        try:
            document = json.loads(report.read_text(encoding="utf-8"))
            Verdict.from_dict(document)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtefactError(
                f"{report} cannot be read ({error!r}). Remove it and run the week again."
            ) from error
        return Refusal(str(week), revision, stage, report, document)
    return None


def keep(refusal: Refusal) -> None:
    """Write the report, which completes nothing."""
    refusal.report.parent.mkdir(parents=True, exist_ok=True)
    artefact.write_json(refusal.report, refusal.document)


def release(store: Store, copy: Path, refusal: Refusal, because: str) -> LedgerEntry:
    """Let a refused edition go on when it is run again.

    Args:
        store: its ledger records the release.
        copy: home's copy of the store's history.
        refusal: from :func:`held`.
        because: why, for those who read of it later.

    Raises:
        GateRefusedError: a failed check is one that nobody is let off.
        SettingsError: no reason is given.
    """
    because = " ".join(because.split())
    if not because:
        raise SettingsError("--because: expected why the edition is to go on, got nothing.")
    if final := refusal.verdict.final:
        raise GateRefusedError(
            f"Edition {refusal.edition} cannot be released from {', '.join(final)}, which "
            f"{refusal.stage} refused: listeners would get something broken. Read "
            f"{refusal.report}; when the cause is gone, make the edition anew: "
            f"--revision {refusal.revision + 1}"
        )
    from recsys.publishing import refresh_copy

    refresh_copy(store, copy)
    note = f"{refusal.stage}: {because}"
    entry = store.release(refusal.edition, refusal.revision, refusal.digest, note)
    refresh_copy(store, copy)
    return entry


def released_because(store: Store, copy: Path, refusal: Refusal) -> str | None:
    """Why an operator let exactly this refusal go on, or None: nobody did.

    Args:
        store: whose ledger is asked; a lost one gets its history back first.
        copy: home's copy of the store's history.
        refusal: as it was made now.
    """
    from recsys.publishing import refresh_copy

    if refusal.verdict.final:
        return None
    refresh_copy(store, copy)
    entry = release_of(store, refusal)
    return None if entry is None else reason_of(entry, refusal)


def release_of(store: Store, refusal: Refusal) -> LedgerEntry | None:
    """The ledger's release of exactly this refusal, if there is one."""
    asked = (Action.RELEASED, refusal.edition, refusal.revision, refusal.digest)
    for entry in store.ledger():
        if (entry.action, entry.edition, entry.revision, entry.digest) == asked:
            return entry
    return None


def reason_of(entry: LedgerEntry, refusal: Refusal) -> str:
    """Why a release let a refusal go on, in the operator's words."""
    return entry.note.removeprefix(f"{refusal.stage}: ")

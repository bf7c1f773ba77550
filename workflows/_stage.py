"""What all stages share: where they write, when they are complete, what they leave behind."""

from __future__ import annotations

import abc
import contextlib
import logging
import traceback
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import luigi

from recsys import artefact
from recsys.artefact import Artefact, Draft
from recsys.errors import GateRefusedError, RecsysError
from recsys.plan import Plan
from recsys.settings import Settings
from recsys.verdict import Verdict
from recsys.weeks import Week
from workflows import _allocator, _preflight, _run

#: For stages that fill the machine's memory or its processors: however many workers there are,
#: Luigi lets one of them run at a time, and it begins with what those before it held given back.
ONE_AT_A_TIME: Final = {"machine": 1}


#: For stages that reach out of the machine: what fails there may work a minute later. Any other
#: failure would only happen again.
ATTEMPTS_OUTSIDE: Final = 3


class ArtefactTarget(luigi.Target):
    """An artefact: there when its manifest is."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Whether it is complete."""
        return artefact.exists(self.path)

    def open(self) -> Artefact:
        """Its manifest and files."""
        return Artefact.open(self.path)


class Stage(luigi.Task):
    """A step of the run that writes one artefact."""

    #: Name of the artefact, and of the stage for people.
    stage: ClassVar[str]
    #: Raised by hand when what the stage writes changes meaning.
    version: ClassVar[int] = 1

    @property
    def settings(self) -> Settings:
        """The settings of the run."""
        return _run.current().settings

    @property
    @abc.abstractmethod
    def folder(self) -> Path:
        """Where the artefact is."""

    def output(self) -> ArtefactTarget:
        """The artefact."""
        return ArtefactTarget(self.folder)

    @contextlib.contextmanager
    def draft(self) -> Iterator[Draft]:
        """The artefact, while it is written."""
        with artefact.write(
            self.folder,
            stage=self.stage,
            version=self.version,
            seed=self.settings.recsys.seed,
            started=self.__dict__.get("started"),
            packages=_run.current().engine.packages,
        ) as draft:
            yield draft

    def tell(self, message: str, level: int = logging.INFO) -> None:
        """Say how it went, in the log and beside the task in the scheduler's page."""
        _run.LOG.log(level, "%s: %s", self.stage, message)
        callback: Callable[[str], None] | None = self.set_status_message
        if callback is not None:
            callback(message)

    def on_failure(self, exception: BaseException) -> str:
        """Leave word for ``recsys status``; an error of ours needs no stack trace."""
        exception = _run.current().engine.explained(exception)
        _preflight.fail(exception, self.stage)
        if isinstance(exception, RecsysError):
            return str(exception)
        return "".join(traceback.format_exception(exception))


def _note_start(stage: Stage) -> None:
    stage.__dict__["started"] = datetime.now(UTC)
    if stage.resources == ONE_AT_A_TIME:
        _allocator.release_memory()


Stage.event_handler(luigi.Event.START)(_note_start)


Kind = TypeVar("Kind", bound="EditionStage")


class EditionStage(Stage):
    """A stage of one edition."""

    week = luigi.Parameter(description="the edition, YYYY-Www")
    revision = luigi.IntParameter(description="revision of the edition")

    @property
    def edition(self) -> Path:
        """The edition's folder."""
        return _run.current().home.edition(Week.parse(self.week), self.revision)

    @property
    def folder(self) -> Path:
        """Where the artefact is."""
        return self.edition / self.stage

    @property
    def plan(self) -> Plan:
        """The edition's plan."""
        return Plan.load(self.edition / "plan")

    def sibling(self, kind: type[Kind]) -> Kind:
        """Another stage of the same edition."""
        return kind(week=self.week, revision=self.revision)

    def sibling_artefact(self, stage: str) -> Artefact:
        """What another stage of the same edition wrote."""
        return Artefact.open(self.edition / stage)

    def artefacts(self) -> dict[str, Artefact]:
        """The artefacts of the stages required, by the names they are required under."""
        return {name: target.open() for name, target in self.input().items()}

    def sign_off(self, verdict: Verdict, **about: Any) -> Verdict:
        """Let what a gate judged go on: it was not refused, or an operator has released it.

        A refusal is kept as a report, which completes nothing, and stops the run.

        Args:
            verdict: the gate's.
            about: what else the report is to say.

        Raises:
            GateRefusedError: it is refused.
        """
        if not verdict.refused:
            return verdict
        from recsys import refusals
        from recsys.store import open_store

        refusal = refusals.Refusal(
            self.week,
            self.revision,
            self.stage,
            self.edition / "refused" / f"{self.stage}.json",
            {**about, **verdict.to_dict()},
        )
        with open_store(self.settings.store_url) as store:
            copy = _run.current().home.store_copy
            because = refusals.released_because(store, copy, refusal)
        if because is not None:
            return verdict.release(because)
        refusals.keep(refusal)
        self._report()
        way_out = (
            f"When the cause is gone, make the edition anew beside this one: "
            f"--revision {self.revision + 1}"
        )
        if not verdict.final:
            way_out += f". To let it go on as it is, on purpose: {refusal.command} TEXT"
        raise GateRefusedError(
            f"Edition {self.week} is refused by {self.stage}: {verdict.summary()} Nothing is "
            "published; the edition before stays. Each rule with its value is in "
            f"{refusal.report}. {way_out}"
        )

    def _report(self) -> None:
        """Write the edition's page as far as it got."""
        from recsys.report import write_report

        try:
            page = write_report(_run.current().home, self.edition)
        except Exception as error:  # noqa: BLE001 - it must not stand in the way of the verdict
            _run.LOG.warning("%s: there is no report: %s", self.stage, error)
        else:
            _run.LOG.info("%s: the report is %s", self.stage, page)


def digests(artefacts: Mapping[str, Artefact]) -> dict[str, str]:
    """What a stage was made from, for its manifest."""
    return {name: one.digest for name, one in artefacts.items()}

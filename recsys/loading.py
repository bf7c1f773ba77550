"""Any artefact of any edition, by its week: ``recsys.load("2026-W47").model``."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from recsys import artefact, models, schemas
from recsys._tables import part_files
from recsys.artefact import Artefact
from recsys.candidates import Candidates
from recsys.choice import judge, qualities
from recsys.errors import ArtefactError, NoEditionError, RecsysError, SettingsError
from recsys.evaluation import POPULARITY, Comparison, Model
from recsys.explain import Listener, MadeEdition, open_edition
from recsys.frames import Rows
from recsys.home import Home
from recsys.matrix import TasteMatrix
from recsys.models import ALSModel
from recsys.plan import Plan, pinned_models
from recsys.plays import DAILY_PLAYS
from recsys.record import STAGES
from recsys.refusals import GATES
from recsys.settings import AlsSettings, Settings, load_settings
from recsys.trial import evaluate_models, make_trial
from recsys.unseen_week import UnseenWeek, open_unseen_week
from recsys.verdict import Verdict
from recsys.weeks import Week


def load(week: str, *, home: Path | str | None = None, revision: int | None = None) -> Edition:
    """An edition, whose artefacts are read when they are asked for. Nothing is written.

    A week that is tuned before it is planned has ``tuning`` and ``trials``, and the settings of
    now; all else of it says what makes it.

    Args:
        week: ``YYYY-Www``.
        home: the folder that everything is kept under; by default the one that the settings name.
        revision: of the edition; by default the newest planned.

    Raises:
        SettingsError: the week is none, or the settings are needed, for want of a home or a plan,
            and not usable.
        NoEditionError: there is no such edition; says which there are.

    >>> edition = load("2026-W47")  # doctest: +SKIP
    >>> edition.playlists  # doctest: +SKIP
    1,466 rows: edition, user_id, kind, tracks, spares, relaxed, valid_from, valid_until
    >>> edition.playlists.to_polars()  # doctest: +SKIP
    """
    root = load_settings().home if home is None else Path(home).expanduser().absolute()
    try:
        wanted = Week.parse(week)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    bare = Home(root, "", "")
    there = bare.revisions(wanted)
    tuned = not there and artefact.exists(bare.tuning(wanted))
    if tuned:
        there = [1]
    if not there:
        weeks = ", ".join(map(str, bare.weeks())) or "none yet"
        raise NoEditionError(f"There is no edition {week} under {root}. Editions: {weeks}.")
    if revision is not None and revision not in there:
        raise NoEditionError(
            f"Edition {week} has no revision {revision} under {root}. Revisions: "
            f"{', '.join(map(str, there))}."
        )
    revision = revision or max(there)
    folder = bare.edition(wanted, revision)
    shaped = load_settings().shaping() if tuned else Plan.load(folder / "plan").document["settings"]
    settings = Settings.shaped(shaped, root)
    return Edition(wanted, revision, folder, settings, Home.of(settings))


@dataclass(frozen=True, eq=False)
class Edition:
    """An edition: one attribute an artefact, read when it is first asked for.

    Tables are :class:`recsys.frames.Rows`: ``.to_arrow()``, ``.to_pandas()`` or ``.to_polars()``
    make the frame. A stage that is not there raises ArtefactError, which says what makes it.

    Attributes:
        week: of the edition.
        revision: its revision.
        folder: its artefacts, one folder a stage.
        settings: those that its plan pinned; where things are is as in the home it is in.
        home: where all else is.
    """

    week: Week
    revision: int
    folder: Path
    settings: Settings
    home: Home

    def __repr__(self) -> str:
        return f"Edition {self.week}, revision {self.revision}, in {self.folder}"

    def artefact(self, stage: str) -> Artefact:
        """The artefact of a stage, by the name of its folder, such as ``als_model``.

        Raises:
            ArtefactError: it is not there; says what makes it, or that there is no such stage.
        """
        stages = (*STAGES, "record")
        if stage not in stages:
            raise ArtefactError(f"There is no stage {stage!r}: expected {', '.join(stages)}.")
        if artefact.exists(self.folder / stage):
            return Artefact.open(self.folder / stage)
        raise ArtefactError(f"Edition {self.week} revision {self.revision} has {self._why(stage)}")

    def _why(self, stage: str) -> str:
        if self.home.cleaned(self.folder).exists():
            return f"no {stage} any more: it was cleaned. Make it anew: --revision with the next."
        refused = [gate for gate in GATES if (self.folder / "refused" / f"{gate}.json").exists()]
        because = f" {refused[-1]} refused it: edition.verdicts says why." if refused else ""
        return (
            f"no {stage} yet.{because} It is made by: luigi --module workflows WeeklyPlaylists "
            f"--local-scheduler --week {self.week} --revision {self.revision}"
        )

    @cached_property
    def plan(self) -> Plan:
        """What it was made from."""
        return Plan.load(self.artefact("plan").path)

    # --- the log, up to the cutoff -----------------------------------------------------------

    @property
    def listens(self) -> Rows:
        """Every cleaned listen that counts (:data:`recsys.schemas.LISTENS`), a file a day."""
        return self._days("clean_listens", "listens.parquet")

    @property
    def quarantine(self) -> Rows:
        """The rows of the log that were refused, and why."""
        return self._days("clean_listens", "quarantine.parquet")

    @property
    def plays(self) -> Rows:
        """Counts per listener, track and day of listening (:data:`recsys.plays.DAILY_PLAYS`)."""
        return self._days("daily_plays", "plays.parquet")

    def _days(self, stage: str, name: str) -> Rows:
        place = self.home.clean if stage == "clean_listens" else self.home.plays
        tables = [Artefact.open(place(day)).file(name) for day in self.plan.days]
        files = [file for table in tables for file in part_files(table)]
        of = {"listens": schemas.LISTENS, "quarantine": schemas.QUARANTINE, "plays": DAILY_PLAYS}
        return Rows(files, of[name.removesuffix(".parquet")])

    # --- what was made of it -----------------------------------------------------------------

    @property
    def taste(self) -> Rows:
        """What each listener has heard, decayed to the cutoff (:data:`recsys.schemas.TASTE`)."""
        return Rows([self._taste(self.week).file("taste.parquet")])

    def _taste(self, week: Week) -> Artefact:
        folder = self.home.taste(week)
        if not artefact.exists(folder):
            raise ArtefactError(f"Edition {self.week} has {self._why('taste')}")
        return Artefact.open(folder)

    @property
    def catalogue(self) -> Rows:
        """Tracks, names, credited artists, song keys (:data:`recsys.schemas.CATALOGUE`)."""
        return Rows([self.artefact("catalogue").file("catalogue.parquet")], owner=self)

    @cached_property
    def matrix(self) -> TasteMatrix:
        """Who holds to what: a CSR matrix, with listeners and songs as labels of its rows."""
        return TasteMatrix.load(self.artefact("matrix").path)

    @cached_property
    def model(self) -> ALSModel:
        """The model that ships."""
        model = models.load(self.artefact("als_model").path)
        return model if len(model.user_ids) else model.folded(self.matrix)

    @property
    def candidates(self) -> Rows:
        """The best few hundred songs of each listener, scored, by rank."""
        return Rows(
            Candidates.load(self.artefact("candidates").path, self.matrix).to_arrow(self.matrix)
        )

    @property
    def playlists(self) -> Rows:
        """Everyone's playlist (:data:`recsys.schemas.PLAYLISTS`)."""
        return Rows([self.artefact("playlists").file("playlists.parquet")], owner=self)

    @property
    def evaluation(self) -> Comparison:
        """How the models did that could ship, on the week that none had seen."""
        return Comparison.from_dict(self._json("evaluation"))

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """What each gate said that was reached, a refusal included."""
        found = {}
        for gate in GATES:
            said = self.folder / gate / "verdict.json"
            refused = self.folder / "refused" / f"{gate}.json"
            for path in (said, refused):
                if path.exists():
                    found[gate] = Verdict.from_dict(_read_json(path))
                    break
        return found

    @property
    def trials(self) -> Rows:
        """The trials of ``TuneModel`` for this week: state, score on each rung, values."""
        return Rows([self._tuning().file("trials.parquet")])

    @property
    def tuning(self) -> Mapping[str, Any]:
        """What ``TuneModel`` found for this week, and the evidence (docs/tuning.md)."""
        return _read_json(self._tuning().file("evidence.json"))

    def _tuning(self) -> Artefact:
        folder = self.home.tuning(self.week)
        if artefact.exists(folder):
            return Artefact.open(folder)
        raise ArtefactError(
            f"Nothing was tuned for {self.week} yet. It is by: luigi --module workflows TuneModel "
            f"--local-scheduler --week {self.week}"
        )

    @property
    def hindsight(self) -> Mapping[str, Any]:
        """What listeners did with the editions before (docs/hindsight.md)."""
        return self._json("hindsight")

    @property
    def record(self) -> Mapping[str, Any]:
        """What was published, from what, how good, and how long it took."""
        return self._json("record")

    def _json(self, stage: str) -> Mapping[str, Any]:
        return _read_json(self.artefact(stage).file(f"{stage}.json"))

    # --- looking into it ---------------------------------------------------------------------

    @cached_property
    def _made(self) -> MadeEdition:
        return open_edition(self.home, self.folder)

    def listener(self, user_id: str) -> Listener:
        """One listener's playlist, taken apart (docs/explain.md).

        Raises:
            ArtefactError: a stage that explains it is not there.
        """
        return Listener(self._made, user_id)

    # --- a model of one's own ----------------------------------------------------------------

    @cached_property
    def unseen(self) -> UnseenWeek:
        """The week before the cutoff, and ``base``, the matrix before it: a model that is to be
        evaluated is trained on that.
        """
        pinned = pinned_models(self.home, self.plan)
        with tempfile.TemporaryDirectory() as spill:
            return open_unseen_week(
                self.plan,
                self.home,
                self.settings,
                base=self._taste(self.week - 1),
                catalogue=self.artefact("catalogue"),
                scored=pinned.values(),
                spill=Path(spill),
            )

    def evaluate(self, tried: Mapping[str, ALSModel | AlsSettings | Model]) -> Comparison:
        """Score models as ``ModelEvaluation`` does: same week, listeners, baselines, measures.

        Args:
            tried: name -> settings (trained here on ``unseen.base``), a model of ours trained on
                ``unseen.base`` or earlier, or one with ``fit`` and ``recommend`` (trained here).

        Raises:
            ArtefactError: a model knows of the week that it would be judged by.
            MissingDataError: nobody heard anything new in the week.
            RecsysError: a name is that of a model that is scored anyway, or a model is none.
        """
        pinned = pinned_models(self.home, self.plan)
        return evaluate_models(self.unseen, tried, pinned=pinned, settings=self.settings)

    def judge(self, name: str, evaluation: Comparison) -> Verdict:
        """What ``ModelChoice`` would say of a model: against popularity, and the edition's parent.

        Args:
            name: of the model.
            evaluation: from :meth:`evaluate`.

        Raises:
            RecsysError: the evaluation compares no such model with popularity; says which it does.
        """
        over = f"_over_{POPULARITY}"
        if name + over not in evaluation.paired:
            there = [one.removesuffix(over) for one in evaluation.paired if one.endswith(over)]
            raise RecsysError(
                f"The evaluation compares no model {name!r} with popularity. Models that it can "
                f"judge: {', '.join(there) or 'none'}."
            )
        return judge(
            name,
            quality=qualities(evaluation.to_dict()),
            paired=evaluation.paired,
            gates=self.settings.gates,
        )

    def playlists_from(self, model: ALSModel | AlsSettings) -> Edition:
        """The same edition with another model: its candidates, playlists, and what the gates say.

        Args:
            model: trained on ``matrix``, which is what the edition's own was trained on; or
                settings, with which one is trained here, cold.

        Returns:
            An edition whose ``model``, ``candidates``, ``playlists`` and ``verdicts`` are those of
            the model. It lives in a temporary folder, and is gone with the object.

        Raises:
            ArtefactError: a stage that it stands on is not there.
            RecsysError: the model is none of ours.
        """
        if not isinstance(model, ALSModel | AlsSettings):
            raise RecsysError(
                f"{model!r} cannot make playlists: expected an ALSModel of recsys.models.train, "
                "since reasons and gates stand on its factors, or an AlsSettings to train one with."
            )
        for stage in ("catalogue", "evaluation", "matrix"):
            self.artefact(stage)
        if isinstance(model, AlsSettings):
            model = models.train(self.matrix, model, self.settings.recsys.seed)
        folder = Path(tempfile.mkdtemp(prefix="recsys-trial-"))
        trial = replace(self, folder=folder)
        weakref.finalize(trial, shutil.rmtree, folder, ignore_errors=True)
        make_trial(self.home, self.folder, model, self.settings, folder)
        return trial


def _read_json(path: Path) -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document

"""The settings of a run: one file format (Luigi's), parsed here into frozen, typed objects.

Read in this order, a later file over an earlier one: ``/etc/luigi/luigi.cfg``, ``luigi.cfg`` in the
working directory, and the overlay that ``LUIGI_CONFIG_PATH`` names. Whatever is missing, unknown
or wrong is reported together, before any work.
"""

from __future__ import annotations

import configparser
import dataclasses
import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, TypeVar

from recsys._sections import (
    ALLOW,
    BAR,
    BASELINES,
    CONTINUE,
    FIXED_FORMATS,
    FORMATS,
    IMPLICIT,
    LOCAL,
    OFF,
    ON,
    SPARK,
    STOP,
    AlsSettings,
    CatalogueSettings,
    EditionSettings,
    EngineSettings,
    EvaluationSettings,
    ExposuresSettings,
    GatesSettings,
    ListensSettings,
    MlflowSettings,
    PlaylistsSettings,
    RecsysSettings,
    ServeSettings,
    SparkSettings,
    StoreSettings,
    TuningSettings,
)
from recsys.errors import SettingsError
from recsys.store._url import redacted

__all__ = [
    "ALLOW",
    "BAR",
    "BASELINES",
    "CONTINUE",
    "FIXED_FORMATS",
    "FORMATS",
    "IMPLICIT",
    "LOCAL",
    "OFF",
    "ON",
    "SPARK",
    "STOP",
    "AlsSettings",
    "CatalogueSettings",
    "EditionSettings",
    "EngineSettings",
    "EvaluationSettings",
    "ExposuresSettings",
    "GatesSettings",
    "ListensSettings",
    "MlflowSettings",
    "PlaylistsSettings",
    "RecsysSettings",
    "ServeSettings",
    "Settings",
    "SparkSettings",
    "StoreSettings",
    "TuningSettings",
    "default_paths",
    "load_settings",
]

_LUIGI_SECTIONS: Final = frozenset(
    {"batch_notifier", "core", "cors", "email", "execution_summary", "logging", "luigid"}
    | {"metrics", "resources", "retcode", "scheduler", "smtp", "task_history", "worker"}
)


#: Luigi keeps the parameters of a task in a section named after it.
_TASK_SECTIONS: Final = frozenset({"BackfillPlaylists", "TuneModel", "WeeklyPlaylists"})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of a run, checked."""

    recsys: RecsysSettings
    engine: EngineSettings
    spark: SparkSettings
    listens: ListensSettings
    catalogue: CatalogueSettings
    edition: EditionSettings
    als: AlsSettings
    evaluation: EvaluationSettings
    playlists: PlaylistsSettings
    exposures: ExposuresSettings
    gates: GatesSettings
    store: StoreSettings
    mlflow: MlflowSettings
    tuning: TuningSettings
    serve: ServeSettings

    @property
    def home(self) -> Path:
        """The folder that everything is kept under, absolute."""
        return self.recsys.home.expanduser().absolute()

    @property
    def store_url(self) -> str:
        """The URL of the playlist store."""
        return self.store.url or f"sqlite:///{self.home / 'store'}"

    @property
    def tracking_uri(self) -> str:
        """The URI of the MLflow tracking store."""
        return self.mlflow.tracking_uri or f"sqlite:///{self.home / 'mlflow.db'}"

    def shaping(self) -> dict[str, dict[str, Any]]:
        """What shapes an edition, as plain JSON values: everything but where things are kept.

        Of ``[spark]``, only where the model is trained, and that only where the engine is Spark.
        """
        kept = {}
        for part in dataclasses.fields(self):
            values = dataclasses.asdict(getattr(self, part.name))
            kept[part.name] = {
                key: value for key, value in values.items() if (part.name, key) not in _PLACES
            }
        if self.engine.name == LOCAL:
            del kept["spark"]
        return {name: values for name, values in kept.items() if values}

    @classmethod
    def shaped(cls, shaping: Mapping[str, Mapping[str, Any]], home: Path) -> Settings:
        """The settings that an edition was shaped by, in the home it is in now.

        Args:
            shaping: what :meth:`shaping` said then. A key that there was not yet has its default,
                and one that there is no more is left out.
            home: the folder that everything is kept under.
        """
        given = {**shaping, "recsys": {**shaping.get("recsys", {}), "home": home}}
        parts: dict[str, Any] = {}
        for name, part in _PART_TYPES.items():
            known = {field.name for field in dataclasses.fields(part)}
            values = given.get(name, {})
            parts[name] = part(**{key: value for key, value in values.items() if key in known})
        return cls(**parts)


#: Where things are, how long they are kept, how they are served, and how settings are looked for;
#: not what an edition is: a plan does not pin these.
_PLACES: Final = {
    *(("serve", field.name) for field in dataclasses.fields(ServeSettings)),
    ("recsys", "home"),
    ("spark", "master"),
    ("spark", "options"),
    ("exposures", "source"),
    ("store", "url"),
    ("store", "keep_weeks"),
    ("store", "erase_days"),
    ("mlflow", "tracking_uri"),
    ("tuning", "trials"),
    ("tuning", "minutes"),
}


def default_paths() -> list[Path]:
    """The files that settings are read from, lowest precedence first.

    Raises:
        SettingsError: ``LUIGI_CONFIG_PATH`` names a file that is not there.
    """
    paths = [path for path in (Path("/etc/luigi/luigi.cfg"), Path("luigi.cfg")) if path.exists()]
    overlay = os.environ.get("LUIGI_CONFIG_PATH")
    if overlay:
        if not Path(overlay).is_file():
            raise SettingsError(
                f"LUIGI_CONFIG_PATH names {overlay!r}, and there is no such file. "
                "Correct the path, or unset the variable."
            )
        paths.append(Path(overlay))
    return paths


def load_settings(paths: Sequence[Path] | None = None) -> Settings:
    """Read and check the settings.

    Args:
        paths: files to read, lowest precedence first; by default :func:`default_paths`.

    Raises:
        SettingsError: names every section, key and value that is wrong, and what was expected.
    """
    parser = _Parser()
    for path in default_paths() if paths is None else paths:
        try:
            with path.open(encoding="utf-8") as file:
                parser.read_file(file, source=str(path))
        except (OSError, UnicodeDecodeError, configparser.Error) as error:
            raise SettingsError(f"The settings file {path} cannot be read: {error}") from error
    problems = _unknown_sections(parser) + _silenced_failures(parser)
    parts: dict[str, Any] = {
        part.name: _section(parser, part.name, _PART_TYPES[part.name], problems)
        for part in dataclasses.fields(Settings)
    }
    if problems:
        raise SettingsError(
            "The settings are not usable:\n" + "\n".join(f"  - {line}" for line in problems)
        )
    return Settings(**parts)


_PART_TYPES: Final[dict[str, type[Any]]] = {
    "recsys": RecsysSettings,
    "engine": EngineSettings,
    "spark": SparkSettings,
    "listens": ListensSettings,
    "catalogue": CatalogueSettings,
    "edition": EditionSettings,
    "als": AlsSettings,
    "evaluation": EvaluationSettings,
    "playlists": PlaylistsSettings,
    "exposures": ExposuresSettings,
    "gates": GatesSettings,
    "store": StoreSettings,
    "mlflow": MlflowSettings,
    "tuning": TuningSettings,
    "serve": ServeSettings,
}

Part = TypeVar("Part")


class _Parser(configparser.ConfigParser):
    """Reads keys of ours in any case, and those of Spark as they are."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr if optionstr.startswith("spark.") else optionstr.lower()


def _unknown_sections(parser: configparser.ConfigParser) -> list[str]:
    known = {*_PART_TYPES, *_LUIGI_SECTIONS, *_TASK_SECTIONS}
    return [
        f"[{name}] is not a section of ours or of Luigi's.{_hint(name, known)}"
        for name in parser.sections()
        if name not in known
    ]


def _silenced_failures(parser: configparser.ConfigParser) -> list[str]:
    codes = parser["retcode"] if parser.has_section("retcode") else {}
    return [
        f"[retcode] {key} = {code!r}: expected a number from 1 to 255, or a failed run looks green"
        for key, code in codes.items()
        if not (code.isdigit() and 1 <= int(code) <= 255)
    ]


def _section(
    parser: configparser.ConfigParser, name: str, part: type[Part], problems: list[str]
) -> Part | None:
    fields = {
        field.metadata["written"] or field.name: field
        for field in dataclasses.fields(part)  # type: ignore[arg-type]
    }
    given = parser[name] if parser.has_section(name) else {}
    values: dict[str, Any] = {}
    found = len(problems)
    for key in given:
        field = next((one for written, one in fields.items() if fnmatchcase(key, written)), None)
        if field is None:
            problems.append(f"[{name}] {key} is not a setting.{_hint(key, fields)}")
            continue
        raw = ""
        try:
            raw = os.path.expandvars(given[key].strip())
            value = field.metadata["parse"](raw)
            if field.metadata["written"]:
                values.setdefault(field.name, {})[key] = value
            else:
                values[key] = value
        except configparser.InterpolationError:
            problems.append(f"[{name}] {key}: write a plain % as %%")
        except ValueError as error:
            problems.append(f"[{name}] {key} = {redacted(raw)!r}: expected {error}")
    problems.extend(
        f"[{name}] {key} is missing: expected {field.metadata['expected']}"
        for key, field in fields.items()
        if field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
        and key not in given
    )
    try:
        return part(**values) if len(problems) == found else None
    except ValueError as error:  # settings that are right by themselves and contradict each other
        problems.append(f"[{name}] {error}")
        return None


def _hint(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(sorted(known))}."

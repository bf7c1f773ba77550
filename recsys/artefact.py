"""Artefacts: folders of files with a manifest, there completely or not at all.

An artefact is written into a folder aside, flushed to disk, and renamed into place with its
``manifest.json``; its parent is flushed last. A folder with a manifest is therefore complete,
whenever the machine stopped.

A listener who asked to be forgotten is erased from it afterwards: some of its files are replaced,
``erasure.json`` beside the manifest says by which, and its digest stays its name.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from recsys.errors import ArtefactError, ResourceError

MANIFEST: Final = "manifest.json"
ERASURE: Final = "erasure.json"
MANIFEST_VERSION: Final = 1
#: How what is written aside is called: a draft, and a whole folder that is to replace another.
_LEFTOVER: Final = re.compile(r"\..+\.[0-9a-f]{12}")
_REWRITTEN: Final = ".rewritten"
#: Files of an artefact that are flushed or hashed at a time.
_AT_ONCE: Final = 4
_PACKAGES: Final = ("duckdb", "implicit", "numba", "numpy", "pyarrow", "scipy")


@dataclass(frozen=True)
class Artefact:
    """A complete artefact and its manifest."""

    path: Path
    manifest: Mapping[str, Any]
    #: What was erased from it since: ``at``, ``files`` and ``facts`` as they are now.
    erasure: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> Artefact:
        """Read the manifest of the artefact in ``path``.

        Raises:
            ArtefactError: there is none, or its manifest cannot be read.
        """
        if not exists(path):
            raise ArtefactError(
                f"There is no complete artefact in {path}: run the week again to make it."
            )
        erased = (path / ERASURE).is_file()
        return cls(path, _read(path / MANIFEST), _read(path / ERASURE) if erased else {})

    @property
    def digest(self) -> str:
        """SHA-256 over everything in the manifest but times."""
        return str(self.manifest["digest"])

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the stage says of its result: counts, verdicts, settings."""
        facts: Mapping[str, Any] = self.manifest["facts"]
        return facts

    @property
    def inputs(self) -> Mapping[str, Any]:
        """The digests of what this was made from, by name."""
        inputs: Mapping[str, Any] = self.manifest["inputs"]
        return inputs

    @property
    def files(self) -> Mapping[str, Mapping[str, Any]]:
        """Bytes and SHA-256 of each file, as it must be now."""
        return {**self.manifest["files"], **self.erasure.get("files", {})}

    @property
    def seconds(self) -> float:
        """How long it took to make."""
        return float(self.manifest["times"]["seconds"])

    def file(self, name: str) -> Path:
        """The path of one of its files, or of a table that is a folder of files.

        Raises:
            ArtefactError: the manifest knows no such file, or it is gone or cut short.
        """
        names = self.parts(name)
        if not names:
            known = ", ".join(self.files)
            raise ArtefactError(f"{self.path} holds no {name}; it holds {known}.")
        for one in names:
            listed = self.files[one]
            path = self.path / one
            if not path.is_file() or path.stat().st_size != listed["bytes"]:
                raise ArtefactError(
                    f"{path} is missing or not {listed['bytes']} bytes long, as its manifest says. "
                    f"Remove the folder {self.path} and run the week again."
                )
        return self.path / name

    def parts(self, name: str) -> list[str]:
        """The names of the files of one of its tables; empty where it has no such table."""
        return [one for one in self.files if one == name or one.startswith(f"{name}/")]

    def check(self) -> None:
        """Hash every file against the manifest.

        Raises:
            ArtefactError: a file is missing or differs.
        """
        for name, listed in self.files.items():
            if file_sha256(self.file(name)) != listed["sha256"]:
                raise ArtefactError(f"{self.path / name} differs from its manifest.")


@dataclass
class Draft:
    """An artefact being written: files go into ``path``, what there is to say into the rest."""

    path: Path
    inputs: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)


def exists(path: Path) -> bool:
    """Whether a complete artefact is in ``path``."""
    return (path / MANIFEST).is_file()


@contextlib.contextmanager
def write(
    path: Path,
    *,
    stage: str,
    version: int,
    seed: int | None = None,
    started: datetime | None = None,
    packages: Sequence[str] = (),
) -> Iterator[Draft]:
    """Write an artefact to ``path``; an older one there is replaced in one step.

    Nothing is left behind when the block raises.

    Args:
        path: the artefact's folder.
        stage: what it is, for people.
        version: of what the stage writes.
        seed: of the randomness in it.
        started: when the work on it began; by default, now.
        packages: whose versions are noted, beside those that every artefact is made with.

    Raises:
        ResourceError: the disk is full, or the folder cannot be written.
    """
    started = started or datetime.now(UTC)
    with _aside(path) as aside:
        _clear_leftovers(path)
        aside.mkdir(parents=True)
        draft = Draft(aside)
        yield draft
        files = _sealed(aside)
        hashed = {
            "manifest_version": MANIFEST_VERSION,
            "stage": stage,
            "schema_version": version,
            "rows": draft.rows,
            "files": files,
            "inputs": draft.inputs,
            "facts": draft.facts,
            "seed": seed,
            "packages": {name: _version(name) for name in (*_PACKAGES, *packages)},
        }
        finished = datetime.now(UTC)
        times = {
            "started": started.isoformat(timespec="seconds"),
            "finished": finished.isoformat(timespec="seconds"),
            "seconds": round((finished - started).total_seconds(), 3),
        }
        write_json(aside / MANIFEST, {"digest": digest_of(hashed), **hashed, "times": times})
        _sync_folders(aside)
        _replace(aside, path)


@contextlib.contextmanager
def rewrite(made: Artefact) -> Iterator[Draft]:
    """Replace files of an artefact: those that are written into the draft, by the same names.

    Its manifest and digest stay; the draft's facts go into the record of the erasure. Whenever the
    machine stops, the folder is the old one, the new one, or what :func:`tidy` makes the new one.

    Raises:
        ResourceError: the disk is full, or the folder cannot be written.
    """
    with _aside(made.path) as aside:
        aside.mkdir()
        draft = Draft(aside)
        yield draft
        files = _sealed(aside)
        if not files:
            return
        for kept in (MANIFEST, *(made.files.keys() - files.keys())):
            (aside / kept).parent.mkdir(parents=True, exist_ok=True)
            _link(made.path / kept, aside / kept)
        erasure = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "files": {**made.erasure.get("files", {}), **files},
            "facts": {**made.erasure.get("facts", {}), **draft.facts},
        }
        write_json(aside / ERASURE, erasure)
        _sync_folders(aside)
        whole = made.path.with_name(f".{made.path.name}{_REWRITTEN}")
        aside.rename(whole)
        _replace(whole, made.path)


def remove(path: Path) -> None:
    """Remove an artefact; whenever the machine stops, it is there whole or not at all."""
    with _aside(path) as aside:
        path.rename(aside)
        _sync_folder(path.parent)


def tidy(folder: Path) -> None:
    """Finish what killed runs were rewriting in ``folder``, and remove what they left aside.

    Only for who holds the home: a living run has such folders, too.
    """
    for whole in folder.glob(f".*{_REWRITTEN}"):
        _replace(whole, whole.with_name(whole.name[1 : -len(_REWRITTEN)]))
    for leftover in folder.glob(".*"):
        if _LEFTOVER.fullmatch(leftover.name):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON, atomically and durably."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}")
    try:
        with aside.open("w", encoding="utf-8") as file:
            json.dump(value, file, indent=1, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    _sync_folder(path.parent)


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form.

    >>> digest_of({"b": 1, "a": 2}) == digest_of({"a": 2, "b": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """Name a folder beside ``path`` that is gone in the end; say plainly what the disk says."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}")
    try:
        yield aside
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(
                f"The disk is full while writing {path}. Free some space and run the same "
                "command again: what is complete is kept."
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise ResourceError(
                f"{path} cannot be written ({error.strerror}). Check its owner and permissions."
            ) from error
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@cache
def _version(package: str) -> str:
    return importlib.metadata.version(package)


def _link(old: Path, new: Path) -> None:
    try:
        os.link(old, new)
    except OSError:  # not every file system has links
        shutil.copy2(old, new)


def _read(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtefactError(
            f"{path} cannot be read ({error}). "
            f"Remove the folder {path.parent} and run the week again."
        ) from error
    return value


def _sealed(folder: Path) -> dict[str, dict[str, Any]]:
    """Bytes and SHA-256 of each file below, flushed to disk while they are hashed."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        flushed = [pool.submit(_sync_file, file) for file in files]
        hashed = list(pool.map(file_sha256, files))
        for one in flushed:
            one.result()
    return {
        str(file.relative_to(folder)): {"bytes": file.stat().st_size, "sha256": sha256}
        for file, sha256 in zip(files, hashed, strict=True)
    }


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sync_folders(root: Path) -> None:
    for folder in sorted({root, *(file.parent for file in root.rglob("*"))}):
        _sync_folder(folder)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _clear_leftovers(path: Path) -> None:
    """Remove what killed runs left aside; the home's lock keeps living ones away."""
    if path.parent.is_dir():
        for leftover in path.parent.glob(f".{path.name}.*"):
            shutil.rmtree(leftover, ignore_errors=True)


def _replace(aside: Path, path: Path) -> None:
    if path.exists():
        # A folder cannot be renamed over a full one: the old one steps aside first.
        path.rename(path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}"))
    aside.rename(path)
    _sync_folder(path.parent)
    _clear_leftovers(path)

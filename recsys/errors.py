"""Every error the product raises on purpose, and the exit code each one ends a run with."""

from __future__ import annotations

from typing import ClassVar


class RecsysError(Exception):
    """Base of all errors raised on purpose: what is wrong, where, what was expected, what to do."""

    exit_code: ClassVar[int] = 30


class SettingsError(RecsysError):
    """A setting is missing, unknown or wrong; raised before any work."""

    exit_code = 50


class AlreadyRunningError(RecsysError):
    """Another run holds this home."""

    exit_code = 10


class MissingDataError(RecsysError):
    """The log does not hold what the edition needs."""

    exit_code = 20


class BadLogError(RecsysError):
    """A file of the log cannot be read, or has changed since it was read."""


class ResourceError(RecsysError):
    """Too little disk or memory, or a folder that cannot be written."""

    exit_code = 60


class ArtefactError(RecsysError):
    """An artefact is missing, incomplete, or not what its manifest says."""


class PlanError(RecsysError):
    """The settings or the log no longer match the edition's plan."""

    exit_code = 50


class GateRefusedError(RecsysError):
    """A gate looked at the model or the playlists and said no."""


class StoreError(RecsysError):
    """The playlist store refuses, or cannot do, what was asked."""


class NoEditionError(StoreError, LookupError):
    """No edition (or not the named one) is there to be read."""


class NoSuchUserError(StoreError, LookupError):
    """The edition holds no playlist for this user."""

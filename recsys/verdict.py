"""What a gate says: the checks it made, and whether what it looked at may go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

PASSED: Final = "passed"
REFUSED: Final = "refused"
#: There was too little to tell by; it may go on, and whoever reads of it is told.
UNPROVEN: Final = "unproven"
#: It was refused, and an operator let it go on, on purpose.
RELEASED: Final = "released"

#: What it means that a check has failed: refused whatever anybody says,
HARD: Final = "hard"
#: refused until an operator releases it,
SOFT: Final = "soft"
#: not proved,
DOUBT: Final = "doubt"
#: or nothing: it is worth knowing.
NOTE: Final = "note"

#: So many offending rows are shown of a check that failed.
MOST_SAMPLES: Final = 5

#: With fewer listeners than this nothing is proved, for or against.
ENOUGH_LISTENERS: Final = 30


@dataclass(frozen=True)
class Check:
    """One question a gate asked.

    Attributes:
        name: what was asked; stable, for reports and tests.
        passed: the answer.
        value: what was found.
        limit: what is allowed, for people.
        samples: up to five offending rows, as JSON values. They may name users: they belong into
            the report under home, never into a log.
        severity: what it means that it has failed: ``hard``, ``soft``, ``doubt`` or ``note``.
    """

    name: str
    passed: bool
    value: float | int | str | None
    limit: str
    samples: tuple[dict[str, Any], ...] = ()
    severity: str = HARD

    @property
    def refuses(self) -> bool:
        """Whether it has failed, and what was looked at must not go on."""
        return not self.passed and self.severity in (HARD, SOFT)


@dataclass(frozen=True)
class Verdict:
    """A gate's answer.

    Attributes:
        outcome: ``passed``, ``unproven``, ``refused`` or ``released``.
        checks: every check that was made.
        skipped: checks that could not be made -> why.
        released: why an operator let a refusal go on.

    >>> checks = (Check("heard", False, 2, "0 tracks", ({"user_id": "ann"},)),)
    >>> verdict = Verdict.of(checks, {"repeated": "there is no earlier edition"})
    >>> verdict.outcome, verdict == Verdict.from_dict(verdict.to_dict())
    ('refused', True)
    >>> verdict.summary()
    'Refused: 1 of 1 checks failed. heard: found 2, allowed 0 tracks.'
    """

    outcome: str
    checks: tuple[Check, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    released: str | None = None

    @classmethod
    def of(cls, checks: Sequence[Check], skipped: Mapping[str, str] | None = None) -> Verdict:
        """Refused, unproven or passed: the worst that a failed check means."""
        outcome = PASSED
        if any(check.refuses for check in checks):
            outcome = REFUSED
        elif any(not check.passed and check.severity == DOUBT for check in checks):
            outcome = UNPROVEN
        return cls(outcome, tuple(checks), dict(skipped or {}))

    @property
    def passed(self) -> bool:
        """Whether all is well, and known to be."""
        return self.outcome == PASSED

    @property
    def refused(self) -> bool:
        """Whether what was looked at must not go on."""
        return self.outcome == REFUSED

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def refusing(self) -> tuple[Check, ...]:
        """The failed checks that it is refused for."""
        return tuple(check for check in self.checks if check.refuses)

    @property
    def final(self) -> tuple[str, ...]:
        """Names of the failed checks that nobody can release it from."""
        return tuple(check.name for check in self.refusing if check.severity == HARD)

    @property
    def facts(self) -> dict[str, str]:
        """What the manifest of a gate says of it: the outcome, and why it was released."""
        facts = {"outcome": self.outcome}
        return facts if self.released is None else {**facts, "released": self.released}

    def release(self, because: str) -> Verdict:
        """The same checks, let go on by an operator."""
        return replace(self, outcome=RELEASED, released=because)

    def also(self, other: Verdict) -> Verdict:
        """One verdict of the checks of two."""
        return Verdict.of((*self.checks, *other.checks), {**self.skipped, **other.skipped})

    def summary(self) -> str:
        """The verdict as one plain paragraph that names no user."""
        total, failed = len(self.checks), self.refusing or self.failed
        if not failed:
            return f"{self.outcome.capitalize()}: {total} of {total} checks passed."
        found = "; ".join(
            f"{check.name}: found {check.value}, allowed {check.limit}" for check in failed
        )
        return f"{self.outcome.capitalize()}: {len(failed)} of {total} checks failed. {found}."

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON values."""
        return {
            "outcome": self.outcome,
            "checks": [{**asdict(check), "samples": list(check.samples)} for check in self.checks],
            "skipped": dict(self.skipped),
            "released": self.released,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Verdict:
        """Read what :meth:`to_dict` wrote."""
        checks = (
            Check(**{**check, "samples": tuple(check["samples"])}) for check in value["checks"]
        )
        return cls(
            str(value["outcome"]),
            tuple(checks),
            dict(value.get("skipped", {})),
            value.get("released"),
        )

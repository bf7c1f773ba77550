"""What a gate says: the checks it made, and whether what it looked at may go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

PASSED: Final = "passed"
REFUSED: Final = "refused"
#: There was too little to tell by; it may go on, and whoever reads of it is told.
UNPROVEN: Final = "unproven"


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
    """

    name: str
    passed: bool
    value: float | int | str | None
    limit: str
    samples: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Verdict:
    """A gate's answer.

    >>> checks = (Check("heard", False, 2, "0 tracks", ({"user_id": "ann"},)),)
    >>> verdict = Verdict.of(checks)
    >>> verdict.outcome, verdict == Verdict.from_dict(verdict.to_dict())
    ('refused', True)
    >>> verdict.summary()
    'Refused: 1 of 1 checks failed. heard: found 2, allowed 0 tracks.'
    """

    outcome: str
    checks: tuple[Check, ...]

    @classmethod
    def of(cls, checks: Sequence[Check]) -> Verdict:
        """Passed when every check has passed, else refused."""
        return cls(PASSED if all(check.passed for check in checks) else REFUSED, tuple(checks))

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

    def summary(self) -> str:
        """The verdict as one plain paragraph that names no user."""
        total, failed = len(self.checks), self.failed
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
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Verdict:
        """Read what :meth:`to_dict` wrote."""
        checks = (
            Check(**{**check, "samples": tuple(check["samples"])}) for check in value["checks"]
        )
        return cls(str(value["outcome"]), tuple(checks))

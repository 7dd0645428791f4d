"""Findings while they are made: a file that cannot be read on, and the pile they are kept on."""

from collections import Counter
from collections.abc import Iterable

from schemas import rules
from schemas.rules import Finding

VALUE = 200


class Broken(Exception):
    """A file cannot be read further; the finding says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.rule.id)
        self.finding = finding


class TooMany(Exception):
    """The pile is full: reading on would help nobody."""


class Findings:
    """What was found so far, at most `limit` of it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.all: list[Finding] = []
        self.counts: Counter[str] = Counter()

    def add(self, findings: Iterable[Finding]) -> None:
        """Keep the findings; raises TooMany past the limit."""
        for finding in findings:
            if self.counts.total() >= self.limit:
                self._keep(
                    Finding(
                        rule=rules.text.TOO_MANY_FINDINGS,
                        file=finding.file,
                        facts={"limit": self.limit},
                    )
                )
                raise TooMany
            self._keep(finding)

    def _keep(self, finding: Finding) -> None:
        self.all.append(finding)
        self.counts[finding.rule.severity] += 1

    @property
    def fatal(self) -> bool:
        """Whether the package cannot be applied."""
        return self.counts["error"] > 0


def cut(text: str | None) -> str | None:
    """A value as a finding keeps it."""
    return text if text is None else text[:VALUE]

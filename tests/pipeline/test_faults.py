"""The pile of findings: what it counts, and when it is full."""

import pytest

from pipeline.faults import Findings, TooMany, cut
from schemas import rules
from schemas.rules import Finding

ERROR = Finding(rule=rules.values.GUID, file="orgs.csv")
WARNING = Finding(rule=rules.values.CHARACTERS, file="orgs.csv")


def test_severities_are_counted_and_an_error_is_fatal() -> None:
    pile = Findings(10)
    pile.add([WARNING, WARNING])
    assert (dict(pile.counts), pile.fatal) == ({"warning": 2}, False)
    pile.add([ERROR])
    assert (dict(pile.counts), pile.fatal) == ({"warning": 2, "error": 1}, True)


@pytest.mark.parametrize("kind", [ERROR, WARNING], ids=["errors", "warnings"])
def test_a_full_pile_says_so_once_and_is_fatal(kind: Finding) -> None:
    pile = Findings(3)
    pile.add([kind] * 3)
    with pytest.raises(TooMany):
        pile.add([kind, kind])
    assert pile.fatal
    assert pile.counts.total() == 4
    assert pile.counts["error"] == (4 if kind is ERROR else 1)


def test_a_value_is_cut_as_a_finding_keeps_it() -> None:
    assert cut("𠮷" * 500) == "𠮷" * 200
    assert cut(None) is None

"""The pile of findings: what it counts, and when it is full."""

from dataclasses import replace

import pytest

from pipeline.faults import Findings, TooMany, cut, kind_of
from pipeline.found import grouped
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


def test_a_full_pile_says_so_once_and_is_fatal() -> None:
    pile = Findings(3)
    pile.add([ERROR] * 3)
    with pytest.raises(TooMany):
        pile.add([ERROR, ERROR])
    assert pile.counts == {"error": 4}


def test_warnings_are_never_too_many() -> None:
    pile = Findings(3, each=2)
    pile.add([WARNING] * 10)
    pile.add([ERROR] * 3)
    assert (len(pile.all), pile.counts) == (5, {"warning": 10, "error": 3})


def test_of_each_kind_of_warning_the_first_are_kept_and_all_are_counted() -> None:
    pile = Findings(10, each=2)
    own = [replace(WARNING, line=line, school="s1" if line < 5 else "s2") for line in range(2, 9)]
    pile.add(own)
    pile.add(replace(each, column="name") for each in own)
    pile.count(kind_of(WARNING), {"s2": 100})
    assert [(each.line, each.column) for each in pile.all] == [
        (2, None),
        (3, None),
        (2, "name"),
        (3, "name"),
    ]
    assert pile.counts == {"warning": 114}
    assert pile.beyond[kind_of(WARNING)] == {"s1": 1, "s2": 104}
    assert pile.first[kind_of(WARNING)] == 1
    groups, ranks = grouped(pile)
    assert ([group.findings for group in groups], ranks) == ([107, 7], [1, 1, 2, 2])


def test_a_value_is_cut_as_a_finding_keeps_it() -> None:
    assert cut("𠮷" * 500) == "𠮷" * 200
    assert cut(None) is None

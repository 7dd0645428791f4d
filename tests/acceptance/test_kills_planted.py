"""The storm over the whole state machine finds bugs that are planted into the workers.

A checker that finds nothing proves nothing. The hub of this module has workers with two bugs, each
of which sleeps until a test names it: a roster that is committed before its version is published,
and a worker that does not look whether its run is still its own.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.acceptance.conftest import SEED, Hub
from tests.acceptance.test_kills_everywhere import Deed, pushed, retried, small, storming

pytestmark = pytest.mark.chaos

SETTINGS: Mapping[str, object] = {"import_processes": 2}
SABOTAGE = """
import time
from pathlib import Path

from pipeline import claims, importing

SLEEP = 0.4  # seconds in which somebody may come between


def awake(bug):
    place = Path(__file__).with_name("bug")
    return place.exists() and place.read_text() == bug


def enter(self, name, true=importing.Import._enter):
    if name == "publish" and awake("two commits"):
        self.db.execute("commit")
        time.sleep(SLEEP)
        self.db.execute("begin")
        self.db.execute(
            "select set_config('rosterhub.tenant_id', %s, true)", [str(self.claim.tenant_id)]
        )
    true(self, name)


def hold(db, claim, true=claims.hold):
    if not awake("no fence"):
        return true(db, claim)
    time.sleep(SLEEP)


def let_go(watch, work, true=claims._let_go):
    if not awake("no fence"):
        true(watch, work)


importing.Import._enter = enter
claims.hold = hold
claims._let_go = let_go
"""
TRIES = 12


@contextmanager
def awake(hub: Hub, bug: str) -> Iterator[None]:
    """The workers have this bug meanwhile."""
    place = hub.folder / "bug"
    place.write_text(bug, encoding="utf-8")
    try:
        yield
    finally:
        place.unlink()


BUGS: Mapping[str, Deed] = {
    "two commits": Deed("import", pushed(small("nothing")), "applied"),
    "no fence": Deed("import", pushed(small("nothing")), "applied", calm=True, again=(retried,)),
}
"""Each bug with the deed that shows it: an import where workers die, and one that is cancelled."""


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(hub: Hub, bug: str) -> None:
    with storming(hub, SEED) as storm, awake(hub, bug):
        for generation in range(1, TRIES):
            if not storm.faults:
                changes = small("changes", generation=generation)
                storm.suffer(replace(BUGS[bug], begin=pushed(changes)))
    hub.happened(f"planted, {bug}: {storm.faults[:1]}")
    assert storm.faults


def test_the_same_workers_do_well_while_their_bugs_sleep(hub: Hub) -> None:
    with storming(hub, SEED) as storm:
        for generation in (1, 2):
            storm.suffer(Deed("import", pushed(small("changes", generation=generation)), "applied"))
    assert storm.kills
    assert storm.faults == []

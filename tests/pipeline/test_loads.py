"""First loads that come to nothing: whatever came in is seen by nobody, and goes."""

from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest
from psycopg.errors import InsufficientPrivilege, UniqueViolation

from pipeline import claims, loads
from pipeline.claims import Claim, Watch
from pipeline.database import Connection, connect, tenant
from pipeline.importing import Import
from pipeline.lanes import DOOR
from schemas.events import Event, StageStarted
from schemas.roster import ROSTERING

if TYPE_CHECKING:
    from tests.pipeline.conftest import Book, District, Hub, Package


ENDED = """
    update runs set state = 'failed', finished_at = now(), lease_until = null, worker = null
    where tenant_id = %s
"""
RUNNING = """
    update runs set state = 'running', finished_at = null, lease_until = 'infinity'
    where tenant_id = %s
"""


class Died(Exception):
    """What a test does to a worker."""


def attempt(district: "District", package: "Package", emit: Callable[[Event], None]) -> None:
    """An attempt that dies: neither its transaction nor its clean-up come to an end."""
    hub = district.hub
    path = hub.stored(package, None)
    run_id = hub.queued(district.tenant_id, path, None, None)
    folder = hub.folder / f"work-{run_id}"
    folder.mkdir()
    with connect(hub.url) as db:
        claim = claims.take(db, district.tenant_id, lease=60, worker="test")
        assert claim is not None

        def dying(event: Event) -> None:
            try:
                emit(event)
            except Died:
                hub.admin.execute("select pg_terminate_backend(%s)", [db.info.backend_pid])
                raise

        with pytest.raises(Died):
            Import(claim, db, path, folder, Watch(), dying, store=hub.objects).run()
    hub.admin.execute(ENDED, [district.tenant_id])


def dies_checking(event: Event) -> None:
    """Everything has come in and is committed; nothing is published."""
    if isinstance(event, StageStarted) and event.stage == "check":
        raise Died


def came_in(district: "District") -> int:
    return sum(len(district.rows(entity.table)) for entity in ROSTERING)


def seen(district: "District") -> int:
    """The records that the app role sees."""
    with connect(district.hub.url) as db, tenant(db, district.tenant_id):
        return sum(
            db.execute(f"select from {entity.table}").rowcount  # declared
            for entity in ROSTERING
        )


@pytest.fixture
def left(district: "District", town: "Package") -> "District":
    """A district in which a worker died between the rows and their version."""
    attempt(district, town, dies_checking)
    assert came_in(district) == sum(map(len, town.rows.values())), "nothing came in"
    assert len(district.rows("loads")) == 1
    return district


def test_nobody_sees_what_a_dead_worker_has_brought_in(left: "District") -> None:
    assert seen(left) == 0


def test_the_next_package_is_stored_as_if_nothing_had_been(
    left: "District", town: "Package", book: "Book"
) -> None:
    smaller = town.drop("enrollments", "e2").change("users", "taro", {"middleName": "x"})
    assert left.push(smaller).counts == book.push(smaller)
    left.agrees(book)


def test_a_package_that_is_staged_finds_nothing_left(
    left: "District", town: "Package", book: "Book"
) -> None:
    delta = town.only("orgs").delta("orgs", town.row("orgs", "board"))
    delta = type(town)({"orgs": delta.rows["orgs"][-1:]}, {"orgs": "delta"})
    assert left.push(delta).counts == book.push(delta)
    left.agrees(book)


def test_the_sweep_takes_it_back_when_nobody_is_at_work(left: "District", hub: "Hub") -> None:
    with connect(hub.url) as db, connect(hub.url, role="rosterhub_control") as control:
        hub.admin.execute(RUNNING, [left.tenant_id])
        loads.sweep(db, control)
        hub.admin.execute(ENDED, [left.tenant_id])
        came = came_in(left)
        assert loads.sweep(db, control) >= came > 0
    assert came_in(left) == len(left.rows("loads")) == 0


def test_whoever_writes_first_finds_nothing(left: "District", hub: "Hub") -> None:
    """An erasure, an undo or an approval: each locks the district, and publishes what is there."""
    claim = Claim(left.tenant_id, uuid4(), 1, 1)
    with connect(hub.url) as db, tenant(db, left.tenant_id):
        assert loads.lock(db, claim)[0] == 0
    assert came_in(left) == 0


def test_a_lane_that_was_given_up_brings_nothing_in(
    left: "District", hub: "Hub", town: "Package", book: "Book"
) -> None:
    (row,) = left.rows("loads")
    left.push(town)
    with connect(hub.url) as db, pytest.raises(InsufficientPrivilege), tenant(db, left.tenant_id):
        bring(db, row["token"])
    book.push(town)
    left.agrees(book)


def test_a_planted_forgetful_writer_is_noticed(
    left: "District", town: "Package", monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands in the way of a second load is the first one, and the tests above see it."""
    monkeypatch.setattr(loads, "take_back", lambda *_: 0)
    with pytest.raises((AssertionError, UniqueViolation)):
        left.push(town.drop("enrollments", "e2"))


def bring(db: Connection, token: UUID) -> None:
    loads.work_for(db, token)
    db.execute(
        f"insert into {DOOR}.orgs (sourced_id, name, type, digest)"  # ours
        " values ('late', 'x', 'school', %s)",
        [UUID(int=0)],
    )

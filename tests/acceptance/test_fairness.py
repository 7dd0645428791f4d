"""Districts take turns: who has pushed much keeps nobody waiting, and nobody overtakes himself.

Two import processes. What is counted are runs, by the database's clock: how many of those that
another district had pushed before began after a district had been promised its single import, and
before that.
"""

import io
import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime

import pytest

from loadtests.rosters import District, write_package
from tests.acceptance.conftest import UNGUARDED, Client, Hub, Json

SETTINGS: Mapping[str, object] = {"import_processes": 2, "gateway_processes": 1}


def package(generation: int = 0) -> bytes:
    out = io.BytesIO()
    write_package(out, District(users=400, schools=2, generation=generation, mutations=0.3))
    return out.getvalue()


@pytest.fixture(scope="module")
def packages() -> tuple[bytes, bytes]:
    """Two that differ, so that each import after the other has something to do."""
    return package(), package(generation=1)


def pushed(client: Client, packages: Sequence[bytes], number: int) -> list[str]:
    """That many imports at once."""
    return [client.push(body) for body in itertools.islice(itertools.cycle(packages), number)]


def at(run: Json, name: str) -> datetime:
    return datetime.fromisoformat(run[name])


def began(runs: Sequence[Json], *, after: datetime) -> list[Json]:
    """Those that began later."""
    return [run for run in runs if at(run, "started_at") > after]


def one_after_the_other(runs: Sequence[Json]) -> bool:
    """In the order in which they were pushed, and never two at a time."""
    return all(
        at(before, "finished_at") <= at(after, "started_at")
        for before, after in itertools.pairwise(runs)
    )


@pytest.mark.parametrize(
    ("busy", "each"), [(1, 6), (5, 3)], ids=["one busy district", "more than there are processes"]
)
def test_many_imports_delay_another_district_by_one_run_at_most(
    hub: Hub, packages: tuple[bytes, bytes], busy: int, each: int
) -> None:
    crowd, single = [hub.district(**UNGUARDED) for _ in range(busy)], hub.district(**UNGUARDED)
    queued = {client.district: pushed(client, packages, each) for client in crowd}
    run_id = single.push(packages[0])
    [(promised,)] = hub.rows("select clock_timestamp()")
    run = single.ended(run_id)
    ended = {
        client.district: [client.ended(run_id) for run_id in queued[client.district]]
        for client in crowd
    }
    runs = [*itertools.chain(*ended.values())]
    assert {one["state"] for one in (run, *runs)} == {"applied"}
    later = began(runs, after=at(run, "started_at"))
    overtook = [
        len(began(theirs, after=promised)) - len(began(theirs, after=at(run, "started_at")))
        for theirs in ended.values()
    ]
    hub.happened(
        f"fairness, {busy} busy: {sum(overtook)} runs began before it, {max(overtook)} at most of"
        f" one district, and {len(later)} of those that had been pushed earlier after it"
    )
    assert later, "nobody was in its way"
    assert max(overtook) <= 1
    assert all(map(one_after_the_other, ended.values()))


def test_two_districts_import_at_the_same_time(hub: Hub, packages: tuple[bytes, bytes]) -> None:
    clients = [hub.district(**UNGUARDED), hub.district(**UNGUARDED)]
    queued = [(client, run_id) for client in clients for run_id in pushed(client, packages, 3)]
    runs = [(client.district, client.ended(run_id)) for client, run_id in queued]
    beside = [
        (one["id"], other["id"])
        for (mine, one), (theirs, other) in itertools.combinations(runs, 2)
        if mine != theirs
        and at(one, "started_at") < at(other, "finished_at")
        and at(other, "started_at") < at(one, "finished_at")
    ]
    assert beside


def test_the_check_sees_two_that_overlap() -> None:
    runs = [
        {"started_at": f"2026-04-01T00:00:0{begin}Z", "finished_at": f"2026-04-01T00:00:0{end}Z"}
        for begin, end in ((0, 2), (2, 4), (3, 5))
    ]
    assert one_after_the_other(runs[:2])
    assert not one_after_the_other(runs)


def test_the_check_sees_who_overtook() -> None:
    begun = [{"started_at": f"2026-04-01T00:00:0{second}Z"} for second in (1, 3, 5)]
    since, until = (datetime.fromisoformat(f"2026-04-01T00:00:0{n}Z") for n in (2, 4))
    assert began(begun, after=since) == begun[1:]
    assert began(begun, after=until) == begun[2:]

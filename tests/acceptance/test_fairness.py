"""Districts take turns: who has pushed much keeps nobody waiting, and nobody overtakes himself.

Two import processes. What is compared are the runs' own times, by the database's clock: how long a
district waited for its single import, against the longest run of those that had pushed before it.
"""

import io
import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime

import pytest

from loadtests.rosters import District, write_package
from tests.acceptance.conftest import UNGUARDED, Client, Hub, Json

SETTINGS: Mapping[str, object] = {"import_processes": 2}

QUEUED = 20
MOMENT = 1.0  # seconds to claim a run and to begin with it, on a machine that has other work


def package(generation: int = 0) -> bytes:
    out = io.BytesIO()
    write_package(out, District(users=900, schools=2, generation=generation, mutations=0.3))
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


def seconds(run: Json, begin: str, end: str) -> float:
    return (at(run, end) - at(run, begin)).total_seconds()


def lasted(runs: Sequence[Json]) -> float:
    """Seconds of the longest of them."""
    return max(seconds(run, "started_at", "finished_at") for run in runs)


def one_after_the_other(runs: Sequence[Json]) -> bool:
    """In the order in which they were pushed, and never two at a time."""
    return all(
        at(before, "finished_at") <= at(after, "started_at")
        for before, after in itertools.pairwise(runs)
    )


@pytest.mark.parametrize("busy", [1, 5], ids=["one busy district", "more than there are processes"])
def test_many_imports_delay_another_district_by_one_run_at_most(
    hub: Hub, packages: tuple[bytes, bytes], busy: int
) -> None:
    crowd, single = [hub.district(**UNGUARDED) for _ in range(busy)], hub.district(**UNGUARDED)
    queued = {client.district: pushed(client, packages, QUEUED // busy) for client in crowd}
    before = single.run(single.push(packages[0]))
    open_now = [run for client in crowd for run in client.runs() if not run["finished_at"]]
    run = single.ended(before["id"])
    still = [run for client in crowd for run in client.runs() if run["state"] == "queued"]
    ended = {
        client.district: [client.ended(run_id) for run_id in queued[client.district]]
        for client in crowd
    }
    runs = [*itertools.chain(*ended.values())]
    waited = seconds(run, "created_at", "started_at")
    hub.happened(
        f"fairness, {busy} busy: {len(open_now)} runs before it, waited {waited:.2f} s,"
        f" the longest run took {lasted(runs):.2f} s"
    )
    assert {each["state"] for each in (run, *runs)} == {"applied"}
    assert still, "nobody was in its way"
    assert waited <= 2 * lasted(runs) + MOMENT  # one run at most, on a machine with other work
    assert all(map(one_after_the_other, ended.values()))


def test_two_districts_import_at_the_same_time(hub: Hub, packages: tuple[bytes, bytes]) -> None:
    clients = [hub.district(**UNGUARDED), hub.district(**UNGUARDED)]
    queued = [(client, run_id) for client in clients for run_id in pushed(client, packages, 4)]
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

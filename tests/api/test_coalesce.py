"""Shared look-ups: few round trips, and no answer that is older than its request."""

import asyncio
from collections.abc import Mapping

import pytest

from api.coalesce import TURNS, Coalesced


class Store:
    """Answers with what it held when the fetch began, and takes its time."""

    def __init__(self) -> None:
        self.held = {"a": 1, "b": 2}
        self.fetches: list[dict[str, int]] = []
        self.broken = False

    async def fetch(self, asked: Mapping[str, int]) -> dict[str, int]:
        self.fetches.append(dict(asked))
        seen = dict(self.held)
        await asyncio.sleep(0.01)
        if self.broken:
            raise OSError
        return {key: seen[key] for key in asked if key in seen}


def test_requests_of_one_moment_share_one_fetch_for_all_their_keys() -> None:
    async def walk() -> None:
        store = Store()
        shared = Coalesced(store.fetch)
        found = await asyncio.gather(*map(shared.get, ["a", "b", "a", "none", "a"]))
        assert found == [1, 2, 1, None, 1]
        assert store.fetches == [{"a": 3, "b": 1, "none": 1}]

    asyncio.run(walk())


def test_who_comes_within_a_few_turns_of_the_loop_shares_the_fetch() -> None:
    async def walk() -> None:
        store = Store()
        shared = Coalesced(store.fetch)

        async def ask_behind(turns: int) -> int | None:
            for _ in range(turns):
                await asyncio.sleep(0)
            return await shared.get("a")

        assert await asyncio.gather(*map(ask_behind, range(TURNS))) == [1] * TURNS
        assert store.fetches == [{"a": TURNS}]

    asyncio.run(walk())


def test_whoever_comes_while_a_fetch_runs_waits_for_one_that_began_later() -> None:
    async def walk() -> None:
        store = Store()
        shared = Coalesced(store.fetch)
        first = asyncio.create_task(shared.get("a"))
        await asyncio.sleep(0.005)
        store.held["a"] = 7  # revoked, so to say, before the others arrive
        others = [asyncio.create_task(shared.get("a")) for _ in range(100)]
        assert await first == 1
        assert set(await asyncio.gather(*others)) == {7}
        assert store.fetches == [{"a": 1}, {"a": 100}]

    asyncio.run(walk())


def test_a_fault_is_told_to_all_who_waited_and_to_nobody_later() -> None:
    async def walk() -> None:
        store = Store()
        store.broken = True
        shared = Coalesced(store.fetch)
        found = await asyncio.gather(*map(shared.get, "aab"), return_exceptions=True)
        assert [type(each) for each in found] == [OSError] * 3
        store.broken = False
        assert await shared.get("a") == 1

    asyncio.run(walk())


def test_one_who_leaves_takes_the_answer_from_nobody() -> None:
    async def walk() -> None:
        shared = Coalesced(Store().fetch)
        leaving, staying = (asyncio.create_task(shared.get("a")) for _ in range(2))
        await asyncio.sleep(0.001)
        leaving.cancel()
        assert await staying == 1
        with pytest.raises(asyncio.CancelledError):
            await leaving

    asyncio.run(walk())

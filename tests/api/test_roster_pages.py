"""Answers that are kept, and pages that follow each other: never stale, never somebody else's."""

import asyncio
import gzip
import re
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from falcon.testing import ASGIConductor, Result
from psycopg.types.json import Jsonb

from api.redis import client as redis_client
from api.rosters import places
from api.rosters.operations import ROOT
from api.rosters.pages import Kept, Pages, Store
from tests.api.conftest import Books, Client, District

INSTANT = "2026-04-01T00:00:{:02}Z"


def orgs(*ids: str) -> dict[str, list[dict[str, Any]]]:
    return {"orgs": [{"sourced_id": each, "name": each, "type": "local"} for each in ids]}


@pytest.fixture
def many(books: Books, north: District) -> District:
    books.publish(north.tenant_id, orgs(*(f"m-{n:04}" for n in range(1500))), INSTANT.format(0))
    return north


def ids(answer: Result) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [record["sourcedId"] for record in answer.json["orgs"]]


def following(answer: Result) -> str | None:
    """Where `Link` says that the next page is."""
    found = re.search(r'<https://hub.example.org([^>]*)>; rel="next"', answer.headers["Link"])
    return found and found[1]


def sources(hub: Client, admin: str) -> dict[str, float]:
    text = hub.get("/metrics", admin).text
    found = re.findall(r'rosterhub_roster_answers_total\{source="(\w+)"\} (\S+)', text)
    return {source: float(number) for source, number in found}


class TestKept:
    def test_an_answer_is_made_once_and_a_commit_ends_it(
        self, hub: Client, north: District, books: Books, admin: str
    ) -> None:
        path = f"{ROOT}/orgs"
        for second in range(1, 5):
            books.publish(north.tenant_id, orgs(f"o-{second}"), INSTANT.format(second))
            first, again = hub.get(path, north.key), hub.get(path, north.key)
            assert len(ids(first)) == second
            assert (first.content, first.headers["ETag"]) == (again.content, again.headers["ETag"])
            tag = {"If-None-Match": first.headers["ETag"]}
            assert hub.get(path, north.key, headers=tag).status_code == 304
        assert sources(hub, admin) == {"made": 4, "process": 4, "unchanged": 4, "redis": 0}

    def test_no_read_that_begins_after_a_commit_is_older(
        self, hub: Client, north: District, books: Books
    ) -> None:
        """Readers ask all the time; whoever publishes knows its version before the next begins."""
        published = books.publish(north.tenant_id, orgs("o-0"), INSTANT.format(0))
        conductor, bearer = ASGIConductor(hub.app), {"Authorization": f"Bearer {north.key}"}

        async def read() -> None:
            nonlocal published
            for _ in range(40):
                least = published
                answer = await conductor.simulate_get(f"{ROOT}/orgs", headers=bearer)
                assert len(ids(answer)) >= least
                await asyncio.sleep(0)

        async def publish() -> None:
            nonlocal published
            for second in range(1, 20):
                published = await asyncio.to_thread(
                    books.publish,
                    north.tenant_id,
                    orgs(f"o-{second}"),
                    INSTANT.format(second),
                )

        async def both() -> None:
            await asyncio.gather(publish(), *(read() for _ in range(8)))

        hub.run(both())
        assert published == 20

    def test_nobody_is_given_what_another_may_see(
        self, hub: Client, north: District, south: District, books: Books
    ) -> None:
        """Two districts, and clients of one with lenses: each twice, in turns, at one address."""
        people = [{"sourced_id": "u-1", "enabled_user": True, "email": "canary@example.org"}]
        for district in (north, south):
            named = [{**person, "given_name": district.id} for person in people]
            books.publish(district.tenant_id, {"users": named}, INSTANT.format(1))
        lenses: tuple[dict[str, Any], ...] = (
            {},
            {"fields": ["email"]},
            {"pseudonyms": ["sourcedIds"]},
            {"pseudonyms": ["sourcedIds"]},
            {"schools": ["s-none"]},
        )
        clients = [books.client(north.tenant_id, lens=Jsonb(lens)) for lens in lenses]
        keys = [north.key, south.key, *(each.token(hub) for each in clients)]
        for path in ("users", "users?fields=sourcedId,givenName"):
            rounds = [[hub.get(f"{ROOT}/{path}", key) for key in keys] for _ in range(2)]
            for answers in rounds:
                seen = [(answer.status_code, answer.text) for answer in answers]
                assert seen == [(each.status_code, each.text) for each in rounds[0]]
                whole, other, empty, granted, veiled, twin, narrow = [text for _, text in seen]
                assert '"north"' in whole
                assert '"south"' in other
                assert '"north"' not in other
                assert "canary" not in empty + veiled + twin + narrow
                assert whole.count("canary") == granted.count("canary") == 1 or "fields" in path
                assert '"u-1"' not in veiled + twin + narrow
                assert veiled != twin
            tags = {answer.headers["ETag"] for answer in rounds[0] if answer.status_code == 200}
            assert len(tags) == sum(answer.status_code == 200 for answer in rounds[0])

    def test_a_process_takes_it_from_another_sealed_and_for_a_minute(
        self, open_hub: Callable[..., Client], redis_url: str, north: District, books: Books
    ) -> None:
        books.publish(north.tenant_id, orgs("canary-1"), INSTANT.format(1))
        path, admin = f"{ROOT}/orgs", books.admin_key()
        with open_hub(books.url) as one, open_hub(books.url) as two:
            answers = [one.get(path, north.key) for _ in range(2)]
            one.run(asyncio.sleep(0.1))
            answers.append(two.get(path, north.key))
            assert sources(two, admin)["redis"] == 1
            assert {(each.content, each.headers["ETag"]) for each in answers} == {
                (answers[0].content, answers[0].headers["ETag"])
            }
        assert dumped(redis_url, "rosterhub:page:*")
        for name, value, lives in dumped(redis_url, "rosterhub:p*"):
            assert b"canary" not in name + value
            assert 0 < lives <= (60 if b":page:" in name else 900)

    def test_redis_may_be_away(
        self, open_hub: Callable[..., Client], database_url: str, many: District
    ) -> None:
        with open_hub(database_url, redis="redis://127.0.0.1:1/0") as hub:
            first = hub.get(f"{ROOT}/orgs?limit=2", many.key)
            assert ids(first) == ids(hub.get(f"{ROOT}/orgs?limit=2", many.key))
            assert ids(hub.get(f"{ROOT}/orgs?limit=1&offset=2", many.key)) == ["m-0002"]

    def test_compressed_bytes_have_a_tag_of_their_own(self, hub: Client, many: District) -> None:
        path, packed = f"{ROOT}/orgs", {"Accept-Encoding": "gzip, br"}
        plain, small = hub.get(path, many.key), hub.get(path, many.key, headers=packed)
        assert gzip.decompress(small.content) == plain.content
        assert (small.headers["Content-Encoding"], small.headers["Vary"]) == (
            "gzip",
            "Accept-Encoding",
        )
        assert small.headers["ETag"] != plain.headers["ETag"]
        for answer in (plain, small):
            tag = {"If-None-Match": answer.headers["ETag"]}
            again = hub.get(path, many.key, headers=packed | tag)
            assert (again.status_code, again.headers["ETag"]) == (304, answer.headers["ETag"])
        refused = hub.get(path, many.key, headers={"Accept-Encoding": "gzip;q=0"})
        assert refused.content == plain.content

    def test_a_large_page_is_the_small_ones_together(self, hub: Client, many: District) -> None:
        whole = hub.get(f"{ROOT}/orgs?limit=1400", many.key)
        small = [
            hub.get(f"{ROOT}/orgs?limit=100&offset={n}", many.key) for n in range(0, 1400, 100)
        ]
        assert whole.json["orgs"] == [record for page in small for record in page.json["orgs"]]
        assert following(whole) is not None
        assert whole.headers["Content-Length"] == str(len(whole.content))
        packed = hub.get(f"{ROOT}/orgs?limit=1400", many.key, headers={"Accept-Encoding": "gzip"})
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.content) == whole.content
        for answer in (whole, packed):
            tag = {"If-None-Match": answer.headers["ETag"]}
            assert hub.get(f"{ROOT}/orgs?limit=1400", many.key, headers=tag).status_code == 304
        empty = hub.get(f"{ROOT}/orgs?limit=1400&filter=identifier='none'", many.key)
        assert empty.json["orgs"] == []


def dumped(url: str, pattern: str) -> list[tuple[bytes, bytes, int]]:
    async def look() -> list[tuple[bytes, bytes, int]]:
        async with redis_client(url) as redis:
            names = [name async for name in redis.scan_iter(pattern)]
            return [
                (name, bytes(await redis.get(name) or b""), await redis.ttl(name))  # type: ignore[arg-type]  # it decodes nothing
                for name in names
            ]

    return asyncio.run(look())


class TestMemory:
    def test_what_is_older_than_the_newest_version_is_dropped(self) -> None:
        async def use() -> None:
            pages = Pages(room=1 << 20)

            def made(tag: str, tenant_id: int, version: int) -> Kept:
                return Kept(tag, tenant_id, version, 0, (), b"x" * 1000)

            async def get(tag: str, tenant_id: int, version: int) -> Kept:
                async def make() -> Kept:
                    return made(tag, tenant_id, version)

                return await pages.get(tag, tenant_id, version, make)

            await get("old", 1, 1)
            await get("other", 2, 1)
            assert pages.known("old")
            await get("new", 1, 2)
            assert pages.known("old") is None
            assert pages.known("other")
            assert pages.known("new")
            await get("late", 1, 1)  # a read that began before the commit
            assert pages.known("late") is None

        asyncio.run(use())

    def test_it_is_bounded(self) -> None:
        async def use() -> None:
            pages = Pages(room=100_000)
            for n in range(300):

                async def make(n: int = n) -> Kept:
                    return Kept(str(n), 1, 1, 0, (), b"x" * 1000)

                await pages.get(str(n), 1, 1, make)
            kept = [n for n in range(300) if pages.known(str(n))]
            assert kept == list(range(300 - len(kept), 300))
            assert 20 < len(kept) < 100

        asyncio.run(use())

    def test_who_comes_meanwhile_waits_for_the_same(self) -> None:
        async def use() -> None:
            pages, made = Pages(room=1 << 20), 0

            async def make() -> Kept:
                nonlocal made
                made += 1
                await asyncio.sleep(0.01)
                return Kept("tag", 1, 1, 0, (), b"x")

            first = asyncio.create_task(pages.get("tag", 1, 1, make))
            await asyncio.sleep(0)
            others = [pages.get("tag", 1, 1, make) for _ in range(5)]
            first.cancel()  # whoever leaves ends it for nobody
            assert {kept.body for kept in await asyncio.gather(*others)} == {b"x"}
            assert made == 1

        asyncio.run(use())

    def test_a_value_that_was_tampered_with_is_none(self, redis_url: str) -> None:
        async def use() -> None:
            async with redis_client(redis_url) as redis:
                store = Store(redis, b"s" * 64)
                await store.put("name", b"value", 60)
                assert await store.get("name") == b"value"
                await redis.set("other", await redis.get("name") or b"")
                assert await store.get("other") is None
                await redis.set("name", AESSIV(b"t" * 64).encrypt(b"value", [b"name"]))
                assert await store.get("name") is None

        asyncio.run(use())


class TestPlaces:
    @pytest.mark.parametrize("by", ["links", "offsets"])
    @pytest.mark.parametrize("query", ["", "&filter=type%3D'local'"])
    def test_while_imports_commit_each_record_is_met_once(
        self, hub: Client, many: District, books: Books, by: str, query: str
    ) -> None:
        """Records come before and behind the reader with every page."""
        seen: list[str] = []
        url: str | None = f"{ROOT}/orgs?limit=100{query}"
        for second in range(1, 50):
            assert url is not None
            answer = hub.get(url, many.key)
            seen += ids(answer)
            books.publish(
                many.tenant_id,
                orgs(*(f"{where}-{second}-{n}" for where in "az" for n in range(7))),
                INSTANT.format(second),
            )
            url = following(answer)
            if url is None:
                break
            if by == "offsets":
                url = f"{ROOT}/orgs?limit=100&offset={second * 100}{query}"
        assert len(seen) == len(set(seen))
        assert [each for each in seen if each.startswith("m-")] == [
            f"m-{n:04}" for n in range(1500)
        ]

    def test_an_offset_that_follows_nothing_is_a_position(
        self, hub: Client, many: District, books: Books
    ) -> None:
        for offset in (0, 1, 199, 999, 1000, 1001, 1199, 1200, 1499, 1500, 9000):
            expected = [f"m-{n:04}" for n in range(offset, min(offset + 3, 1500))]
            for query in ("", "&filter=type%3D'local'", "&asOf=1", "&orderBy=asc"):
                found = hub.get(f"{ROOT}/orgs?limit=3&offset={offset}{query}", many.key)
                assert ids(found) == expected, (offset, query)
                assert found.headers["X-Total-Count"] == "1500"
        books.publish(many.tenant_id, orgs("a-1"), INSTANT.format(1))
        assert ids(hub.get(f"{ROOT}/orgs?limit=1&offset=1450", many.key)) == ["m-1449"]
        assert ids(hub.get(f"{ROOT}/orgs?limit=1&offset=1450&asOf=1", many.key)) == ["m-1450"]

    def test_what_one_client_has_read_moves_nobody_elses_offsets(
        self, hub: Client, many: District, books: Books
    ) -> None:
        other = books.key(many.tenant_id)
        hub.get(f"{ROOT}/orgs?limit=10", many.key)
        books.publish(many.tenant_id, orgs("a-1"), INSTANT.format(1))
        behind = f"{ROOT}/orgs?limit=10&offset=10"
        for _ in range(2):
            assert ids(hub.get(behind, many.key))[0] == "m-0010"
            assert ids(hub.get(behind, other))[0] == "m-0009"

    def test_a_cursor_is_good_for_its_question_alone(
        self, hub: Client, many: District, south: District, books: Books
    ) -> None:
        books.publish(south.tenant_id, orgs("s-1"), INSTANT.format(1))
        url = following(hub.get(f"{ROOT}/orgs?limit=2", many.key))
        assert url is not None
        cursor = url.partition("cursor=")[2]
        assert "m-0001" not in cursor
        good = f"{ROOT}/orgs?limit=2&offset=2&cursor={cursor}"
        assert ids(hub.get(good, many.key)) == ["m-0002", "m-0003"]
        lens = books.client(many.tenant_id, lens=Jsonb({"pseudonyms": ["sourcedIds"]}))
        flipped = cursor[:-2] + ("A" if cursor[-2] != "A" else "B") + cursor[-1]
        for key, path in (
            (south.key, good),
            (lens.token(hub), good),
            (many.key, good.replace("/orgs", "/schools")),
            (many.key, f"{good}&filter=type%3D'local'"),
            (many.key, f"{good}&sort=name"),
            (many.key, f"{good}&asOf=1"),
            (many.key, good.replace(cursor, flipped)),
            (many.key, good.replace(cursor, cursor + "A")),
            (many.key, good.replace(cursor, "m-0001")),
            (many.key, good.replace(cursor, "")),
            (many.key, good.replace(cursor, "%00%F0")),
        ):
            answer = hub.get(path, key)
            assert answer.status_code == 400, path
            assert answer.json["imsx_codeMajor"] == "failure"

    def test_anchors_and_totals_are_found_once_for_a_version(
        self, hub: Client, many: District, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looked: list[object] = []
        start = places.Learned.start

        async def counted(self: places.Learned, mark: Any, offset: int, look: Any) -> Any:  # noqa: ANN401
            async def once() -> list[str]:
                looked.append(mark)
                found: list[str] = await look()
                return found

            return await start(self, mark, offset, once)

        monkeypatch.setattr(places.Learned, "start", counted)
        for offset in range(1000, 1400, 50):
            hub.get(f"{ROOT}/orgs?limit=1&offset={offset}", many.key)
        assert len(looked) == 1

"""Reads of a roster as it was: the same bodies, pages and totals, byte for byte."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from falcon.testing import Result

from api.rosters import selects
from api.rosters.operations import ROOT
from api.rosters.places import Start
from api.rosters.sight import Rows
from schemas.roster import PARTS, ROSTERING, AnyEntity
from schemas.settings import Settings
from tests.api.conftest import Books, Client, District
from tests.pipeline.conftest import TOWN, Package
from workers.imports import Importer
from workers.objects import open_store

FILES = [entity.file for entity in ROSTERING if entity not in PARTS]
WEST = {"sourcedId": "west", "name": "西小学校", "type": "school", "parentSourcedId": "board"}
STEPS = (
    TOWN,
    TOWN.change("users", "taro", {"givenName": "一"}).put("orgs", WEST),
    TOWN.change("roles", "r-teacher2", {"role": "aide"}).drop("enrollments", "e1", "e2"),
    TOWN.drop("users", "teacher")
    .drop("roles", "r-teacher", "r-teacher2")
    .drop("enrollments", "e4"),
    TOWN.drop("userProfiles", "p-hana").change("roles", "r-hana", {"userProfileSourcedId": ""}),
)

Answers = dict[str, Any]


@pytest.fixture
def push(hub: Client, north: District, settings: Settings) -> Callable[[Package], None]:
    store = open_store(settings.object_store)
    worker = Importer(settings, store, lambda _: None, "test", threading.Event())

    def push(package: Package) -> None:
        sent = {"Content-Type": "application/zip"}
        answer = hub.post("/api/v1/imports", north.key, body=package.zip(), headers=sent)
        assert worker.attempt(north.tenant_id)
        run = hub.get(answer.headers["Location"], north.key).json
        assert run["state"] == "applied", run

    return push


def ask(hub: Client, district: District, path: str, **query: object) -> Result:
    given = "&".join(f"{name}={value}" for name, value in query.items())
    return hub.get(f"{ROOT}/{path}{'?' if given else ''}{given}", district.key)


def everything(hub: Client, district: District, **query: object) -> Answers:
    """Every collection with its total, every single record, and a page in the middle."""
    found: Answers = {}
    for file in FILES:
        answer = ask(hub, district, file, **query)
        assert answer.status_code == 200, answer.text
        found[file] = (answer.headers["X-Total-Count"], answer.content)
        found[f"{file}, a page"] = ask(hub, district, file, limit=1, offset=1, **query).content
        for record in answer.json[file]:
            path = f"{file}/{record['sourcedId']}"
            found[path] = ask(hub, district, path, **query).content
    return found


def test_every_version_reads_as_it_read_when_it_was_the_newest(
    hub: Client, north: District, push: Callable[[Package], None]
) -> None:
    then: list[Answers] = []
    between: list[str] = []
    for package in STEPS:
        push(package)
        then.append(everything(hub, north))
        time.sleep(0.01)
        between.append(datetime.now(UTC).isoformat().replace("+", "%2B"))
        time.sleep(0.01)
    assert len({str(answers["users"]) for answers in then}) == len(STEPS)
    for version, answers in enumerate(then, start=1):
        assert everything(hub, north, asOf=version) == answers
    for moment, answers in zip(between, then, strict=True):
        assert everything(hub, north, asOf=moment) == answers


def test_an_instant_is_the_version_that_was_published_last_by_then(
    hub: Client, north: District, books: Books
) -> None:
    for day in (1, 2):
        org = {"sourced_id": f"o-{day}", "name": "x", "type": "school"}
        books.publish(north.tenant_id, {"orgs": [org]}, f"2026-04-0{day}T00:00:00Z")
    for moment, total in {
        "2026-04-01T00:00:00Z": "1",
        "2026-04-01T23:59:59.999Z": "1",
        "2026-04-02T00:00:00Z": "2",
        "2026-04-02T08:59:59%2B09:00": "1",
        "2026-04-02T09:00:00+09:00": "2",  # a plus that came as a blank
    }.items():
        answer = ask(hub, north, "orgs", asOf=moment)
        assert answer.headers.get("X-Total-Count") == total, moment


@pytest.mark.parametrize(
    "moment",
    [
        *("0", "2", "-1", "1.0", "", "x", "9" * 40, "٣", "00"),
        *("2026-03-31T23:59:59Z", "2026-04-01", "2026-04-01T00:00:00", "9999-12-31T23:59:59Z"),
        "0001-01-01T00:00:00%2B14:00",
    ],
)
def test_a_moment_that_none_stood_at_is_refused(
    hub: Client, north: District, books: Books, moment: str
) -> None:
    org = {"sourced_id": "o-1", "name": "x", "type": "school"}
    books.publish(north.tenant_id, {"orgs": [org]}, "2026-04-01T00:00:00Z")
    for path in ("orgs", "orgs/o-1"):
        answer = ask(hub, north, path, asOf=moment)
        assert answer.status_code == 400, answer.text
        assert answer.json["imsx_codeMajor"] == "failure"
        assert "asOf" in answer.json["imsx_description"]


def test_a_moment_to_come_is_refused(
    hub: Client, north: District, push: Callable[[Package], None]
) -> None:
    push(TOWN)
    soon = (datetime.now(UTC) + timedelta(minutes=1)).isoformat().replace("+", "%2B")
    assert "still to come" in ask(hub, north, "orgs", asOf=soon).json["imsx_description"]


def test_leading_noughts_are_read(
    hub: Client, north: District, push: Callable[[Package], None]
) -> None:
    push(TOWN)
    assert ask(hub, north, "orgs", asOf="0001").content == ask(hub, north, "orgs").content


def test_a_district_without_a_roster_has_no_moment(hub: Client, north: District) -> None:
    for moment in ("0", "1", "2026-04-01T00:00:00Z"):
        assert ask(hub, north, "orgs", asOf=moment).status_code == 400


def test_a_record_that_was_not_there_yet_is_missing(
    hub: Client, north: District, push: Callable[[Package], None]
) -> None:
    push(TOWN)
    push(TOWN.put("orgs", WEST))
    assert ask(hub, north, "orgs/west", asOf=1).status_code == 404
    assert ask(hub, north, "orgs/west", asOf=2).json["org"]["name"] == "西小学校"


def test_links_keep_the_moment(
    hub: Client, north: District, push: Callable[[Package], None]
) -> None:
    push(TOWN)
    push(TOWN.put("orgs", WEST))
    link = ask(hub, north, "orgs", asOf=1, limit=2).headers["Link"]
    assert link.count("asOf=1&") == link.count("<") == 3
    assert f'{ROOT}/orgs?asOf=1&limit=1&offset=2>; rel="last"' in link, "the total is that of then"


def test_a_page_far_behind_the_end_is_empty(
    hub: Client, north: District, push: Callable[[Package], None]
) -> None:
    push(TOWN)
    for offset in (32_767, 2**31 - 1):
        answer = ask(hub, north, "users", asOf=1, limit=1000, offset=offset)
        assert (answer.status_code, answer.json["users"]) == (200, [])


def test_fields_and_filters_are_treated_as_ever(
    hub: Client, north: District, push: Callable[[Package], None]
) -> None:
    push(TOWN)
    rows = ask(hub, north, "users", asOf=1, fields="sourcedId,roles").json["users"]
    assert {*rows[0]} == {"sourcedId", "roles"}
    assert ask(hub, north, "users", asOf=1, filter="x").status_code == 400


def test_a_tag_is_of_one_moment_and_one_newest_version(
    hub: Client, north: District, push: Callable[[Package], None]
) -> None:
    push(TOWN)
    tag = ask(hub, north, "orgs", asOf=1).headers["ETag"]
    path = f"{ROOT}/orgs?asOf=1"
    assert hub.get(path, north.key, headers={"If-None-Match": tag}).status_code == 304
    push(TOWN.put("orgs", WEST))
    assert hub.get(path, north.key, headers={"If-None-Match": tag}).status_code == 200
    assert ask(hub, north, "orgs", asOf=2).headers["ETag"] not in {
        ask(hub, north, "orgs", asOf=1).headers["ETag"],
        ask(hub, north, "orgs").headers["ETag"],
    }


def test_another_district_has_a_past_of_its_own(
    hub: Client, north: District, south: District, books: Books, push: Callable[[Package], None]
) -> None:
    org = {"sourced_id": "north", "name": "South's own", "type": "school"}
    books.publish(south.tenant_id, {"orgs": [org]}, "2026-04-01T00:00:00Z")
    push(TOWN)
    push(TOWN.change("orgs", "north", {"name": "きた"}))
    assert ask(hub, south, "orgs", asOf=2).status_code == 400
    (only,) = ask(hub, south, "orgs", asOf=1).json["orgs"]
    assert only["name"] == "South's own"
    assert ask(hub, north, "orgs/north", asOf=1).json["org"]["name"] == "北小学校"


@pytest.fixture
def composed(books: Books) -> Iterator[Callable[[selects.Query], str]]:
    with books.connected("rosterhub_app") as connection:
        yield lambda query: query.as_string(connection)


def beginning(entity: AnyEntity, rows: Rows) -> selects.Query:
    return selects.plain_page(entity, rows, Start())


def test_without_a_moment_no_select_knows_of_history(
    composed: Callable[[selects.Query], str],
) -> None:
    for entity in ROSTERING:
        for make in (beginning, selects.children, selects.parts):
            assert "history" not in composed(make(entity, Rows()))
            assert "history" in composed(make(entity, Rows(past=True)))

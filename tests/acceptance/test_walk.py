"""A package on its way: upload, worker, apply, REST. Every cell is looked for where it must be.

What a cell must look like is told here from the declarations and the binding, not from the gateway.
"""

import csv
import io
import json
import re
import socket
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote, urlsplit
from uuid import UUID

import pytest
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier
from redis import Redis as RedisClient

from loadtests.rosters import FAULTS, District, write_package
from schemas.columns import (
    AnyColumn,
    Choice,
    Choices,
    Column,
    Day,
    Decimal,
    Flag,
    Instant,
    Key,
    Pairs,
    Ref,
    Refs,
    Text,
    Texts,
    Whole,
    Year,
)
from schemas.profiles import MANIFEST_HEADER, SPELLINGS, V1_2, Profile
from schemas.roster import BINDING, BY_FILE, PARTS, ROSTERING, AnyEntity
from schemas.roster.orgs import AcademicSession, Org
from schemas.roster.people import Role, User, UserProfile
from schemas.roster.teaching import Course
from schemas.rules import RULES
from tests.acceptance.conftest import ROOT, ROSTERS, Client, Hub, Json, heard, wait_until

Row: TypeAlias = Mapping[str, str]
Files: TypeAlias = Mapping[str, list[Row]]
State: TypeAlias = tuple[list[list[Json]], list[list[TupleRow]]]

SAMPLES = ROOT.parent / "shared" / "samples"
SERVED = tuple(entity for entity in ROSTERING if entity not in PARTS)
SAID_AS_BLANK = frozenset[Column]({Org.identifier, Course.course_code})
"""REST requires these, CSV may leave them empty."""

CANARY = "canary-7f3a-never-stored"
INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z")


# --- packages ------------------------------------------------------------------------------


def generated(profile: str, **more: Any) -> bytes:  # noqa: ANN401  # whatever a district takes
    out = io.BytesIO()
    wanted: dict[str, Any] = {"users": 120, "schools": 3, "enrollments_per_student": 4} | more
    write_package(out, District(profile=profile, guardians=0.3, **wanted))
    return out.getvalue()


def sample(name: str) -> bytes:
    if not SAMPLES.is_dir():
        pytest.skip("the shared samples are not beside this checkout")
    [package] = (SAMPLES / name).glob("*.zip")
    return package.read_bytes()


def zipped(files: Mapping[str, Sequence[Sequence[str]]], profile: Profile) -> bytes:
    """Tables of text as a package, every cell in quotes."""
    modes = {
        f"file.{entity.file}": "bulk" if entity.file in files else "absent" for entity in BINDING
    }
    manifest = {"manifest.version": "1.0", "oneroster.version": profile.manifest, **modes}
    tables = {"manifest": [MANIFEST_HEADER, *manifest.items()], **files}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, table in tables.items():
            text = io.StringIO()
            csv.writer(text, lineterminator="\r\n").writerow(table[0])
            csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows(table[1:])
            archive.writestr(f"{name}.csv", text.getvalue().encode())
    return out.getvalue()


def unzipped(package: bytes) -> Files:
    """The rows of each data file, by the names of its header."""
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        return {
            name.removesuffix(".csv"): [
                *csv.DictReader(io.StringIO(archive.read(name).decode("utf-8-sig"), newline=""))
            ]
            for name in archive.namelist()
            if name != "manifest.csv"
        }


STRANGE = (
    ' leading, "quoted", trailing ',
    "=1+1|@SUM|\\N\\\\ NULL %s {0} <b>&amp;</b> 'x'",
    "𠮷野家 髙橋 ﾊﾝｶｸ e\u0301 🏫 \u200b\u3000終",
)
IDS = ("a/b", "x@y.example-1_2", "0f8fad5b-d9cb-469f-a165-70867728950e")
"""Identifiers of the three rows of each file: a slash, every other sign, and a UUID."""


@cache
def brimming() -> bytes:
    """Three rows in every file: two with a value in every column, one with the required ones."""
    tables = {}
    for entity in ROSTERING:
        columns = [*entity.columns]
        header = [column.csv for column in columns] + ["metadata.acme.depth.colour", "metadata.own"]
        rows = [
            [cell(column, number) if number < 2 or column.required else "" for column in columns]
            + ([STRANGE[number], "own"] if number < 2 else ["", ""])
            for number in range(3)
        ]
        tables[entity.file] = [header, *rows]
    return zipped(tables, V1_2)


def cell(column: AnyColumn, number: int) -> str:
    """A valid cell of the column, another one in each row."""
    if column.name in ("status", "date_last_modified"):
        return ""
    if column.name == "password":
        return CANARY
    if column.name == "parent_sourced_id":
        return IDS[number - 1] if number else ""
    match column:
        case Key() | Ref():
            return IDS[number]
        case Refs():
            return ", ".join(IDS[: number + 1])
        case Text():
            return STRANGE[number]
        case Texts():
            return f'P1,b"c\\d{{e}} {number} , NULL'
        case Pairs():
            return f"{{AD:taro {number}@example.jp}}, {{校務:000{number}}}"
        case Choice(extensible=True):
            return f"ext:word-{number}.x_y"
        case Choice(words=words):
            return words[number % len(words)]
        case Choices(words=words):
            return ",".join(words[: number + 1])
        case Flag():
            return ("true", "false", "true")[number]
        case Day():
            if column.name.startswith("end_"):
                return ("2024-03-31", "2000-12-31", "2027-03-31")[number]
            return ("2024-02-29", "1999-12-31", "2026-04-01")[number]
        case Instant():
            return "2026-04-01T00:00:00.000Z"
        case Year():
            return "2026"
        case Whole():
            return ("0", "-12", "123456789012345678")[number]
        case Decimal():
            return "1.5"


PACKAGES: Mapping[str, Callable[[], bytes]] = {
    "generated JP-1.2.1": lambda: generated("JP-1.2.1"),
    "generated K12-1.0": lambda: generated("K12-1.0"),
    "generated 1.2": lambda: generated("1.2"),
    "sample jp-1.2.1": lambda: sample("jp-1.2.1"),
    "sample k12-1.0": lambda: sample("k12-1.0"),
    "a value in every column": brimming,
}
NOT_CLEAN = {"a value in every column"}
"""It is good under the binding, and still something is to be said about it: columns of Japan."""


# --- what must come of a row -----------------------------------------------------------------


def columns_of(entity: AnyEntity, row: Row) -> Iterator[tuple[AnyColumn | None, str, str]]:
    """The declared column of each cell, None where nobody has declared it."""
    known: dict[str, AnyColumn] = {column.csv: column for column in entity.columns}
    for name, text in row.items():
        column = known.get(name)
        if column is None:
            spelled = SPELLINGS.get(name.lower())
            column = next((own for own in entity.columns if own == spelled), None)
        yield column, name, text


def face(column: AnyColumn, text: str, address: str) -> Any:  # noqa: ANN401  # any JSON
    """A cell that is not blank, as JSON."""
    match column:
        case Ref() if column.extension:
            return text
        case Ref(to=UserProfile.file):
            return profile_id(text)
        case Ref(to=to):
            return reference(to, text, address)
        case Refs(to=to):
            return [reference(to, item, address) for item in items(text)]
        case Texts() | Choices():
            return items(text)
        case Pairs(left=left, right=right):
            halves = (item.strip("{}").split(":", 1) for item in items(text))
            return [{left: first, right: second} for first, second in halves]
        case Choice(extensible=True, words=words):
            return text if text in words or text.startswith("ext:") else f"ext:{text}"
        case Whole():
            return int(text)
        case Decimal():
            return float(text)
        case Key() | Text() | Choice() | Flag() | Day() | Instant() | Year():
            return text


def items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",")]


def profile_id(text: str) -> str:
    try:
        UUID(text)
    except ValueError:
        return f"urn:rosterhub:profile:{quote(text, safe='')}"
    return f"urn:uuid:{text}"


def reference(file: str, sourced_id: str, address: str) -> Json:
    target = BY_FILE[file]
    service = target.service.lower()
    return {
        "href": f"{address}/ims/oneroster/{service}/v1p2/{file}/{quote(sourced_id, safe='')}",
        "sourcedId": sourced_id,
        "type": target.noun,
    }


def spoken(entity: AnyEntity, row: Row, address: str) -> Json:
    """A row as the properties of its class; a part has no identity and no metadata there."""
    body: Json = {}
    for column, name, text in columns_of(entity, row):
        path = (None if entity in PARTS else name) if column is None else column.json
        if path is None or (column and (not column.stored or column.name in UNSPOKEN)):
            continue
        if text == "":
            if column in SAID_AS_BLANK:
                body[path] = ""
            continue
        value = text if column is None else face(column, text, address)
        plant(body, path.split("."), value)
    return body


UNSPOKEN = ("sourced_id", "status", "date_last_modified")


def plant(body: Json, path: list[str], value: object) -> None:
    *branches, leaf = path
    for branch in branches:
        body = body.setdefault(branch, {})
    body[leaf] = value


@dataclass
class Expected:
    """What REST must say after a package, told from its rows."""

    files: Files
    address: str
    published: str

    def record(self, entity: AnyEntity, row: Row) -> Json:
        own = {
            "sourcedId": row["sourcedId"],
            "status": "active",
            "dateLastModified": self.published,
        }
        return own | spoken(entity, row, self.address) | self.related(entity, row["sourcedId"])

    def related(self, entity: AnyEntity, key: str) -> Json:
        if entity is User:
            roles = [spoken(Role, row, self.address) for row in self.of("roles", key)]
            profiles = [self.profile(row) for row in self.of("userProfiles", key)]
            return {"roles": roles} | ({"userProfiles": profiles} if profiles else {})
        if entity in (Org, AcademicSession):
            children = sorted(
                row["sourcedId"] for row in self.files[entity.file] if row["parentSourcedId"] == key
            )
            refs = [reference(entity.file, child, self.address) for child in children]
            return {"children": refs} if refs else {}
        return {}

    def profile(self, row: Row) -> Json:
        body = spoken(UserProfile, row, self.address)
        return body | {
            "profileId": profile_id(row["sourcedId"]),
            "credentials": [body["credentials"]],
        }

    def of(self, file: str, user: str) -> list[Row]:
        mine = (row for row in self.files.get(file, []) if row["userSourcedId"] == user)
        return sorted(mine, key=lambda row: row["sourcedId"])


def stored(column: AnyColumn, text: str) -> Any:  # noqa: ANN401  # whatever the table has
    """A cell without a place in REST, as the table has it."""
    if text == "":
        return None
    match column:
        case Flag():
            return text == "true"
        case Texts() | Pairs() | Choices() | Refs():
            return items(text)
        case _:
            return text


def table_rows(hub: Hub, tenant_id: int, entity: AnyEntity) -> dict[str, Json]:
    query = SQL("select to_jsonb(t) from {} as t where tenant_id = %s").format(
        Identifier(entity.table)
    )
    return {row["sourced_id"]: row for (row,) in hub.rows(query, tenant_id)}


# --- clean packages ---------------------------------------------------------------------------


@dataclass
class Walked:
    """A package that was pushed into a district of its own."""

    client: Client
    files: Files
    run: Json
    clean: bool


def under_the_binding(hub: Hub) -> Client:
    """A district that has decided against the rules of Japan."""
    client = hub.district()
    decided = hub.admin.ask(
        "PUT",
        "/api/v1/policy",
        json={"reading": {"profile": "1.2"}},
        headers={"X-RosterHub-District": client.district},
    )
    assert decided.status_code == HTTPStatus.OK, decided.text
    return client


@pytest.fixture(scope="module", params=PACKAGES)
def walked(request: pytest.FixtureRequest, hub: Hub) -> Walked:
    package = PACKAGES[request.param]()
    client = under_the_binding(hub) if request.param in NOT_CLEAN else hub.district()
    run = client.applied(package)
    return Walked(client, unzipped(package), run, request.param not in NOT_CLEAN)


def test_a_clean_package_has_no_findings(walked: Walked) -> None:
    findings = walked.client.findings(walked.run["id"])
    assert not [each for each in findings if each["severity"] == "error"]
    if walked.clean:
        assert findings == []
        assert walked.run["findings"] == {}


def test_every_row_is_counted(walked: Walked) -> None:
    for file, rows in walked.files.items():
        counts = walked.run["counts"][file]
        assert counts["rows"] == counts["created"] == len(rows)
        assert walked.run["files"][file] == {"done": len(rows), "total": len(rows)}


@pytest.mark.parametrize("entity", SERVED, ids=lambda entity: entity.file)
def test_every_cell_is_read_again_with_an_equal_value(
    hub: Hub, walked: Walked, entity: AnyEntity
) -> None:
    [(published,)] = hub.rows(
        "select to_char(published_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
        " from versions where tenant_id = %s",
        walked.client.tenant_id,
    )
    assert INSTANT.fullmatch(published)
    expected = Expected(walked.files, walked.client.address, published)
    found = {each["sourcedId"]: each for each in walked.client.collection(entity.file)}
    rows = walked.files[entity.file]
    assert [*found] == sorted(row["sourcedId"] for row in rows)
    for row in rows:
        assert found[row["sourcedId"]] == expected.record(entity, row)


@pytest.mark.parametrize("entity", SERVED, ids=lambda entity: entity.file)
def test_a_record_alone_is_the_record_of_its_collection(walked: Walked, entity: AnyEntity) -> None:
    records = walked.client.collection(entity.file)
    for record in records[:: max(1, len(records) // 10)]:
        assert walked.client.single(entity.file, entity.noun, record["sourcedId"]) == record


def test_what_has_no_place_in_rest_is_in_the_database(hub: Hub, walked: Walked) -> None:
    looked = 0
    for entity in PARTS:
        found = table_rows(hub, walked.client.tenant_id, entity)
        assert found.keys() == {row["sourcedId"] for row in walked.files[entity.file]}
        for row in walked.files[entity.file]:
            record = found[row["sourcedId"]]
            assert record["status"] == "active"
            for column, name, text in columns_of(entity, row):
                if column is None:
                    known = record["metadata"] or {}
                    assert known.get(name.removeprefix("metadata.")) == (text or None)
                elif column.stored and column.json is None:
                    assert record[column.name] == stored(column, text)
                    looked += 1
    assert looked


def test_every_declared_column_is_looked_at_somewhere() -> None:
    """By the cells of REST or of the database; the exceptions are named."""
    nowhere = {
        column
        for entity in ROSTERING
        for column in entity.columns
        if not column.stored or (column.json is None and entity not in PARTS)
    }
    assert {column.name for column in nowhere} == {"date_last_modified", "password"}


@pytest.mark.parametrize(
    ("entity", "limit"),
    [(Org, 1), (Course, 2), *((entity, 7) for entity in SERVED)],
    ids=lambda value: str(getattr(value, "file", value)),
)
def test_pages_joined_by_their_links_are_the_collection(
    walked: Walked, entity: AnyEntity, limit: int
) -> None:
    whole = walked.client.collection(entity.file)
    assert walked.client.collection(entity.file, limit) == whole


def test_a_page_links_to_its_neighbours(walked: Walked) -> None:
    total = len(walked.files["users"])
    first = walked.client.page("users", limit=2)
    assert {*first.links} == {"first", "next", "last"}
    assert int(first.headers["X-Total-Count"]) == total
    last = walked.client.ask("GET", first.links["last"]["url"])
    assert {*last.links} == {"first", "prev", "last"}
    sent = [*first.json()["users"], *last.json()["users"]]
    whole = walked.client.collection("users")
    assert sent == [*whole[:2], *whole[-len(last.json()["users"]) :]]
    for link in (*first.links.values(), *last.links.values()):
        assert link["url"].startswith(walked.client.address + ROSTERS)


def test_a_password_is_nowhere(hub: Hub) -> None:
    """The upload itself is kept for a while, byte by byte as it came; nothing else may have it."""
    client = under_the_binding(hub)
    run = client.applied(brimming())
    with zipfile.ZipFile(io.BytesIO(brimming())) as archive:
        for name in ("users.csv", "userProfiles.csv"):
            assert CANARY.encode() in archive.read(name)
    said = [json.dumps(client.collection(entity.file)) for entity in SERVED]
    said += [json.dumps(client.findings(run["id"])), json.dumps(client.events(run["id"]))]
    said += [(hub.folder / f"{name}.log").read_text() for name in ("serve", "work")]
    said += [*everything_in_redis(hub)]
    assert not [text for text in said if CANARY in text]
    tables = hub.rows(
        "select relname from pg_class where relnamespace = 'rosterhub'::regnamespace"
        " and relkind = 'r'"
    )
    assert len(tables) > 2 * len(ROSTERING)
    for (table,) in tables:
        query = SQL("select count(*) from {} as t where t::text like %s").format(Identifier(table))
        assert hub.rows(query, f"%{CANARY}%") == [(0,)], table


def everything_in_redis(hub: Hub) -> Iterator[str]:
    with RedisClient.from_url(hub.redis.url) as redis:
        for key in redis.scan_iter():
            match redis.type(key):
                case b"stream":
                    yield repr(redis.xrange(key))
                case b"hash":
                    yield repr(redis.hgetall(key))
                case b"list":
                    yield repr(redis.lrange(key, 0, -1))
                case b"set":
                    yield repr(redis.smembers(key))
                case b"zset":
                    yield repr(redis.zrange(key, 0, -1))
                case _:
                    yield repr(redis.get(key))


# --- a run, told -------------------------------------------------------------------------------


def test_the_events_of_a_run_can_be_followed_live_and_replayed(hub: Hub) -> None:
    client = hub.district()
    run_id = client.push(generated("JP-1.2.1"))
    live = client.events(run_id)
    again = client.events(run_id)
    assert live[0]["event"] == again[0]["event"] == "snapshot"
    assert again[0]["data"]["state"] == "applied"
    told = [event for event in live if event["event"] != "snapshot"]
    assert [event for event in again if event["event"] != "snapshot"] == told
    kinds = [event["event"] for event in told]
    assert (kinds[0], kinds[-1]) == ("run_started", "run_ended")
    stages = [e["data"]["stage"] for e in told if e["event"] == "stage_started"]
    assert stages == ["open", "read", "check", "apply", "publish"]
    advanced = {e["data"]["file"]: e["data"] for e in told if e["event"] == "file_advanced"}
    assert {*advanced} == {entity.file for entity in ROSTERING}
    assert all(each["done"] == each["total"] for each in advanced.values())
    assert (told[-1]["data"]["state"], told[-1]["data"]["version"]) == ("applied", 1)
    assert told[-1]["data"]["counts"] == client.run(run_id)["counts"]


def test_a_client_that_was_cut_off_resumes_where_it_was(hub: Hub) -> None:
    client = hub.district()
    run_id = client.applied(generated("JP-1.2.1"))["id"]
    whole = [event for event in client.events(run_id) if event["event"] != "snapshot"]
    for at in (0, len(whole) // 2, len(whole) - 2):
        rest = client.events(run_id, last=whole[at]["id"])
        assert [event for event in rest if event["event"] != "snapshot"] == whole[at + 1 :]


def test_a_watcher_hears_the_end_of_a_run_that_was_long_over(hub: Hub) -> None:
    client = hub.district()
    run_id = client.applied(generated("JP-1.2.1"))["id"]
    with RedisClient.from_url(hub.redis.url) as redis:
        redis.flushall()
    events = client.events(run_id)
    assert [event["event"] for event in events] == ["snapshot", "run_ended"]


# --- faults ------------------------------------------------------------------------------------

PACKAGE = "package"
RULE_OF: Mapping[str, str] = {
    "not_a_zip": "package.not_zip",
    "no_manifest": "manifest.missing",
    "wrong_file_name": "package.entry_name",
    "path_traversal": "package.entry_name",
    "zip_bomb": "package.too_large",
    "wrong_header": "header.missing",
    "ragged_row": "csv.row_width",
    "cr_only": "csv.carriage_return",
    "utf16": "csv.utf16",
    "nul": "csv.control_character",
    "cp932": "csv.encoding",
    "header_only": "csv.no_rows",
    "unknown_reference": "reference.missing",
    "duplicate_sourced_id": "record.duplicate",
    "bad_date": "value.date",
    "bad_vocabulary": "value.vocabulary",
    "missing_value": "value.required",
    "unclosed_quote": "csv.quoting",
    "line_break_in_field": "csv.quoting",
    "status_in_bulk": "value.blank_in_bulk",
    "encrypted_entry": "package.encrypted",
    "symlink_entry": "package.not_a_file",
    "duplicate_entry": "package.duplicate_entry",
    "overlapping_entries": "package.overlap",
    "manifest_mismatch": "manifest.file_missing",
    "wrong_version": "manifest.version",
    "duplicate_manifest_property": "manifest.duplicate_property",
}
"""The rule that must speak; the place is the one that the fault itself declares, but for these."""

PLACE_OF: Mapping[str, tuple[str, int | None]] = {
    "wrong_file_name": (PACKAGE, None),  # a name that is no file of the binding is a value
    "path_traversal": (PACKAGE, None),
    "cr_only": ("orgs.csv", 1),  # the whole file is one line
    "cp932": ("orgs.csv", 2),  # the first that is not UTF-8
}

USERS = b"sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId\r\n"
ORGS = USERS + b'"o1","","","\xe5\xad\xa6\xe6\xa0\xa1","school","1",""\r\n'
SINGLE: Mapping[str, tuple[bytes, str, int | None]] = {
    "a header without rows": (USERS, "csv.no_rows", None),
    "CR only": (ORGS.replace(b"\r\n", b"\r"), "csv.carriage_return", 1),
    "UTF-16": (ORGS.decode().encode("utf-16"), "csv.utf16", None),
    "NUL": (ORGS.replace(b'"1"', b'"1\0"'), "csv.control_character", 2),
    "CP932": (ORGS.decode().encode("cp932"), "csv.encoding", 2),
    "a ragged row": (ORGS.replace(b',""\r\n', b"\r\n"), "csv.row_width", 2),
    "a blank line": (ORGS + b"\r\n", "csv.blank_line", 3),
    "an unclosed quote": (ORGS.replace(b'"school"', b'"school'), "csv.quoting", 2),
    "a wrong header": (ORGS.replace(b",type,", b",kind,"), "header.missing", 1),
    "a zip": (b"PK\x05\x06" + b"\0" * 18, "csv.control_character", 1),
    "an unknown reference": (ORGS.replace(b'""\r\n', b'"o2"\r\n'), "reference.missing", 2),
}


@pytest.fixture(scope="module")
def settled(hub: Hub) -> Client:
    """A district with a roster that nothing may change."""
    client = hub.district()
    client.applied(generated("JP-1.2.1", users=60, schools=2))
    return client


@pytest.fixture(scope="module")
def untouched(hub: Hub, settled: Client) -> State:
    """Its state, of which no test that follows may change anything."""
    return state(hub, settled)


def state(hub: Hub, client: Client) -> State:
    """All that is served of a district, and all that is stored of its roster."""
    tables = [name for entity in ROSTERING for name in (entity.table, f"{entity.table}_history")]
    query = SQL("select t::text from {} as t where tenant_id = %s order by 1")
    with hub.database() as db:
        stored = [
            db.execute(query.format(Identifier(table)), [client.tenant_id]).fetchall()
            for table in (*tables, "versions", "record_counts", "districts")
        ]
    return [client.collection(entity.file) for entity in SERVED], stored


@pytest.mark.parametrize("name", RULE_OF)
def test_a_faulty_package_is_rejected_and_changes_nothing(
    hub: Hub, settled: Client, untouched: State, name: str, tmp_path: Path
) -> None:
    faulty = tmp_path / "faulty.zip"
    write_package(faulty, District(users=60, schools=2, seed=9), faults=[name])
    run = settled.ended(settled.push(faulty.read_bytes()))
    file, line = PLACE_OF.get(name, (FAULTS[name].file or PACKAGE, FAULTS[name].line or None))
    rejected(settled, run, (RULE_OF[name], file, line))
    assert state(hub, settled) == untouched


@pytest.mark.parametrize("name", SINGLE)
def test_a_faulty_csv_is_rejected_and_changes_nothing(
    hub: Hub, settled: Client, untouched: State, name: str
) -> None:
    body, rule, line = SINGLE[name]
    run = settled.ended(settled.push(body, entity="orgs", mode="upsert"))
    rejected(settled, run, (rule, "orgs.csv", line))
    assert state(hub, settled) == untouched


def rejected(client: Client, run: Json, place: tuple[str, str, int | None]) -> None:
    """The run says what is wrong, where, in D17's shape and in both languages."""
    assert (run["state"], run["version"], run["failure"]) == ("rejected", None, None)
    findings = client.findings(run["id"])
    errors = [each for each in findings if each["severity"] == "error" and each["causedBy"] is None]
    assert place in [(each["rule"], each["file"], each["line"]) for each in errors], findings
    assert run["findings"]["error"] == len(errors)
    for each in findings:
        assert [name for name in each if name in FINDING] == FINDING
        assert each["severity"] == RULES[each["rule"]].severity
        assert {*each["message"]} == {"ja", "en"}
        assert each["message"]["en"].isascii() or each["value"] or each["column"]
        assert re.search(r"[ぁ-んァ-ン一-龯]", each["message"]["ja"])
        for text in each["message"].values():
            assert "None" not in text, text


FINDING = ["file", "line", "column", "sourcedId", "rule", "severity", "value", "message"]


def test_every_fault_of_the_generator_has_its_verdict() -> None:
    """Those of one cell are tried in tests/pipeline."""
    assert RULE_OF.keys() == {name for name, fault in FAULTS.items() if not fault.breaks}


def test_a_row_is_accepted_or_rejected_and_nothing_else(settled: Client, tmp_path: Path) -> None:
    faulty = tmp_path / "faulty.zip"
    rows = write_package(
        faulty, District(users=60, schools=2, seed=9), faults=["ragged_row", "bad_date"]
    )
    run = settled.ended(settled.push(faulty.read_bytes()))
    assert run["state"] == "rejected"
    for file, count in rows.items():
        assert run["counts"][file]["rows"] == count
    assert run["counts"]["users"]["rejected"] == 1
    assert run["counts"]["demographics"]["rejected"] == 1


REFUSED: Mapping[str, tuple[bytes, Mapping[str, str], str, int]] = {
    "0 bytes": (b"", {}, "application/zip", 422),
    "0 bytes of CSV": (b"", {"entity": "orgs", "mode": "bulk"}, "text/csv", 422),
    "a CSV without mode": (ORGS, {"entity": "orgs"}, "text/csv", 400),
    "a CSV without entity": (ORGS, {"mode": "bulk"}, "text/csv", 400),
    "a CSV without either": (ORGS, {}, "text/csv", 400),
    "an unknown mode": (ORGS, {"entity": "orgs", "mode": "full"}, "text/csv", 400),
    "an unknown entity": (ORGS, {"entity": "pupils", "mode": "bulk"}, "text/csv", 400),
    "an entity that is not stored": (ORGS, {"entity": "results", "mode": "bulk"}, "text/csv", 400),
    "another media type": (ORGS, {}, "application/json", 415),
    "no media type": (ORGS, {}, "", 415),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_request_is_refused_and_changes_nothing(
    hub: Hub, settled: Client, untouched: State, name: str
) -> None:
    runs, kept = settled.runs(), uploads(hub)
    body, query, kind, status = REFUSED[name]
    answer = settled.ask(
        "POST", "/api/v1/imports", params=query, data=body, headers={"Content-Type": kind}
    )
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["detail"]
    assert settled.runs() == runs
    assert uploads(hub) == kept
    assert state(hub, settled) == untouched


def uploads(hub: Hub) -> set[Path]:
    """The files in the object store."""
    return {path for path in (hub.folder / "objects").rglob("*") if path.is_file()}


def test_a_form_without_mode_is_refused(settled: Client) -> None:
    answer = settled.ask(
        "POST",
        "/api/v1/imports",
        files={"file": ("orgs.csv", ORGS, "text/csv")},
        data={"entity": "orgs"},
    )
    assert (answer.status_code, answer.json()["field"]) == (400, "mode")


def test_a_body_without_a_length_is_refused(settled: Client) -> None:
    answer = settled.ask(
        "POST",
        "/api/v1/imports",
        data=iter([b"PK", b"..."]),
        headers={"Content-Type": "application/zip"},
    )
    assert answer.status_code == 411


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
@pytest.mark.parametrize("form", [False, True], ids=["raw", "form"])
def test_an_upload_that_was_cut_off_changes_nothing(
    hub: Hub, settled: Client, untouched: State, share: float, *, form: bool
) -> None:
    runs, kept = settled.runs(), uploads(hub)
    package = generated("JP-1.2.1", users=90, seed=5)
    body = multipart(package) if form else package
    kind = "multipart/form-data; boundary=cut" if form else "application/zip"
    address = urlsplit(settled.address)
    with socket.create_connection((str(address.hostname), int(address.port or 0))) as line:
        head = (
            f"POST /api/v1/imports HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"Authorization: Bearer {settled.key}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        line.sendall(head.encode() + body[: int(len(body) * share)])
        line.shutdown(socket.SHUT_WR)
        line.settimeout(10)
        said = b"".join(iter(lambda: line.recv(65536), b""))
    assert not said or said.split()[1].startswith(b"4"), said
    assert settled.runs() == runs
    assert uploads(hub) == kept
    assert state(hub, settled) == untouched


def multipart(package: bytes) -> bytes:
    head = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="p.zip"\r\n\r\n'
    return head + package + b"\r\n--cut--\r\n"


def test_a_package_is_served_whole_or_not_at_all(hub: Hub) -> None:
    """Readers while a second package comes in see the one version or the other."""
    client = hub.district()
    first = generated("JP-1.2.1", users=2000)
    second = generated("JP-1.2.1", users=2000, generation=1, mutations=0.3)
    client.applied(first)
    seen: list[tuple[int, ...]] = []
    over = threading.Event()

    def read() -> None:
        reader, last = client.again(), False
        while not last:
            last = over.is_set()  # the last read begins after the import has ended
            page = reader.page("users", limit=10_000)
            names = sum(hash(each["familyName"]) for each in page.json()["users"])
            seen.append((int(page.headers["X-Total-Count"]), len(page.json()["users"]), names))

    thread = threading.Thread(target=read)
    thread.start()
    wait_until(lambda: bool(seen), "the first version is read")
    client.applied(second)
    over.set()
    thread.join()
    assert len({*seen}) == 2, {*seen}
    assert all(total == rows for total, rows, _ in seen)


def test_a_stream_ends_when_its_client_goes_away(hub: Hub, settled: Client) -> None:
    run_id = settled.runs()[0]["id"]
    answer = settled.ask("GET", f"/api/v1/imports/{run_id}/events", stream=True)
    assert next(heard(answer))["event"] == "snapshot"
    answer.close()
    assert hub.admin.get("/health")["status"] == "ok"

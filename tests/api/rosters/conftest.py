"""One district with three versions, odd values everywhere, and a gateway, for a whole module."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import pairwise
from typing import Any, TypeAlias
from urllib.parse import quote

import psycopg
import pytest
from falcon.testing import Result
from psycopg.sql import SQL, Identifier, Placeholder
from psycopg.types.json import Jsonb
from pydantic import SecretStr

from api.app import create_gateway
from api.database import Database
from api.redis import client
from api.rosters.collation import SortKeys
from api.rosters.operations import OPERATIONS, ROOT
from api.rosters.reading import Collection, Reader, Single
from deploy.local.redis import Redis
from schemas.roster import BY_TABLE
from schemas.secrets import Vault
from schemas.settings import Settings
from tests.api.conftest import Books, Client, District
from tests.databases import Shelf

Row: TypeAlias = dict[str, Any]
Json: TypeAlias = dict[str, Any]
Tables: TypeAlias = dict[str, dict[str, Row]]

PUBLISHED = ("2026-04-01T00:00:00.123999Z", "2026-05-01T09:30:00Z", "2026-05-01T09:30:00.001Z")
SECRET = "a secret of the tests that is long enough to be one"
DIGEST = "00000000-0000-0000-0000-000000000000"

NAMES = (
    *("山田", "ヤマダ", "やまだ", "佐藤", "さとう", "Müller", "MÜLLER", "Mueller", "O'Brien"),
    *("o'brien", "50% off", "a\\b", 'say "hi"', "Ångström", "ångström", "ＡＢＣ", "ａｂｃ", "ABC"),
    *("Σίσυφος", "σίσυφος", "ß", "ẞ", "İstanbul", "Kelvin", "\u212aelvin", "x AND y", "''", " x "),
    *(
        "tab\tbed",
        "100",
        "true",
        "2026-04-01",
        "zz",
        "Zz",
        "é",
        "e\u0301",
        "𠮷野",
        "%(limit)s",
        "{}",
    ),
)
GRADES = ("P1", "P2", "J1", "j1", "１年")
SUBJECTS = ("数学", "Math", "math", "Éducation", "x'y")
ROLES = ("student", "student", "student", "teacher", "teacher", "guardian", "captain", "ext:Coach")


@dataclass
class Town:
    """The rows of every version, by table and identifier; `versions[0]` are those of version 1."""

    versions: list[Tables]
    district: District
    other: District
    hub: Client
    books: Books = field(repr=False)
    database: Database = field(repr=False)

    def get(self, path: str, **query: object) -> Result:
        given = "&".join(f"{name}={quote(str(value))}" for name, value in query.items())
        return self.hub.get(f"{ROOT}/{path}{'?' if given else ''}{given}", self.district.key)

    def records(self, path: str, **query: object) -> list[Json]:
        """What a collection has; the page is large enough for all of it."""
        answer = self.get(path, limit=1000, **query)
        assert answer.status_code == 200, answer.text
        ((_, found),) = answer.json.items()
        assert answer.headers["X-Total-Count"] == str(len(found))
        return list(found)

    def mounted(self, root: str, **changes: Any) -> Callable[..., Result]:  # noqa: ANN401
        """The same operations at another root, for readers of another kind; answers a `get`."""
        base = "https://hub.example.org"
        plain = Reader(self.database, SortKeys(self.database), base, 100, 10_000, 10.0)
        reader = replace(plain, **changes)
        for operation in OPERATIONS:
            resource = (Single if operation.single else Collection)(operation, reader)
            self.hub.app.add_route(f"{root}/{operation.path}", resource)

        def get(path: str, **query: object) -> Result:
            given = "&".join(f"{name}={quote(str(value))}" for name, value in query.items())
            return self.hub.get(f"{root}/{path}?{given}", self.district.key)

        return get

    def ids(self, path: str, **query: object) -> list[str]:
        return [record["sourcedId"] for record in self.records(path, **query)]


def some(chance: random.Random, values: tuple[str, ...], most: int = 3) -> list[str] | None:
    return [*dict.fromkeys(chance.choices(values, k=chance.randint(0, most)))] or None


def maybe(chance: random.Random, value: Any) -> Any:  # noqa: ANN401 -- whatever a cell holds
    return value if chance.random() < 0.7 else None


def made(seed: int) -> Tables:
    """A district of every kind of record."""
    chance = random.Random(seed)

    def name() -> str:
        return chance.choice(NAMES)

    def day() -> date:
        return date(2026, 1, 1) + timedelta(days=chance.randint(0, 400))

    def one_of(table: str) -> str:
        return chance.choice(sorted(tables[table]))

    tables: Tables = {}
    tables["orgs"] = {
        "d-1": {"name": "District", "type": "district", "identifier": None},
        **{
            f"{'S' if n % 2 else 's'}-{n}": {
                "name": name(),
                "type": chance.choice(["school", "school", "bunkou", "department"]),
                "identifier": maybe(chance, name()),
                "parent_sourced_id": chance.choice(["d-1", None]),
            }
            for n in range(6)
        },
    }
    tables["orgs"]["S-1"]["type"] = tables["orgs"]["s-2"]["type"] = "school"
    schools = [n for n, row in tables["orgs"].items() if row["type"] == "school"]
    tables["academic_sessions"] = {
        f"{kind}-{n}": {
            "title": name(),
            "type": kind,
            "start_date": day(),
            "end_date": day(),
            "school_year": str(2025 + n),
            "parent_sourced_id": parent and f"{parent}-{n}",
        }
        for kind, parent in (
            ("schoolYear", None),
            ("term", "schoolYear"),
            ("gradingPeriod", "term"),
            ("ext:half", "schoolYear"),
        )
        for n in range(2)
    }
    tables["courses"] = {
        f"k-{n}": {
            "title": name(),
            "school_year_sourced_id": maybe(chance, "schoolYear-0"),
            "course_code": maybe(chance, name()),
            "grades": some(chance, GRADES),
            "org_sourced_id": one_of("orgs"),
            "subjects": some(chance, SUBJECTS),
            "subject_codes": some(chance, ("020", "P010")),
        }
        for n in range(5)
    }
    tables["classes"] = {
        f"c/{n}": {
            "title": name(),
            "grades": some(chance, GRADES),
            "course_sourced_id": one_of("courses"),
            "class_code": maybe(chance, name()),
            "class_type": chance.choice(["homeroom", "scheduled", "club"]),
            "location": maybe(chance, name()),
            "school_sourced_id": chance.choice(schools),
            "term_sourced_ids": some(chance, tuple(tables["academic_sessions"])) or ["term-0"],
            "subjects": some(chance, SUBJECTS),
            "subject_codes": None,
            "periods": some(chance, ("1", "2", "3")),
            "special_needs": maybe(chance, chance.random() < 0.5),
        }
        for n in range(10)
    }
    people = [f"{'U' if n % 3 else 'u'}-{n:02}" for n in range(30)]
    tables["users"] = {
        sourced_id: {
            "enabled_user": chance.random() < 0.8,
            "username": maybe(chance, name()),
            "user_ids": some(chance, ("{LDAP:a:b}", "{Fed:X}", "odd", "{x}y:}", "{é:É}")),
            "given_name": maybe(chance, name()),
            "family_name": maybe(chance, name()),
            "middle_name": maybe(chance, name()),
            "identifier": maybe(chance, name()),
            "email": maybe(chance, f"{chance.choice('aAbBéÉ')}@example.org"),
            "phone": maybe(chance, name()),
            "agent_sourced_ids": some(chance, tuple(people)),
            "grades": some(chance, GRADES),
            "resource_sourced_ids": some(chance, ("r-1", "r-2")),
            "preferred_given_name": maybe(chance, name()),
            "primary_org_sourced_id": maybe(chance, one_of("orgs")),
            "pronouns": None,
            "kana_family_name": maybe(chance, name()),
            "home_class": maybe(chance, one_of("classes")),
            "metadata": chance.choice(
                [None, {"jp.kanaNickname": name(), "vendor": "X", "vendor.id": name(), "none": ""}]
            ),
        }
        for sourced_id in people
    }
    tables["user_profiles"] = {
        chance.choice([f"p/{n}", f"7B1f0c52-9f0a-4f3e-8f61-{n:012}"]): {
            "user_sourced_id": one_of("users"),
            "profile_type": name(),
            "vendor_id": name(),
            "application_id": maybe(chance, name()),
            "description": maybe(chance, name()),
            "credential_type": "oidc",
            "username": maybe(chance, name()),
            "status": chance.choice(["active", "active", "tobedeleted"]),
        }
        for n in range(15)
    }
    tables["roles"] = {
        f"r-{n}": {
            "user_sourced_id": one_of("users"),
            "role_type": chance.choice(["primary", "secondary"]),
            "role": chance.choice(ROLES),
            "begin_date": maybe(chance, day()),
            "end_date": maybe(chance, day()),
            "org_sourced_id": one_of("orgs"),
            "user_profile_sourced_id": maybe(chance, one_of("user_profiles")),
            "status": chance.choice(["active", "active", "active", "tobedeleted"]),
        }
        for n in range(50)
    }
    tables["demographics"] = {
        sourced_id: {
            "birth_date": maybe(chance, day()),
            "sex": maybe(chance, chance.choice(["male", "female", "x"])),
            "asian": maybe(chance, chance.random() < 0.5),
            "city_of_birth": maybe(chance, name()),
        }
        for sourced_id in people[::3]
    }
    tables["enrollments"] = {
        f"e-{n:02}": {
            "class_sourced_id": one_of("classes"),
            "school_sourced_id": chance.choice(schools),
            "user_sourced_id": one_of("users"),
            "role": chance.choice(["student", "student", "teacher", "administrator", "guardian"]),
            "primary": maybe(chance, chance.random() < 0.5),
            "begin_date": maybe(chance, day()),
            "end_date": maybe(chance, day()),
            "shusseki_no": maybe(chance, chance.randint(1, 40)),
            "public_flg": maybe(chance, chance.random() < 0.5),
            "status": chance.choice(["active", "active", "active", "tobedeleted"]),
        }
        for n in range(60)
    }
    for rows in tables.values():
        for row in rows.values():
            row.setdefault("status", "tobedeleted" if chance.random() < 0.1 else "active")
    for school in ("S-1", "s-2"):
        tables["orgs"][school]["status"] = "active"
    return tables


def changed(tables: Tables, seed: int) -> Tables:
    """A later version: some records are other, and a few are gone."""
    chance, other = random.Random(seed), made(seed)
    return {
        table: {
            sourced_id: (
                row
                if chance.random() < 0.7
                else {**row, "status": "tobedeleted"}
                if chance.random() < 0.3
                else {**other[table].get(sourced_id, row), "status": row["status"]}
            )
            for sourced_id, row in rows.items()
        }
        for table, rows in tables.items()
    }


def write(books: Books, tenant_id: int, versions: list[Tables]) -> None:
    """Live rows and before-images, as imports would have left them."""
    with books.connected("rosterhub_app", tenant_id) as connection:
        for number, moment in enumerate(PUBLISHED[: len(versions)], start=1):
            connection.execute(
                "insert into versions (tenant_id, version, run_id, kind, published_at, counts)"
                " values (%s, %s, gen_random_uuid(), 'import', %s, '{}')",
                [tenant_id, number, moment],
            )
        connection.execute(
            "update districts set version = %s, published_at = %s where tenant_id = %s",
            [len(versions), PUBLISHED[len(versions) - 1], tenant_id],
        )
        for table in versions[-1]:
            for sourced_id in versions[-1][table]:
                images: list[tuple[int, Row]] = []
                for number, tables in enumerate(versions, start=1):
                    row = tables[table].get(sourced_id)
                    if row is not None and (not images or images[-1][1] != row):
                        images.append((number, row))
                created = images[0][0]
                for (begin, row), (end, _) in pairwise(images):
                    values = {"until_version": end, "version": begin, "created_version": created}
                    insert(connection, f"{table}_history", tenant_id, sourced_id, row | values)
                begin, row = images[-1]
                values = {"version": begin, "created_version": created}
                insert(connection, table, tenant_id, sourced_id, row | values)
            connection.execute(
                SQL(
                    "insert into record_counts (tenant_id, entity, status, records)"
                    " select %s, %s, status, count(*) from {} group by status"
                ).format(Identifier(table)),
                [tenant_id, BY_TABLE[table].file],
            )


def insert(
    connection: "psycopg.Connection[Any]", table: str, tenant_id: int, sourced_id: str, row: Row
) -> None:
    values = {"tenant_id": tenant_id, "sourced_id": sourced_id, "digest": DIGEST} | {
        name: Jsonb(value) if isinstance(value, dict) else value for name, value in row.items()
    }
    connection.execute(
        SQL("insert into {} ({}) values ({})").format(
            Identifier(table),
            SQL(", ").join(map(Identifier, values)),
            SQL(", ").join(map(Placeholder, values)),
        ),
        values,
    )


@pytest.fixture(scope="module")
def module_url(shelf: Shelf) -> Iterator[str]:
    """A migrated database for a whole module."""
    with shelf.lent() as url:
        yield url


@pytest.fixture(scope="module")
def module_database(module_url: str) -> Database:
    return Database(module_url, size=3, query_timeout=10)


@pytest.fixture(scope="module")
def town(
    module_url: str,
    module_database: Database,
    redis: Redis,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Town]:
    """Three versions of one district, and another district with the same identifiers beside it."""
    first = made(1)
    late = {"e-59", "u-27", "k-4"}
    before = {
        table: {sourced_id: row for sourced_id, row in rows.items() if sourced_id not in late}
        for table, rows in first.items()
    }
    versions = [before, changed(first, 2), changed(changed(first, 2), 3)]
    settings = Settings(
        object_store=str(tmp_path_factory.mktemp("objects")),
        secret_key=SecretStr(SECRET),
        public_url="https://hub.example.org/",
        rate_limit=1_000_000,
    )
    gateway = create_gateway(
        settings,
        vault=Vault(SECRET),
        database=module_database,
        redis=client(redis.url),
        ring=lambda _: True,
    )
    with Books(module_url, Vault(SECRET)) as books:
        other, north = books.district("other"), books.district("north")
        write(books, other.tenant_id, [made(7)])
        write(books, north.tenant_id, versions)
        with Client(gateway.app) as hub:
            # A loop that stands still connects to nothing, so the pools come first.
            assert hub.get("/health/ready").status_code == 200
            yield Town(versions, north, other, hub, books, module_database)

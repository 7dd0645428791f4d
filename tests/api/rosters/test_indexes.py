"""What is to be found quickly is found by an index; the rest may be cut off."""

import re

import pytest
from psycopg.sql import SQL
from pydantic import SecretStr

from api.app import create_gateway
from api.database import Database
from api.redis import client
from api.rosters import selects
from api.rosters.binding import Bind
from api.rosters.conditions import INDEXED, Conditions, Ground
from api.rosters.filters import parse
from api.rosters.operations import ROOT, VIEWS
from api.rosters.sight import Rows
from schemas.secrets import Vault
from schemas.settings import Settings
from tests.api.conftest import Client
from tests.api.rosters.conftest import SECRET, Town


def test_what_is_said_to_have_an_index_has_one_by_bytes(town: Town) -> None:
    indexes = {
        (table, columns.split(", ")[1].removesuffix(' COLLATE "C"').strip('"'))
        for table, definition in town.books.rows(
            0, "select tablename, indexdef from pg_indexes where schemaname = 'rosterhub'"
        )
        for columns in re.findall(r"\((tenant_id, [^)]*)\)", definition)
    }
    assert {(column.entity, column.name) for column in INDEXED} <= indexes


@pytest.mark.parametrize(
    ("view", "text", "index"),
    [
        ("users", "sourcedId='U-01'", "users_pkey"),
        ("users", "email='A@example.org'", "users_by_email"),
        ("users", "username='Hanako'", "users_by_username"),
        ("users", "identifier='A1'", "users_by_identifier"),
        ("enrollments", "sourcedId='E-1'", "enrollments_pkey"),
        ("enrollments", "class.sourcedId='C/1'", "enrollments_by_class"),
        ("enrollments", "user.sourcedId='U-01'", "enrollments_by_user"),
        ("classes", "school.sourcedId='S-1'", "classes_by_school"),
        ("classes", "course.sourcedId='K-1'", "classes_by_course"),
        ("orgs", "parent.sourcedId='D-1'", "orgs_by_parent"),
    ],
)
def test_a_filter_of_these_goes_by_its_index(town: Town, view: str, text: str, index: str) -> None:
    """Row-level security is on: it lets few functions near an index."""
    (entity,) = [each.entity for each in VIEWS if each.path == view]
    ground = Ground(Rows(), Bind(), "https://hub.example.org")
    query = selects.total(entity, ground.rows, [Conditions(entity, ground).of(parse(text))])
    tenant_id = town.district.tenant_id
    with town.books.connected("rosterhub_app", tenant_id) as connection:
        connection.execute("set local enable_seqscan = off")
        rows = connection.execute(
            SQL("explain ") + query, {"tenant_id": tenant_id, **ground.bind.parameters}
        ).fetchall()
    plan = "\n".join(line for (line,) in rows)
    used = re.search(rf"{index}[^\n]*\n.*?Index Cond: \(([^\n]*)\)", plan, re.DOTALL)
    assert used, plan
    assert " AND " in used[1], f"the index is used for the district alone:\n{plan}"


def test_a_read_that_takes_too_long_is_cut_off_and_the_client_told_to_come_back(
    town: Town, module_url: str, redis_url: str, settings: Settings
) -> None:
    gateway = create_gateway(
        settings.model_copy(update={"secret_key": SecretStr(SECRET)}),
        vault=Vault(SECRET),
        database=Database(module_url, size=2, query_timeout=0.2),
        redis=client(redis_url),
        ring=lambda _: True,
    )
    with (
        Client(gateway.app) as hurried,
        town.books.connected("rosterhub_owner") as connection,
    ):
        connection.execute("lock table users in access exclusive mode")
        answer = hurried.get(f"{ROOT}/users?filter=familyName~'a'", town.district.key)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert "server_busy" in answer.text
    again = town.get("users", filter="familyName~'a'")
    assert again.status_code == 200, again.text

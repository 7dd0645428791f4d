"""Impossible states of runs, and of what belongs to them, are refused by the database."""

from collections.abc import Callable
from typing import Any, TypeAlias, get_args

import psycopg
import pytest
from psycopg.errors import (
    CheckViolation,
    ForeignKeyViolation,
    NotNullViolation,
    UniqueViolation,
)

from schemas.runs import ENDED, SINGLE_MODES, State

Admin: TypeAlias = psycopg.Connection[Any]
Insert: TypeAlias = Callable[..., None]
UPLOAD = "00000000-0000-4000-8000-0000000000aa"
OTHER = "00000000-0000-4000-8000-000000000002"
FIRST = "00000000-0000-4000-8000-000000000001"
NOW = "2026-04-01T00:00:00Z"
RUNNING = {"state": "running", "lease_until": NOW}


@pytest.fixture
def run(admin: Admin, insert: Insert) -> Insert:
    """Insert a run of one of two districts that have an upload each."""
    for tenant_id in (1, 2):
        insert(admin, "districts", tenant_id)
        insert(admin, "uploads", tenant_id, id=UPLOAD)

    def add(*, tenant_id: int = 1, **own: object) -> None:
        insert(admin, "runs", tenant_id, **{"upload_id": UPLOAD, **own})

    return add


def facts(state: State) -> dict[str, Any]:
    """What a run of this state has."""
    return {
        "state": state,
        "lease_until": NOW if state == "running" else None,
        "finished_at": NOW if state in ENDED else None,
        "version": 1 if state == "applied" else None,
    }


@pytest.mark.parametrize("state", get_args(State))
def test_every_declared_state_is_accepted(run: Insert, state: State) -> None:
    run(**facts(state))


@pytest.mark.parametrize("state", get_args(State))
@pytest.mark.parametrize("fact", ["lease_until", "finished_at", "version"])
def test_a_fact_that_belongs_to_another_state_is_refused(
    run: Insert, state: State, fact: str
) -> None:
    own = facts(state)
    own[fact] = None if own[fact] is not None else {"version": 1}.get(fact, NOW)
    with pytest.raises(CheckViolation):
        run(**own)


@pytest.mark.parametrize(
    "impossible",
    [
        {"state": "sleeping"},
        {"kind": "dance"},
        {"entity": "users"},
        {"mode": "bulk"},
        {"entity": "users", "mode": "full"},
    ],
    ids=str,
)
def test_an_unknown_word_or_half_a_single_file_is_refused(
    run: Insert, impossible: dict[str, str]
) -> None:
    with pytest.raises(CheckViolation):
        run(**impossible)


@pytest.mark.parametrize("mode", SINGLE_MODES)
def test_a_single_file_is_accepted_in_every_mode(run: Insert, mode: str) -> None:
    run(entity="users", mode=mode)


def test_a_district_has_one_import_running(run: Insert) -> None:
    run(**RUNNING)
    run(tenant_id=2, **RUNNING)
    run(id=OTHER)
    with pytest.raises(UniqueViolation):
        run(id="00000000-0000-4000-8000-000000000003", **RUNNING)


def test_a_request_is_idempotent_within_its_district(run: Insert) -> None:
    run(idempotency_key="a")
    run(id=OTHER, idempotency_key="b")
    run(tenant_id=2, idempotency_key="a")
    with pytest.raises(UniqueViolation):
        run(id="00000000-0000-4000-8000-000000000003", idempotency_key="a")


def test_a_run_has_an_upload_of_its_own_district(admin: Admin, run: Insert, insert: Insert) -> None:
    with pytest.raises(ForeignKeyViolation):
        run(upload_id=OTHER)
    insert(admin, "uploads", 2, id=OTHER)
    with pytest.raises(ForeignKeyViolation):
        run(upload_id=OTHER)


def test_a_finding_belongs_to_a_run_of_its_district(
    admin: Admin, run: Insert, insert: Insert
) -> None:
    run()
    insert(admin, "findings", 1, run_id=FIRST)
    with pytest.raises(ForeignKeyViolation):
        insert(admin, "findings", 2, run_id=FIRST)


@pytest.mark.parametrize(
    "planted",
    [
        ("uploads", {"id": OTHER, "bytes": 0}, CheckViolation),
        ("findings", {"run_id": FIRST, "severity": "fatal"}, CheckViolation),
        ("record_counts", {"status": "inactive"}, CheckViolation),
        ("keys", {"expires_at": None}, NotNullViolation),
        ("districts", {"tenant_id": 3, "id": "Capital"}, CheckViolation),
        ("districts", {"tenant_id": 3, "id": "-begins"}, CheckViolation),
        ("districts", {"tenant_id": 3, "id": "a" * 64}, CheckViolation),
        ("districts", {"tenant_id": 3, "id": "district-1"}, UniqueViolation),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(
    run: Insert, planted: tuple[str, dict[str, Any], type[Exception]], admin: Admin, insert: Insert
) -> None:
    table, own, error = planted
    run()
    with pytest.raises(error):
        insert(admin, table, **{"tenant_id": 1, **own})


def test_two_versions_are_neither_one_run_nor_one_instant(
    admin: Admin, run: Insert, insert: Insert
) -> None:
    run()
    insert(admin, "versions", 1, version=1, run_id=FIRST, published_at=NOW)
    later = "2026-04-01T00:00:01Z"
    for own in (
        {"version": 1, "run_id": OTHER, "published_at": later},
        {"version": 2, "run_id": FIRST, "published_at": later},
        {"version": 2, "run_id": OTHER, "published_at": NOW},
    ):
        with pytest.raises(UniqueViolation):
            insert(admin, "versions", 1, **own)
    insert(admin, "versions", 1, version=2, run_id=OTHER, published_at=later)


def test_with_a_district_goes_what_is_not_roster(admin: Admin, run: Insert, insert: Insert) -> None:
    run()
    insert(admin, "keys", 1)
    insert(admin, "findings", 1, run_id=FIRST)
    insert(admin, "versions", 1)
    insert(admin, "record_counts", 1)
    admin.execute("delete from districts where tenant_id = 1")
    for table in ("keys", "runs", "findings", "versions", "record_counts", "uploads"):
        left = admin.execute(f"select tenant_id from {table}").fetchall()
        assert left == ([(2,)] if table == "uploads" else []), table

"""The tables are what the entities expect, and no other."""

from collections.abc import Callable
from typing import Any, TypeAlias

import psycopg
import pytest

from schemas.columns import Key, Ref, Refs
from schemas.ddl import expected, expected_history
from schemas.roster import ROSTERING, AnyEntity

Admin: TypeAlias = psycopg.Connection[Any]
Insert: TypeAlias = Callable[..., None]
every_entity = pytest.mark.parametrize("entity", ROSTERING, ids=lambda entity: entity.file)


def found(db: Admin, table: str) -> dict[str, tuple[str, bool]]:
    """Column name -> (type, not null), as the catalogue has it."""
    rows = db.execute(
        """
        select attname, format_type(atttypid, atttypmod), attnotnull from pg_attribute
        where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped
        """,
        [f"rosterhub.{table}"],
    )
    return {name: (kind, required) for name, kind, required in rows}


@every_entity
def test_a_table_is_as_declared(entity: AnyEntity, admin: Admin) -> None:
    assert found(admin, entity.table) == expected(entity)


@every_entity
def test_a_history_is_as_declared(entity: AnyEntity, admin: Admin) -> None:
    assert found(admin, f"{entity.table}_history") == expected_history(entity)


@every_entity
def test_a_history_has_the_live_columns_and_until_version(entity: AnyEntity, admin: Admin) -> None:
    live = found(admin, entity.table)
    assert found(admin, f"{entity.table}_history") == live | {"until_version": ("bigint", True)}


def test_a_planted_column_a_dropped_one_and_another_type_are_noticed(admin: Admin) -> None:
    entity = ROSTERING[0]
    for change in (
        "alter table rosterhub_loading.orgs add column planted text",
        "alter table rosterhub_loading.orgs drop column planted, drop column identifier",
        "alter table rosterhub_loading.orgs add column identifier varchar(10)",
        (
            "alter table rosterhub_loading.orgs alter column identifier type text,"
            " alter column name drop not null"
        ),
    ):
        admin.execute(change)
        assert found(admin, entity.table) != expected(entity), change
    admin.execute("alter table rosterhub_loading.orgs alter column name set not null")
    assert found(admin, entity.table) == expected(entity)


def test_no_table_is_there_that_nobody_declared(admin: Admin) -> None:
    names = {
        name
        for (name,) in admin.execute(
            "select relname from pg_class where relnamespace = 'rosterhub'::regnamespace"
            " and relkind in ('r', 'p', 'v', 'm', 'f')"
        )
    }
    roster = {name for e in ROSTERING for name in (e.table, f"{e.table}_history")}
    assert names == roster | {
        "admin_keys",
        "aliases",
        "client_secrets",
        "clients",
        "cors_origins",
        "audit",
        "audit_chains",
        "districts",
        "erasures",
        "event_counters",
        "feed_flips",
        "feed_followers",
        "feed_packages",
        "feed_progress",
        "feed_sums",
        "exports",
        "finding_counts",
        "finding_files",
        "finding_groups",
        "findings",
        "kept_out",
        "keys",
        "known_lines",
        "lens_revisions",
        "loads",
        "mapping_previews",
        "mapping_tables",
        "mappings",
        "record_counts",
        "run_previews",
        "runs",
        "sort_keys",
        "schedules",
        "uploads",
        "versions",
        "webhook_attempts",
        "webhook_deliveries",
        "webhook_events",
        "webhooks",
    }


@every_entity
def test_identifiers_compare_by_bytes(entity: AnyEntity, admin: Admin) -> None:
    collated = {
        name
        for table in (entity.table, f"{entity.table}_history")
        for (name,) in admin.execute(
            "select attname from pg_attribute where attrelid = to_regclass(%s)"
            " and attcollation = 'pg_catalog.\"C\"'::regcollation",
            [f"rosterhub.{table}"],
        )
    }
    assert collated == {c.name for c in entity.stored() if isinstance(c, Key | Ref | Refs)}


@every_entity
def test_a_history_row_ends_after_it_begins(
    entity: AnyEntity, admin: Admin, insert: Insert
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        insert(admin, f"{entity.table}_history", 1, version=2, until_version=2)


@every_entity
def test_a_record_is_active_or_a_tombstone(entity: AnyEntity, admin: Admin, insert: Insert) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        insert(admin, entity.table, 1, status="inactive")
    insert(admin, entity.table, 1, status="tobedeleted")


@every_entity
def test_a_record_is_there_once_per_district(
    entity: AnyEntity, admin: Admin, insert: Insert
) -> None:
    insert(admin, entity.table, 1)
    insert(admin, entity.table, 2)
    with pytest.raises(psycopg.errors.UniqueViolation):
        insert(admin, entity.table, 1)


def test_nothing_of_a_roster_is_found_without_an_index_on_its_version(admin: Admin) -> None:
    for entity in ROSTERING:
        for table, column in (
            (entity.table, "version"),
            (f"{entity.table}_history", "until_version"),
        ):
            definitions = [
                text
                for (text,) in admin.execute(
                    "select indexdef from pg_indexes where schemaname = 'rosterhub'"
                    " and tablename = %s",
                    [table],
                )
            ]
            assert any(text.endswith(f"(tenant_id, {column})") for text in definitions), table

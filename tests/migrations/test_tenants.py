"""The catalogue: what protects the rows of a district, and that nothing lacks it."""

from typing import Any, TypeAlias

import psycopg
import pytest

from schemas.roster import ROSTERING

Admin: TypeAlias = psycopg.Connection[Any]

NOT_BY_TENANT = {
    # The name of a district in URLs and on the command line is unique in the installation; only
    # the control role may add or name one, so no district learns of another from a violation.
    "districts_id_key",
}
WITHOUT_TENANT = {"admin_keys"}  # administrators belong to no district
CONTROL_READS = {
    "admin_keys": None,
    "client_secrets": None,
    "clients": None,
    "cors_origins": None,
    "audit_chains": None,  # how far each is, for the heads; of the entries it reads none
    "districts": None,
    "feed_followers": {"tenant_id", "version"},
    "feed_progress": None,
    "feed_sums": {"tenant_id", "lens", "version"},
    "exports": {
        "tenant_id",
        "id",
        "state",
        "created_at",
        "started_at",
        "next_run_at",
        "lease_until",
    },
    "keys": None,
    "loads": {"tenant_id"},
    "mapping_previews": {"tenant_id", "state", "created_at"},
    "runs": {
        "tenant_id",
        "id",
        "kind",
        "state",
        "created_at",
        "next_run_at",
        "started_at",
        "finished_at",
        "base_version",
        "lease_until",
        "attempts",
    },
    "webhook_deliveries": {"tenant_id", "webhook_id", "state", "next_at"},
    "webhooks": {"tenant_id", "id", "enabled", "timeouts", "paused_until", "failing_since"},
    "schedules": {"tenant_id", "id", "next_at"},
}
PROTECTION = """
    select c.relname, c.relrowsecurity and c.relforcerowsecurity,
        pg_get_userbyid(c.relowner),
        (select array_agg(
            pg_get_expr(p.polqual, c.oid) || ' / ' || pg_get_expr(p.polwithcheck, c.oid)
         ) from pg_policy as p where p.polrelid = c.oid and p.polpermissive and p.polcmd = '*'
           and p.polroles = array['rosterhub_app'::regrole::oid])
    from pg_class as c where c.oid = to_regclass(%s)
"""
EXPRESSION = "(tenant_id = ( SELECT tenant() AS tenant))"
LIVE = {entity.table for entity in ROSTERING}
OF_ROSTERS = "(tenant_id = ( SELECT roster() AS roster))"
"""What is seen of a roster table: nothing before the first version (0024)."""
UNIQUE = """
    select i.indexrelid::regclass::text, i.indisprimary,
        (select attname from pg_attribute where attrelid = i.indrelid and attnum = i.indkey[0])
    from pg_index as i where i.indrelid = to_regclass(%s) and i.indisunique
"""


def unprotected(admin: Admin, table: str) -> list[str]:
    """What a table lacks of the protection that every tenant-owned one has."""
    name = f"rosterhub.{table}"
    row = admin.execute(PROTECTION, [name]).fetchone()
    assert row is not None
    _, forced, owner, policies = row
    unique = admin.execute(UNIQUE, [name]).fetchall()
    lacks = [] if forced else ["row-level security, forced"]
    lacks += [] if owner == "rosterhub_owner" else ["an owner that nobody serves as"]
    seen = OF_ROSTERS if table in LIVE else EXPRESSION
    lacks += [] if policies == [f"{seen} / {EXPRESSION}"] else ["the policy"]
    lacks += [] if any(primary for _, primary, _ in unique) else ["a primary key"]
    lacks += [
        f"tenant_id first in {index}"
        for index, _, first in unique
        if first != "tenant_id" and index.removeprefix("rosterhub.") not in NOT_BY_TENANT
    ]
    return lacks


def test_every_table_of_a_tenant_is_protected(admin: Admin, tenant_tables: list[str]) -> None:
    assert len(tenant_tables) == 2 * len(ROSTERING) + 38
    assert {table: unprotected(admin, table) for table in tenant_tables} == {
        table: [] for table in tenant_tables
    }


def test_a_planted_table_is_noticed(admin: Admin) -> None:
    admin.execute("create table planted (tenant_id integer, id integer unique)")
    assert unprotected(admin, "planted") == [
        "row-level security, forced",
        "an owner that nobody serves as",
        "the policy",
        "a primary key",
        "tenant_id first in planted_id_key",
    ]


def test_a_weakened_policy_is_noticed(admin: Admin) -> None:
    admin.execute("alter policy tenant on orgs using (true)")
    assert unprotected(admin, "orgs") == ["the policy"]
    admin.execute("alter table users no force row level security")
    assert unprotected(admin, "users") == ["row-level security, forced"]


def test_only_named_tables_have_no_tenant(admin: Admin, tenant_tables: list[str]) -> None:
    found = admin.execute(
        "select relname from pg_class where relnamespace = 'rosterhub'::regnamespace"
        " and relkind in ('r', 'p', 'v', 'm', 'f')"
    )
    assert {name for (name,) in found} - {*tenant_tables} == WITHOUT_TENANT


def test_every_exception_exists(admin: Admin) -> None:
    for index in NOT_BY_TENANT:
        assert admin.execute("select to_regclass(%s)::text", [f"rosterhub.{index}"]).fetchone()


@pytest.mark.parametrize("role", ["rosterhub_app", "rosterhub_control"])
def test_a_serving_role_owns_nothing_and_is_bound_by_everything(admin: Admin, role: str) -> None:
    facts = admin.execute(
        """
        select rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolcanlogin,
            exists (select from pg_class where relowner = r.oid),
            exists (select from pg_auth_members where member = r.oid),
            has_schema_privilege(r.oid, 'rosterhub', 'create')
        from pg_roles as r where rolname = %s
        """,
        [role],
    ).fetchone()
    assert facts == (False,) * 8


def test_nobody_truncates_and_the_public_may_nothing(admin: Admin) -> None:
    grants = admin.execute("""
        select c.relname, a.grantee::regrole::text, a.privilege_type
        from pg_class as c, aclexplode(c.relacl) as a
        where c.relnamespace = 'rosterhub'::regnamespace and c.relkind = 'r'
          and a.grantee <> c.relowner
    """).fetchall()
    assert grants
    for table, grantee, privilege in grants:
        assert grantee in ("rosterhub_app", "rosterhub_control"), table
        assert privilege in ("SELECT", "INSERT", "UPDATE", "DELETE"), table


def test_the_control_role_reads_only_what_knows_no_tenant_yet(
    admin: Admin, tenant_tables: list[str]
) -> None:
    readable = admin.execute("""
        select c.relname, a.attname from pg_class as c
        join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relnamespace = 'rosterhub'::regnamespace and c.relkind in ('r', 'v', 'm', 'p')
          and has_column_privilege('rosterhub_control', c.oid, a.attnum, 'select')
    """).fetchall()
    assert {table for table, _ in readable} == {*CONTROL_READS}
    for table, columns in CONTROL_READS.items():
        if columns is not None:
            assert {column for of, column in readable if of == table} == columns
    assert {*CONTROL_READS} - {"admin_keys"} <= {*tenant_tables}

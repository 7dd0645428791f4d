"""The audit, looked through from its first entry to its last, beside the hub.

Entries come from the database, as its owner sees them: all districts, in one snapshot. Their heads
come from the object store, and the secret says whether the hub has written them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

import psycopg
from obstore.store import ObjectStore
from psycopg.rows import dict_row

from schemas.audit import Key, Link
from schemas.evidence import Evidence, Verdict, judged
from schemas.secrets import Vault
from workers.heads import Heads

AT_A_TIME = 5000  # entries from the server

EVERYTHING = "select * from rosterhub.audit order by tenant_id, chain, seq"
TOLD = "select tenant_id, chain::text, seq, hash from rosterhub.audit_chains"


def heard(store: ObjectStore, vault: Vault) -> Evidence:
    """What the documents of heads say."""
    evidence = Evidence(vault)
    for number, data in Heads(store, vault).all():
        evidence.hear(number, data)
    return evidence


def verified(connection: psycopg.Connection, evidence: Evidence) -> Verdict:
    """What is wrong with the audit; heads were heard before, so the entries are not older."""
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    with connection.transaction():
        connection.execute("set local role rosterhub_owner")
        return looked_through(connection, evidence)


def looked_through(connection: psycopg.Connection, evidence: Evidence) -> Verdict:
    """The same inside of a transaction as the owner."""
    told: dict[Key, Link] = {
        (tenant_id, chain): Link(seq, link)
        for tenant_id, chain, seq, link in connection.execute(TOLD)
    }
    with connection.cursor("audit", row_factory=dict_row) as rows:
        rows.itersize = AT_A_TIME
        rows.execute(EVERYTHING)
        return judged(rows, told, evidence, datetime.now(UTC))


def districts(connection: psycopg.Connection) -> Mapping[int, str]:
    """What people call the tenants."""
    with connection.transaction():
        connection.execute("set local role rosterhub_control")
        return dict(connection.execute("select tenant_id, id from rosterhub.districts").fetchall())

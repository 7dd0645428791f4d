"""Administrators' keys, made beside the hub: the first one of an installation has no other origin.

Only the keyed hash is stored, by the role that may; a lost key is replaced, never recovered.
"""

from datetime import datetime

import psycopg

from schemas.secrets import ApiKey, Vault, new_key, parse_key

DAYS = 365


def create_admin_key(
    connection: psycopg.Connection, secret_key: str, *, label: str, days: int = DAYS
) -> tuple[ApiKey, datetime]:
    """A new key and when it expires."""
    key = new_key("admin")
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("set local role rosterhub_control")
        [(expires_at,)] = cursor.execute(
            "insert into rosterhub.admin_keys (id, hash, label, expires_at)"
            " values (%s, %s, %s, now() + make_interval(days => %s)) returning expires_at",
            [key.id, Vault(secret_key).hash(key), label, days],
        ).fetchall()
    return key, expires_at


def is_valid_admin_key(connection: psycopg.Connection, secret_key: str, text: str) -> bool:
    """Whether this very key would be let in for another day."""
    key = parse_key(text)
    if key is None or key.kind != "admin":
        return False
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("set local role rosterhub_control")
        found = cursor.execute(
            "select hash from rosterhub.admin_keys"
            " where id = %s and revoked_at is null and expires_at > now() + interval '1 day'",
            [key.id],
        ).fetchone()
    return found is not None and Vault(secret_key).verifies(key, found[0])

"""The limit that imports are measured against: a plain COPY of the same text.

The CSV text of the package goes, unchecked, into empty copies of the roster tables that have the
same columns, constraints and indexes. List columns are plain text in the copies, for COPY does not
split lists, and columns that the hub does not store are added as text: both spare the COPY work.
"""

import time
import zipfile
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier

from schemas.columns import Choices, Pairs, Refs, Texts
from schemas.profiles import PROFILES, Profile
from schemas.roster import ROSTERING, AnyEntity

PIECE = 1 << 20


def copy_seconds(database_url: str, package: Path, profile: str) -> float:
    """Seconds of one COPY per file, commits included."""
    with psycopg.connect(database_url, autocommit=True) as db, zipfile.ZipFile(package) as archive:
        texts = {entity: archive.read(f"{entity.file}.csv") for entity in ROSTERING}
        db.execute("drop schema if exists plain cascade")
        db.execute("create schema plain")
        for entity in ROSTERING:
            create_copy(db, entity, PROFILES[profile])
        db.execute("checkpoint")
        start = time.perf_counter()
        for entity, text in texts.items():
            copy(db, entity, PROFILES[profile], memoryview(text))
        seconds = time.perf_counter() - start
        db.execute("drop schema plain cascade")
    return seconds


def create_copy(db: psycopg.Connection, entity: AnyEntity, profile: Profile) -> None:
    """An empty table like the entity's, with its indexes, that takes the text of the file."""
    table = Identifier("plain", entity.table)
    live = Identifier("rosterhub", entity.table)
    db.execute(
        SQL("create table {} (like {} including constraints including indexes)").format(table, live)
    )
    db.execute(
        SQL(
            "alter table {} alter tenant_id set default 1, alter version set default 1,"
            " alter created_version set default 1, alter status drop not null,"
            " alter digest set default '00000000-0000-0000-0000-000000000000'"
        ).format(table)
    )
    for column in profile.columns(entity):
        name = Identifier(column.name)
        if not column.stored:
            db.execute(SQL("alter table {} add {} text").format(table, name))
        elif isinstance(column, Texts | Pairs | Choices | Refs):
            db.execute(SQL("alter table {} alter {} type text").format(table, name))


def copy(db: psycopg.Connection, entity: AnyEntity, profile: Profile, text: memoryview) -> None:
    """COPY the file; a blank value is null, quoted or not."""
    columns = SQL(", ").join(Identifier(column.name) for column in profile.columns(entity))
    statement = SQL("copy {} ({}) from stdin (format csv, header, force_null ({}))").format(
        Identifier("plain", entity.table), columns, columns
    )
    with db.cursor().copy(statement) as stream:
        for start in range(0, len(text), PIECE):
            stream.write(text[start : start + PIECE])

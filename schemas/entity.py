"""An entity: one declaration that CSV, checks, merge, REST and the DDL check follow."""

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, ClassVar, cast

from schemas.checks import AnyCheck
from schemas.columns import AnyColumn, Choice, Column, Instant, Key, Ref, Refs

SERVICES = ("Rostering", "Gradebook", "Resources")


def camel(name: str) -> str:
    """`date_last_modified` -> `dateLastModified`."""
    head, *tail = name.rstrip("_").split("_")
    return head + "".join(word.title() for word in tail)


def snake(name: str) -> str:
    """`academicSessions` -> `academic_sessions`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


class Entity:
    """One data file of the CSV binding.

    Columns are class attributes; the order of the class body is the mandatory order of the file.
    `file` is the name without `.csv`, `rest` the REST class that the columns feed, `noun` the
    singular that JSON wrappers and references use, `service` the OneRoster service it belongs to,
    `kept` whether its records are stored (the other services are declared and checked so far).
    `checks` are what the binding asks of a row beyond the kinds of its columns.
    """

    file: ClassVar[str]
    table: ClassVar[str]
    rest: ClassVar[str]
    noun: ClassVar[str]
    service: ClassVar[str]
    kept: ClassVar[bool]
    columns: ClassVar[tuple[AnyColumn, ...]] = ()
    checks: ClassVar[tuple[AnyCheck, ...]] = ()

    sourced_id = Key(
        required=True, doc="Identifier given by the source system; unique in the file."
    )
    status = Choice(
        words=("active", "tobedeleted"), doc="State of the record; MUST be blank in bulk."
    )
    date_last_modified = Instant(
        stored=False, doc="Last change at the source, UTC; MUST be blank in bulk."
    )

    def __init_subclass__(
        cls, *, file: str, rest: str, noun: str = "", service: str = "Rostering"
    ) -> None:
        super().__init_subclass__()
        cls.file, cls.table, cls.rest, cls.service = file, snake(file), rest, service
        cls.kept = service == "Rostering"
        cls.noun = noun or rest[:1].lower() + rest[1:]
        own = {**vars(Entity), **vars(cls)}
        for attribute, column in own.items():
            if isinstance(column, Column):
                setattr(cls, attribute, named(column, cls.table, attribute))
        names = {id(value): getattr(cls, attribute) for attribute, value in own.items()}
        cls.checks = tuple(bound(check, names) for check in cls.checks)
        cls.columns = tuple(
            cast("AnyColumn", getattr(cls, attribute))
            for attribute, column in own.items()
            if isinstance(column, Column)
        )

    @classmethod
    def stored(cls) -> tuple[AnyColumn, ...]:
        """The columns that the table keeps, in order."""
        return tuple(column for column in cls.columns if column.stored)

    @classmethod
    def references(cls) -> tuple[Key | Ref | Refs, ...]:
        """The columns that point at records."""
        return tuple(c for c in cls.columns if isinstance(c, Key | Ref | Refs) and c.to)


def named(column: Column, table: str, attribute: str) -> Column:
    """Fill in the blank names from the attribute the column was assigned to."""
    csv = column.csv or camel(attribute)
    json = column.json
    if json == "":
        json = json_name(column, csv)
    return replace(column, entity=table, name=attribute.rstrip("_"), csv=csv, json=json)


def bound(check: AnyCheck, names: Mapping[int, Column]) -> AnyCheck:
    """The check on the named columns; the body of a class only knows them without a name."""
    said = ((field.name, getattr(check, field.name)) for field in fields(check))
    columns = {name: names[id(value)] for name, value in said if isinstance(value, Column)}
    return replace(check, **cast("dict[str, Any]", columns))


def json_name(column: Column, csv: str) -> str:
    """`classSourcedId` -> `class`, `termSourcedIds` -> `terms`, everything else as in CSV."""
    match column:
        case Ref():
            return csv.removesuffix("SourcedId")
        case Refs():
            return csv.removesuffix("SourcedIds") + "s"
        case _:
            return csv

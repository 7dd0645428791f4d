"""The header row: which column stands where, and whether that is as the binding says.

Every defined column is present and in order; to its right stand only `metadata.…` columns, in any
order (CSV binding 3). Known ones are matched without regard to case, for their spelling differs
between profiles; unknown ones are kept as they are.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.limits import Limits
from schemas import rules
from schemas.columns import AnyColumn, Column
from schemas.profiles import SPELLINGS, Profile
from schemas.roster import AnyEntity
from schemas.roster.people import User
from schemas.rules import Finding

METADATA = "metadata."


@dataclass(frozen=True, slots=True)
class Layout:
    """What each position of a file holds.

    `names` are the frame's columns in file order: a declared column by its name in the table, an
    unknown one as it is spelled; `header` are the same as the file spells them; `columns` are the
    declared ones among them, `unknown` the others.
    """

    header: tuple[str, ...]
    names: tuple[str, ...]
    columns: tuple[AnyColumn, ...]
    unknown: tuple[str, ...]


def split(text: str) -> tuple[str, ...]:
    """The cells of a header row, or none where its quotes are broken."""
    try:
        return tuple(next(csv.reader([text], strict=True), []))
    except csv.Error:
        return ()


def defined(entity: AnyEntity, header: tuple[str, ...]) -> tuple[AnyColumn, ...]:
    """The columns that must stand first; resourceSourcedIds only where a 1.2 file has it."""
    legacy = User.resource_sourced_ids
    return tuple(
        column
        for column in entity.columns
        if not column.extension and (column != legacy or legacy.csv in header)
    )


def layout(entity: AnyEntity, header: tuple[str, ...]) -> Layout:
    """The layout of a header without errors."""
    base = defined(entity, header)
    known = {column.csv: column for column in base}
    found = {name: known.get(name) or extension(entity, name) for name in header}
    return Layout(
        header=header,
        names=tuple(column.name if (column := found[name]) else name for name in header),
        columns=tuple(column for column in found.values() if column),
        unknown=tuple(name for name in header if found[name] is None),
    )


def extension(entity: AnyEntity, name: str) -> AnyColumn | None:
    """The declared extension column that a header spells, if any."""
    column: Column | None = SPELLINGS.get(name.lower())
    return next((own for own in entity.columns if own == column), None)


def check(entity: AnyEntity, header: tuple[str, ...], limits: Limits) -> Iterator[Finding]:
    """What is wrong with the header; nothing means `layout` holds."""
    file = f"{entity.file}.csv"
    if len(header) > limits.columns_max:
        facts = {"limit": limits.columns_max}
        yield Finding(rule=rules.header.HEADER_COLUMNS, file=file, line=1, facts=facts)
        return
    yield from doubled(entity, header, file)
    expected = [column.csv for column in defined(entity, header)]
    for name in header:
        if name not in expected and not name.startswith(METADATA):
            yield Finding(rule=rules.header.HEADER_UNKNOWN, file=file, line=1, column=name[:200])
    missing = [name for name in expected if name not in header]
    for name in missing:
        yield Finding(rule=rules.header.HEADER_MISSING, file=file, line=1, column=name)
    if not missing:
        yield from misplaced(expected, header, file)


def doubled(entity: AnyEntity, header: tuple[str, ...], file: str) -> Iterator[Finding]:
    """Columns that occur twice, also in two spellings of one extension column."""
    seen: set[object] = set()
    for name in header:
        key: object = extension(entity, name) or name
        if key in seen:
            yield Finding(rule=rules.header.HEADER_DUPLICATE, file=file, line=1, column=name[:200])
        seen.add(key)


def misplaced(expected: list[str], header: tuple[str, ...], file: str) -> Iterator[Finding]:
    """Defined columns that do not stand where the binding puts them."""
    for position, name in enumerate(expected, start=1):
        found = header.index(name) + 1
        if found != position:
            facts = {"found": found, "expected": position}
            yield Finding(
                rule=rules.header.HEADER_ORDER, file=file, line=1, column=name, facts=facts
            )


def spelling(entity: AnyEntity, header: tuple[str, ...], profile: Profile) -> Iterator[Finding]:
    """Extension columns of the profile that it spells in another way."""
    own = profile.columns(entity)
    for name in header:
        if (column := extension(entity, name)) and column in own:
            expected = profile.spelling.get(column, column.csv)
            if name != expected:
                facts = {"expected": expected}
                file = f"{entity.file}.csv"
                yield Finding(
                    rule=rules.header.HEADER_SPELLING, file=file, line=1, column=name, facts=facts
                )


def against(entity: AnyEntity, header: tuple[str, ...], profile: Profile) -> Iterator[Finding]:
    """Where a header is that of another profile; extension columns are free in every one."""
    file, facts = f"{entity.file}.csv", {"profile": profile.name}
    own, has = profile.columns(entity), layout(entity, header).columns
    for column in has:
        if column not in own and not column.extension:
            rule = rules.header.NOT_IN_PROFILE
            yield Finding(rule=rule, file=file, line=1, column=column.csv, facts=facts)
    for column in own:
        needed = column in profile.required
        if column not in has and (needed or not column.extension):
            rule = rules.header.REQUIRED_BY_PROFILE if needed else rules.header.LACKS_OF_PROFILE
            name = profile.spelling.get(column, column.csv)
            yield Finding(rule=rule, file=file, line=1, column=name, facts=facts)

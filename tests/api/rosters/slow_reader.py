"""A reader that knows nothing of SQL: what a filter means, by the JSON that everybody gets."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from pyuca import Collator  # type: ignore[import-untyped]

from api.rosters.filters import Clause, Predicate
from api.rosters.folding import fold
from schemas.rest.properties import PROPERTIES, Never
from schemas.roster import AnyEntity
from tests.api.rosters.conftest import Json

PREDICATES: tuple[Predicate, ...] = ("=", "!=", ">", ">=", "<", "<=", "~")
DAYS = {"beginDate", "endDate", "startDate", "birthDate"}
FLAGS = {"enabledUser", "primary", "asian", "white", "specialNeeds", "publicFlg"}
FLAGS |= {"americanIndianOrAlaskaNative", "blackOrAfricanAmerican", "hispanicOrLatinoEthnicity"}
FLAGS |= {"nativeHawaiianOrOtherPacificIslander", "demographicRaceTwoOrMoreRaces"}
NUMBERS = {"shussekiNo"}
IDENTIFIERS = {"sourcedId", "homeClass"}
PLAIN_LISTS = {"grades", "subjects", "subjectCodes", "periods"}
LISTS = {"userIds", "agents", "resources", "terms", "children"}
UNDECLARED = ("metadata.jp.kanaNickname", "metadata.vendor", "metadata.vendor.id", "metadata.no")

collator = cache(Collator)


class Refused(Exception):
    """A value of the wrong kind, or an order that there is none of."""


def values_at(found: object, path: str) -> Iterator[Any]:
    """What stands at a path; a list is each of its items, unless it is the value itself."""
    if isinstance(found, list):
        for item in found:
            yield from values_at(item, path)
    elif isinstance(found, dict):
        if path in found:
            value = found[path]
            nested = isinstance(value, list) and value and isinstance(value[0], dict)
            if not isinstance(value, dict) and not nested:
                yield value
        first, _, rest = path.partition(".")
        if rest and first in found:
            yield from values_at(found[first], rest)


def instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Refused from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def comparable(name: str, text: str) -> Any:  # noqa: ANN401 -- what Python can order
    """A value of JSON or of a filter, by what its field is."""
    if name in DAYS or name == "dateLastModified":
        return instant(text)
    if name in FLAGS:
        if text.lower() not in ("true", "false"):
            raise Refused
        return text.lower()
    if name in NUMBERS:
        if not re.fullmatch(r"-?\d+(\.\d+)?", text):
            raise Refused
        return float(text)
    return fold(text)


def ordered(name: str, text: str) -> Any:  # noqa: ANN401 -- what Python can order
    if name in DAYS | FLAGS | NUMBERS | {"dateLastModified"}:
        return comparable(name, text)
    return text.encode() if name in IDENTIFIERS else collator().sort_key(fold(text))


ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
}


def passes(record: Json, clause: Clause) -> bool:
    """Whether a record meets a clause."""
    if clause.predicate == "!=":
        return not passes(record, Clause(clause.path, "=", clause.value))
    names = clause.path.split(".")
    in_order = clause.predicate in ORDERS
    if in_order and (names[0] in LISTS or names[0] in PLAIN_LISTS):
        raise Refused
    if names[0] in PLAIN_LISTS:
        wanted = {fold(value) for value in clause.value.split(",")}
        found = {fold(value) for value in record.get(names[0], [])}
        return bool(wanted & found) if clause.predicate == "~" else wanted == found
    values = [str(value) for value in values_at(record, clause.path)]
    name = names[-1]
    if clause.predicate == "~":
        return any(fold(clause.value) in fold(value) for value in values)
    if in_order:
        by = ORDERS[clause.predicate]
        bound = ordered(name, clause.value)
        return any(by(ordered(name, value), bound) for value in values)
    bound = comparable(name, clause.value)
    return any(comparable(name, value) == bound for value in values)


def expected(
    entity: AnyEntity, records: list[Json], groups: list[list[Clause]]
) -> list[str] | None:
    """The identifiers of those that pass; None: the filter is to be refused."""
    # What no record has is compared with anything, and found unlike.
    groups = [
        [replace(c, path="none") if PROPERTIES[entity].get(c.path) == Never() else c for c in group]
        for group in groups
    ]
    try:
        for group in groups:
            for clause in group:
                passes({}, clause)
        return [
            record["sourcedId"]
            for record in records
            if any(all(passes(record, clause) for clause in group) for group in groups)
        ]
    except Refused:
        return None


def written(groups: list[list[Clause]]) -> str:
    return " OR ".join(
        " AND ".join(
            f"{clause.path}{clause.predicate}'{clause.value.replace(chr(39), chr(39) * 2)}'"
            for clause in group
        )
        for group in groups
    )


def paths_of(entity: AnyEntity) -> tuple[str, ...]:
    return (*PROPERTIES[entity], *UNDECLARED)

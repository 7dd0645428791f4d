"""What may be kept of a query: its structure and the names of fields, never a value of a record.

Only names that are declared somewhere are kept; whatever else a client wrote is an asterisk or left
out. Of a request that was refused nothing is known to be a name, so less is kept of it.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qs

from schemas.columns import AnyColumn, Pairs
from schemas.roster import BINDING

MASK = "*"
LONGEST = 2000  # signs of a parameter that are looked at
CONDITION = re.compile(
    r"(?P<name>[A-Za-z][A-Za-z0-9_.]*)\s*(?P<sign>!=|>=|<=|=|>|<|~)\s*(?:'(?:[^']|'')*'|[^\s']+)"
    r"|\b(?P<word>and|or)\b",
    re.IGNORECASE,
)
OF_OBJECTS = ("roles", "userProfiles", "children", "parent", "metadata", "href", "type", "profiles")
OF_1_1 = ("role", "org", "orgs", "userId", "username", "birthdate", "classCode", "enabledUser")
PAGE: Mapping[str, re.Pattern[str]] = {
    "limit": re.compile(r"[0-9]{1,10}"),
    "offset": re.compile(r"[0-9]{1,10}"),
    "orderBy": re.compile(r"(?i:asc|desc)"),
    "asOf": re.compile(
        r"[0-9]{1,18}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{5,15}(?:Z|[+ -][0-9:]{4,6})"
    ),
}
"""What says which part of a list was read; `sort` is looked at apart."""


def parts_of_names(column: AnyColumn) -> list[str]:
    """The names of a column in JSON and in files, between their dots."""
    halves = [column.left, column.right] if isinstance(column, Pairs) else []
    return [*(column.json or "").split("."), *column.csv.split("."), *halves]


KNOWN = frozenset(
    {part for entity in BINDING for column in entity.columns for part in parts_of_names(column)}
    | {*OF_OBJECTS, *OF_1_1}
) - {""}


class Asked(NamedTuple):
    """What was asked for beside the path."""

    filter: str | None
    fields: str | None
    page: str | None


NOTHING = Asked(None, None, None)


@lru_cache(4096)
def asked(query: str, *, answered: bool) -> Asked:
    """What may be kept of a query."""
    try:
        given = {name: values[-1][:LONGEST] for name, values in parse_qs(query).items()}
    except ValueError:  # more parameters than anybody needs
        return NOTHING
    filter_, fields = given.get("filter"), given.get("fields")
    return Asked(
        filter_ and (structure(filter_) if answered else MASK),
        fields and ",".join(name(each.strip()) for each in fields.split(",")),
        page(given) or None,
    )


def structure(text: str) -> str:
    """`familyName='山田' AND status='active'` as `familyName='*' and status='*'`."""
    return " ".join(condition(match) for match in CONDITION.finditer(text)) or MASK


def condition(match: re.Match[str]) -> str:
    """A comparison without its value, or the word between two."""
    if match["word"]:
        return match["word"].lower()
    return f"{name(match['name'])}{match['sign']}'{MASK}'"


def name(text: str) -> str:
    """The name of a field, if it is one."""
    return text if text and KNOWN.issuperset(text.split(".")) else MASK


def page(given: Mapping[str, str]) -> str:
    """Which part of a list, in which order."""
    said = {key: given[key] for key, form in PAGE.items() if form.fullmatch(given.get(key, ""))}
    if sort := given.get("sort"):
        said["sort"] = name(sort)
    return "&".join(f"{key}={value}" for key, value in said.items())

"""A stored record as the JSON object of its REST class.

Values that are empty are left out, except those that REST requires. A user carries roles and
profiles, which are files of their own in CSV, or what 1.1 has instead: one role, and orgs. Orgs and
sessions list their children.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple, TypeAlias

from schemas.columns import AnyColumn
from schemas.rest.editions import ONE_TWO, Edition
from schemas.rest.faces import Face, face, profile_uri, reference, target
from schemas.rest.instants import instant
from schemas.roster import AnyEntity
from schemas.roster.orgs import AcademicSession, Org
from schemas.roster.people import Role, User, UserProfile

Row: TypeAlias = Mapping[str, Any]
Json: TypeAlias = dict[str, Any]

ALWAYS: Final = ONE_TWO.always
"""REST requires these; CSV may leave them empty and erasure may wipe them. They are sent as ""."""

PARENTS: Final[tuple[AnyEntity, ...]] = (Org, AcademicSession)
"""Records that list their children."""

BEFORE = ("sourcedId", "status", "dateLastModified")
METADATA = "metadata"


class Property(NamedTuple):
    """A column on its way into an object; `face` is None where the value is JSON as it is."""

    column: str
    name: str
    face: Face | None
    always: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """What a class of objects is made of."""

    properties: tuple[Property, ...]
    extensions: tuple[Property, ...]

    def of(self, row: Row) -> Json:
        """The properties that have a value."""
        body: Json = {}
        for column, name, shown, always in self.properties:
            value = row[column]
            if value or (value is not None and value != []):  # most have one, and so it is faster
                if shown is None:
                    body[name] = value
                elif (said := shown(value)) is not None:
                    body[name] = said
            elif always:
                body[name] = ""
        return body

    def metadata(self, row: Row) -> Json:
        """Declared extensions and unknown metadata columns, nested at dots."""
        unknown = row[METADATA]
        flat = {name: value for name, value in unknown.items() if value} if unknown else {}
        for column, name, shown, _ in self.extensions:
            value = row[column]
            if value is not None:
                flat[name] = value if shown is None else shown(value)
        return nested(flat) if flat else flat


def shape(columns: Iterable[AnyColumn], base: str, edition: Edition = ONE_TWO) -> Shape:
    """The shape of objects with these columns."""
    said = [c for c in columns if c.json is not None and c not in edition.unknown]
    return Shape(
        properties=tuple(prop(column, base, edition) for column in said if not column.extension),
        extensions=tuple(prop(column, base, edition) for column in said if column.extension),
    )


def prop(column: AnyColumn, base: str, edition: Edition = ONE_TWO) -> Property:
    """A column with its face."""
    name = str(column.json).removeprefix(f"{METADATA}.")
    shown = face(column, base, edition)
    return Property(
        column.name, name, None if shown in AS_IT_IS else shown, column in edition.always
    )


AS_IT_IS = (str, list, int)
"""Faces of values that have this type already."""


def nested(flat: Mapping[str, Any]) -> Json:
    """`{"jp.kana": "…"}` as `{"jp": {"kana": "…"}}`.

    Where a name is both a value and a branch, the longer name stays flat, so that both are kept.
    """
    tree: Json = {}
    for name, branches, leaf in places(tuple(flat)):
        place = tree
        for branch in branches:
            place = place.setdefault(branch, {})
        place[leaf] = flat[name]
    return tree


@lru_cache(maxsize=4096)  # records of a district have the same names
def places(names: tuple[str, ...]) -> tuple[tuple[str, tuple[str, ...], str], ...]:
    """Where each name stands: behind which branches, as which leaf."""
    leaves: set[tuple[str, ...]] = set()
    found = []
    for name in sorted(names, key=lambda name: (name.count("."), name)):
        *branches, leaf = name.split(".")
        if any(tuple(branches[:end]) in leaves for end in range(1, len(branches) + 1)):
            branches, leaf = [], name
        leaves.add((*branches, leaf))
        found.append((name, tuple(branches), leaf))
    return tuple(found)


class Records:
    """Writes the objects of one entity."""

    def __init__(self, entity: AnyEntity, base: str, edition: Edition = ONE_TWO) -> None:
        self.entity = entity
        self._edition = edition
        self._org = partial(reference, *target(Org.file, base, edition))
        self._shape = shape(entity.stored(), base, edition)
        self._role = shape(part_columns(Role), base)
        whole = shape(part_columns(UserProfile), base)
        inner = [item for item in whole.properties if item.name.startswith(CREDENTIALS)]
        self._profile = Shape(tuple(item for item in whole.properties if item not in inner), ())
        self._credential = Shape(
            tuple(item._replace(name=item.name.removeprefix(CREDENTIALS)) for item in inner), ()
        )
        self._address, self._noun = target(entity.file, base, edition)

    @property
    def names(self) -> tuple[str, ...]:
        """Every top-level property that an object may have."""
        own = [item.name for item in self._shape.properties]
        related = ["children"] if self.has_children else [*parts_of(self._edition)]
        return (
            *BEFORE,
            METADATA,
            *(name for name in own if name not in BEFORE),
            *(related if self.has_children or self.has_parts else []),
        )

    @property
    def has_children(self) -> bool:
        """Whether objects list their children."""
        return self.entity in PARENTS

    @property
    def has_parts(self) -> bool:
        """Whether objects carry roles and profiles."""
        return self.entity is User

    def write(self, row: Row, related: "Related") -> Json:
        """The object of a row."""
        own = self._shape.of(row)
        body: Json = {
            "sourcedId": own.pop("sourcedId"),
            "status": own.pop("status"),
            "dateLastModified": instant(row["published_at"]),
        }
        if metadata := self._shape.metadata(row):
            body[METADATA] = metadata
        return body | own | self._related(row, related)

    def _related(self, row: Row, related: "Related") -> Json:
        sourced_id = row["sourced_id"]
        if self.has_children:
            children = related.children.get(sourced_id, [])
            refs = [reference(self._address, self._noun, child) for child in children]
            return {"children": refs} if refs else {}
        if self.has_parts and self._edition.one_role:
            return self._one_role(row, last_had(row, related.roles))
        if self.has_parts:
            roles = [self._role.of(part) for part in last_had(row, related.roles)]
            profiles = [self._written_profile(part) for part in last_had(row, related.profiles)]
            # REST wants at least one role; a user without any says so with an empty list.
            return {"roles": roles} | ({"userProfiles": profiles} if profiles else {})
        return {}

    def _one_role(self, user: Row, roles: Sequence[Row]) -> Json:
        """The first of the roles, and every org of them."""
        words = self._edition.vocabularies[Role.role]
        primary = user[User.primary_org_sourced_id.name]

        def place(part: Row) -> tuple[bool, bool, bool, int]:
            rank = words.rank(part["role"])
            unknown, elsewhere = rank == len(words.words), part["org_sourced_id"] != primary
            return unknown, elsewhere, part["role_type"] != "primary", rank

        ordered = sorted(roles, key=place)
        orgs = dict.fromkeys([primary, *(part["org_sourced_id"] for part in ordered)])
        return {
            "role": words.of(ordered[0]["role"]) if ordered else words.other,
            "orgs": [self._org(org) for org in orgs if org is not None],
        }

    def _written_profile(self, part: Row) -> Json:
        body = {"profileId": profile_uri(part["sourced_id"])} | self._profile.of(part)
        return body | {"credentials": [self._credential.of(part)]}


def parts_of(edition: Edition) -> tuple[str, str]:
    """Under which names users show what they are elsewhere."""
    return ("role", "orgs") if edition.one_role else ("roles", "userProfiles")


CREDENTIALS = "credentials."


@dataclass(frozen=True, slots=True)
class Related:
    """What stands in other rows, by the sourcedId it belongs to."""

    children: Mapping[str, Sequence[str]]
    roles: Mapping[str, Sequence[Row]]
    profiles: Mapping[str, Sequence[Row]]


def part_columns(part: AnyEntity) -> list[AnyColumn]:
    """A part has neither identifier nor status of its own in JSON, and no metadata."""
    hidden = ("sourced_id", "status")
    return [c for c in part.stored() if c.name not in hidden and not c.extension]


def last_had(user: Row, parts: Mapping[str, Sequence[Row]]) -> Sequence[Row]:
    """The living parts; of a deleted user also those that went with it."""
    return [
        part
        for part in parts.get(user["sourced_id"], ())
        if part["status"] == "active"
        or (user["status"] != "active" and part["version"] >= user["version"])
    ]

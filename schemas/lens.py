"""A lens: what one client sees of its district, and what it does not.

Kept with the client, changed by an administrator. An empty lens sees every record of every school,
without the fields that have to be granted: whoever asks for nothing gets nothing personal beyond
what a class list needs. A district's own key has no lens and sees all.

`schemas.visibility` says in SQL which records and references a lens shows, `schemas.pseudonyms`
what stands in for a real identifier or name.
"""

import hashlib
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, Literal, Self, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, model_validator

from schemas.columns import AnyColumn, Column
from schemas.roster import BY_FILE, BY_TABLE, AnyEntity
from schemas.roster.orgs import AcademicSession, Org
from schemas.roster.people import Demographics, Role, User, UserProfile
from schemas.roster.teaching import Enrollment

Served: TypeAlias = Literal[
    "orgs", "academicSessions", "courses", "classes", "users", "demographics", "enrollments"
]
"""The collections of REST. Roles and profiles are parts of their users and go with them."""

Group: TypeAlias = Literal["agents", "demographics", "email", "identifiers", "phone"]
"""Fields that are granted together."""

Disguise: TypeAlias = Literal["sourcedIds", "names"]
"""What pseudonyms stand in for."""

GROUPS: Mapping[Group, tuple[AnyColumn, ...]] = {
    "agents": (User.agent_sourced_ids,),
    "demographics": Demographics.columns,
    "email": (User.email,),
    "identifiers": (
        User.identifier,
        User.user_ids,
        User.user_master_identifier,
        UserProfile.username,
        UserProfile.description,
    ),
    "phone": (User.phone, User.sms),
}
"""The columns that no client sees unless their group is granted. Passwords are not stored at all;
orgs keep their identifiers, which are school codes."""

GROUP_OF: Mapping[Column, Group] = {
    column: group for group, columns in GROUPS.items() for column in columns
}

FRAME: tuple[AnyEntity, ...] = (Org, AcademicSession)
"""What everything else hangs on, and nobody's personal data: no list of entities leaves it out."""

PEOPLE: tuple[AnyEntity, ...] = (User, UserProfile, Role, Demographics, Enrollment)
"""Records about a person: pseudonyms stand in for these identifiers, and metadata of these records,
which may hold anything, is left out beside pseudonyms."""

EXTENSION = "ext:"

Listed = PlainSerializer(sorted, return_type=list[str])
Word: TypeAlias = Annotated[str, Field(min_length=1, max_length=255, pattern="^[^\\u0000]+$")]
Some: TypeAlias = Annotated[frozenset[Word], Field(max_length=10_000), Listed]


class Lens(BaseModel):
    """What a client sees. A list that is not given limits nothing; an empty one leaves nothing.

    `schools` are sourcedIds of orgs, of whatever type. `grades` leave records without grades alone,
    students excepted: of a student without a grade nobody knows whether he belongs here. `roles`
    are those of people at a school and in a class. `entities` are the collections that may be seen,
    `fields` the groups that are granted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schools: Some | None = None
    grades: Some | None = None
    roles: Some | None = None
    entities: Annotated[frozenset[Served], Listed] | None = None
    fields: Annotated[frozenset[Group], Listed] = frozenset()
    pseudonyms: Annotated[frozenset[Disguise], Listed] = frozenset()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """An entity without what its records refer to would be an empty one: say so."""
        for name in sorted(self.entities or ()):
            lacking = sorted(needs(BY_FILE[name]) - (self.entities or frozenset()))
            if lacking:
                raise ValueError(f"{name} need {' and '.join(lacking)}")
        return self

    def includes(self, entity: AnyEntity) -> bool:
        """Whether the collection may be seen at all; parts go with their users."""
        if entity is Demographics and "demographics" not in self.fields:
            return False
        listed = self.entities is None or entity.file in self.entities
        return listed or entity in FRAME or entity not in SERVED

    def hides(self, column: Column) -> bool:
        """Whether a column is left out of every record."""
        if column.extension and self.hides_metadata(BY_TABLE[column.entity]):
            return True
        group = GROUP_OF.get(column)
        return group is not None and group not in self.fields

    def hides_metadata(self, entity: AnyEntity) -> bool:
        """Whether metadata is left out, for no one can say whom it names."""
        return bool(self.pseudonyms) and entity in PEOPLE

    @cached_property
    def words(self) -> list[str]:
        """The roles as records may have them: with and without `ext:`, a word is the same word."""
        plain = {word.removeprefix(EXTENSION) for word in self.roles or ()}
        return sorted(plain | {EXTENSION + word for word in plain})

    @cached_property
    def outline(self) -> "Lens":
        """Which limits there are, without their values: the SQL of a lens follows from these."""
        said = self.model_dump(exclude_none=True)
        return Lens.model_validate(said | {name: () for name in LISTS if name in said})

    @cached_property
    def fingerprint(self) -> str:
        """Equal for equal lenses. With pseudonyms two clients see different things all the same."""
        return hashlib.sha256(self.model_dump_json(exclude_defaults=True).encode()).hexdigest()


LISTS = ("schools", "grades", "roles")
"""The limits that a district fills with values of its own."""


SERVED: frozenset[AnyEntity] = frozenset(BY_FILE[name] for name in get_args(Served))

NAMES: Mapping[Column, str] = {
    User.given_name: "given",
    User.preferred_given_name: "given",
    User.middle_name: "middle",
    User.preferred_middle_name: "middle",
    User.family_name: "family",
    User.preferred_family_name: "family",
    User.username: "username",
    User.email: "username",
    UserProfile.username: "username",
}
"""The columns that spell a person's name, and of which part. Login names and e-mail addresses do so
more often than not."""


def needs(entity: AnyEntity) -> frozenset[str]:
    """The collections without which no record of this one could be seen."""
    wanted = {BY_FILE[column.to] for column in entity.references() if column.required}
    return frozenset(other.file for other in wanted - set(FRAME))


def hidden(entity: AnyEntity, lens: Lens | None) -> frozenset[str]:
    """The JSON properties that are never sent, and hence can be neither filtered nor sorted by."""
    if lens is None:
        return frozenset()
    metadata = frozenset({"metadata"} if lens.hides_metadata(entity) else ())
    return metadata | names(column for column in entity.columns if lens.hides(column))


def disguised(entity: AnyEntity, lens: Lens | None) -> frozenset[str]:
    """The JSON properties that pseudonyms of names stand in for: sent, but never compared.

    The order of the real names, or whether one of them matches, would tell what is concealed.
    """
    if lens is None or "names" not in lens.pseudonyms:
        return frozenset()
    return names(column for column in entity.columns if column in NAMES) - hidden(entity, lens)


def names(columns: Iterable[AnyColumn]) -> frozenset[str]:
    """The properties that columns feed."""
    return frozenset(column.json for column in columns if column.json is not None)

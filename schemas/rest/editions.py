"""The editions of OneRoster that the hub speaks: what 1.1 says otherwise than 1.2, in one place.

The declarations of the entities are those of 1.2. An edition says where records are read, which
columns have no property in it, which have to be there though they are empty, and what the words of
a closed vocabulary are. In 1.1 a user has one role and a list of orgs; in 1.2 it has roles, each at
an org.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from schemas.columns import Column
from schemas.roster.orgs import AcademicSession, Org
from schemas.roster.people import Demographics, Role, User, UserProfile
from schemas.roster.teaching import Class, Course, Enrollment

EXTENSION = "ext:"


@dataclass(frozen=True)
class Vocabulary:
    """A closed vocabulary: `words` are said as they are, `means` has words for words of 1.2.

    Any other word is said as `other`; None: nothing is said. Where one of several is chosen, the
    words are in the order of precedence.
    """

    words: tuple[str, ...]
    other: str | None
    means: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def said(self) -> Mapping[str, str]:
        """What every known word is called, by the ways in which it may be stored."""
        plain = {word: word for word in self.words} | dict(self.means)
        return plain | {EXTENSION + stored: word for stored, word in plain.items()}

    def of(self, stored: str) -> str | None:
        """What a stored word is called."""
        return self.said.get(stored, self.other)

    def stored(self, word: str) -> list[str] | None:
        """The stored words that are called so; None: they cannot be listed."""
        return None if word == self.other else [s for s, said in self.said.items() if said == word]

    def rank(self, stored: str) -> int:
        """The place of a word in the order of precedence; unknown ones come last."""
        word = self.said.get(stored)
        return len(self.words) if word is None else self.words.index(word)


@dataclass(frozen=True, eq=False)
class Edition:
    """One edition. `root` is the address of a service, `one_role` how users show what they do.

    `lenient`: an unknown name in `fields` or `sort` is answered with all, and with a warning.
    """

    name: str
    root: str
    always: frozenset[Column]
    unknown: frozenset[Column] = frozenset()
    vocabularies: Mapping[Column, Vocabulary] = field(default_factory=dict)
    one_role: bool = False
    lenient: bool = False

    def address(self, service: str) -> str:
        """Where the records of a service are read."""
        return self.root.format(service=service.lower())


ONE_TWO: Final = Edition(
    name="1.2",
    root="/ims/oneroster/{service}/v1p2",
    always=frozenset[Column](
        {Org.identifier, Course.course_code, User.given_name, User.family_name}
        | {UserProfile.username}
    ),
)

ROLES = Vocabulary(
    words=(
        *("teacher", "administrator", "student", "aide", "proctor"),
        *("guardian", "parent", "relative"),
    ),
    means={
        "districtAdministrator": "administrator",
        "siteAdministrator": "administrator",
        "systemAdministrator": "administrator",
        "principal": "administrator",
        "counselor": "aide",
    },
    other="relative",
)
"""`relative` opens least: nobody becomes staff because 1.1 has no word for them."""

ONE_ONE: Final = Edition(
    name="1.1",
    root="/ims/oneroster/v1p1",
    always=frozenset[Column](
        {Course.course_code, User.given_name, User.family_name, User.username}
    ),
    unknown=frozenset[Column](
        {
            User.user_master_identifier,
            User.preferred_given_name,
            User.preferred_middle_name,
            User.preferred_family_name,
            User.primary_org_sourced_id,
            User.pronouns,
            User.resource_sourced_ids,
        }
    ),
    vocabularies={
        Org.type: Vocabulary(
            ("department", "school", "district", "local", "state", "national"), other="local"
        ),
        AcademicSession.type: Vocabulary(
            ("gradingPeriod", "semester", "schoolYear", "term"), other="semester"
        ),
        Class.class_type: Vocabulary(("homeroom", "scheduled"), other="scheduled"),
        Enrollment.role: ROLES,
        Role.role: ROLES,
        Demographics.sex: Vocabulary(("male", "female"), other=None),
    },
    one_role=True,
    lenient=True,
)

EDITIONS: Final = (ONE_TWO, ONE_ONE)

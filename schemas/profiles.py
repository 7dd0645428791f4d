"""Profiles: what a file looks like, over what exists.

A profile lists the columns of each file in their order, spells the extension columns, and says
which values Japan requires or prohibits on top of the binding. Columns are named by reference,
so a typing mistake is an error. What Japan asks of values stands in `schemas.japan`. Sources: CSV
binding 1 and 8, Japan profile 2 to 6.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas import japan
from schemas.checks import AnyCheck
from schemas.columns import AnyColumn, Column
from schemas.roster import BINDING, AnyEntity
from schemas.roster.people import User
from schemas.roster.teaching import Enrollment

MANIFEST_VERSION = "1.0"
MANIFEST_HEADER = ("propertyName", "value")
MODES = ("absent", "bulk", "delta")
MANIFEST_ORDER = (
    *("academicSessions", "categories", "classes", "classResources", "courses"),
    *("courseResources", "demographics", "enrollments", "lineItemLearningObjectiveIds"),
    *("lineItems", "lineItemScoreScales", "orgs", "resources", "resultLearningObjectiveIds"),
    *("results", "resultScoreScales", "roles", "scoreScales", "userProfiles", "userResources"),
    "users",
)
"""The files as the binding lists them in its manifest (CSV binding 5); the order does not count."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One published layout of the package.

    `manifest` is the `oneroster.version` it writes, `accepts` what it reads; `without` are declared
    columns that its files do not have; `spelling` renames extension columns; `words` widens
    vocabularies and `only` narrows them. `quoted`: every value stands in quotes, blank ones too.
    `required` and `prohibited` come on top of the binding's own mandatory marks, `checks` on top of
    those of the entities. In the columns of `nulls` the word NULL is no value.
    """

    name: str
    manifest: str
    accepts: tuple[str, ...]
    without: frozenset[Column]
    spelling: Mapping[Column, str] = field(default_factory=dict)
    quoted: bool = False
    required_files: frozenset[str] = frozenset()
    unused_files: frozenset[str] = frozenset()
    required: frozenset[Column] = frozenset()
    prohibited: frozenset[Column] = frozenset()
    nulls: frozenset[Column] = frozenset()
    words: Mapping[Column, tuple[str, ...]] = field(default_factory=dict)
    only: Mapping[Column, tuple[str, ...]] = field(default_factory=dict)
    checks: tuple[AnyCheck, ...] = ()

    def columns(self, entity: AnyEntity) -> tuple[AnyColumn, ...]:
        """The columns of the file, in order."""
        return tuple(column for column in entity.columns if column not in self.without)

    def header(self, entity: AnyEntity) -> tuple[str, ...]:
        """The header row of the file, spelled as the profile writes it."""
        return tuple(self.spelling.get(column, column.csv) for column in self.columns(entity))


EXTENSIONS = frozenset(
    column for entity in BINDING for column in entity.columns if column.extension
)
RESOURCES_OF_1_2 = frozenset[Column]({User.resource_sourced_ids})

BASE_FILES = frozenset(
    {"academicSessions", "classes", "courses", "enrollments", "orgs", "roles", "users"}
)
OPTIONAL_FILES = frozenset({"demographics", "userProfiles"})
UNUSED_IN_JAPAN = frozenset(
    entity.file for entity in BINDING if entity.file not in BASE_FILES | OPTIONAL_FILES
)

JAPAN_WORDS = japan.WORDS
DOMESTIC_SPELLING: Mapping[Column, str] = {
    Enrollment.shusseki_no: "metadata.jp.ShussekiNo",
    Enrollment.public_flg: "metadata.jp.PublicFlg",
}

V1_2 = Profile(
    name="1.2",
    manifest="1.2",
    accepts=("1.2",),
    without=EXTENSIONS,
    required_files=BASE_FILES,
)
V1_2_1 = Profile(
    name="1.2.1",
    manifest="1.2",
    accepts=("1.2", "1.2.1"),
    without=EXTENSIONS | RESOURCES_OF_1_2,
    required_files=BASE_FILES,
)
JP_1_2_1 = Profile(
    name="JP-1.2.1",
    manifest="1.2",
    accepts=("1.2", "1.2.1"),
    without=RESOURCES_OF_1_2,
    quoted=True,
    spelling=DOMESTIC_SPELLING,
    required_files=BASE_FILES,
    unused_files=UNUSED_IN_JAPAN,
    required=japan.REQUIRED,
    prohibited=japan.PROHIBITED,
    nulls=japan.NULLS,
    words=japan.WORDS,
    only=japan.ONLY,
    checks=japan.CHECKS,
)
PSE_6_00 = Profile(
    name="PSE-6.00",
    manifest="1.2_JP",
    accepts=("1.2_JP",),
    without=RESOURCES_OF_1_2,
    quoted=True,
    required_files=BASE_FILES,
    unused_files=UNUSED_IN_JAPAN,
    required=japan.REQUIRED,
    prohibited=japan.PROHIBITED,
    nulls=japan.NULLS,
    words=japan.WORDS,
    only=japan.ONLY,
    checks=japan.CHECKS,
)
K12_1_0 = Profile(
    name="K12-1.0",
    manifest="1.2_JP",
    accepts=("1.2_JP",),
    without=RESOURCES_OF_1_2,
    quoted=True,
    required_files=BASE_FILES,
    unused_files=UNUSED_IN_JAPAN,
    prohibited=japan.PROHIBITED,
    nulls=japan.NULLS,
    words=japan.WORDS,
    only=japan.ONLY,
    checks=japan.CHECKS,
)

PROFILES: Mapping[str, Profile] = {
    profile.name: profile for profile in (V1_2, V1_2_1, JP_1_2_1, PSE_6_00, K12_1_0)
}
VERSIONS = frozenset(version for profile in PROFILES.values() for version in profile.accepts)

SPELLINGS: Mapping[str, Column] = {
    spelling.lower(): column
    for column in EXTENSIONS
    for spelling in (
        column.csv,
        *(p.spelling[column] for p in PROFILES.values() if column in p.spelling),
    )
}
"""Every known spelling of an extension column, lower-cased: import does not insist on case."""


def detect(version: str, headers: Mapping[str, tuple[str, ...]]) -> Profile:
    """The profile of a package, from its manifest version and the headers of its files.

    PSE-6.00 and K12-1.0 look alike in every file; K12-1.0 asks for less and is the answer
    unless the district says otherwise.
    """
    if version in K12_1_0.accepts:
        return K12_1_0
    names = {name for header in headers.values() for name in header}
    if any(name.lower().startswith("metadata.jp.") for name in names):
        return JP_1_2_1
    if User.resource_sourced_ids.csv in headers.get(User.file, ()):
        return V1_2
    return V1_2_1

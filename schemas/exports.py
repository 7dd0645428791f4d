"""An export: what is asked for, the life of its run, and what its file is called."""

import re
from collections.abc import Iterable
from datetime import date
from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from schemas.roster import BY_FILE, ROSTERING, AnyEntity
from schemas.roster.people import Demographics

ExportState: TypeAlias = Literal["queued", "running", "completed", "failed", "cancelled"]
STATES: tuple[ExportState, ...] = get_args(ExportState)
ENDED: tuple[ExportState, ...] = ("completed", "failed", "cancelled")

Encoding: TypeAlias = Literal["utf-8", "utf-8-bom", "cp932"]
"""OneRoster is UTF-8 without a byte order mark; the others are for spreadsheets and old receivers.
A sign that CP932 does not have is replaced, and each such place is told."""

ExportMode: TypeAlias = Literal["bulk", "delta"]
ExportProfile: TypeAlias = Literal["1.2", "1.2.1", "JP-1.2.1", "PSE-6.00", "K12-1.0"]
PROFILES: tuple[ExportProfile, ...] = get_args(ExportProfile)
Identifiers: TypeAlias = Literal["hub", "source"]
IDENTIFIERS: tuple[Identifiers, ...] = get_args(Identifiers)

FILES = tuple(entity.file for entity in ROSTERING)
SCHOOLS_MAX = 1000
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T")


def a_file(name: str) -> str:
    """One of the nine files of rostering."""
    if name not in FILES:
        raise ValueError(f"{name} is none of {', '.join(FILES)}")
    return name


File: TypeAlias = Annotated[
    str, AfterValidator(a_file), Field(json_schema_extra={"enum": [*FILES]})
]


def in_load_order(files: tuple[str, ...]) -> tuple[str, ...]:
    """Each file once, in the order in which they are read."""
    return tuple(file for file in FILES if file in files)


def each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names without repetition."""
    return tuple(dict.fromkeys(names))


def written_out(value: object) -> object:
    """An instant is a text with its day; a number is a version, or nothing."""
    if isinstance(value, str) and not DAY.match(value):
        raise ValueError("must be the number of a version, or an instant")
    if isinstance(value, int | float):
        raise ValueError("must be the number of a version, from 0")  # noqa: TRY004  # as pydantic asks
    return value


Files: TypeAlias = Annotated[tuple[File, ...], Field(min_length=1), AfterValidator(in_load_order)]
SCHOOL = r"^[0-9A-Za-z./@_\-]{1,255}$"
School: TypeAlias = Annotated[str, StringConstraints(pattern=SCHOOL)]
Schools: TypeAlias = Annotated[
    tuple[School, ...], Field(max_length=SCHOOLS_MAX), AfterValidator(each_once)
]


Version: TypeAlias = Annotated[int, Field(ge=0, lt=1 << 63)]
Moment: TypeAlias = Annotated[AwareDatetime, BeforeValidator(written_out)]


class Wanted(BaseModel):
    """What an export is to hold, and how it is to be written.

    `entities`: the files, None all of them. `since`: the version from which a delta goes on; it may
    be asked for as an instant, and is kept as the version that stood then. `profile` None: the one
    of the district's policy, else that of the package it applied last. `schools`: these orgs, what
    is below them, and what belongs to them; none means everything. `identifiers` None: as the
    policy says. `metadata`: whether columns are handed on that no profile declares.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    entities: Files | None = None
    mode: ExportMode = "bulk"
    since: Version | Moment | None = None
    profile: ExportProfile | None = None
    schools: Schools = ()
    encoding: Encoding = "utf-8"
    identifiers: Identifiers | None = None
    metadata: bool = True

    @model_validator(mode="after")
    def _only_a_delta_goes_on(self) -> "Wanted":
        if self.mode == "bulk" and self.since is not None:
            raise ValueError("since is for mode delta")
        return self

    @property
    def chosen(self) -> tuple[AnyEntity, ...]:
        """The entities, in load order."""
        return ROSTERING if self.entities is None else tuple(BY_FILE[f] for f in self.entities)

    @property
    def base(self) -> int | None:
        """The version from which a delta goes on; None: a bulk, or not yet known."""
        if isinstance(self.since, int | None):
            return self.since
        raise TypeError(self.since)  # an instant is resolved before it is kept

    @property
    def has_demographics(self) -> bool:
        """Whether it asks for what needs a right of its own."""
        return Demographics in self.chosen


CODE = re.compile("[^0-9A-Za-z]")
NAME_MAX = 64


def file_name(day: date, code: str) -> str:
    """`RO_20260401_139999.zip`: the day whose state it shows, and whose it is (Japan profile 3)."""
    return f"RO_{day:%Y%m%d}_{CODE.sub('', code)[:NAME_MAX] or '0'}.zip"


def code_of(schools: Iterable[str | None], districts: Iterable[str | None], fallback: str) -> str:
    """The code in the file name: of the only school, else of the only district.

    `schools` are the codes of the schools that are exported, `districts` those of the districts.
    """
    for codes in (list(schools), list(districts)):
        if len(codes) == 1 and codes[0] and CODE.sub("", codes[0]):
            return codes[0]
    return fallback

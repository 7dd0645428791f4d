"""What a district decides about its imports. Kept with the district, changed through the API.

Every field has the default that a cautious data manager would choose; an import reads the policy
once, under the lock on its district.
"""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from schemas.schedules import TimeZone

ProfileName: TypeAlias = Literal["auto", "1.2", "1.2.1", "JP-1.2.1", "PSE-6.00", "K12-1.0"]
Repair: TypeAlias = Literal[
    "null_text",
    "boolean_case",
    "status_in_bulk",
    "half_width_kana",
    "cp932",
    "trailing_blanks",
    "header_case",
]
"""What lenient reading may put right, each counted in the report: a literal NULL for a blank,
True/TRUE for true, a status given in bulk, half-width kana, CP932 for UTF-8, blanks around a value,
another case in the header. A byte order mark is always dropped."""

Days: TypeAlias = Annotated[int, Field(ge=1, le=3660)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reading(_Part):
    """How a package is read.

    `skip`: a faulty row, and what refers to it, is left out, as long as at most `tolerance` of the
    rows of each file are; otherwise, and by default, the run is rejected.
    """

    profile: ProfileName = "auto"
    lenient: bool = False
    repairs: frozenset[Repair] = frozenset(
        {
            "null_text",
            "boolean_case",
            "status_in_bulk",
            "half_width_kana",
            "trailing_blanks",
            "header_case",
        }
    )
    faulty_rows: Literal["reject", "skip"] = "reject"
    tolerance: Share = 0.05
    cascade: bool = False
    """A stored record that a deletion leaves without its reference becomes a tombstone too (D8)."""


class Guard(_Part):
    """When a run is held until somebody approves it (D8).

    Shares are of the stored records, per entity and per school; small numbers never hold a run.
    `rekey_share`: of the records of an entity that have vanished while new ones look alike.
    """

    on: bool = True
    deletions: Share = 0.10
    updates: Share = 0.75
    at_least: Annotated[int, Field(ge=0)] = 10
    absent_files: bool = True
    older_package: bool = True
    school_year: bool = True
    rekey: bool = True
    rekey_share: Share = 0.10


class Policy(_Part):
    """The decisions of one district.

    `apply`: at once, or after review. `newer`: what a newer package does to one that waits for an
    answer. `identifiers`: whose ids an export writes after a re-key. Hours and days count from the
    end of a run.
    """

    reading: Reading = Reading()
    apply: Literal["at_once", "review"] = "at_once"
    guard: Guard = Guard()
    newer: Literal["supersede", "wait"] = "supersede"
    identifiers: Literal["hub", "source"] = "hub"
    uploads_hours: Annotated[float, Field(ge=0, le=24 * 365)] = 24.0
    exports_hours: Annotated[float, Field(ge=0, le=24 * 365)] = 168.0
    runs_days: Days = 365
    audit_days: Annotated[int, Field(ge=30, le=3660)] = 730
    feed_days: Annotated[int, Field(ge=1, le=3660)] = 30
    deleted_days: Days | None = None
    """Days after which who was deleted is erased; None: never."""
    history_days: Days | None = None
    """Days after which what is said of people in earlier versions is erased; None: never."""
    finding_values: Literal["full", "masked"] = "full"
    """Whether findings show values and rows as they came, or only their shape."""
    time_zone: TimeZone = "Asia/Tokyo"
    """Whose clock says which day it is, and when a schedule is due."""

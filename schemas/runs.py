"""The life of a run: its states, its stages, and how far a file is."""

from typing import Literal, TypeAlias, get_args

from typing_extensions import TypedDict  # pydantic reads it; typing.TypedDict only from 3.12

State: TypeAlias = Literal[
    "received",
    "queued",
    "running",
    "review",
    "held",
    "applied",
    "rejected",
    "failed",
    "cancelled",
    "superseded",
]
ENDED: tuple[State, ...] = ("applied", "rejected", "failed", "cancelled", "superseded")

Stage: TypeAlias = Literal["open", "read", "check", "apply", "publish"]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""In order: open the package, read and stage the files, check references, apply, publish."""

Mode: TypeAlias = Literal["bulk", "delta", "upsert"]
SINGLE_MODES: tuple[Mode, ...] = get_args(Mode)
"""How a single CSV is meant. `upsert` has the bulk layout and never deletes (D8)."""


class Progress(TypedDict):
    """Rows of one file: done so far, and all of them (an estimate until the file is read)."""

    done: int
    total: int


class Counts(TypedDict, total=False):
    """What became of the rows of one file.

    `rows` are those in the file: `created + updated + unchanged + rejected`, and in a delta also
    `deleted`. In bulk `deleted` are stored records that the file no longer has. `touched` are users
    of whom only a part changed, `excluded` are changes that whoever approved the run left out.
    `rekeyed` are records whose source has another sourcedId from this version on; in an undo, those
    of which that ends. `erased` are records of which an erasure has left nothing but the ids.
    """

    rows: int
    created: int
    updated: int
    unchanged: int
    rejected: int
    deleted: int
    touched: int
    excluded: int
    rekeyed: int
    erased: int

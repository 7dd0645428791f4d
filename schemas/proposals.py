"""What a run would change, kept until somebody answers: where it lies, and what can be answered.

A change set of a waiting run lies in tables of its own, two for each entity: rows that are new or
changed, and keys that are gone; where sourcedIds seem to have changed, the proposed map is a third.
The workers write them, the gateway reads them.
"""

import re
from datetime import date, datetime
from typing import Literal, TypeAlias, get_args
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from schemas.roster import AnyEntity
from schemas.runs import State

SCHEMA = "rosterhub_staging"
KEPT = "kept_"
DAY = re.compile(r"^RO_([0-9]{8})(?![0-9])", re.IGNORECASE)

Apply: TypeAlias = Literal["at_once", "review"]
APPLIES: tuple[Apply, ...] = get_args(Apply)

WAITING: tuple[State, ...] = ("review", "held")
"""Not ended, but it is a person's turn."""

Answer: TypeAlias = Literal["approve", "exclude", "rekey", "reject"]


def prefix_of(run_id: UUID) -> str:
    """What the names of the kept tables of a run begin with."""
    return f"{KEPT}{run_id.hex}_"


def kept_rows(run_id: UUID, entity: AnyEntity) -> tuple[str, str]:
    """The table of the rows that are new or changed, with its schema."""
    return SCHEMA, prefix_of(run_id) + entity.table


def kept_keys(run_id: UUID, entity: AnyEntity) -> tuple[str, str]:
    """The table of the keys that are gone."""
    return SCHEMA, f"{prefix_of(run_id)}gone_{entity.table}"


def kept_map(run_id: UUID) -> tuple[str, str]:
    """The table of the proposed re-key map: `entity, source_id, hub_id, alike`."""
    return SCHEMA, f"{prefix_of(run_id)}rekey"


def day_of(name: str | None) -> date | None:
    """The day that a file name tells (`RO_YYYYMMDD_<code>.zip`, Japan profile 3), if it does."""
    found = DAY.match(name or "")
    try:
        return datetime.strptime(found[1], "%Y%m%d").date() if found else None  # noqa: DTZ007  # a day
    except ValueError:
        return None


class Except(BaseModel):
    """What an approval leaves out: schools by sourcedId, entities by file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schools: list[str] = []
    entities: list[str] = []

"""From what is asked for to what is written: what an export left open is decided here.

Whoever writes, a worker a package or the gateway a single file, looks up what is `Known` of the
district in the transaction it reads in, and plans by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from schemas.exports import Identifiers, Wanted
from schemas.policy import Policy
from schemas.profiles import PROFILES, V1_2_1, Profile
from schemas.statements import load
from schemas.view import EVERYTHING, View, of_schools
from schemas.writing import Plan

NAMED = load("schemas", "exports.sql")


@dataclass(frozen=True, slots=True)
class Known:
    """A district as a transaction sees it.

    `standing` are the versions that made the aliases that are to be written, `aliased` the files of
    which there are any.
    """

    district: str
    version: int
    policy: Policy
    now: datetime
    last_profile: str | None
    standing: tuple[int, ...]
    aliased: frozenset[str]

    @classmethod
    def of(cls, row: Sequence[Any]) -> "Known":
        """What the statement `known` has answered."""
        district, version, policy, now, profile, standing, aliased = row
        decided = Policy.model_validate(policy)
        return cls(district, version, decided, now, profile, tuple(standing), frozenset(aliased))

    @property
    def day(self) -> date:
        """Which day it is in the district."""
        return self.now.astimezone(ZoneInfo(self.policy.time_zone)).date()


def facts(tenant_id: int, wanted: Wanted) -> dict[str, object]:
    """What the statement `known` asks for."""
    return {"tenant_id": tenant_id, "identifiers": wanted.identifiers}


def identifiers_of(wanted: Wanted, known: Known) -> Identifiers:
    """Whose ids are written."""
    return wanted.identifiers or known.policy.identifiers


def profile_of(wanted: Wanted, known: Known) -> Profile:
    """The profile that is asked for, that of the policy, or that of what was applied last."""
    names = (wanted.profile, known.policy.reading.profile, known.last_profile)
    return next((PROFILES[name] for name in names if name and name in PROFILES), V1_2_1)


def planned(
    tenant_id: int, wanted: Wanted, known: Known, *, since: int | None, view: View = EVERYTHING
) -> Plan:
    """What every file of it has in common; `since`: the version from which a delta goes on."""
    return Plan(
        tenant_id=tenant_id,
        profile=profile_of(wanted, known),
        version=known.version,
        since=since,
        view=view & of_schools(wanted.schools),
        aliases=known.standing,
        aliased=known.aliased,
    )

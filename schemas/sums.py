"""Proof of being in step: a count and a digest of a set of records, that add up.

The digest of a record is SHA-256 over its entity, its sourcedId as the reader sees it and its
`dateLastModified`; that of a set is the sum of them modulo 2^256, so that records come and go in
any order, and a hub and a consumer that hold the same records hold the same number. A set has the
active records only: what is deleted is not there.
"""

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TypeAlias

MODULUS = 2**256
ALL = ""
"""The name under which a set that is not of one school is kept."""

Stored: TypeAlias = dict[str, dict[str, list[int | str]]]


def weight(entity: str, sourced_id: str, modified: str) -> int:
    r"""The number of one record: SHA-256 of `entity \n sourcedId \n dateLastModified` in UTF-8."""
    text = f"{entity}\n{sourced_id}\n{modified}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")


@dataclass(slots=True)
class Sum:
    """A set of records."""

    records: int = 0
    total: int = 0

    def add(self, weight: int, sign: int = 1) -> None:
        """One more record, or with another sign one less."""
        self.records += sign
        self.total = (self.total + sign * weight) % MODULUS

    @property
    def digest(self) -> str:
        """64 hexadecimal digits."""
        return f"{self.total:064x}"


@dataclass(slots=True)
class Sums:
    """The sets of a version: by entity, of all records and of each school's."""

    sets: dict[str, dict[str, Sum]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Sum))
    )

    def add(self, entity: str, school: str, weight: int, sign: int = 1) -> None:
        """One more record of a school, or of all; with another sign one less."""
        self.sets[entity][school].add(weight, sign)

    def stored(self) -> Stored:
        """The sets that are not empty, as they are kept."""
        return {
            entity: {
                school: [found.records, found.digest]
                for school, found in sorted(schools.items())
                if found.records
            }
            for entity, schools in self.sets.items()
        }


def restored(stored: Stored) -> Sums:
    """What was kept."""
    sums = Sums()
    for entity, schools in stored.items():
        for school, (records, digest) in schools.items():
            sums.sets[entity][school] = Sum(int(records), int(str(digest), 16))
    return sums

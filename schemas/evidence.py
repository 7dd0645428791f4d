"""What an audit proves, and what is wrong with it: stored chains compared with their signed heads.

A chain is intact if every entry has the hash of what it says and of the entry before it, if no
number is missing, and if it agrees with every head that was ever exported of it. Only retention may
take its beginning, and says so in a signed document.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Literal, NamedTuple, TypeAlias

from pydantic import ValidationError

from schemas.audit import START, Key, Link, content, hashed
from schemas.heads import Document, Removed, digest
from schemas.secrets import Vault

LATE = timedelta(minutes=15)
"""How long an entry may have waited for the database; older ones are in the next heads."""

EARLY = timedelta(days=7)
"""How long an installation may have had a gateway and no workers, who write the first heads."""

HEADLESS = timedelta(days=1)
"""How old an audit may be of which no head is found at all."""

NEVER = datetime(1, 1, 31, tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)

Kind: TypeAlias = Literal[
    "altered",
    "unlinked",
    "gap",
    "rewritten",
    "cut",
    "not_as_told",
    "unwitnessed",
    "heads_forged",
    "heads_missing",
    "removed_early",
]

Row: TypeAlias = Mapping[str, Any]


class Fault(NamedTuple):
    """Something that cannot be unless somebody changed it, or entries were lost without a word.

    `seq` is the entry of a chain, or the number of a document of heads; `entries`: how many.
    """

    kind: Kind
    key: Key | None
    seq: int
    entries: int = 1


@dataclass(slots=True)
class Evidence:
    """What the documents of heads say, heard in the order of their numbers."""

    vault: Vault
    heads: dict[Key, dict[int, tuple[str, str]]] = field(default_factory=dict)
    removed: dict[Key, Link] = field(default_factory=dict)
    first: datetime = NEVER
    newest: datetime = NEVER
    documents: int = 0
    faults: list[Fault] = field(default_factory=list)
    _last: tuple[int, str] | None = None

    def hear(self, number: int, data: bytes) -> None:
        """One more document; what is not signed by us says nothing."""
        last, self._last = self._last, (number, digest(data))
        self.documents += 1
        document = read(number, data, self.vault)
        if document is None:
            self.faults.append(Fault("heads_forged", None, number))
            return
        # The first one that is left has lost those before it to their age.
        if last is not None and (number, document.previous) != (last[0] + 1, last[1]):
            missing = number - last[0] - 1
            self.faults.append(Fault("heads_missing", None, number, max(missing, 1)))
        if number == 1:
            self.first = document.made_at
        self.newest = max(self.newest, document.made_at)
        for head in document.heads:
            chain = self.heads.setdefault((head.tenant_id, head.chain), {})
            chain.setdefault(head.seq, (head.hash, head.at))
        for removed in document.removed:
            self._remove(removed, document.made_at)

    def _remove(self, removed: Removed, at: datetime) -> None:
        """What is removed was old, and was what the heads say."""
        key = (removed.tenant_id, removed.chain)
        known = self.heads.get(key, {})
        youngest = at - timedelta(days=removed.days)
        for seq in [seq for seq in known if seq <= removed.seq]:
            said, when = known.pop(seq)
            if seq == removed.seq and said != removed.hash:
                self.faults.append(Fault("rewritten", key, seq))
            if datetime.fromisoformat(when) > youngest:
                self.faults.append(Fault("removed_early", key, seq))
        self.removed[key] = Link(removed.seq, bytes.fromhex(removed.hash))


def read(number: int, data: bytes, vault: Vault) -> Document | None:
    """The document of this number, if one of our secrets has signed it."""
    try:
        document = Document.model_validate_json(data)
    except ValidationError:
        return None
    return document if document.number == number and document.is_of(vault) else None


@dataclass(slots=True)
class Verdict:
    """What came of looking through every chain. `lost`: entries that their writers gave up."""

    chains: int = 0
    entries: int = 0
    lost: int = 0
    open: int = 0
    faults: list[Fault] = field(default_factory=list)


def judged(
    rows: Iterable[Row], told: Mapping[Key, Link], evidence: Evidence, now: datetime
) -> Verdict:
    """Every chain, its rows in order; `told` is how far the writers say that they are.

    `open` are entries that no head covers yet.
    """
    verdict = Verdict(faults=list(evidence.faults))
    seen: set[Key] = set()
    oldest = LAST
    for key, chain in groupby(rows, key=lambda row: (int(row["tenant_id"]), str(row["chain"]))):
        seen.add(key)
        looked = Look(key, evidence, verdict, *begin(evidence, key))
        for row in chain:
            looked.at(row)
            oldest = min(oldest, row["at"])
        looked.end(told.get(key))
    for key in ({*told} | {key for key, heads in evidence.heads.items() if heads}) - seen:
        Look(key, evidence, verdict, *begin(evidence, key)).end(told.get(key))
    # There were heads before those that call themselves the first, or there are some elsewhere.
    if oldest < evidence.first - EARLY or (not evidence.documents and oldest < now - HEADLESS):
        verdict.faults.append(Fault("heads_missing", None, 1))
    return verdict


def begin(evidence: Evidence, key: Key) -> tuple[Link, dict[int, tuple[str, str]]]:
    """Behind which entry a chain begins now, and the heads that are known of it."""
    return evidence.removed.get(key, START), evidence.heads.get(key, {})


@dataclass(slots=True)
class Look:
    """A chain, entry by entry."""

    key: Key
    evidence: Evidence
    verdict: Verdict
    last: Link
    heads: dict[int, tuple[str, str]]
    _newest_head: int = field(init=False)

    def __post_init__(self) -> None:
        self._newest_head = max(self.heads, default=0)
        self.verdict.chains += 1

    def at(self, row: Row) -> None:
        """The next entry."""
        seq: int = row["seq"]
        if self.last.seq >= seq and self.key in self.evidence.removed:
            return  # retention is about to take it
        self.verdict.entries += 1
        given_up: int = row["lost"] or 0
        self.verdict.lost += given_up
        missing = seq - self.last.seq - 1 - given_up
        if missing:
            self._fault("gap", seq, missing)
        elif row["previous"] != self.last.hash:
            self._fault("unlinked", seq)
        if hashed(row["previous"], content(row)) != row["hash"]:
            self._fault("altered", seq)
        self._compare(row)
        self.last = Link(seq, row["hash"])

    def _compare(self, row: Row) -> None:
        """With the head of this entry, if there is one; it has one behind it if it is old."""
        seq: int = row["seq"]
        head = self.heads.get(seq)
        if head is not None and head[0] != row["hash"].hex():
            self._fault("rewritten", seq)
        if seq > self._newest_head:
            self.verdict.open += 1
            if row["at"] < self.evidence.newest - LATE:
                self._fault("unwitnessed", seq)

    def end(self, told: Link | None) -> None:
        """There are no more; this must be all that was."""
        if self._newest_head > self.last.seq:
            self._fault("cut", self.last.seq, self._newest_head - self.last.seq)
        elif told is not None and told != self.last and told.seq > 0:
            self._fault("not_as_told", self.last.seq)

    def _fault(self, kind: Kind, seq: int, entries: int = 1) -> None:
        self.verdict.faults.append(Fault(kind, self.key, seq, abs(entries)))

"""Whoever owns the tables can change them, and is found out."""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import uuid4

import obstore
import psycopg
import pytest
from obstore.store import MemoryStore
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from deploy.verifying import heard, looked_through, verified
from pipeline.audit import note
from pipeline.database import connect, tenant
from schemas import audit, evidence
from schemas.audit import Chains, Link, instant
from schemas.evidence import LATE, Evidence, Look, Verdict
from schemas.heads import key_of
from schemas.secrets import Vault
from workers.audit import export
from workers.heads import Heads

NORTH, SOUTH = 1, 2
SECRET = "a secret of the tests that is long enough to be one"
LENGTH = 12  # entries of a chain, a head in its middle and one at its end
EDITS = 1000
BEFORE = datetime.now(UTC) - timedelta(hours=5)

Db: TypeAlias = psycopg.Connection[Any]
Row: TypeAlias = dict[str, Any]
Edit: TypeAlias = Callable[[Db, random.Random], None]


def entry(number: int) -> audit.Entry:
    return {
        "at": instant(BEFORE + timedelta(seconds=number)),
        "party": "key",
        "who": "abcdefghijkl",
        "operation": "read",
        "method": "GET",
        "route": "/ims/oneroster/rostering/v1p2/users",
        "filter": "familyName='*'" if number % 3 else None,
        "records": number,
        "address": "127.0.0.1",
        "status_code": 200,
        "request_id": f"request-{number}",
    }


class Trail:
    """An audit as gateways and workers write it, its heads outside, and who may change it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.store = MemoryStore()
        self.vault = Vault(SECRET)
        self.heads = Heads(self.store, self.vault)
        self.writers = [Chains(str(uuid4()), f"gateway {number}") for number in range(2)]

    def write(self, numbers: range) -> None:
        with connect(self.url, role="rosterhub_control") as control:
            for chains in self.writers:
                rows = [
                    chains.add(tenant_id, entry(number))
                    for number in numbers
                    for tenant_id in (NORTH, SOUTH)
                ]
                control.execute(audit.SQL["append"], chains.batch(rows))

    def export(self) -> None:
        with connect(self.url, role="rosterhub_control") as control:
            assert export(control, self.heads)

    def evidence(self) -> Evidence:
        return heard(self.store, self.vault)

    def verdict(self) -> Verdict:
        with psycopg.connect(self.url) as db:
            return verified(db, self.evidence())

    @contextmanager
    def owner(self) -> Iterator[Db]:
        """What the owner of the tables does is taken back in the end."""
        with psycopg.connect(self.url) as db:
            db.execute("set role rosterhub_owner")
            yield db
            db.rollback()


@pytest.fixture
def trail(database_url: str) -> Trail:
    trail = Trail(database_url)
    for half in (range(LENGTH // 2), range(LENGTH // 2, LENGTH)):
        trail.write(half)
        trail.export()
    return trail


# --- What an owner may try -----------------------------------------------------------------


def rows(db: Db) -> list[Row]:
    with db.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("select * from rosterhub.audit order by 1, 2, 3").fetchall()


def chain_of(db: Db, rng: random.Random) -> list[Row]:
    """One chain, drawn."""
    every = rows(db)
    drawn = rng.choice(every)
    return [row for row in every if name_of(row)[:2] == name_of(drawn)[:2]]


def name_of(row: Row) -> list[Any]:
    return [row["tenant_id"], row["chain"], row["seq"]]


def change(db: Db, row: Row, values: Mapping[str, Any]) -> None:
    sets = SQL(", ").join(SQL("{} = %s").format(Identifier(name)) for name in values)
    statement = SQL(
        "update rosterhub.audit set {} where tenant_id = %s and chain = %s and seq = %s"
    )
    done = db.execute(statement.format(sets), [*values.values(), *name_of(row)])
    assert done.rowcount == 1


def put(db: Db, row: Row) -> None:
    statement = SQL("insert into rosterhub.audit ({}) values ({})").format(
        SQL(", ").join(map(Identifier, row)), SQL(", ").join(SQL("%s") for _ in row)
    )
    db.execute(statement, [*row.values()])


def remove(db: Db, row: Row) -> None:
    db.execute(
        "delete from rosterhub.audit where tenant_id = %s and chain = %s and seq = %s",
        name_of(row),
    )


def other(value: object, rng: random.Random) -> object:
    match value:
        case bytes():
            bits = int.from_bytes(value) ^ (1 << rng.randrange(8 * len(value)))
            return bits.to_bytes(len(value))
        case int():
            return value + rng.choice([-1, 1, 1000])
        case str():
            return rng.choice([None, f"{value}x", value[:-1]])
        case datetime():
            return value + timedelta(microseconds=rng.choice([-1, 1, 10**9]))
        case _:
            return rng.choice([1, 2])


WORDS = ("party", "operation")
TEXTS = (
    *("who", "method", "route", "filter", "address", "request_id", "target", "code", "page"),
    "fields",
)
NUMBERS = ("records", "status_code", "times", "lost")
CHANGED = ("at", *WORDS, *TEXTS, *NUMBERS, "previous", "hash")


def alter(db: Db, rng: random.Random) -> None:
    """One value of one entry."""
    row = rng.choice(chain_of(db, rng))
    column = rng.choice(CHANGED)
    new = other(row[column], rng)
    if (row[column] is None and column in TEXTS) or (new is None and column in WORDS):
        new = "x"
    change(db, row, {column: new})


def swap(db: Db, rng: random.Random) -> None:
    """What two entries of a chain say, with their hashes or without."""
    one, two = rng.sample(chain_of(db, rng), 2)
    kept = {"tenant_id", "chain", "seq"} | rng.choice([set(), {"hash"}, {"hash", "previous"}])
    for row, values in ((one, two), (two, one)):
        change(db, row, {name: value for name, value in values.items() if name not in kept})


def delete(db: Db, rng: random.Random) -> None:
    """Some entries that follow each other, from anywhere but the end."""
    chain = chain_of(db, rng)
    start = rng.randrange(len(chain) - 1)
    for row in chain[start : rng.randrange(start + 1, len(chain))]:
        remove(db, row)


def cut(db: Db, rng: random.Random) -> None:
    """The end of a chain, or all of it; perhaps the chain's own word for it too."""
    chain = chain_of(db, rng)
    left = rng.randrange(len(chain))
    for row in chain[left:]:
        remove(db, row)
    if left and rng.random() < 0.5:
        last = chain[left - 1]
        tell(db, last, last["seq"], last["hash"])


def tell(db: Db, row: Row, seq: int, link: bytes) -> None:
    db.execute(
        "update rosterhub.audit_chains set seq = %s, hash = %s where tenant_id = %s and chain = %s",
        [seq, link, *name_of(row)[:2]],
    )


def insert(db: Db, rng: random.Random) -> None:
    """An entry more: behind the others, hashed as it should be; or moved from another chain."""
    chain = chain_of(db, rng)
    last = chain[-1]
    new = {**last, "seq": last["seq"] + 1, "previous": last["hash"], "records": 7}
    new["hash"] = audit.hashed(new["previous"], audit.content(new))
    if rng.random() < 0.3:
        new["tenant_id"] = NORTH + SOUTH - last["tenant_id"]
    put(db, new)
    if rng.random() < 0.5:
        tell(db, new, new["seq"], new["hash"])


def rewrite(db: Db, rng: random.Random) -> None:
    """A whole chain from some entry on, with right hashes, and the chain's own word for it."""
    chain = deepcopy(chain_of(db, rng))
    start = rng.randrange(len(chain))
    gone = rng.random() < 0.3
    link = Link(chain[start]["seq"] - 1, chain[start]["previous"])
    for number, row in enumerate(chain[start:]):
        remove(db, row)
        if number == 0 and gone and start < len(chain) - 1:
            continue
        new = {**row, "seq": link.seq + 1, "previous": link.hash}
        if number == 0:
            new["records"] = 99_999
        link = Link(new["seq"], audit.hashed(link.hash, audit.content(new)))
        put(db, {**new, "hash": link.hash})
    tell(db, chain[0], link.seq, link.hash)


TRIED: tuple[Edit, ...] = (alter, swap, delete, cut, insert, rewrite)


def found(trail: Trail, edits: int, seed: int = 1) -> dict[str, list[bool]]:
    """Whether each of so many edits is found, by kind."""
    rng, known = random.Random(seed), trail.evidence()
    outcome: dict[str, list[bool]] = {}
    with trail.owner() as db:
        db.commit()
        for number in range(edits):
            edit = TRIED[number % len(TRIED)]
            with db.transaction(force_rollback=True):
                edit(db, rng)
                verdict = looked_through(db, known)
            outcome.setdefault(edit.__name__, []).append(bool(verdict.faults))
    return outcome


def test_what_nobody_has_touched_is_in_order(trail: Trail) -> None:
    verdict = trail.verdict()
    assert (verdict.faults, verdict.open, verdict.lost) == ([], 0, 0)
    assert (verdict.chains, verdict.entries) == (4, 4 * LENGTH)


def test_a_thousand_edits_of_the_owner_are_all_found(trail: Trail) -> None:
    outcome = found(trail, EDITS)
    assert sum(map(len, outcome.values())) == EDITS
    assert {name: all(seen) for name, seen in outcome.items()} == {
        edit.__name__: True for edit in TRIED
    }


def blind_to(names: str) -> Callable[[pytest.MonkeyPatch], None]:
    """A verifier that does not report some kinds of faults."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        report = Look._fault  # noqa: SLF001 -- the fault is planted there

        def forgetful(self: Look, kind: evidence.Kind, seq: int, entries: int = 1) -> None:
            if kind not in names.split():
                report(self, kind, seq, entries)

        monkeypatch.setattr(Look, "_fault", forgetful)

    return plant


def without(column: str) -> Callable[[pytest.MonkeyPatch], None]:
    """A verifier that leaves a column out of what it hashes, on both sides."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        whole = audit.canonical

        def partly(said: Mapping[str, object]) -> bytes:
            return whole({name: value for name, value in said.items() if name != column})

        monkeypatch.setattr(audit, "canonical", partly)

    return plant


@pytest.mark.parametrize(
    "plant",
    [
        blind_to("altered"),
        blind_to("unlinked gap"),
        blind_to("rewritten cut unwitnessed"),
        blind_to("not_as_told unwitnessed cut"),
    ],
    ids=["contents", "links", "heads", "ends"],
)
def test_a_verifier_with_a_blind_eye_does_not_pass(
    trail: Trail, monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    plant(monkeypatch)
    assert not all(all(seen) for seen in found(trail, 150).values())


def test_a_hash_that_leaves_out_a_column_does_not_pass(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without("records")(monkeypatch)
    trail = Trail(database_url)
    trail.write(range(LENGTH))
    trail.export()
    assert trail.verdict().faults == []
    with trail.owner() as db:
        change(db, rows(db)[0], {"records": 7})
        assert looked_through(db, trail.evidence()).faults == []
        monkeypatch.undo()
        assert looked_through(db, trail.evidence()).faults != []


# --- Heads ---------------------------------------------------------------------------------


def kinds(verdict: Verdict) -> set[str]:
    return {fault.kind for fault in verdict.faults}


def test_heads_that_are_altered_forged_or_missing_are_found(trail: Trail) -> None:
    trail.write(range(LENGTH, 2 * LENGTH))
    trail.export()
    whole = {number: bytes(data) for number, data in trail.heads.all()}
    assert sorted(whole) == [1, 2, 3]

    obstore.put(trail.store, key_of(2), whole[2].replace(b"[1,", b"[2,", 1))
    assert "heads_forged" in kinds(trail.verdict())

    obstore.delete(trail.store, key_of(2))
    assert "heads_missing" in kinds(trail.verdict())
    obstore.put(trail.store, key_of(2), whole[2])
    assert trail.verdict().faults == []

    obstore.delete(trail.store, key_of(3))
    assert trail.verdict().open == 4 * LENGTH, "nothing outside speaks of the last entries"

    stranger = Heads(trail.store, Vault("another secret that is long enough as well"))
    with connect(trail.url, role="rosterhub_control") as control:
        control.execute("update audit_chains set exported = 0")
        export(control, stranger)
    assert "heads_forged" in kinds(trail.verdict())


def test_heads_signed_with_an_older_secret_still_count(trail: Trail) -> None:
    trail.vault = Vault(f"a newer secret that is long enough as well;,{SECRET}")
    assert trail.verdict().faults == []
    trail.vault = Vault("a newer secret that is long enough as well")
    assert kinds(trail.verdict()) >= {"heads_forged"}


def test_whoever_takes_all_heads_away_is_found_when_the_first_ones_come_late(trail: Trail) -> None:
    with trail.owner() as db:
        row = rows(db)[0]
        change(db, row, {"at": datetime.now(UTC) - timedelta(days=8)})
        db.commit()
    for number in (1, 2):
        obstore.delete(trail.store, key_of(number))
    trail.heads = Heads(trail.store, trail.vault)
    trail.write(range(LENGTH, LENGTH + 1))
    trail.export()
    assert "heads_missing" in kinds(trail.verdict())


def test_an_audit_of_days_without_any_head_is_not_taken_for_whole(trail: Trail) -> None:
    with trail.owner() as db:
        change(db, rows(db)[0], {"at": datetime.now(UTC) - timedelta(hours=25)})
        db.commit()
    trail.store = MemoryStore()
    assert "heads_missing" in kinds(trail.verdict())


def test_two_who_export_at_once_leave_two_documents(trail: Trail) -> None:
    trail.write(range(LENGTH, LENGTH + 1))
    other_process = Heads(trail.store, trail.vault)
    with connect(trail.url, role="rosterhub_control") as control:
        assert export(control, trail.heads) == 3
        control.execute("update audit_chains set exported = 0")
        assert export(control, other_process) == 4
    assert trail.verdict().faults == []


def test_only_what_has_grown_is_exported(trail: Trail) -> None:
    with connect(trail.url, role="rosterhub_control") as control:
        assert export(control, trail.heads) is None
    with connect(trail.url) as db, tenant(db, NORTH):
        note(db, NORTH, "publish", target="1", records=3)
    trail.export()
    *_, (number, data) = trail.heads.all()
    assert (number, data.count(b'"hub"') + data.count(audit.HUB.encode())) == (3, 1)


# --- What is lost ---------------------------------------------------------------------------


def test_a_batch_that_never_came_is_a_gap(trail: Trail) -> None:
    (chains, _) = trail.writers
    for number in range(5):
        chains.add(NORTH, entry(number))  # and never written
    trail.write(range(LENGTH, LENGTH + 1))
    trail.export()
    (fault,) = trail.verdict().faults
    assert (fault.kind, fault.seq, fault.entries) == ("gap", LENGTH + 6, 5)


def test_entries_that_were_given_up_are_told_and_are_no_fault(trail: Trail) -> None:
    (chains, _) = trail.writers
    chains.mark()
    chains.add(NORTH, entry(0))
    chains.back()
    with connect(trail.url, role="rosterhub_control") as control:
        row = chains.add(NORTH, entry(1) | {"lost": 1})
        control.execute(audit.SQL["append"], chains.batch([row]))
    trail.export()
    verdict = trail.verdict()
    assert (verdict.faults, verdict.lost) == ([], 1)
    with trail.owner() as db:
        db.commit()
        last = [row for row in rows(db) if row["lost"]]
        change(db, last[0], {"lost": 2})
        assert "gap" in kinds(looked_through(db, trail.evidence()))


def test_a_batch_that_comes_twice_is_written_once(trail: Trail) -> None:
    (chains, _) = trail.writers
    with connect(trail.url, role="rosterhub_control") as control:
        batch = chains.batch([chains.add(NORTH, entry(number)) for number in range(3)])
        for _ in range(2):
            control.execute(audit.SQL["append"], batch)
    trail.export()
    assert trail.verdict().faults == []


def test_entries_that_are_older_than_the_heads_and_in_none_are_found(trail: Trail) -> None:
    invented = Chains(str(uuid4()), "gateway nobody")
    with connect(trail.url, role="rosterhub_control") as control:
        late = datetime.now(UTC) - LATE / 2
        row = invented.add(NORTH, entry(1) | {"at": instant(late)})
        control.execute(audit.SQL["append"], invented.batch([row]))
        assert trail.verdict().faults == [], "it may have waited for the database"
        row = invented.add(NORTH, entry(2))
        control.execute(audit.SQL["append"], invented.batch([row]))
    assert kinds(trail.verdict()) == {"unwitnessed"}

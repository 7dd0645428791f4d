"""A hub to push to, a small town to push, and a book that says what must come of it.

The book is an import told again in plain dictionaries, from the binding and not from the pipeline:
whatever is pushed to both must be the same in both, in every value, version and before-image.
"""

import io
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal as Number
from functools import cached_property
from itertools import count
from pathlib import Path
from string import Formatter
from typing import Any, Literal, TypeAlias
from uuid import UUID, uuid4

import psycopg
import pytest
from obstore.store import LocalStore
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from deploy.local.postgres import Postgres
from pipeline import claims, text
from pipeline.archive import Source
from pipeline.claims import Watch
from pipeline.database import connect
from pipeline.faults import EACH, Broken
from pipeline.importing import Import
from pipeline.limits import Limits
from schemas.columns import AnyColumn, Choices, Day, Decimal, Flag, Pairs, Refs, Texts, Whole
from schemas.events import Event, RunEnded, RunStarted
from schemas.profiles import JP_1_2_1, MANIFEST_HEADER, SPELLINGS, V1_2_1, Profile
from schemas.roster import BINDING, BY_FILE, PARTS, ROSTERING, AnyEntity
from schemas.rules import RULES, Finding
from schemas.runs import Counts, Mode

Row: TypeAlias = Mapping[str, str]
Values: TypeAlias = dict[str, Any]
Outcome: TypeAlias = dict[str, dict[str, int]]
STATE = ("status", "dateLastModified")
UNSAID = ("manifest.required_file", "manifest.unused_file", "value.uuid")
"""Which files a package should bring is what test_bad_files looks at, which names records should
have test_value_rules; those of the town are readable."""
OURS = ("tenant_id", "digest", "line")  # columns that are not of the standard
INSTANT = "2026-04-01T00:00:00.000Z"


# --- What is pushed ------------------------------------------------------------------------


def quoted(cells: Iterable[str]) -> str:
    """A line as Japan writes it: every cell in quotes."""
    return ",".join('"' + cell.replace('"', '""') + '"' for cell in cells) + "\r\n"


@dataclass(frozen=True)
class Package:
    """Rows by file, each a mapping from column to cell, and how every file is meant."""

    rows: Mapping[str, tuple[Row, ...]]
    modes: Mapping[str, str] = field(default_factory=dict)
    profile: Profile = JP_1_2_1
    version: str = ""

    def mode(self, file: str) -> str:
        return self.modes.get(file, "bulk") if file in self.rows else "absent"

    def header(self, file: str) -> tuple[str, ...]:
        """The header of the profile, and to its right what only the rows know."""
        known = self.profile.header(BY_FILE[file])
        extra = dict.fromkeys(name for row in self.rows[file] for name in row if name not in known)
        return (*known, *extra)

    def text(self, file: str) -> str:
        header = self.header(file)
        lines = (quoted(row.get(name, "") for name in header) for row in self.rows[file])
        return ",".join(header) + "\r\n" + "".join(lines)

    def manifest(self) -> str:
        values = {
            "manifest.version": "1.0",
            "oneroster.version": self.version or self.profile.manifest,
            **{f"file.{entity.file}": self.mode(entity.file) for entity in BINDING},
        }
        return ",".join(MANIFEST_HEADER) + "\r\n" + "".join(map(quoted, values.items()))

    def texts(self) -> tuple[str, ...]:
        """All that is in it."""
        return (self.manifest(), *map(self.text, self.rows))

    def zip(self, **instead: bytes | None) -> bytes:
        """The package; `instead` replaces a file by other bytes, or leaves it out."""
        texts = {file: self.text(file).encode() for file in self.rows}
        texts["manifest"] = self.manifest().encode()
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for file, data in {**texts, **instead}.items():
                if data is not None:
                    archive.writestr(f"{file}.csv", data)
        return out.getvalue()

    def only(self, *files: str) -> "Package":
        return replace(self, rows={file: self.rows[file] for file in files})

    def without(self, *files: str) -> "Package":
        return replace(self, rows={f: rows for f, rows in self.rows.items() if f not in files})

    def meant(self, mode: str, *files: str) -> "Package":
        return replace(self, modes={**self.modes, **dict.fromkeys(files or self.rows, mode)})

    def row(self, file: str, key: str) -> Row:
        return next(row for row in self.rows[file] if row["sourcedId"] == key)

    def put(self, file: str, *rows: Row) -> "Package":
        return replace(self, rows={**self.rows, file: (*self.rows.get(file, ()), *rows)})

    def drop(self, file: str, *keys: str) -> "Package":
        kept = tuple(row for row in self.rows[file] if row["sourcedId"] not in keys)
        return replace(self, rows={**self.rows, file: kept})

    def change(self, file: str, key: str, cells: Row) -> "Package":
        changed = tuple(
            {**row, **cells} if row["sourcedId"] == key else row for row in self.rows[file]
        )
        return replace(self, rows={**self.rows, file: changed})

    def delta(self, file: str, *rows: Row, status: str = "active") -> "Package":
        """These rows as changes of that file, with a status and an instant."""
        state = dict(zip(STATE, (status, INSTANT), strict=True))
        stated = tuple({**row, **state} for row in rows)
        return replace(self.put(file, *stated), modes={**self.modes, file: "delta"})

    def bare(self) -> "Package":
        """The same without what is of Japan: under it, the binding alone counts."""
        rows = {
            file: tuple(
                {name: cell for name, cell in row.items() if not name.startswith("metadata.")}
                for row in rows
            )
            for file, rows in self.rows.items()
        }
        return replace(self, rows=rows, profile=V1_2_1)

    def in_terms(self) -> "Package":
        """The bare town with two terms in its year, which Japan does not have."""
        terms = table(
            "sourcedId title type startDate endDate parentSourcedId schoolYear",
            "t1 前期 term 2026-04-01 2026-09-30 y2026 2026",
            "t2 後期 term 2026-10-01 2027-03-31 y2026 2026",
        )
        taught = self.bare().change("classes", "c1", {"termSourcedIds": "t1,t2"})
        return taught.change("classes", "c3", {"termSourcedIds": "t1"}).put(
            "academicSessions", *terms
        )

    def reversed(self) -> "Package":
        """The same rows in another order."""
        return replace(self, rows={file: rows[::-1] for file, rows in self.rows.items()})


def table(names: str, *lines: str) -> tuple[Row, ...]:
    """Rows as a small table, a blank between cells and `-` for none."""
    return tuple(
        {
            name: "" if cell == "-" else cell
            for name, cell in zip(names.split(), line.split(), strict=True)
        }
        for line in lines
    )


M = "00000000-0000-4000-8000-0000000000a"
NOTHING = Package({})
TOWN = Package(
    {
        "orgs": table(
            "sourcedId name type identifier parentSourcedId",
            "board 架空市教育委員会 district 139999 -",
            "north 北小学校 school - board",
            "south 南小学校 school - board",
        ),
        "academicSessions": table(
            "sourcedId title type startDate endDate parentSourcedId schoolYear",
            "y2026 2026年度 schoolYear 2026-04-01 2027-03-31 - 2026",
            "y2027 2027年度 schoolYear 2027-04-01 2028-03-31 - 2027",
        ),
        "courses": table(
            "sourcedId schoolYearSourcedId title grades orgSourcedId subjects subjectCodes",
            "hr y2026 2026年度ホームルーム P1,P2 north - -",
            "ja y2026 2026年度国語 P1 board 国語,書写 P010,P020",
        ),
        "classes": table(
            "sourcedId title grades courseSourcedId classType schoolSourcedId termSourcedIds"
            " periods metadata.jp.specialNeeds",
            "c1 1年1組 P1 hr homeroom north y2026 - false",
            "c2 2年1組 P2 hr homeroom north y2026 - true",
            "c3 国語 P1 ja scheduled south y2026 1,3 -",
        ),
        "users": table(
            "sourcedId enabledUser username userIds givenName familyName agentSourcedIds grades"
            " userMasterIdentifier preferredGivenName preferredFamilyName primaryOrgSourcedId"
            " metadata.jp.kanaGivenName metadata.jp.kanaFamilyName metadata.jp.homeClass",
            f"taro true taro {{Koumu:0001}},{{AD:taro}} 太郎 山田 mother,father P1 {M}1 太郎 山田"
            " north タロウ ヤマダ c1",
            f"hana true hana {{Koumu:0002}} 花子 佐藤 - P2 {M}2 花子 佐藤 north ハナコ サトウ c2",
            f"mother true mother - 和子 山田 - - {M}3 和子 山田 - カズコ ヤマダ -",
            f"father true father - 一郎 山田 - - {M}4 一郎 山田 - イチロウ ヤマダ -",
            f"teacher true teacher - 次郎 鈴木 - - {M}5 次郎 鈴木 south ジロウ スズキ -",
        ),
        "userProfiles": table(
            "sourcedId userSourcedId profileType vendorId applicationId credentialType username",
            "p-taro taro 学習eポータル vendor app OIDC taro@example.jp",
            "p-hana hana 学習eポータル vendor - OIDC hana@example.jp",
        ),
        "roles": table(
            "sourcedId userSourcedId roleType role beginDate endDate orgSourcedId"
            " userProfileSourcedId",
            "r-taro taro primary student 2026-04-01 2027-03-31 north p-taro",
            "r-hana hana primary student 2026-04-01 2027-03-31 north p-hana",
            "r-mother mother primary guardian - - north -",
            "r-father father primary guardian - - north -",
            "r-teacher teacher primary teacher 2026-04-01 - south -",
            "r-teacher2 teacher secondary siteAdministrator - - north -",
        ),
        "demographics": table(
            "sourcedId birthDate sex asian",
            "taro 2019-05-05 male true",
            "hana 2018-02-28 female -",
        ),
        "enrollments": table(
            "sourcedId classSourcedId schoolSourcedId userSourcedId role primary beginDate"
            " endDate metadata.jp.ShussekiNo metadata.jp.PublicFlg",
            "e1 c1 north taro student false 2026-04-01 2027-03-31 1 true",
            "e2 c3 south taro student false - - - false",
            "e3 c2 north hana student false 2026-04-01 - 12 -",
            "e4 c1 north teacher teacher true - - - -",
        ),
    }
)


@pytest.fixture
def town() -> Package:
    """A clean package of all nine files: 2 schools, 5 people, every kind of value."""
    return TOWN


@pytest.fixture
def nothing() -> Package:
    """A package of no file, to be filled."""
    return NOTHING


# --- What must come of it ------------------------------------------------------------------


def value(column: AnyColumn, cell: str) -> Any:  # noqa: ANN401  # whatever PostgreSQL hands back
    """A cell as the table has it."""
    if cell == "":
        return None
    match column:
        case Flag():
            return {"true": True, "false": False}[cell]
        case Day():
            return date.fromisoformat(cell)
        case Whole():
            return int(cell)
        case Decimal():
            return Number(cell)
        case Texts() | Pairs() | Choices() | Refs():
            return [item.strip() for item in cell.split(",")]
        case _:
            return cell


def record(entity: AnyEntity, header: Sequence[str], row: Row) -> Values:
    """A row as the table has it, its status left out."""
    spelled = {SPELLINGS.get(name.lower(), name): name for name in header}
    cells = {
        column.name: value(column, row.get(spelled.get(column, column.csv), ""))
        for column in entity.stored()
        if column.name != "status"
    }
    known = {column.csv for column in entity.columns}
    unknown = {
        name.removeprefix("metadata."): row[name]
        for name in header
        if name not in known and name.lower() not in SPELLINGS and row.get(name)
    }
    return {**cells, "metadata": unknown or None}


def outcome(counts: Mapping[str, Counts]) -> Outcome:
    """What became of each file, without what did not happen."""
    numbers: Mapping[str, Any] = counts
    return {file: {n: v for n, v in found.items() if v} for file, found in numbers.items()}


@dataclass
class Book:
    """What the roster of a district must be after each push, and what it must have been."""

    version: int = 0
    live: dict[str, dict[str, Values]] = field(
        default_factory=lambda: {entity.file: {} for entity in ROSTERING}
    )
    history: dict[str, list[Values]] = field(
        default_factory=lambda: {entity.file: [] for entity in ROSTERING}
    )
    snapshots: dict[int, dict[str, dict[str, Values]]] = field(default_factory=dict)

    def push(self, package: Package, mode: str | None = None) -> Outcome:
        """Turn to the next page, if anything differs; answer what became of each file."""
        made = self.version + 1
        counts = {
            entity.file: self._file(entity, package, mode or package.mode(entity.file), made)
            for entity in ROSTERING
            if entity.file in package.rows
        }
        touched = self._touch(made)
        if touched:
            counts.setdefault("users", Counts())["touched"] = touched
        if any(rows["version"] == made for file in self.live.values() for rows in file.values()):
            self.version = made
        self.snapshots[self.version] = deepcopy(self.live)
        return outcome(counts)

    def _file(self, entity: AnyEntity, package: Package, mode: str, made: int) -> Counts:
        file = entity.file
        counts = Counts(rows=0, created=0, updated=0, unchanged=0, rejected=0, deleted=0)
        for row in package.rows[file]:
            counts["rows"] += 1
            counts[self._row(entity, package.header(file), row, mode, made)] += 1
        if mode == "bulk":
            listed = {row["sourcedId"] for row in package.rows[file]}
            for key, old in list(self.live[file].items()):
                if key not in listed and old["status"] == "active":
                    self._write(file, {**old, "status": "tobedeleted"}, made)
                    counts["deleted"] += 1
        return counts

    def _row(
        self, entity: AnyEntity, header: Sequence[str], row: Row, mode: str, made: int
    ) -> Literal["created", "updated", "unchanged", "deleted"]:
        old = self.live[entity.file].get(row["sourcedId"])
        status = row["status"] if mode == "delta" else "active"
        new = {**record(entity, header, row), "status": status}
        if old is None and status == "tobedeleted":
            return "unchanged"
        if old and all(old[name] == new[name] for name in new):
            return "unchanged"
        self._write(entity.file, new, made)
        if old is None:
            return "created"
        return "deleted" if (old["status"], status) == ("active", "tobedeleted") else "updated"

    def _write(self, file: str, new: Values, made: int) -> None:
        old = self.live[file].get(new["sourced_id"])
        if old:
            self.history[file].append({**old, "until_version": made})
        created = old["created_version"] if old else made
        self.live[file][new["sourced_id"]] = {**new, "version": made, "created_version": created}

    def _touch(self, made: int) -> int:
        """Users of whom only a part changed, by what the part says and by what it said."""
        owners = {
            part["user_sourced_id"]
            for entity in PARTS
            for parts, mark in (
                (self.live[entity.file].values(), "version"),
                (self.history[entity.file], "until_version"),
            )
            for part in parts
            if part[mark] == made
        }
        users = self.live["users"]
        touched = [key for key in owners if key in users and users[key]["version"] < made]
        for key in touched:
            self._write("users", users[key], made)
        return len(touched)


@pytest.fixture
def book() -> Book:
    """An empty book."""
    return Book()


# --- The hub -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """A stored finding."""

    file: str
    line: int | None
    column: str | None
    sourced_id: str | None
    rule: str
    severity: str
    value: str | None
    facts: Mapping[str, Any]
    caused_by: int | None = None
    seq: int = 0

    @property
    def place(self) -> tuple[str, int | None, str | None, str]:
        return self.file, self.line, self.column, self.rule


@dataclass(frozen=True)
class Push:
    """What came of a push."""

    end: RunEnded
    run: Mapping[str, Any]
    findings: list[Found]
    events: list[Event]
    modes: Callable[[str], str]

    @property
    def state(self) -> str:
        return self.end.state

    @property
    def counts(self) -> Outcome:
        return outcome(self.end.counts)

    @property
    def places(self) -> list[tuple[str, int | None, str | None, str]]:
        return [found.place for found in self.findings if found.caused_by is None]

    @property
    def rules(self) -> set[str]:
        return {found.rule for found in self.findings if found.caused_by is None}


@dataclass
class District:
    """A district of the hub. Pushing to it looks at every law that holds for every push."""

    hub: "Hub"
    tenant_id: int

    def push(
        self,
        package: Package | bytes | Path,
        *,
        entity: str | None = None,
        mode: Mode | None = None,
        limits: Limits | None = None,
    ) -> Push:
        """Store, queue, claim and import a package, or one CSV of it."""
        path = self.hub.stored(package, entity)
        run_id = self.hub.queued(self.tenant_id, path, entity, mode)
        before = self.everything()
        folder = self.hub.folder / f"work-{run_id}"
        folder.mkdir()
        events: list[Event] = []
        with connect(self.hub.url) as db:
            claim = claims.take(db, self.tenant_id, lease=60, worker="test")
            assert claim is not None
            assert claim.id == run_id
            watch, limits = Watch(), limits or Limits()
            end = Import(
                claim, db, path, folder, watch, events.append, limits, self.hub.objects
            ).run()
        modes = (
            package.mode if isinstance(package, Package) and not mode else lambda _: mode or "bulk"
        )
        done = Push(end, self.run(run_id), self.findings(run_id), events, modes)
        self._lawful(done, before)
        return replace(done, findings=[each for each in done.findings if each.rule not in UNSAID])

    def has(self, *packages: Package) -> None:
        """Be as a district is to which these were pushed; to push them again takes longer."""
        self.hub.copy(self.hub.loaded(*packages), self)

    def _lawful(self, done: Push, before: dict[str, tuple[int, str]]) -> None:
        """What holds for every push, good or bad."""
        end, run = done.end, done.run
        assert isinstance(done.events[0], RunStarted)
        assert self.rows("loads") == [], "a first load is left open"
        assert (run["state"], run["counts"]) == (end.state, end.counts)
        severities = [found.severity for found in done.findings if found.caused_by is None]
        counted: Counter[str] = Counter()
        for row in self.rows("finding_counts"):
            if row["run_id"] == run["id"] and row["findings"]:
                counted[row["severity"]] += row["findings"]
        assert run["findings"] == end.findings == counted
        listed = Counter(severities)
        assert listed <= counted
        assert listed == counted or max(listed.values()) >= EACH
        for found in done.findings:
            assert found.severity == RULES[found.rule].severity
            assert not gaps(found), found
        for file, counts in end.counts.items():
            assert counts.get("rejected", 0) <= counts.get("rows", 0), file
        if end.state == "rejected":
            assert run["version"] is None
            assert severities.count("error") > 0
            after = self.everything()
            assert after == before, "a rejected package changed something"
            return
        assert end.state == "applied", end
        if not self.skips():
            assert "error" not in severities
        for file, became in done.counts.items():
            names = ["created", "updated", "unchanged", "rejected"]
            names += ["deleted"] if done.modes(file) == "delta" else []
            assert became.get("rows", 0) == sum(became.get(name, 0) for name in names), file
        assert self.record_counts() == self.counted()
        (version,) = self.hub.one(
            "select version from districts where tenant_id = %s", self.tenant_id
        )
        assert run["version"] == end.version == version
        written = {"created", "updated", "deleted", "touched"}
        changed = any(written & {*counts} for counts in done.counts.values())
        assert self.versions() == [*range(1, version + 1)]
        assert len(self.versions()) == before["versions"][0] + changed

    def skips(self) -> bool:
        """Whether the district leaves faulty rows out."""
        (policy,) = self.hub.one(
            "select policy from districts where tenant_id = %s", self.tenant_id
        )
        return bool(policy.get("reading", {}).get("faulty_rows") == "skip")

    # --- what is there

    def rows(self, name: str) -> list[dict[str, Any]]:
        """A table's rows of this district."""
        query = SQL("select * from {} where tenant_id = %s").format(Identifier(name))
        with self.hub.admin.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query, [self.tenant_id]).fetchall()

    def records(self, file: str) -> dict[str, Values]:
        """The live records of a file, as the book has them."""
        return {
            row["sourced_id"]: {n: v for n, v in row.items() if n not in OURS}
            for row in self.rows(BY_FILE[file].table)
        }

    def roster(self) -> dict[str, dict[str, Values]]:
        return {entity.file: self.records(entity.file) for entity in ROSTERING}

    def history(self, file: str) -> list[Values]:
        rows = self.rows(f"{BY_FILE[file].table}_history")
        plain = [{n: v for n, v in r.items() if n not in OURS} for r in rows]
        return sorted(plain, key=lambda row: (row["sourced_id"], row["version"]))

    def as_of(self, file: str, version: int) -> dict[str, Values]:
        """The records of a file as they were when that version stood, read as a reader would."""
        entity = BY_FILE[file]
        names = SQL(", ").join(
            Identifier(name)
            for name in (
                *(column.name for column in entity.stored()),
                "metadata",
                "version",
                "created_version",
            )
        )
        query = SQL("""
            select {names} from {live} where tenant_id = %(tenant)s and version <= %(version)s
            union all
            select {names} from {history} where tenant_id = %(tenant)s
              and version <= %(version)s and %(version)s < until_version
        """).format(
            names=names,
            live=Identifier(entity.table),
            history=Identifier(f"{entity.table}_history"),
        )
        with self.hub.admin.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(query, {"tenant": self.tenant_id, "version": version}).fetchall()
        found = {row["sourced_id"]: row for row in rows}
        assert len(found) == len(rows), "a record is there twice"
        return found

    def writes(self) -> dict[str, set[tuple[str, str]]]:
        """Which transaction wrote each live row last."""
        return {
            entity.file: {
                (key, xmin)
                for key, xmin in self.hub.admin.execute(
                    SQL("select sourced_id, xmin::text from {} where tenant_id = %s").format(
                        Identifier(entity.table)
                    ),
                    [self.tenant_id],
                )
            }
            for entity in ROSTERING
        }

    def everything(self) -> dict[str, tuple[int, str]]:
        """All that a rejected package must leave alone: rows of each table, and their digest."""
        tables = [name for e in ROSTERING for name in (e.table, f"{e.table}_history")]
        each = SQL("""
            select {name}, count(*), coalesce(md5(string_agg(t::text, E'\\n' order by t::text)), '')
            from {table} as t where tenant_id = {tenant}
        """)
        query = SQL(" union all ").join(
            each.format(name=name, table=Identifier(name), tenant=self.tenant_id)
            for name in (*tables, "versions", "record_counts", "districts")
        )
        return {name: (rows, digest) for name, rows, digest in self.hub.admin.execute(query)}

    def versions(self) -> list[int]:
        return sorted(row["version"] for row in self.rows("versions"))

    def record_counts(self) -> dict[tuple[str, str], int]:
        return {(r["entity"], r["status"]): r["records"] for r in self.rows("record_counts")}

    def counted(self) -> dict[tuple[str, str], int]:
        """The same, by looking."""
        each = SQL("select {}, status, count(*) from {} where tenant_id = {} group by status")
        query = SQL(" union all ").join(
            each.format(entity.file, Identifier(entity.table), self.tenant_id)
            for entity in ROSTERING
        )
        return {(file, status): n for file, status, n in self.hub.admin.execute(query)}

    def run(self, run_id: UUID) -> Mapping[str, Any]:
        return next(row for row in self.rows("runs") if row["id"] == run_id)

    def findings(self, run_id: UUID) -> list[Found]:
        rows = [row for row in self.rows("findings") if row["run_id"] == run_id]
        rows.sort(key=lambda row: int(row["seq"]))
        assert [row["seq"] for row in rows] == [*range(1, len(rows) + 1)]
        names = Found.__dataclass_fields__
        return [Found(**{name: row[name] for name in names}) for row in rows]

    def agrees(self, book: Book) -> None:
        """The district is what the book says, now and at every version before."""
        assert self.roster() == book.live
        assert self.versions() == [*range(1, book.version + 1)]
        for file, rows in book.history.items():
            ordered = sorted(rows, key=lambda row: (row["sourced_id"], row["version"]))
            assert self.history(file) == ordered, file


def gaps(found: Found) -> set[str]:
    """What the sentences of a finding name and the finding does not have."""
    rule = RULES[found.rule]
    own = {name: getattr(found, name) for name in ("file", "line", "column", "sourced_id", "value")}
    known = {name for name, fact in {**own, **found.facts}.items() if fact is not None}
    texts = (rule.en, rule.ja, rule.hint_en, rule.hint_ja)
    return {name for text in texts for _, name, _, _ in Formatter().parse(text) if name} - known


@dataclass
class Hub:
    """A migrated database, and a superuser's look into it."""

    url: str
    admin: psycopg.Connection[Any]
    folder: Path
    numbers: Iterator[int] = field(default_factory=count)
    models: dict[tuple[str, ...], District] = field(default_factory=dict)

    @cached_property
    def tables(self) -> Mapping[str, list[str]]:
        """What belongs to a district, with the columns that say no more than that."""
        found = self.admin.execute("""
            select relname, array_agg(attname::text)
            from pg_class as c join pg_attribute on attrelid = c.oid
            where relnamespace = 'rosterhub'::regnamespace and relkind = 'r' and attnum > 0
              and not attisdropped and attgenerated = '' and relname <> 'districts'
            group by relname having 'tenant_id' = any(array_agg(attname))
        """)
        return {name: [c for c in columns if c != "tenant_id"] for name, columns in found}

    @property
    def objects(self) -> LocalStore:
        return LocalStore(self.folder / "objects", mkdir=True)

    def district(self) -> District:
        """Without a guard, for what it holds is asked in tests of its own."""
        name = f"district-{uuid4().hex}"
        (tenant_id,) = self.one(
            "insert into districts (id, name, policy)"
            ' values (%s, %s, \'{"guard": {"on": false}}\') returning tenant_id',
            *(name, name),
        )
        return District(self, tenant_id)

    def loaded(self, *packages: Package) -> District:
        """The district to which these packages were pushed, one after the other."""
        key = tuple(said for package in packages for said in package.texts())
        if key not in self.models:
            district = self.district()
            if before := packages[:-1]:
                district.has(*before)
            assert district.push(packages[-1]).state == "applied"
            self.models[key] = district
        return self.models[key]

    def copy(self, source: District, target: District) -> None:
        """Let a new district have all that another has."""
        with self.admin.transaction():
            self.admin.execute("set local session_replication_role = replica")  # in any order
            for table, columns in self.tables.items():
                names = SQL(", ").join(map(Identifier, columns))
                self.admin.execute(
                    SQL(
                        "insert into {table} (tenant_id, {names}) select %s, {names} from {table}"
                        " where tenant_id = %s"
                    ).format(table=Identifier(table), names=names),
                    [target.tenant_id, source.tenant_id],
                )
            self.admin.execute(
                "update districts as t set version = s.version, published_at = s.published_at"
                " from districts as s where t.tenant_id = %s and s.tenant_id = %s",
                [target.tenant_id, source.tenant_id],
            )

    def one(self, query: str, *params: object) -> tuple[Any, ...]:
        row = self.admin.execute(query.encode(), params).fetchone()
        assert row is not None
        return tuple(row)

    def stored(self, package: Package | bytes | Path, entity: str | None) -> Path:
        """The bytes of an upload as a file."""
        if isinstance(package, Path):
            return package
        path = self.folder / f"upload-{next(self.numbers)}"
        if isinstance(package, Package):
            text = package.text(entity) if entity else None
            path.write_bytes(package.zip() if text is None else text.encode())
        else:
            path.write_bytes(package)
        return path

    def queued(self, tenant_id: int, path: Path, entity: str | None, mode: str | None) -> UUID:
        """The row of a run, as the gateway writes it."""
        run_id, upload_id = uuid4(), uuid4()
        self.admin.execute(
            "insert into uploads (tenant_id, id, object_key, bytes, sha256)"
            " values (%s, %s, 'test', %s, '')",
            [tenant_id, upload_id, max(path.stat().st_size, 1)],
        )
        self.admin.execute(
            "insert into runs (tenant_id, id, kind, upload_id, created_by, entity, mode)"
            " values (%s, %s, 'import', %s, 'test', %s, %s)",
            [tenant_id, run_id, upload_id, entity, mode],
        )
        return run_id


@pytest.fixture(scope="session")
def hub_url(postgres: Postgres, template: str) -> Iterator[str]:
    """One database for all, for districts do not see each other: that is part of the test."""
    name = f"pipeline_{uuid4().hex[:12]}"
    clone = SQL("create database {} template {}").format(Identifier(name), Identifier(template))
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute(clone)
        admin.execute(
            SQL("grant temporary on database {} to rosterhub_app").format(Identifier(name))
        )
        yield f"{postgres.url.rsplit('/', 1)[0]}/{name}"
        admin.execute(SQL("drop database {} with (force)").format(Identifier(name)))


@pytest.fixture(scope="session")
def hub(hub_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub where others push too."""
    with psycopg.connect(hub_url, autocommit=True) as admin:
        admin.execute("set search_path = rosterhub")
        yield Hub(hub_url, admin, tmp_path_factory.mktemp("hub"))


@pytest.fixture(scope="session")
def loaded(hub: Hub) -> District:
    """A district with the town in it, for pushes that are rejected and so change nothing."""
    district = hub.district()
    district.has(TOWN)
    return district


@pytest.fixture
def district(hub: Hub) -> District:
    """A district without a roster."""
    return hub.district()


@pytest.fixture
def other(hub: Hub) -> District:
    """Another one."""
    return hub.district()


@dataclass(frozen=True)
class Text:
    """What was read of a file: the good rows by line, and what is wrong with the others."""

    rows: Mapping[int, tuple[str | None, ...]]
    findings: list[Finding]
    broken: bool = False

    @property
    def places(self) -> list[tuple[str, int | None]]:
        return [(finding.rule.id, finding.line) for finding in self.findings]


@pytest.fixture
def read(source: Callable[..., Source]) -> Callable[..., Text]:
    """Bytes through the shape check, as an import sends them."""

    def through(data: bytes, width: int = 3, **limits: int) -> Text:
        columns = tuple(f"c{number}" for number in range(width))
        rows: dict[int, tuple[str | None, ...]] = {}
        findings: list[Finding] = []
        file = source(data, **limits)
        try:
            for number, piece in enumerate(text.pieces(file)):
                body = text.split_header(piece, file.name)[1] if number == 0 else piece
                if body.data:
                    frame, faults = text.records(body, columns, file.name, file.limits)
                    rows |= {line: tuple(cells) for line, *cells in frame.rows()}
                    findings += faults
        except Broken as error:
            return Text(rows, [*findings, error.finding], broken=True)
        return Text(rows, findings)

    return through


@pytest.fixture
def source(tmp_path: Path) -> Callable[..., Source]:
    """A CSV as the pipeline reads it."""

    def make(data: bytes, *, name: str = "orgs.csv", **limits: int) -> Source:
        path = tmp_path / "source.csv"
        path.write_bytes(data)
        return Source(name, len(data), path, zipped=False, limits=Limits(**limits))

    return make

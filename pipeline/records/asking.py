"""Ask a state what is wrong between its records, and say what follows from what.

Two directions: a row must point at a record that will be there, and a stored row must not be left
pointing at one that will not (architecture D8). Stored rows that nothing has touched are not looked
at: they were checked when they were stored. What is missing only because its own row has an error,
or because its file could not be read, follows from that error.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import polars as pl
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from pipeline.faults import Findings, Sort, cut, pointers
from pipeline.records.checks import CHECKS, JAPAN, KINDS, Check, Inside, Kind, Proof
from pipeline.records.state import Row, State, Stored
from schemas import rules
from schemas.columns import AnyColumn, Key, Ref, Refs
from schemas.profiles import Profile
from schemas.roster import BY_FILE, BY_TABLE, ROSTERING, AnyEntity
from schemas.rules import Finding, Rule


@dataclass(frozen=True)
class Asking:
    """Questions to one state. `limit`: findings of one kind that are listed, causes first.

    `complete` are the files of which the state knows every record, so that what is not there is
    missing; None: all of them. `sound` are those whose keys and references are known to be right,
    `proven` is what else need not be asked.
    """

    state: State
    findings: Findings
    profile: Profile
    limit: int
    complete: frozenset[str] | None = None
    sound: frozenset[str] = frozenset()
    proven: Collection[Kind | Proof | Inside] = frozenset()

    def learn(self) -> None:
        """Let the state know the rows with errors, so that what follows from them is recognised."""
        for entity in ROSTERING:
            keys = self.findings.keys.get(entity.file, {})
            blank = [None] * len(pointers(entity))
            rows = [(number, key, *blank) for key, number in keys.items()]
            for frame in self.findings.rows.get(entity.file, []):
                rows += [(number, None, *values) for number, *values in frame.iter_rows()]
            if rows:
                self.know(entity, rows)

    def know(self, entity: AnyEntity, rows: Sequence[Row]) -> None:
        """Rows with an error: the number of the finding, the sourcedId, what each column names."""
        names = [column.name for column in pointers(entity)]
        schema = {"finding": pl.Int64, "sourced_id": pl.String, **dict.fromkeys(names, pl.String)}
        self.state.know(entity, pl.DataFrame(rows, schema=schema, orient="row"))

    def errors(self) -> Iterator[Finding]:
        """What keeps a package from being applied."""
        return chain.from_iterable(self._asked_of_errors())

    def remarks(self) -> Iterator[Finding]:
        """What is worth saying."""
        return chain.from_iterable(self._asked_of_remarks())

    def questions(self) -> list[Iterator[Finding]]:
        """The same one by one: each is asked when its answer is wanted."""
        return [*self._asked_of_errors(), *self._asked_of_remarks()]

    def _asked_of_errors(self) -> Iterator[Iterator[Finding]]:
        asked = [entity for entity in ROSTERING if entity.file not in self.sound]
        yield from map(self.duplicates, asked)
        yield from map(self.missing, asked)
        yield from (self.kinds(kind) for kind in KINDS if not kind.japan)
        yield from self.checks(error=True)

    def _asked_of_remarks(self) -> Iterator[Iterator[Finding]]:
        yield from (self.kinds(kind) for kind in KINDS if kind.japan)
        yield from self.checks(error=False)

    def checks(self, *, error: bool) -> Iterator[Iterator[Finding]]:
        """The rules that are declared one by one."""
        for check in CHECKS:
            rule = check.under(self.profile.name)
            if check.proof in self.proven:
                continue
            if rule and (rule.severity == "error") == error and self._concerned(check):
                yield self.check(check, rule)

    def check(self, check: Check, rule: Rule) -> Iterator[Finding]:
        """What breaks a rule."""
        cause, joined = self._person(check)
        all_of_them = f"count(*) filter (where {cause} is null) over ()"
        facts = (f"found.{name}" for name in check.facts)
        names = ["line", "sourced_id", "value", cause, all_of_them, *facts]
        shape = (
            f"select {', '.join(names)} from found {joined}"  # noqa: S608 -- names of ours
            f" order by {cause} is not null, line, sourced_id limit {self.limit}"
        )
        column = None if check.column is None else self._spelled(check.column)
        sort = Sort(rule, f"{check.entity.file}.csv", column)
        listed = together = 0
        for line, key, value, follows, count, *found in self.state.rows(
            self.state.compose(check, shape)
        ):
            listed, together = listed + (follows is None), int(count)
            yield Finding(
                rule=rule,
                file=sort.file,
                line=line,
                column=sort.column,
                sourced_id=key,
                value=cut(value),
                caused_by=follows,
                facts=dict(zip(check.facts, found, strict=True)),
            )
        if together > listed and rule.severity != "error":  # errors end the run anyway
            self.findings.count(sort, {None: together - listed})

    def _concerned(self, check: Check) -> bool:
        """Whether anything changed that the rule speaks of, and all that it needs is known."""
        for column in check.whole:
            file = BY_TABLE[column.entity].file
            if file in self.findings.unreadable or not self._complete(file):
                return False
        names = (f"_{entity.table}" for entity in ROSTERING if self.state.changed(entity))
        return any(name in check.text for name in names)

    def _complete(self, file: str) -> bool:
        return self.complete is None or file in self.complete

    def _person(self, check: Check) -> tuple[str, str]:
        """The number of the finding that took away what names the person, and how to join it."""
        for column in check.whole:
            if column.entity in self.state.faulty:
                taken = (
                    f"select {column.name} as whose, min(finding) as finding"  # noqa: S608 -- ours
                    f" from faulty_{column.entity} group by {column.name}"
                )
                return (
                    "taken.finding",
                    f"left join ({taken}) as taken on taken.whose = found.person",
                )
        return "null", ""

    def _spelled(self, column: AnyColumn) -> str:
        """A column as the profile writes it."""
        return self.profile.spelling.get(column, column.csv)

    def duplicates(self, entity: AnyEntity) -> Iterator[Finding]:
        """Keys that stand in the file more than once; the second and later rows are named."""
        if not self.state.changed(entity):
            return
        query = SQL("""
            select s.line, s.sourced_id from {staged} as s
            join (
                select sourced_id, min(line) as first from {staged}
                group by sourced_id having count(*) > 1
            ) as d on d.sourced_id = s.sourced_id
            where s.line > d.first order by s.line limit {limit}
        """).format(staged=table("staged", entity), limit=Literal(self.limit))
        for line, key in self.state.rows(query):
            yield Finding(
                rule=rules.records.DUPLICATE,
                file=f"{entity.file}.csv",
                line=line,
                column="sourcedId",
                sourced_id=key,
                value=cut(key),
            )

    def missing(self, entity: AnyEntity) -> Iterator[Finding]:
        """Rows of the package that point at nothing."""
        if not self.state.changed(entity):
            return
        for column in entity.references():
            target = BY_FILE[column.to]
            if target.kept:
                yield from self._dangling(entity, column, target)

    def _dangling(
        self, entity: AnyEntity, column: Key | Ref | Refs, target: AnyEntity
    ) -> Iterator[Finding]:
        unread = self.findings.unreadable.get(target.file)
        if unread is None and not self._complete(target.file):
            return
        rows = self.state.rows(self._pointing(entity, column, target, unread))
        untold: dict[int, int] = {}
        for line, key, value, cause, together in rows:
            if cause is not None:
                untold[cause] = untold.get(cause, int(together)) - 1
            yield Finding(
                rule=rules.records.REFERENCE,
                file=f"{entity.file}.csv",
                line=line,
                column=self._spelled(column),
                sourced_id=key,
                value=cut(value),
                caused_by=cause,
                facts={"target": f"{target.file}.csv"},
            )
        for cause, more in untold.items():
            self.findings.more(cause, more)

    def _pointing(
        self, entity: AnyEntity, column: Key | Ref | Refs, target: AnyEntity, unread: int | None
    ) -> Composed:
        """Line, key, value, what it follows from, and how many follow from that."""
        value: Composable = Identifier("s", column.name)
        source = SQL("{} as s").format(table("staged", entity))
        if isinstance(column, Refs):
            value = Identifier("i", "key")
            items = self.state.items(f"staged_{entity.table}", entity, column.name)
            source += SQL(
                " join ({}) as i on i.line = s.line and i.sourced_id = s.sourced_id"
            ).format(items)
        cause: Composable = SQL("null") if unread is None else Literal(unread)
        if unread is None and target.table in self.state.faulty:
            cause = SQL("f.finding")
            source += SQL(
                " left join (select sourced_id, min(finding) as finding from {}"
                " group by sourced_id) as f on f.sourced_id = {}"
            ).format(table("faulty", target), value)
        if unread is None and (nameless := self.findings.keyless.get(target.file)):
            # What is missing may well be the record of a row whose sourcedId cannot be read.
            cause = SQL("coalesce({}, {})").format(cause, Literal(nameless))
        where = SQL(" where s.status = 'active' and {} is not null and ").format(value)
        found = SQL("select s.line, s.sourced_id, {} as value, {} as cause from {} {} {}")
        query = found.format(value, cause, source, where, self.state.missing(target, value))
        if isinstance(self.state, Stored) and self.state.goes(target):
            left = found.format(value, cause, source, where, self.state.leaving(target, value))
            query = SQL("{} union {}").format(query, left)
        return SQL("""
            select line, sourced_id, value, cause, count(*) over (partition by cause) as together
            from ({}) as dangling
            order by cause is not null, line, value limit {}
        """).format(query, Literal(self.limit))

    def kinds(self, kind: Kind) -> Iterator[Finding]:
        """References to a record of a wrong type: of rows of the package, then of stored rows."""
        if kind in self.proven or (kind.japan and self.profile.name not in JAPAN):
            return
        if self.state.changed(kind.entity):
            yield from self._wrong(kind, self._mistyped(kind))
        if isinstance(self.state, Stored) and self.state.scoped and self.state.changed(kind.to):
            yield from self._wrong(kind, self._left_mistyped(kind, self.state))

    def _wrong(self, kind: Kind, query: Composable) -> Iterator[Finding]:
        for line, key, value, found in self.state.rows(query):
            yield Finding(
                rule=kind.rule,
                file=f"{kind.entity.file}.csv",
                line=line,
                column=self._spelled(kind.column),
                sourced_id=key,
                value=cut(value),
                caused_by=self.findings.about(kind.to.file, value, kind.type.csv),
                facts={
                    "target": f"{kind.to.file}.csv",
                    "found": cut(found),
                    "expected": kind.expected,
                },
            )

    def vanished(self, state: Stored, *, rule: Rule = rules.records.VANISHED) -> Iterator[Finding]:
        """Stored rows that would be left pointing at a record that goes."""
        for entity in ROSTERING:
            for column in entity.references():
                target = BY_FILE[column.to]
                if target.kept and state.goes(target):
                    for key, value in state.left(entity, column, target, self.limit):
                        yield Finding(
                            rule=rule,
                            file=f"{entity.file}.csv",
                            column=self._spelled(column),
                            sourced_id=key,
                            value=cut(value),
                            facts={"target": f"{target.file}.csv"},
                        )

    def _mistyped(self, kind: Kind) -> Composed:
        near = SQL("select {} from {}").format(
            Identifier(kind.column.name), table("staged", kind.entity)
        )
        targets = self.state.after(
            kind.to,
            [kind.type.name],
            ("sourced_id", near) if self.state.scoped else None,
        )
        return SQL("""
            select s.line, s.sourced_id, s.{column}, t.{type} from {staged} as s
            join ({targets}) as t on t.sourced_id = s.{column}
            where s.status = 'active' {only} and {wrong} order by s.line limit {limit}
        """).format(
            column=Identifier(kind.column.name),
            type=Identifier(kind.type.name),
            staged=table("staged", kind.entity),
            targets=targets,
            only=schools_only(kind),
            wrong=wrong(kind, "t"),
            limit=Literal(self.limit),
        )

    def _left_mistyped(self, kind: Kind, state: Stored) -> Composed:
        """Stored rows whose target was of the right type and will not be."""
        return SQL("""
            select null::bigint, l.sourced_id, l.{column}, t.{type} {live} {only}
                and l.{column} = t.sourced_id and {wrong} and not {wrong_before}
            order by 2 limit {limit}
        """).format(
            column=Identifier(kind.column.name),
            type=Identifier(kind.type.name),
            live=state.live_beside(kind.entity, kind.to),
            only=SQL("and l.type = 'school'") if kind.entity is kind.to else SQL(""),
            wrong=wrong(kind, "t"),
            wrong_before=wrong(kind, "o"),
            limit=Literal(self.limit),
        )


def schools_only(kind: Kind) -> Composable:
    """Of orgs that point at orgs, the schools."""
    return SQL("and s.type = 'school'") if kind.entity is kind.to else SQL("")


def wrong(kind: Kind, alias: str) -> Composed:
    """Whether a target is of a wrong type."""
    type_ = Identifier(alias, kind.type.name)
    other = SQL("{} <> {}").format(type_, Literal(kind.expected))
    if kind.japan:
        return SQL("({})").format(other)
    return SQL("({} and substr({}, 1, 4) <> 'ext:')").format(other, type_)


def table(what: str, entity: AnyEntity) -> Identifier:
    """A table that both engines have."""
    return Identifier(f"{what}_{entity.table}")

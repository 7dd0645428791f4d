"""A finding as its readers see it: what the rule book says today, masked where a district asks.

Also what the addresses under `…/findings` have in common: the filters, and the run they look into.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from falcon.asgi import Request
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from api.cursors import BadCursor, decode
from api.openapi.described import a_number, a_text, a_word
from api.runs import PATH, Json, NoSuchRun, Row
from api.words import among
from schemas.errors import BadRequest
from schemas.rulebook import GUIDES, Language
from schemas.rules import RULES, Finding, Rule, Severity
from schemas.rules.rule import Gaps
from schemas.shapes import shape, shape_of_facts, shape_of_row
from schemas.statements import load

SQL = load("api", "findings.sql")
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
CAUSES = ("only", "none")
INT32 = 2**31


WHICH = (
    a_word("severity", SEVERITIES, "Of this severity."),
    a_text("file", "In this file."),
    a_text("rule", "Of this rule."),
    a_text("school", "At this school."),
    a_word("causes", CAUSES, "`only`: what follows from nothing else; `none`: what does."),
    a_number("caused_by", "What follows from the finding of this number.", most=10**9 - 1),
    a_number("group", "Of this group.", most=10**9 - 1),
)


@dataclass(frozen=True, slots=True)
class Told:
    """One finding of a run; `row` is what findings.sql selects of it."""

    row: Row
    masked: bool

    @property
    def value(self) -> str | None:
        """The offending text, or its shape."""
        value: str | None = self.row["value"]
        return shape(value) if value and self.masked else value

    @property
    def line_as_it_came(self) -> str | None:
        """The row of the file, or its shape."""
        text: str | None = self.row["row"]
        return shape_of_row(text, self.row["sourced_id"]) if text and self.masked else text

    @property
    def source(self) -> str | None:
        """The columns of the district's own file that the column is made of, if it is mapped."""
        source = self.row["facts"].get("source")
        return None if source is None else str(source)

    @property
    def rule(self) -> Rule:
        """The rule; one that is gone by now speaks by its id."""
        name = self.row["rule"]
        return RULES.get(name) or Rule(name, self.row["severity"], *([name] * 4))

    @property
    def names(self) -> Gaps:
        """What the sentences of the rule may name."""
        own = {name: self.row[name] for name in ("file", "line", "column", "sourced_id")}
        return Gaps({**own, "value": self.value, **self._facts})

    @property
    def _facts(self) -> Mapping[str, str | int | None]:
        facts: Mapping[str, str | int | None] = self.row["facts"]
        return shape_of_facts(facts) if self.masked else facts

    def reason(self, language: Language) -> str:
        """What is wrong."""
        text = self.rule.ja if language == "ja" else self.rule.en
        return text.format_map(self.names)

    def remedy(self, language: Language) -> str:
        """What to do."""
        text = self.rule.hint_ja if language == "ja" else self.rule.hint_en
        return text.format_map(self.names)

    def message(self) -> dict[str, str]:
        """Both sentences in one, in both languages."""
        row = self.row
        return Finding(
            rule=self.rule,
            file=row["file"],
            line=row["line"],
            column=row["column"],
            sourced_id=row["sourced_id"],
            value=self.value,
            facts=self._facts,
        ).message()

    def json(self) -> Json:
        """The finding as an item of a list."""
        row = self.row
        return {
            "seq": row["seq"],
            "file": row["file"],
            "line": row["line"],
            "column": row["column"],
            "source": self.source,
            "sourcedId": row["sourced_id"],
            "rule": row["rule"],
            "severity": row["severity"],
            "value": self.value,
            "message": self.message(),
            "hint": {"ja": self.remedy("ja"), "en": self.remedy("en")},
            "causedBy": row["caused_by"],
            "school": row["school"],
            "row": self.line_as_it_came,
            "docs": docs(row["rule"]),
        }


def docs(rule: str) -> dict[str, str]:
    """Where the guides explain the rule."""
    return {language: f"{GUIDES[language].as_posix()}#{rule}" for language in ("ja", "en")}


@dataclass(frozen=True, slots=True)
class Looked:
    """A run whose findings somebody looks at."""

    run_id: str
    masked: bool

    @property
    def path(self) -> str:
        """Where its findings are."""
        return f"{PATH}/{self.run_id}/findings"

    @property
    def shown(self) -> str:
        """How values are shown, in the word of the policy."""
        return "masked" if self.masked else "full"

    def told(self, row: Row) -> Told:
        """A finding of this run."""
        return Told(row, self.masked)


async def look(connection: AsyncConnection[DictRow], key: Mapping[str, object]) -> Looked:
    """The run of this district; `key` has tenant_id and run_id. Raises NoSuchRun."""
    cursor = await connection.execute(SQL["run"], key)
    row = await cursor.fetchone()
    if row is None:
        raise NoSuchRun
    return Looked(str(row["id"]), row["shown"] == "masked")


def wanted(req: Request) -> dict[str, str | int | None]:
    """The filters of a request, as the statements know them."""
    texts = {name: req.get_param(name) for name in ("file", "rule", "school")}
    return {
        "severity": among(req, "severity", SEVERITIES),
        **{name: text and text.replace("\0", "") for name, text in texts.items()},
        "causes": among(req, "causes", CAUSES),
        "caused_by": number(req, "caused_by"),
        "group": number(req, "group"),
    }


def number(req: Request, name: str) -> int | None:
    """A filter that is the number of a finding or of a group."""
    text = req.get_param(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):  # noqa: PLR2004 -- fits 32 bits
        raise BadRequest(f"{name} is a whole number.", field=name)
    return int(text)


def after(cursor: str | None) -> int:
    """The number of the last item on the page before."""
    if cursor is None:
        return -1
    match decode(cursor):
        case [int(seq)] if 0 <= seq < INT32:
            return seq
        case _:
            raise BadCursor

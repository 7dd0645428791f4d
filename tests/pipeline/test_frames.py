"""Each kind of value: what is one, what is none, and what COPY is given of it."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal as Number
from typing import Any, TypeAlias

import polars as pl
import psycopg
import pytest
from psycopg.sql import SQL

from deploy.local.postgres import Postgres
from pipeline.frames import Checker, typed
from pipeline.header import layout
from schemas.columns import AnyColumn
from schemas.ddl import sql_type
from schemas.profiles import JP_1_2_1, V1_2_1, Profile
from schemas.roster import BINDING, BY_FILE, AnyEntity
from schemas.roster.gradebook import Category, LineItem, Result, ScoreScale
from schemas.roster.orgs import AcademicSession, Org
from schemas.roster.people import Demographics, Role, User
from schemas.roster.resources import Resource
from schemas.roster.teaching import Class, Enrollment
from schemas.rules import Finding
from schemas.runs import Mode

Copied: TypeAlias = Callable[[AnyColumn, list[str]], list[Any]]
FILLED = "x"
ENTITY = {entity.table: entity for entity in BINDING}

GUIDS = {
    "good": ["a", "A.b-c_d/e@f", "0", "a" * 255, "5de41ce2-ca22-4b65-866a-e46ae037737e"],
    "bad": [
        "a b",
        "a" * 256,
        "é",
        "日本",
        "a,b",
        "a:b",
        "a+b",
        "a\\b",
        " a",
        "a ",
        "１",
        "a\u200b",
    ],
}
DAYS = {
    "good": ["2026-04-01", "2024-02-29", "0001-01-01", "9999-12-31", "1582-10-10"],
    "bad": [
        "2026-02-30",
        "2026-13-01",
        "2026-00-10",
        "2026-04-00",
        "2025-02-29",
        "1900-02-29",
        "0000-01-01",
        "2026-4-1",
        "2026/04/01",
        "20260401",
        "01-04-2026",
        "2026-04-01T00:00:00Z",
        " 2026-04-01",
        "2026-04-01 ",
        "２０２６-０４-０１",
        "٢٠٢٦-04-01",
        "-2026-04-01",
        "10000-01-01",
        "infinity",
        "today",
    ],
}
KINDS: dict[str, tuple[AnyColumn, str, list[str], list[str]]] = {
    "Key": (Org.sourced_id, "value.guid", GUIDS["good"], GUIDS["bad"]),
    "Ref": (Org.parent_sourced_id, "value.guid", GUIDS["good"], GUIDS["bad"]),
    "Refs": (
        Class.term_sourced_ids,
        "value.guid",
        [*GUIDS["good"], "a,b", "a, b", " a ,b ", "a ,\u3000b"],
        ["a,,b", ",a", "a,", "a b", ",", "a;b", "a,é", " "],
    ),
    "Text": (
        Org.name,
        "",
        [
            "𠮷",
            "か\u3099",
            "葛\U000e0100",
            "①髙﨑ソ表",
            "0012",
            "null",
            " ",
            '"',
            "\\",
            "a,b",
            "x" * 255,
        ],
        [],
    ),
    "Texts": (
        User.grades,
        "value.list",
        ["P1", "P1,P2", " P1 , P2 ", "国語,算数", '"', "\\", 'a"b,c\\d', "{P1}", "NULL", "a b"],
        ["P1,,P2", ",P1", "P1,", ",", " ", "P1, ,P2", "\u3000"],
    ),
    "Pairs": (
        User.user_ids,
        "value.pairs",
        [
            "{Koumu:0001}",
            "{a:b},{c:d}",
            "{a:b} , {c:d}",
            "{種別:値}",
            '{a:"}',
            "{a:b\\}",
            "{a b:c d}",
        ],
        [
            "Koumu:1",
            "{a}",
            "{a:}",
            "{:b}",
            "{a:b:c}",
            "{a:b}{c:d}",
            "{a:b},",
            "{{a:b}}",
            "{a,b:c}",
            "",
        ][:-1],
    ),
    "Choice": (
        AcademicSession.type,
        "value.vocabulary",
        ["gradingPeriod", "semester", "schoolYear", "term", "ext:quarter", "ext:a.B-c_9"],
        [
            "Term",
            "TERM",
            "year",
            "ext:",
            "ext:日本",
            "EXT:a",
            "ext:a b",
            " term",
            "term ",
            "xext:a",
        ],
    ),
    "closed Choice": (
        Role.role_type,
        "value.vocabulary",
        ["primary", "secondary"],
        ["Primary", "ext:other", "tertiary"],
    ),
    "Choices": (
        Resource.roles,
        "value.vocabulary",
        ["aide", "aide,teacher", "aide , ext:librarian"],
        ["Aide", "aide,", "aide,,teacher", "aide;teacher", "ext:", "aide teacher", "teachers"],
    ),
    "Flag": (
        User.enabled_user,
        "value.boolean",
        ["true", "false"],
        ["True", "TRUE", "FALSE", "1", "0", "yes", "t", " true", "true "],
    ),
    "Day": (Demographics.birth_date, "value.date", DAYS["good"], DAYS["bad"]),
    "Year": (
        AcademicSession.school_year,
        "value.year",
        ["2026", "0001", "9999"],
        ["26", "20260", "２０２６", "2026年", "-2026", " 2026", "20 6"],
    ),
    "Whole": (
        Enrollment.shusseki_no,
        "value.integer",
        ["0", "1", "12", "-1", "9" * 18, "-" + "9" * 18],
        [
            "1.0",
            "01",
            "-0",
            "+1",
            "一",
            "1２",
            "１",
            "1e3",
            "9" * 19,
            " 1",
            "1 ",
            "0x1",
            "1_000",
            "1٢",
        ],
    ),
    "Decimal": (
        Result.score,
        "value.float",
        ["0", "87.5", "-1", "0.1", "-0.5", "9" * 18 + "." + "9" * 18],
        [
            "1.",
            ".5",
            "1,5",
            "1e3",
            "NaN",
            "Infinity",
            "-Infinity",
            "8７.5",
            "01.5",
            "+1",
            "1.٢",
            "9" * 19,
        ],
    ),
}
INSTANTS = [
    "2012-04-23T18:25:43.511Z",
    "2026-04-01T00:00:00Z",
    "2026-04-01T09:00:00+09:00",
    "2026-04-01T00:00:00.123456789Z",
]
NO_INSTANTS = [
    "2026-04-01",
    "2026-04-01 00:00:00Z",
    "2026-04-01T24:00:00Z",
    "2026-04-01T00:60:00Z",
    "2026-04-01T00:00:60Z",
    "2026-04-01T00:00:00",
    "2026-02-30T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "2026-04-01T00:00Z",
    "2026-04-01T00:00:0０Z",
    "2026-04-01T00:00:00.٢Z",
]
ALL = [(name, value, True) for name, (_, _, good, _) in KINDS.items() for value in good] + [
    (name, value, False) for name, (_, _, _, bad) in KINDS.items() for value in bad
]


def frame(column: AnyColumn, *values: str | None) -> tuple[AnyEntity, Any, pl.DataFrame]:
    """Rows of the column's file, in which the other required cells have some text."""
    entity = ENTITY[column.entity]
    shape = layout(entity, JP_1_2_1.header(entity))
    cells = {own.name: FILLED if own.required else None for own in shape.columns}
    rows = pl.DataFrame({column.name: values}, schema={column.name: pl.String}).with_columns(
        pl.lit(cell, pl.String).alias(name) for name, cell in cells.items() if name != column.name
    )
    return entity, shape, rows.select(pl.int_range(2, len(values) + 2).alias("line"), *shape.names)


def found_by(checker: Checker, rows: pl.DataFrame) -> list[Finding]:
    """What a checker says of the next piece."""
    return checker.told(checker.hits(rows))


def broken(
    column: AnyColumn, value: str | None, mode: Mode = "bulk", profile: Profile = V1_2_1
) -> list[str]:
    """The rules that a cell breaks."""
    entity, shape, rows = frame(column, value)
    found = found_by(Checker(entity, shape, mode, profile, 32 * 1024), rows)
    spelled = JP_1_2_1.spelling.get(column, column.csv)
    return [finding.rule.id for finding in found if finding.column == spelled]


@pytest.mark.parametrize(
    ("kind", "value", "good"),
    ALL,
    ids=[f"{kind} {value!a:.40}-{n}" for n, (kind, value, _) in enumerate(ALL)],
)
def test_a_value_is_accepted_or_refused_by_the_rule_of_its_kind(
    kind: str, value: str, *, good: bool
) -> None:
    column, rule, _, _ = KINDS[kind]
    assert broken(column, value) == ([] if good else [rule])


@pytest.mark.parametrize("value", INSTANTS)
def test_an_instant_is_accepted_in_a_delta(value: str) -> None:
    assert broken(Org.date_last_modified, value, "delta") == []


@pytest.mark.parametrize("value", NO_INSTANTS)
def test_what_is_no_instant_is_refused(value: str) -> None:
    assert broken(Org.date_last_modified, value, "delta") == ["value.datetime"]


def test_every_kind_is_tried() -> None:
    used = {type(column) for entity in BINDING for column in entity.columns}
    tried = {type(column) for column, _, _, _ in KINDS.values()} | {type(Org.date_last_modified)}
    assert used == tried


@pytest.fixture(scope="module")
def copied(postgres: Postgres) -> Iterator[Copied]:
    """What PostgreSQL makes of cells that COPY hands to it."""
    with psycopg.connect(postgres.url, autocommit=True, prepare_threshold=None) as db:

        def through(column: AnyColumn, values: list[str]) -> list[Any]:
            entity, shape, rows = frame(column, *values)
            cells = typed(entity, shape, "bulk", rows).select(column.name)
            data = cells.write_csv(include_header=False)
            db.execute("drop table if exists pg_temp.cells")
            db.execute(
                SQL("create temporary table cells (at serial, value {})").format(
                    SQL(sql_type(column))
                )
            )
            with db.cursor().copy("copy cells (value) from stdin (format csv)") as copy:
                copy.write(data.encode())
            return [value for (value,) in db.execute("select value from cells order by at")]

        yield through


def wanted(kind: str, value: str) -> Any:  # noqa: ANN401  # whatever PostgreSQL hands back
    match kind:
        case "Refs" | "Texts" | "Pairs":
            return [item.strip() for item in value.split(",")]
        case "Flag":
            return value == "true"
        case "Day":
            return date.fromisoformat(value)
        case "Whole":
            return int(value)
        case "Decimal":
            return Number(value)
        case _:
            return value


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("Choices", "Decimal")])
def test_every_accepted_value_reaches_the_table_as_it_is(kind: str, copied: Copied) -> None:
    column, _, good, _ = KINDS[kind]
    assert copied(column, good) == [wanted(kind, value) for value in good]


@pytest.mark.parametrize("kind", ["Choices", "Decimal"])
def test_values_of_files_that_are_not_stored_yet_would_reach_a_table_too(
    kind: str, copied: Copied
) -> None:
    column, _, good, _ = KINDS[kind]
    split = [[i.strip() for i in v.split(",")] if kind == "Choices" else Number(v) for v in good]
    assert copied(column, good) == split


def cp932_only() -> list[str]:
    """Every character that CP932 can encode and Shift_JIS cannot, and some trail bytes of 5C."""
    found = []
    for code in [*range(0x8140, 0x9FFD), *range(0xE040, 0xFC4C)]:
        try:
            sign = code.to_bytes(2, "big").decode("cp932")
        except UnicodeDecodeError:
            continue
        found.append(sign)
    return found


def test_every_character_of_cp932_is_kept(copied: Copied) -> None:
    signs = cp932_only()
    assert len(signs) > 7000
    assert copied(Org.name, signs) == signs
    items = [sign for sign in signs if sign.strip() and sign not in ",{}:"]
    assert copied(User.grades, [",".join(items)]) == [items]


@pytest.mark.parametrize("mode", ["bulk", "upsert"])
@pytest.mark.parametrize("column", [Org.status, Org.date_last_modified], ids=["status", "date"])
def test_the_state_is_blank_in_bulk_and_upsert(column: AnyColumn, mode: Mode) -> None:
    value = "active" if column.name == "status" else INSTANTS[0]
    assert broken(column, value, mode) == ["value.blank_in_bulk"]
    assert broken(column, None, mode) == []


def test_the_state_is_required_in_a_delta() -> None:
    for column in (Org.status, Org.date_last_modified):
        assert broken(column, None, "delta") == ["value.required"]
    assert broken(Org.status, "inactive", "delta") == ["value.vocabulary"]
    assert broken(Org.status, "tobedeleted", "delta") == []


@pytest.mark.parametrize("entity", BINDING, ids=lambda e: e.file)
def test_every_required_column_is_required_and_no_other(entity: AnyEntity) -> None:
    shape = layout(entity, V1_2_1.header(entity))
    rows = pl.DataFrame([dict.fromkeys(shape.names)], schema=dict.fromkeys(shape.names, pl.String))
    rows = rows.insert_column(0, pl.Series("line", [7]))
    for mode in ("bulk", "delta"):
        found = found_by(Checker(entity, shape, mode, V1_2_1, 100), rows)
        state = {"status", "dateLastModified"} if mode == "delta" else set()
        assert {f.rule.id for f in found} == {"value.required"}
        assert {f.column for f in found} == state | {
            column.csv for column in shape.columns if column.required
        }
        assert {(f.file, f.line) for f in found} == {(f"{entity.file}.csv", 7)}


@pytest.mark.parametrize("size", [300, 301])
def test_a_value_may_have_as_many_bytes_as_the_limit(size: int) -> None:
    entity, shape, rows = frame(Org.name, "表" * (size // 3) + "x" * (size % 3))
    found = found_by(Checker(entity, shape, "bulk", JP_1_2_1, 300), rows)
    sizes = [(f.rule.id, f.line, f.column) for f in found if f.rule.id == "csv.field_size"]
    assert sizes == ([("csv.field_size", 2, "name")] if size > 300 else [])


def test_a_long_unknown_value_is_named_by_its_header() -> None:
    shape = layout(Org, (*V1_2_1.header(Org), "metadata.x"))
    cells = {**dict.fromkeys(shape.names, "x"), "metadata.x": "y" * 101}
    rows = pl.DataFrame([cells]).insert_column(0, pl.Series("line", [2]))
    found = found_by(Checker(Org, shape, "bulk", V1_2_1, 100), rows)
    assert [f.column for f in found if f.rule.id == "csv.field_size"] == ["metadata.x"]


def test_a_finding_keeps_the_value_cut_and_names_the_record() -> None:
    entity, shape, rows = frame(Org.type, "𠮷" * 500)
    (found,) = [
        f
        for f in found_by(Checker(entity, shape, "bulk", V1_2_1, 9999), rows)
        if f.column == "type"
    ]
    assert (found.value, found.sourced_id, found.line) == ("𠮷" * 200, FILLED, 2)
    assert "department, school, district, local, state, national, ext:…" in found.message()["en"]


def test_findings_come_in_the_order_of_lines() -> None:
    shape = layout(Org, V1_2_1.header(Org))
    rows = pl.DataFrame(
        [{**dict.fromkeys(shape.names), "sourced_id": key} for key in ("a b", "c", "d e")],
        schema=dict.fromkeys(shape.names, pl.String),
    ).insert_column(0, pl.Series("line", [2, 3, 4]))
    lines = [f.line for f in found_by(Checker(Org, shape, "bulk", V1_2_1, 9), rows)]
    assert lines == sorted(lines, key=lambda line: line or 0)
    assert {*lines} == {2, 3, 4}


def test_unknown_metadata_is_kept_as_it_came_and_what_is_blank_is_not() -> None:
    shape = layout(Org, (*V1_2_1.header(Org), "metadata.a.b", 'metadata."x'))
    cells: dict[str, str | None] = dict.fromkeys(shape.names, "x")
    rows = pl.DataFrame(
        [
            {**cells, "metadata.a.b": '表"\\ \u2028', 'metadata."x': None},
            {**cells, "metadata.a.b": None, 'metadata."x': None},
            {**cells, "metadata.a.b": "}", 'metadata."x': "{,"},
        ],
        schema=dict.fromkeys(shape.names, pl.String),
    ).insert_column(0, pl.Series("line", [2, 3, 4]))
    first, second, third = typed(Org, shape, "bulk", rows)["metadata"]
    assert json.loads(third) == {"a.b": "}", '"x': "{,"}
    assert json.loads(first) == {"a.b": '表"\\ \u2028'}
    assert second is None


def test_the_shape_is_that_of_the_staging_table() -> None:
    entity, shape, rows = frame(User.password, "secret")
    names = [column.name for column in entity.stored()]
    found = typed(entity, shape, "bulk", rows)
    assert found.columns == ["line", *names, "metadata"]
    assert found["status"].to_list() == ["active"]
    assert "secret" not in next(csv.reader(io.StringIO(found.write_csv())))


def test_a_column_that_the_file_does_not_have_is_null() -> None:
    shape = layout(User, V1_2_1.header(User))
    rows = pl.DataFrame(
        [dict.fromkeys(shape.names, "x")], schema=dict.fromkeys(shape.names, pl.String)
    ).insert_column(0, pl.Series("line", [2]))
    found = typed(User, shape, "bulk", rows)
    assert found["kana_given_name"].to_list() == found["resource_sourced_ids"].to_list() == [None]


@pytest.mark.parametrize(
    ("column", "file"),
    [
        (Category.weight, "categories"),
        (LineItem.due_date, "lineItems"),
        (ScoreScale.type, "scoreScales"),
    ],
    ids=["categories", "lineItems", "scoreScales"],
)
def test_files_that_are_not_stored_are_checked_all_the_same(column: AnyColumn, file: str) -> None:
    assert BY_FILE[file].table == column.entity
    assert broken(column, None) == (["value.required"] if column.required else [])

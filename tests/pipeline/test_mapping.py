"""A district's own columns become those of OneRoster, for every row at once."""

import unicodedata
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from pipeline.archive import Source
from pipeline.database import connect, tenant
from pipeline.faults import Findings
from pipeline.limits import Limits
from pipeline.mapping import Saved, check, load, plan
from pipeline.opening import AUTOMATIC, File, Opener
from pipeline.previewing import answer_due, preview
from schemas.columns import Choice
from schemas.japanese import ASCII_TO_FULL
from schemas.mappings import FileMapping
from schemas.policy import Reading
from schemas.profiles import V1_2, V1_2_1
from schemas.roster import BY_FILE, ROSTERING, AnyEntity
from schemas.roster.people import User
from schemas.rules import Finding
from schemas.runs import Mode
from schemas.templates import TEMPLATES, Template

LIMITS = Limits()
A = {"kind": "direct", "source": "a"}


def opened(
    entity: AnyEntity,
    header: tuple[str, ...],
    own: Saved | None,
    reading: Reading = AUTOMATIC,
) -> tuple[File | None, list[str]]:
    """A file with this header, and the rules of what there is to say about it."""
    findings = Findings(1000)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_text(",".join(header) + "\n", encoding="utf-8")
        size = path.stat().st_size
        source = Source(f"{entity.file}.csv", size, path, zipped=False, limits=LIMITS)
        opener = Opener(LIMITS, findings, reading, {entity.file: own} if own else {})
        file = opener.file(entity, source, "bulk")
    return file, [found.rule.id for found in findings.all]


TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=12)
BLANKS = " \u3000\u00a0\u2003"


def saved(
    entity: str = "users", tables: Mapping[str, Mapping[str, str]] | None = None, **columns: object
) -> Saved:
    return Saved(
        BY_FILE[entity], 1, FileMapping.model_validate({"columns": columns}), dict(tables or {})
    )


def becomes(
    chain: list[dict[str, Any]],
    *values: str | None,
    tables: Mapping[str, Mapping[str, str]] | None = None,
    **others: str | None,
) -> list[str | None] | str | None:
    """What a chain makes of the values of column a; one value: of that."""
    made = plan(saved(email=[*chain], tables=tables), ("a", *others))
    rows = pl.DataFrame(
        {
            "line": range(len(values)),
            "0 a": pl.Series(values, dtype=pl.String),
            **{
                f"{n} {name}": pl.Series([text or None] * len(values), dtype=pl.String)
                for n, (name, text) in enumerate(others.items(), start=1)
            },
        }
    )
    found = made.apply(rows.with_columns(pl.col("0 a").replace("", None)))
    assert found.columns == ["line", *made.layout.names]
    assert found["email"].dtype == pl.String
    made_of: list[str | None] = found["email"].to_list()
    return made_of if len(values) != 1 else made_of[0]


class TestTransformations:
    def test_direct_and_constant(self) -> None:
        assert becomes([A], "x", "", None) == ["x", None, None]
        assert becomes([{"kind": "constant", "value": "k"}], "x", None) == ["k", "k"]

    def test_concatenate_leaves_blank_parts_out(self) -> None:
        parts = [{"kind": "constant", "value": "s"}, A, {"kind": "direct", "source": "b"}]
        chain = [{"kind": "concatenate", "parts": parts, "separator": "-"}]
        assert becomes(chain, "1", None, b="2") == ["s-1-2", "s-2"]
        assert becomes(chain, "1", None, b="") == ["s-1", None]

    @pytest.mark.parametrize(
        ("part", "made"),
        [(1, "姓"), (2, None), (3, "名"), (4, None), (-1, "名"), (-3, "姓"), (-4, None)],
    )
    def test_split(self, part: int, made: str | None) -> None:
        assert becomes([A, {"kind": "split", "separator": "　", "part": part}], "姓　　名") == made

    def test_lookup_keeps_or_blanks_what_it_does_not_know(self) -> None:
        table = {"kind": "lookup", "entries": {"男": "male", "x": ""}}
        assert becomes([A, table], "男", "女", "x", None) == ["male", "女", None, None]
        assert becomes([A, table | {"missing": "blank"}], "男", "女") == ["male", None]
        named = {"kind": "lookup", "table": "t"}
        assert becomes([A, named], "1", tables={"t": {"1": "one"}}) == "one"

    @pytest.mark.parametrize(
        ("pattern", "text", "made"),
        [
            ("YYYY/MM/DD", "2026/04/01", "2026-04-01"),
            ("YYYY/MM/DD", "2026/4/1", "2026/4/1"),
            ("YYYY/M/D", "2026/4/1", "2026-04-01"),
            ("YYYY/M/D", "２０２６／４／１", "2026-04-01"),
            ("YYYYMMDD", "20260401", "2026-04-01"),
            ("YYYY年M月D日", "2026年4月1日", "2026-04-01"),
            ("D.M.YYYY", "1.4.2026", "2026-04-01"),
            ("D.M.YYYY", "1x4x2026", "1x4x2026"),
            ("YYYY-MM-DD", "2026-02-30", "2026-02-30"),
            ("YYYY/M/D", "2026/2/30", "2026/2/30"),
            ("YYYY/MM/DD hh:mm:ss", "2026/04/01 09:30:15", "2026-04-01T09:30:15.000+09:00"),
            ("YYYY/MM/DD hh:mm", "2026/04/01 09:30", "2026-04-01T09:30:00.000+09:00"),
            ("YYYY/MM/DD hh:mm", "2026/04/01 24:30", "2026/04/01 24:30"),
            ("YYYY/M/D", "令和8年4月1日", "令和8年4月1日"),
        ],
    )
    def test_a_date_is_read_as_its_pattern_says_or_left(
        self, pattern: str, text: str, made: str
    ) -> None:
        assert becomes([A, {"kind": "date_format", "format": pattern}], text) == made

    def test_trim_lower_upper_substring_replace_default(self) -> None:
        assert becomes([A, {"kind": "trim"}], f"{BLANKS}x y{BLANKS}", BLANKS) == ["x y", None]
        assert becomes([A, {"kind": "lower"}], "ＡbC") == "ａbc"
        assert becomes([A, {"kind": "upper"}], "ａbC") == "ＡBC"
        assert becomes([A, {"kind": "substring", "start": 2, "length": 2}], "山田太郎", "山") == [
            "田太",
            None,
        ]
        assert becomes([A, {"kind": "substring", "start": 3}], "山田太郎") == "太郎"
        assert becomes([A, {"kind": "replace", "find": ".", "replacement": "-"}], "a.b$") == "a-b$"
        assert becomes([A, {"kind": "replace", "find": "x", "replacement": "$0"}], "x") == "$0"
        assert becomes([A, {"kind": "default", "value": "d"}], None, "", "x") == ["d", "d", "x"]

    @pytest.mark.parametrize(
        ("test", "values", "holding"),
        [
            ("equals", ["1", "2"], ["1", "2"]),
            ("differs", ["1"], ["2", "31", None]),
            ("contains", ["1"], ["1", "31"]),
            ("starts_with", ["3", "2"], ["2", "31"]),
            ("blank", [], [None]),
            ("filled", [], ["1", "2", "31"]),
        ],
    )
    def test_conditional(self, test: str, values: list[str], holding: list[str | None]) -> None:
        branches = {
            "then": {"kind": "constant", "value": "yes"},
            "otherwise": {"kind": "constant", "value": "no"},
        }
        step = {"kind": "conditional", "source": "a", "test": test, "values": values, **branches}
        cells = ["1", "2", "31", None]
        expected = ["yes" if cell in holding else "no" for cell in cells]
        assert becomes([step], *cells) == expected
        del step["source"]
        assert becomes([A, step], *cells) == expected
        del step["otherwise"]
        kept = ["yes" if cell in holding else cell for cell in cells]
        assert becomes([A, step], *cells) == kept


class TestJapanese:
    @given(st.text(st.characters(min_codepoint=0xFF61, max_codepoint=0xFF9D), max_size=20))
    def test_half_width_kana_are_what_unicode_says(self, text: str) -> None:
        marked = "".join(sign + "ﾞ" if sign in "ｶｻﾀﾊｳ" else sign for sign in text)
        expected = unicodedata.normalize("NFKC", marked) or None
        assert becomes([A, {"kind": "width"}], marked) == expected

    @given(st.text(st.characters(min_codepoint=0x30A1, max_codepoint=0x30F4), max_size=20))
    def test_to_half_and_back_changes_nothing(self, text: str) -> None:
        there = {"kind": "width", "kana": "half"}
        assert becomes([A, there, {"kind": "width", "kana": "full"}], text) == (text or None)

    @given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20))
    def test_ascii_to_full_and_back_changes_nothing(self, text: str) -> None:
        there = {"kind": "width", "kana": "keep", "ascii": "full"}
        back = {"kind": "width", "kana": "keep", "ascii": "half"}
        full = "".join(ASCII_TO_FULL[sign] for sign in text)
        assert becomes([A, there], text) == (full or None)
        assert becomes([A, there, back], text) == (text or None)

    def test_what_is_no_kana_keeps_its_width(self) -> None:
        assert becomes([A, {"kind": "width"}], "①㈱ABC﨑𠮷") == "①㈱ABC﨑𠮷"
        assert becomes([A, {"kind": "width"}], "ﾞｱﾞﾟ") == "゛ア゛゜"

    @given(st.text(st.characters(min_codepoint=0x3041, max_codepoint=0x3096), max_size=20))
    def test_hiragana_become_katakana(self, text: str) -> None:
        expected = "".join(chr(ord(sign) + 0x60) for sign in text)
        assert becomes([A, {"kind": "katakana"}], f"{text}ー山a") == f"{expected}ー山a"

    @given(
        st.dates(date(1868, 10, 23), date(2099, 12, 31)),
        st.sampled_from(["年月日", "...", "///", "---", "compact", "zeros", "full", "blanks"]),
    )
    def test_a_day_of_any_era_in_any_form_is_the_same_day(self, day: date, form: str) -> None:
        name, letter, first = next(
            each
            for each in (
                ("令和", "R", date(2019, 5, 1)),
                ("平成", "H", date(1989, 1, 8)),
                ("昭和", "S", date(1926, 12, 25)),
                ("大正", "T", date(1912, 7, 30)),
                ("明治", "M", date(1868, 1, 25)),
            )
            if day >= each[2]
        )
        year = day.year - first.year + 1
        said = "元" if year == 1 else str(year)
        text = {
            "年月日": f"{name}{said}年{day.month}月{day.day}日",
            "compact": f"{letter}{year:02}{day.month:02}{day.day:02}",
            "zeros": f"{name}{year:02}年{day.month:02}月{day.day:02}日",
            "full": f"{letter}{year}.{day.month}.{day.day}".translate(
                {ord(half): full for half, full in ASCII_TO_FULL.items()}
            ),
            "blanks": f" {name} {year} 年 {day.month} 月 {day.day} 日 ",
        }.get(form) or f"{letter.lower()}{year}{form[0]}{day.month}{form[0]}{day.day}"
        assert becomes([A, {"kind": "era_date"}], text) == day.isoformat()

    @pytest.mark.parametrize(
        "text",
        [
            "2026-04-01",
            "令和8年2月30日",
            "R0.4.1",
            "R8.13.1",
            "X8.4.1",
            "令和8年度",
            "R000401",
            "8.4.1",
        ],
    )
    def test_what_is_no_day_of_an_era_is_left_as_it_is(self, text: str) -> None:
        assert becomes([A, {"kind": "era_date"}], text) == text

    def test_the_square_signs_of_eras_are_read(self) -> None:
        assert becomes([A, {"kind": "era_date"}], "㋿元年5月1日", "㍻31年4月30日") == [
            "2019-05-01",
            "2019-04-30",
        ]

    @pytest.mark.parametrize(
        ("name", "code"),
        [
            ("小1", "P1"),
            ("小１", "P1"),
            ("小学1年", "P1"),
            ("小学校第１学年", "P1"),
            ("小六", "P6"),
            (" 小学 ６年生 ", "P6"),
            ("小7", "小7"),
            ("中２年", "J2"),
            ("中学3年", "J3"),
            ("中学校第三学年", "J3"),
            ("高1", "H1"),
            ("高等学校2年次", "H2"),
            ("義務教育学校7年", "J1"),
            ("義務9", "J3"),
            ("P3", "P3"),
            ("3", "3"),
            ("年長", "年長"),
            ("小0", "小0"),
            (None, None),
        ],
    )
    def test_a_grade_by_its_name(self, name: str | None, code: str | None) -> None:
        assert becomes([A, {"kind": "grade"}], name) == code

    def test_a_bare_number_is_a_grade_of_the_school_that_is_named(self) -> None:
        assert becomes([A, {"kind": "grade", "school": "中"}], "1", "第２学年", "小1", "4") == [
            "J1",
            "J2",
            "P1",
            "4",
        ]

    def test_a_school_by_its_code(self) -> None:
        tables = {"schools": {"B127210000018": "school-1"}}
        chain = [A, {"kind": "school_code"}]
        assert becomes(chain, "b127210000018", "Ｂ1272-1000 0018", "B1", None, tables=tables) == [
            "school-1",
            "school-1",
            "B1",
            None,
        ]


STEPS = st.one_of(
    st.just({"kind": "trim"}),
    st.builds(
        lambda s, n: {"kind": "substring", "start": s, "length": n},
        st.integers(1, 8),
        st.integers(1, 8),
    ),
    st.builds(
        lambda f, r: {"kind": "replace", "find": f, "replacement": r}, TEXT.filter(bool), TEXT
    ),
    st.builds(lambda v: {"kind": "default", "value": v}, TEXT.filter(bool)),
    st.builds(
        lambda s, p: {"kind": "split", "separator": s, "part": p},
        TEXT.filter(bool),
        st.integers(-3, 3).filter(bool),
    ),
    st.builds(
        lambda e, m: {"kind": "lookup", "entries": e, "missing": m},
        st.dictionaries(TEXT.filter(bool), TEXT, min_size=1, max_size=3),
        st.sampled_from(["keep", "blank"]),
    ),
)


def slowly(step: dict[str, Any], value: str | None) -> str | None:
    """One transformation of one value, written again without Polars."""
    if step["kind"] == "default":
        return value or step["value"]
    if value is None:
        return None
    match step["kind"]:
        case "trim":
            made = value.strip()
        case "substring":
            made = value[step["start"] - 1 : step["start"] - 1 + step["length"]]
        case "replace":
            made = value.replace(step["find"], step["replacement"])
        case "split":
            parts = value.split(step["separator"])
            place = step["part"] - 1 if step["part"] > 0 else step["part"]
            made = parts[place] if -len(parts) <= place < len(parts) else ""
        case _:
            made = step["entries"].get(value, value if step["missing"] == "keep" else "")
    return made or None


@given(st.lists(TEXT, min_size=2, max_size=5), st.lists(STEPS, max_size=5))
def test_a_chain_is_what_it_is_step_by_step(cells: list[str], steps: list[dict[str, Any]]) -> None:
    expected: list[str | None] = [cell or None for cell in cells]
    for step in steps:
        expected = [slowly(step, value) for value in expected]
    assert becomes([A, *steps], *cells) == expected


class TestHeader:
    right = saved(
        sourcedId=[{"kind": "direct", "source": "番号"}],
        email=[
            {
                "kind": "concatenate",
                "parts": [{"kind": "direct", "source": "番号"}, {"kind": "direct", "source": "組"}],
            }
        ],
    )

    def rules(self, header: tuple[str, ...], mode: Mode = "bulk") -> list[tuple[str, str | None]]:
        found = check(self.right, header, mode, LIMITS)
        return [(finding.rule.id, finding.column) for finding in found]

    def test_one_that_has_all_sources_is_read(self) -> None:
        assert self.rules(("組", "番号")) == [("mapping.used", None)]

    def test_others_are_ignored_with_a_note(self) -> None:
        assert self.rules(("組", "余り", "番号", "")) == [
            ("mapping.source_ignored", "余り"),
            ("mapping.used", None),
        ]

    def test_one_that_lacks_a_source_or_has_it_twice_is_refused(self) -> None:
        assert ("mapping.source_missing", "番号") in self.rules(("組",))
        assert ("mapping.source_twice", "番号") in self.rules(("組", "番号", "番号"))

    def test_a_delta_needs_a_status(self) -> None:
        assert ("mapping.no_status", "status") in self.rules(("組", "番号"), "delta")

    @pytest.mark.parametrize("entity", ROSTERING, ids=lambda entity: entity.file)
    def test_the_layout_of_oneroster_needs_no_mapping(self, entity: AnyEntity) -> None:
        own = Saved(entity, 1, self.right.mapping)
        for profile in (V1_2, V1_2_1):
            file, told = opened(entity, profile.header(entity), own)
            assert (file and file.plan, told) == (None, ["mapping.not_needed"])
        file, _ = opened(entity, ("番号", "組"), own)
        assert file
        assert file.plan

    def test_a_faulty_header_is_taken_for_what_it_is_closer_to(self) -> None:
        own = V1_2_1.header(User)
        assert opened(User, own[:-1], self.right) == (None, ["header.missing"])
        assert opened(User, ("番号",), self.right)[1] == [
            "mapping.source_missing",
            "mapping.used",
        ]

    def test_a_header_of_another_kind_is_one_finding_where_nothing_is_mapped(self) -> None:
        assert opened(User, ("番号", "組"), None) == (None, ["mapping.none"])
        head = tuple(TEMPLATES["students"].sample[0].split(","))
        assert opened(User, head, None) == (None, ["mapping.template_fits"])
        assert {*opened(User, ("sourcedId", "組"), None)[1]} == {"header.missing", "header.unknown"}

    def test_another_case_in_the_header_is_put_right_before_a_mapping_is_thought_of(self) -> None:
        own = tuple(name.upper() for name in V1_2_1.header(User))
        lenient = Reading(lenient=True)
        assert opened(User, own, self.right, lenient)[1] == [
            "repair.header_case",
            "mapping.not_needed",
        ]
        file, told = opened(User, ("番号", "組", "EMAIL"), self.right, lenient)
        assert (file and file.header, told) == (
            ("番号", "組", "EMAIL"),
            ["mapping.source_ignored", "mapping.used"],
        )

    def test_names_that_are_blank_doubled_or_ours_are_kept_apart(self) -> None:
        made = plan(self.right, ("line", "", "", "email", "組", "番号"))
        assert len({*made.columns, "line"}) == 7
        rows = pl.DataFrame({"line": [2], **{name: [name[:1]] for name in made.columns}})
        assert made.apply(rows).select("line", "sourced_id", "email").rows() == [(2, "5", "54")]

    def test_a_finding_names_the_source_too(self) -> None:
        made = plan(self.right, ("番号", "組"))
        told = made.sourced(
            Finding(
                rule=next(check(self.right, (), "bulk", LIMITS)).rule,
                file="users.csv",
                column="email",
            )
        )
        assert told.facts["source"] == "番号, 組"

    def test_columns_come_in_the_order_of_the_file_with_metadata_behind(self) -> None:
        said = {
            "metadata.city.ward": [A],
            "metadata.jp.kanaGivenName": [A],
            "email": [A],
            "sourcedId": [A],
        }
        made = plan(Saved(User, 1, FileMapping.model_validate({"columns": said})), ("a",))
        assert made.header == (
            "sourcedId",
            "email",
            "metadata.jp.kanaGivenName",
            "metadata.city.ward",
        )
        assert made.layout.names[:4] == (
            "sourced_id",
            "email",
            "kana_given_name",
            "metadata.city.ward",
        )
        assert made.layout.unknown == ("metadata.city.ward",)

    def test_columns_that_are_not_mapped_are_blank_but_for_the_state(self) -> None:
        made = plan(self.right, ("番号", "組"))
        rows = made.apply(pl.DataFrame({"line": [2], "0 番号": ["1"], "1 組": ["2"]}))
        blank = {column.name for column in User.columns if not column.extension} - {
            *("sourced_id", "email", "status", "date_last_modified", "resource_sourced_ids")
        }
        assert {name for name in rows.columns if rows[name].item() is None} == blank


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=lambda template: template.id)
def test_a_template_reads_its_sample_without_an_error(template: Template) -> None:
    sample = "\n".join(template.sample).encode()
    entity = BY_FILE[template.entity]
    shown = preview(Saved(entity, None, template.mapping), "bulk", sample, 20, LIMITS)
    assert len(shown["rows"]) == len(template.sample) - 1
    assert [found for found in shown["findings"] if found["severity"] == "error"] == []
    cells = [dict(zip(shown["columns"], row["after"], strict=True)) for row in shown["rows"]]
    for column in entity.columns:
        if isinstance(column, Choice) and column.csv in shown["columns"]:
            assert None not in [row[column.csv] for row in cells]


def test_a_preview_says_what_is_wrong_with_a_sample() -> None:
    template = TEMPLATES["students"]

    def rules(sample: bytes) -> set[str]:
        entity = Saved(User, None, template.mapping)
        found = preview(entity, "bulk", sample, 20, LIMITS)["findings"]
        return {each["rule"] for each in found if each["severity"] == "error"}

    head = template.sample[0].encode()
    assert rules(head) == set()
    assert rules(head + b"\n1,2\n") == {"csv.row_width"}
    assert rules(head + "\n1,山,,や,た,小1,在籍,".encode()) == {"value.required"}
    assert rules(b'"') == {"csv.quoting"}
    assert rules("名簿".encode() + b"\n") == {"mapping.source_missing"}
    own = ",".join(V1_2_1.header(User)).encode()
    assert preview(Saved(User, None, template.mapping), "bulk", own + b"\n", 20, LIMITS)["columns"]


class TestStored:
    @pytest.fixture
    def district(self, database_url: str) -> int:
        with connect(database_url, role="rosterhub_control") as control:
            row = control.execute(
                "insert into districts (id, name) values ('north', 'North') returning tenant_id"
            ).fetchone()
        assert row is not None
        return int(row[0])

    def save(
        self, db: psycopg.Connection[Any], tenant_id: int, entity: str, version: int, said: object
    ) -> None:
        with tenant(db, tenant_id):
            db.execute(
                "insert into mappings (tenant_id, entity, version, mapping, created_by)"
                " values (%s, %s, %s, %s, 'test')",
                [tenant_id, entity, version, None if said is None else Jsonb(said)],
            )

    def test_an_import_finds_the_newest_version_with_its_tables(
        self, database_url: str, district: int
    ) -> None:
        named = {"columns": {"name": [A, {"kind": "lookup", "table": "t"}]}}
        with connect(database_url) as db:
            self.save(db, district, "orgs", 1, {"columns": {"name": [A]}})
            self.save(db, district, "orgs", 2, named)
            self.save(db, district, "users", 1, named)
            self.save(db, district, "users", 2, None)
            with tenant(db, district):
                db.execute(
                    "insert into mapping_tables (tenant_id, name, entries, updated_by)"
                    " values (%s, 't', %s, 'test')",
                    [district, Jsonb({"x": "y"})],
                )
                found = load(db, district)
            with tenant(db, district + 1):
                assert load(db, district) == {}
        assert set(found) == {"orgs"}
        assert (found["orgs"].version, found["orgs"].tables) == (2, {"t": {"x": "y"}})

    def test_previews_are_made_once_and_old_ones_are_forgotten(
        self, database_url: str, district: int
    ) -> None:
        template = TEMPLATES["schools"]
        with (
            connect(database_url) as db,
            connect(database_url, role="rosterhub_control") as control,
        ):
            with tenant(db, district):
                for minutes in (0, 90):
                    db.execute(
                        "insert into mapping_previews"
                        " (tenant_id, id, entity, mapping, sample, created_at)"
                        " values (%s, gen_random_uuid(), 'orgs', %s, %s,"
                        " clock_timestamp() - make_interval(mins => %s))",
                        [
                            district,
                            Jsonb(template.mapping.model_dump(mode="json")),
                            "\n".join(template.sample).encode(),
                            minutes,
                        ],
                    )
            assert answer_due(db, control, LIMITS) == 1
            assert answer_due(db, control, LIMITS) == 0
            with tenant(db, district):
                rows = db.execute("select state, sample, answer from mapping_previews").fetchall()
        ((state, sample, answer),) = rows
        assert (state, sample) == ("done", None)
        assert answer["columns"][0] == "sourcedId"
        assert answer["rows"][0]["after"][0] == "B127210000018"

    def test_a_preview_that_cannot_be_made_is_not_tried_again(
        self, database_url: str, district: int
    ) -> None:
        with (
            connect(database_url) as db,
            connect(database_url, role="rosterhub_control") as control,
        ):
            with tenant(db, district):
                db.execute(
                    "insert into mapping_previews (tenant_id, id, entity, mapping, sample)"
                    " values (%s, gen_random_uuid(), 'orgs', '{}', 'x')",
                    [district],
                )
            assert answer_due(db, control, LIMITS) == 1
            with tenant(db, district):
                rows = db.execute("select state, sample from mapping_previews").fetchall()
        assert rows == [("failed", None)]

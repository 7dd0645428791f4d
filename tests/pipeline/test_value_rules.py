"""The rules of one row, each with what keeps it and what breaks it, and that they hold together."""

import random

import polars as pl
import pytest

from pipeline.cells import of_column
from pipeline.frames import Checker, chains
from pipeline.header import layout
from schemas.columns import Column
from schemas.profiles import JP_1_2_1, K12_1_0, PROFILES, PSE_6_00, V1_2_1, Profile
from schemas.roster import BINDING, BY_TABLE, AnyEntity
from schemas.roster.gradebook import LineItem, LineItemLearningObjectiveId
from schemas.roster.orgs import AcademicSession, Org
from schemas.roster.people import Demographics, Role, User, UserProfile
from schemas.roster.teaching import Class, Course, Enrollment
from schemas.rules import Finding
from schemas.runs import Mode

Cells = dict[Column, str | None]
UUID = "5de41ce2-ca22-4b65-866a-e46ae037737e"
OTHER = "6f086a4d-9c20-4b2e-a39f-5dcccb0b955a"
OBJECTIVE = f"urn:uuid:{UUID}"
JAPAN = (JP_1_2_1, PSE_6_00, K12_1_0)

CLEAN: dict[AnyEntity, Cells] = {
    Org: {Org.name: "架空市立第一小学校", Org.type: "school", Org.identifier: "B113299999010"},
    AcademicSession: {
        AcademicSession.title: "2026年度",
        AcademicSession.type: "schoolYear",
        AcademicSession.start_date: "2026-04-01",
        AcademicSession.end_date: "2027-03-31",
        AcademicSession.school_year: "2026",
    },
    Course: {Course.title: "2026年度国語", Course.org_sourced_id: OTHER},
    Class: {
        Class.title: "1年1組",
        Class.course_sourced_id: OTHER,
        Class.class_type: "homeroom",
        Class.school_sourced_id: OTHER,
        Class.term_sourced_ids: OTHER,
    },
    User: {
        User.enabled_user: "true",
        User.username: "user00@example.ed.jp",
        User.given_name: "太郎",
        User.family_name: "山田",
        User.user_master_identifier: OTHER,
        User.preferred_given_name: "太郎",
        User.preferred_family_name: "山田",
        User.kana_given_name: "タロウ",
        User.kana_family_name: "ヤマダ",
    },
    UserProfile: {
        UserProfile.user_sourced_id: OTHER,
        UserProfile.profile_type: "学習eポータル",
        UserProfile.vendor_id: "example-vendor",
        UserProfile.credential_type: "OIDC",
        UserProfile.username: "user00@example.ed.jp",
    },
    Role: {
        Role.user_sourced_id: OTHER,
        Role.role_type: "primary",
        Role.role: "teacher",
        Role.org_sourced_id: OTHER,
    },
    Demographics: {},
    Enrollment: {
        Enrollment.class_sourced_id: OTHER,
        Enrollment.school_sourced_id: OTHER,
        Enrollment.user_sourced_id: OTHER,
        Enrollment.role: "student",
        Enrollment.primary: "false",
    },
    LineItem: {
        LineItem.title: "小テスト",
        LineItem.assign_date: "2026-04-01",
        LineItem.due_date: "2026-04-02",
        LineItem.class_sourced_id: OTHER,
        LineItem.category_sourced_id: OTHER,
        LineItem.academic_session_sourced_id: OTHER,
        LineItem.school_sourced_id: OTHER,
    },
    LineItemLearningObjectiveId: {
        LineItemLearningObjectiveId.line_item_sourced_id: OTHER,
        LineItemLearningObjectiveId.source: "case",
        LineItemLearningObjectiveId.learning_objective_id: OBJECTIVE,
    },
}


def frame(entity: AnyEntity, *rows: Cells) -> pl.DataFrame:
    """Clean rows of the entity with these cells changed, as a Japanese file has them."""
    shape = layout(entity, JP_1_2_1.header(entity))
    made = [{entity.sourced_id: UUID, **CLEAN[entity], **cells} for cells in rows]
    cells = [{column.name: row.get(column) for column in shape.columns} for row in made]
    found = pl.DataFrame(cells, schema=dict.fromkeys(shape.names, pl.String))
    return found.insert_column(0, pl.int_range(2, len(rows) + 2, eager=True).alias("line"))


def checker(entity: AnyEntity, profile: Profile = JP_1_2_1, mode: Mode = "bulk") -> Checker:
    shape = layout(entity, JP_1_2_1.header(entity))
    return Checker(entity, shape, mode, profile, 32 * 1024)


def found_by(checker: Checker, rows: pl.DataFrame) -> list[Finding]:
    """What a checker says of the next piece."""
    return checker.told(checker.hits(rows))


def told(
    cells: Cells, profile: Profile = JP_1_2_1, mode: Mode = "bulk"
) -> list[tuple[str | None, str]]:
    """What a row says, as column and rule."""
    entity = BY_TABLE[next(iter(cells)).entity]
    found = found_by(checker(entity, profile, mode), frame(entity, cells))
    return [(finding.column, finding.rule.id) for finding in found]


@pytest.mark.parametrize("entity", CLEAN, ids=lambda entity: entity.file)
@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_a_clean_row_says_nothing(entity: AnyEntity, profile: Profile) -> None:
    assert found_by(checker(entity, profile), frame(entity, {})) == []


ROLE, TYPE = Role.role, Role.role_type
SESSION = AcademicSession
SCHOOL, DISTRICT = {Org.type: "school"}, {Org.type: "district", Org.identifier: None}
SUBJECTS, CODES = Course.subjects, Course.subject_codes
LOW, HIGH = LineItem.result_value_min, LineItem.result_value_max
OWN = LineItemLearningObjectiveId

BINDING_RULES: dict[str, list[Cells]] = {
    "value.pairing subjectCodes": [
        {SUBJECTS: "国語", CODES: None},
        {SUBJECTS: "国語,算数", CODES: "P010"},
        {SUBJECTS: "国語", CODES: "P010,P020"},
        {Class.subjects: "国語", Class.subject_codes: None},
    ],
    "value.pairing subjects": [{SUBJECTS: None, CODES: "P010"}],
    "value.primary primary": [
        {Enrollment.primary: "true"},
        {Enrollment.primary: "true", Enrollment.role: "administrator"},
    ],
    "value.order endDate": [
        {Role.begin_date: "2026-04-01", Role.end_date: "2026-03-31"},
        {Enrollment.begin_date: "2026-04-01", Enrollment.end_date: "2025-04-02"},
        {SESSION.type: "term", SESSION.end_date: "2026-04-01"},
        {SESSION.type: "term", SESSION.end_date: "2025-09-30"},
    ],
    "value.range resultValueMax": [{LOW: "10", HIGH: "9.5"}, {LOW: "-1", HIGH: "-2"}],
    "value.objective learningObjectiveId": [
        {OWN.learning_objective_id: UUID},
        {OWN.learning_objective_id: "urn:uuid:1"},
        {OWN.learning_objective_id: f"{OBJECTIVE}0"},
    ],
}
BINDING_KEPT: list[Cells] = [
    {SUBJECTS: "国語,算数", CODES: "P010,P020"},
    {SUBJECTS: None, CODES: None},
    {Enrollment.primary: "true", Enrollment.role: "teacher"},
    {Enrollment.primary: "true", Enrollment.role: "ext:coTeacher"},
    {Enrollment.primary: None},
    {Role.begin_date: "2026-04-01", Role.end_date: "2026-04-01"},
    {Role.begin_date: "2026-04-01", Role.end_date: None},
    {Enrollment.begin_date: "2026-04-01", Enrollment.end_date: "2026-04-01"},
    {SESSION.type: "term", SESSION.title: "前期", SESSION.end_date: "2026-04-02"},
    {LOW: "9", HIGH: "10"},
    {LOW: "1", HIGH: "1.0"},
    {HIGH: "1"},
    {OWN.source: "unknown", OWN.learning_objective_id: "anything"},
]


def cases(table: dict[str, list[Cells]]) -> list[object]:
    return [
        pytest.param(cells, column, rule, id=f"{rule} {column} {number}")
        for said, rows in table.items()
        for number, cells in enumerate(rows)
        for rule, column in [said.split()]
    ]


@pytest.mark.parametrize(("cells", "column", "rule"), cases(BINDING_RULES))
def test_the_binding_is_broken(cells: Cells, column: str, rule: str) -> None:
    assert told(cells, V1_2_1) == [(column, rule)]


@pytest.mark.parametrize("cells", BINDING_KEPT, ids=str)
def test_the_binding_is_kept(cells: Cells) -> None:
    assert told(cells, V1_2_1) == []


def test_dates_that_are_none_are_not_compared() -> None:
    cells: Cells = {Role.begin_date: "2026/04/01", Role.end_date: "2026-03-31"}
    assert told(cells, V1_2_1) == [("beginDate", "value.date")]


KANA = User.kana_given_name
JAPANESE_RULES: dict[str, list[Cells]] = {
    "value.uuid sourcedId": [
        {Org.sourced_id: "class-0101"},
        {Org.sourced_id: UUID.upper()},
        {Org.sourced_id: UUID.replace("-4b65-", "-1b65-")},
        {User.sourced_id: UUID.replace("-866a-", "-c66a-")},
        {Enrollment.sourced_id: f"{UUID}0"},
    ],
    "value.uuid_v4 userMasterIdentifier": [
        {User.user_master_identifier: value} for value in ("not-a-uuid", UUID[1:], "１" + UUID[1:])
    ],
    "value.vocabulary_of_profile type": [
        {SESSION.type: "term", SESSION.title: "2026年度"},
        {SESSION.type: "ext:quarter"},
        {Org.type: "local", Org.identifier: None},
        {Org.type: "ext:technicalCollege"},
    ],
    "value.vocabulary_of_profile classType": [{Class.class_type: "ext:special"}],
    "value.vocabulary_of_profile role": [{Enrollment.role: "ext:demonstrator"}],
    "value.vocabulary_of_profile sex": [{Demographics.sex: "ext:NB"}],
    "value.vocabulary_of_profile enabledUser": [{User.enabled_user: "false"}],
    "value.prohibited_by_profile courseCode": [{Course.course_code: "HR"}],
    "value.prohibited_by_profile parentSourcedId": [{SESSION.parent_sourced_id: OTHER}],
    "value.session_title title": [
        {SESSION.title: value}
        for value in ("令和8年度", "2026", "2026 年度", "２０２６年度", "2026年度 ")
    ],
    "value.school_year title": [{SESSION.title: "2025年度"}],
    "value.school_year schoolYear": [{SESSION.school_year: "2027"}],
    "value.school_year startDate": [
        {SESSION.start_date: "2026-04-06"},
        {SESSION.start_date: "2025-04-01"},
    ],
    "value.school_year endDate": [
        {SESSION.end_date: value} for value in ("2027-04-01", "2028-03-31", "2026-09-30")
    ],
    "value.course_title title": [
        {Course.title: value}
        for value in ("国語", "2026国語", "2026年度", "2026年度国語 ", "令和8年度国語")
    ],
    "value.grade grades": [
        {column: value}
        for column in (User.grades, Class.grades, Course.grades)
        for value in ("P7", "p1", "小1", "J0", "11")
    ],
    "value.subject_code subjectCodes": [
        {SUBJECTS: "国語", CODES: value}
        for value in ("P011", "p010", "P110", "J100", "T14", "国語")
    ],
    "value.kana metadata.jp.kanaGivenName": [
        {KANA: value}
        for value in ("さくら", "ﾀﾛｳ", "太郎", "Taro", " ", "・", "タロウ1", "タロウ〜")
    ],
    "value.kana metadata.jp.kanaPreferredMiddleName": [{User.kana_preferred_middle_name: "x"}],
    "value.kana_signs metadata.jp.kanaGivenName": [
        {KANA: "ジャン・ポール"},
        {KANA: "ジャン\u3000ポール"},
    ],
    "value.half_width_kana givenName": [{User.given_name: "ﾀﾛｳ"}, {User.given_name: "太郎ﾞ"}],
    "value.half_width_kana title": [{Class.title: "1年ｱ組"}],
    "value.half_width_kana name": [{Org.name: "ｶｸｳ小学校"}],
    "value.half_width_kana description": [{UserProfile.description: "ｶﾅ"}],
    "value.half_width_kana subjects": [{SUBJECTS: "ｺｸｺﾞ", CODES: "P010"}],
    "value.characters familyName": [
        {User.family_name: value}
        for value in ("髙橋", "葛\U000e0100城", "山\ue000", "か\u3099", "𠮷田", "😀")
    ],
    "value.school_code identifier": [
        {Org.identifier: value}
        for value in (
            "B113299999019",
            "B11329999901",
            "b113299999010",
            "I113299999010",
            "139999",
            "B11329999901０",
        )
    ],
    "value.board_code identifier": [
        {**DISTRICT, Org.identifier: value}
        for value in ("B113299999010", "13999", "489999", "１３９９９９")
    ],
    "value.district_parent parentSourcedId": [{**DISTRICT, Org.parent_sourced_id: OTHER}],
    "value.guardian role": [{ROLE: "parent"}, {ROLE: "relative"}],
    "value.secondary_role role": [
        {ROLE: value}
        for value in (
            "principal",
            "siteAdministrator",
            "districtAdministrator",
            "systemAdministrator",
        )
    ],
    "value.unusual role": [
        {ROLE: "aide"},
        {ROLE: "ext:prefect"},
        {Enrollment.role: "guardian"},
        {Enrollment.role: "proctor"},
    ],
    "value.unusual grades": [{User.grades: value} for value in ("H4", "zz", "01", "10")],
    "value.unusual subjectCodes": [{SUBJECTS: "国語", CODES: value} for value in ("T01", "T62")],
    "value.several grades": [{User.grades: "P1,P2"}],
    "value.several termSourcedIds": [{Class.term_sourced_ids: f"{UUID},{OTHER}"}],
}
JAPANESE_KEPT: list[Cells] = [
    {User.user_master_identifier: UUID.upper()},
    {Demographics.sourced_id: UUID, Demographics.sex: "unspecified"},
    {Org.identifier: None},
    {Org.identifier: "F112310102342"},
    {Org.identifier: "B127210000018"},
    {**DISTRICT, Org.identifier: "011000"},
    {**DISTRICT, Org.identifier: "052019"},
    {Org.parent_sourced_id: OTHER},
    {ROLE: "principal", TYPE: "secondary"},
    {ROLE: "guardian"},
    {Class.grades: "P1,P2"},
    {Class.grades: "E1 , H3"},
    {User.grades: "J3"},
    {SUBJECTS: "国語,外国語", CODES: "P100,J090"},
    {KANA: "ジャン ポール"},
    {KANA: "ヴィー"},
    {User.given_name: "𠮟﨑①〜～－"},
    {User.user_ids: "{Koumu:0001},{MS:山田}"},
    {Course.title: "2026年度ホームルーム"},
    {Course.title: "2026年度 国語 1"},
]


@pytest.mark.parametrize(("cells", "column", "rule"), cases(JAPANESE_RULES))
@pytest.mark.parametrize("profile", JAPAN, ids=lambda profile: profile.name)
def test_the_japan_profiles_are_broken(
    cells: Cells, column: str, rule: str, profile: Profile
) -> None:
    assert told(cells, profile) == [(column, rule)]


@pytest.mark.parametrize("cells", JAPANESE_KEPT, ids=str)
@pytest.mark.parametrize("profile", JAPAN, ids=lambda profile: profile.name)
def test_the_japan_profiles_are_kept(cells: Cells, profile: Profile) -> None:
    assert told(cells, profile) == []


@pytest.mark.parametrize(("cells", "column", "rule"), cases(JAPANESE_RULES))
def test_what_japan_asks_is_not_asked_under_the_binding(
    cells: Cells, column: str, rule: str
) -> None:
    assert (column, rule) not in told(cells, V1_2_1)


@pytest.mark.parametrize(
    "column", sorted(JP_1_2_1.required, key=str), ids=lambda column: column.csv
)
def test_what_the_standards_require_the_k12_profile_does_not(column: Column) -> None:
    asked = [(column.csv, "value.required_by_profile")]
    assert told({column: None}) == told({column: None}, PSE_6_00) == asked
    assert told({column: None}, K12_1_0) == told({column: None}, V1_2_1) == []


def test_times_of_a_delta_are_utc_in_japan() -> None:
    def at(time: str) -> list[tuple[str | None, str]]:
        return told({Org.status: "active", Org.date_last_modified: time}, mode="delta")

    assert at("2026-04-01T00:00:00.000Z") == []
    for time in ("2026-04-01T09:00:00.000+09:00", "2026-04-01T00:00:00Z"):
        assert at(time) == [("dateLastModified", "value.utc")]
    assert at("2026-04-01T00:00:00.000") == [("dateLastModified", "value.datetime")]


def test_a_cell_is_told_once_by_its_gravest_rule() -> None:
    cells: Cells = {Org.sourced_id: "a b", Org.name: "ｱ\U000e0100", Org.type: "District"}
    assert sorted(told(cells), key=str) == [
        ("name", "value.half_width_kana"),
        ("sourcedId", "value.guid"),
        ("type", "value.vocabulary"),
    ]


def test_school_codes_are_right_in_one_of_ten_check_digits() -> None:
    for code in ("F11231010234", "B12721000001", "C11329999902"):
        kept = [digit for digit in "0123456789" if told({Org.identifier: code + digit}) == []]
        assert len(kept) == 1


def test_a_password_is_never_told() -> None:
    cells: Cells = {User.password: "p" * 40_000, UserProfile.password: "p" * 40_000}
    for column, value in cells.items():
        entity = BY_TABLE[column.entity]
        (found,) = found_by(checker(entity), frame(entity, {column: value}))
        assert (found.rule.id, found.value) == ("csv.field_size", None)
    assert told({UserProfile.password: "ﾊﾟｽﾜｰﾄﾞ"}) == []


# That they hold together ---------------------------------------------------------------------

ODD = [
    *(
        "",
        " ",
        "a",
        "A-b_c",
        "a b",
        "a,b",
        "a,,b",
        "国語",
        "ﾀﾛｳ",
        "タロウ",
        "ジャン・ポール",
        "髙",
        "NULL",
    ),
    *("true", "True", "false", "1", "01", "-1", "1.5", "x" * 300, UUID, UUID.upper(), OTHER),
    *("P1", "P1,P2", "P1, ,P2", "zz", "P010", "T01", "P010,T01", "{a:b}", "{ﾀ:b}", "Koumu:1"),
    *("2026-04-01", "2026-02-30", "2026", "2026年度", "2026年度国語", "2026-04-01T00:00:00.000Z"),
    *("2026-04-01T00:00:00Z", "student", "teacher", "parent", "guardian", "aide", "ext:x", "ext:"),
    *("school", "district", "local", "schoolYear", "term", "homeroom", "Homeroom", "primary"),
    *("male", "active", "tobedeleted", "B113299999010", "139999", OBJECTIVE, "proctor"),
]
VALUES = [value or None for value in ODD]


@pytest.mark.parametrize("entity", BINDING, ids=lambda entity: entity.file)
@pytest.mark.parametrize("profile", [JP_1_2_1, V1_2_1], ids=lambda profile: profile.name)
def test_the_last_rule_of_a_chain_is_broken_wherever_any_is(
    entity: AnyEntity, profile: Profile
) -> None:
    checks = (*entity.checks, *profile.checks)
    for column in entity.columns:
        cells = pl.DataFrame({column.name: VALUES}, schema={column.name: pl.String})
        raw = pl.col(column.name)
        for chain in chains(of_column(column, profile, checks)):
            *wider, last = (cells.select(b.wrong(raw).fill_null(value=False)) for b in chain)
            for found in wider:
                assert not (found.to_series() & ~last.to_series()).any(), (column.csv, chain)


@pytest.mark.parametrize("entity", BINDING, ids=lambda entity: entity.file)
@pytest.mark.parametrize("seed", range(2))
def test_what_a_row_says_does_not_depend_on_the_rows_around_it(
    entity: AnyEntity, seed: int
) -> None:
    dice = random.Random(seed)
    shape = layout(entity, JP_1_2_1.header(entity))
    few = {name: dice.choices(VALUES, k=dice.choice((1, 2, len(VALUES)))) for name in shape.names}
    cells = {name: sorted(dice.choices(few[name], k=60), key=str) for name in shape.names}
    for name in shape.names[::2]:
        dice.shuffle(cells[name])
    rows = pl.DataFrame(cells, schema=dict.fromkeys(shape.names, pl.String))
    rows = rows.insert_column(0, pl.int_range(2, 62, eager=True).alias("line"))
    together = found_by(checker(entity), rows)
    again = checker(entity)
    parts = [
        finding for piece in (rows[:7], rows[7:8], rows[8:]) for finding in found_by(again, piece)
    ]
    one = checker(entity)
    alone = [finding for row in rows.iter_slices(1) for finding in found_by(one, row)]
    assert together == parts == alone
    assert len({(f.line, f.column) for f in together}) == len(together) > 60

"""Lenient reading puts right what the policy names, counts it exactly, and touches nothing else."""

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias, get_args
from uuid import uuid4

import polars as pl
import pytest

from pipeline import header, repairs, text
from pipeline.archive import Source
from pipeline.claims import Claim
from pipeline.faults import Broken, Findings
from pipeline.limits import Limits
from pipeline.opening import Package, open_upload
from pipeline.repairs import MAKERS, RULES, Mender, mender
from schemas.columns import Column, Flag, Text, Texts
from schemas.japanese import KANA_TO_FULL
from schemas.policy import ProfileName, Reading, Repair
from schemas.profiles import JP_1_2_1, V1_2, V1_2_1
from schemas.roster import BINDING
from schemas.roster.orgs import Org
from schemas.roster.people import User
from schemas.roster.teaching import Enrollment
from schemas.rules import Finding
from schemas.runs import Mode
from tests.pipeline.conftest import TOWN

ALL: tuple[Repair, ...] = get_args(Repair)
EVERYTHING = Reading(lenient=True, repairs=frozenset(ALL))
Cells: TypeAlias = Mapping[str, str | None]


@dataclass(frozen=True)
class Mended:
    """Rows put right, by column; what was counted, and the lines that were not right."""

    rows: list[Cells]
    counts: dict[Repair, int]
    lines: set[int]
    findings: list[Finding]


def mend(
    *rows: Cells, entity: type[Org] | type[User] = User, mode: Mode = "bulk", only: str = ""
) -> Mended:
    """These cells of rows, from line 2 on, put right."""
    shape = header.layout(entity, (*JP_1_2_1.header(entity), "metadata.x"))
    names = {column.csv: column.name for column in shape.columns} | {"metadata.x": "metadata.x"}
    blank: dict[str, str | None] = dict.fromkeys(shape.names)
    cells = [{**blank, **{names[csv]: value for csv, value in row.items()}} for row in rows]
    frame = pl.DataFrame(cells, schema=dict.fromkeys(shape.names, pl.String))
    frame = frame.insert_column(0, pl.Series("line", range(2, 2 + len(rows)), dtype=pl.Int64))
    wanted = [repair for repair in ALL if only in ("", repair)]
    own = Mender(entity, shape, mode, wanted)
    mended, lines, repaired = own.mend(frame)
    own.count(repaired)
    assert mended.columns == frame.columns
    assert mended["line"].equals(frame["line"])
    back = {name: csv for csv, name in names.items()}
    out: list[Cells] = [
        {back[name]: value for name, value in row.items() if name in back and value is not None}
        for row in mended.to_dicts()
    ]
    return Mended(out, dict(own.counts), {*lines}, [*own.findings()])


# --- Cells ---------------------------------------------------------------------------------------


def test_a_good_row_is_left_alone() -> None:
    row = {"sourcedId": "a", "enabledUser": "true", "familyName": "山田", "grades": "P1,P2"}
    assert mend(row) == Mended([row], {}, set(), [])


@pytest.mark.parametrize("word", ["NULL", "null"])
@pytest.mark.parametrize("column", ["sourcedId", "grades", "enabledUser", "metadata.jp.homeClass"])
def test_the_word_null_is_an_empty_cell_in_every_column(word: str, column: str) -> None:
    assert mend({column: word}) == Mended(
        [{}], {"null_text": 1}, {2}, mend({column: word}).findings
    )


@pytest.mark.parametrize("word", ["Null", "nULL", "NULLA", "N/A", "-", "なし", "NULL,NULL"])
def test_another_word_than_null_is_a_value(word: str) -> None:
    assert mend({"familyName": word}) == Mended([{"familyName": word}], {}, set(), [])


@pytest.mark.parametrize("word", ["True", "TRUE", "tRUE", "False", "FALSE"])
def test_the_case_of_a_flag_is_put_right(word: str) -> None:
    found = mend({"enabledUser": word})
    assert (found.rows, found.counts) == ([{"enabledUser": word.lower()}], {"boolean_case": 1})


@pytest.mark.parametrize("word", ["1", "yes", "T", "真", "ＴＲＵＥ", "truE d", "İ"])
def test_another_word_than_true_or_false_is_not(word: str) -> None:
    assert mend({"enabledUser": word}).rows == [{"enabledUser": word}]


def test_true_in_another_column_than_a_flag_is_a_value() -> None:
    assert mend({"familyName": "TRUE"}).rows == [{"familyName": "TRUE"}]


def test_a_state_in_bulk_is_dropped() -> None:
    found = mend({"status": "active", "dateLastModified": "2026-04-01"}, {"status": "active"})
    assert (found.rows, found.counts, found.lines) == ([{}, {}], {"status_in_bulk": 3}, {2, 3})


def test_an_upsert_has_the_layout_of_bulk() -> None:
    assert mend({"status": "active"}, mode="upsert").rows == [{}]


@pytest.mark.parametrize("status", ["tobedeleted", "Active", "x"])
def test_a_deletion_in_bulk_is_not_dropped_for_that_would_bring_the_record_back(
    status: str,
) -> None:
    assert mend({"status": status}) == Mended([{"status": status}], {}, set(), [])


def test_the_state_in_a_delta_is_meant() -> None:
    row = {"status": "active", "dateLastModified": "2026-04-01T00:00:00.000Z"}
    assert mend(row, mode="delta") == Mended([row], {}, set(), [])


@pytest.mark.parametrize(
    ("half", "full"),
    [
        ("ﾔﾏﾀﾞ", "ヤマダ"),
        ("ﾊﾟﾋﾞﾌﾟﾍﾞﾎﾟｳﾞｧ", "パビプベポヴァ"),
        ("ﾜﾞｦﾞ", "ヷヺ"),
        ("ｱﾞ", "ア゛"),
        ("ﾞ", "゛"),
        ("山ﾀﾞ･｢太｣､｡ｰ", "山ダ・「太」、。ー"),
        ("ＡＢＣ１２３　ｱ", "ＡＢＣ１２３　ア"),
        ("か\u3099ｶ", "か\u3099カ"),
    ],
)
def test_half_width_kana_become_full_width_and_nothing_else_does(half: str, full: str) -> None:
    found = mend({"metadata.jp.kanaFamilyName": half, "familyName": half}, only="half_width_kana")
    assert found.rows == [{"metadata.jp.kanaFamilyName": full, "familyName": full}]
    assert found.counts == {"half_width_kana": 2}


def test_every_half_width_kana_has_a_full_width_sign() -> None:
    signs = [chr(code) for code in range(0xFF61, 0xFFA0)]
    wide = mend(*({"familyName": sign} for sign in signs), only="half_width_kana")
    assert [row["familyName"] for row in wide.rows] == [KANA_TO_FULL[sign] for sign in signs]
    assert wide.counts == {"half_width_kana": len(signs)}


@pytest.mark.parametrize("column", ["username", "sourcedId", "userMasterIdentifier", "email"])
def test_identifiers_and_logins_keep_their_kana(column: str) -> None:
    assert mend({column: "ﾔﾏﾀﾞ"}).rows == [{column: "ﾔﾏﾀﾞ"}]


def test_what_is_widened_is_text_that_people_read() -> None:
    assert {type(column) for column in repairs.KANA} == {Text, Texts}
    own = {column for entity in BINDING for column in entity.columns}
    assert own >= repairs.KANA
    assert {column for column in User.columns if "kana" in column.name} <= repairs.KANA


@pytest.mark.parametrize("blank", [" ", "\u3000", "\u00a0", " \u3000 "])
def test_blanks_around_a_value_go_and_those_inside_stay(blank: str) -> None:
    found = mend({"familyName": f"{blank}山{blank}田{blank}", "givenName": blank})
    assert found.rows == [{"familyName": f"山{blank}田"}]
    assert found.counts == {"trailing_blanks": 2}


def test_one_repair_sees_what_the_one_before_has_left() -> None:
    found = mend(
        {"enabledUser": " TRUE ", "familyName": " NULL", "status": "active ", "givenName": " ﾀ"}
    )
    assert found.rows == [{"enabledUser": "true", "givenName": "タ"}]
    assert found.counts == {
        "trailing_blanks": 4,
        "null_text": 1,
        "status_in_bulk": 1,
        "boolean_case": 1,
        "half_width_kana": 1,
    }


def test_unknown_metadata_is_handed_on_as_it_came() -> None:
    for value in ("NULL", " x ", "ﾀ", "TRUE"):
        assert mend({"metadata.x": value}) == Mended([{"metadata.x": value}], {}, set(), [])


def test_a_finding_says_how_many_and_where_first() -> None:
    found = mend({"sourcedId": "a"}, {"grades": "NULL"}, {"grades": "NULL", "sms": "null"})
    ((rule, line, facts),) = [(f.rule, f.line, dict(f.facts)) for f in found.findings]
    assert (rule, line, facts) == (RULES["null_text"], 3, {"count": 3})
    assert found.lines == {3, 4}
    assert "3 cells of users.csv" in found.findings[0].message()["en"]
    assert "users.csv の 3 個" in found.findings[0].message()["ja"]


def test_a_count_goes_on_over_the_pieces_of_a_file() -> None:
    shape = header.layout(Org, V1_2_1.header(Org))
    own = Mender(Org, shape, "bulk", ALL)
    for first in (2, 5, 8):
        blank = dict.fromkeys(shape.names, pl.lit(None, pl.String))
        rows = pl.select(pl.int_range(first, first + 3).alias("line"))
        rows = rows.with_columns(**{**blank, "name": pl.lit("NULL")})
        own.count(own.mend(rows).repaired)
    assert [(f.line, f.facts["count"]) for f in own.findings()] == [(2, 9)]


def test_no_rows_are_no_trouble() -> None:
    assert mend() == Mended([], {}, set(), [])


@pytest.mark.parametrize("repair", MAKERS)
def test_a_repair_that_the_policy_does_not_name_is_not_made(repair: Repair) -> None:
    row = {"enabledUser": "TRUE", "familyName": "ﾀ ", "givenName": "NULL", "status": "active"}
    found = mend(row, only=repair)
    assert {*found.counts} == {repair}
    (before,), after = [row], found.rows[0]
    assert sum(before[name] != after.get(name) for name in before) == found.counts[repair]


def test_strict_reading_has_no_mender() -> None:
    shape = header.layout(Org, V1_2_1.header(Org))
    assert mender(Org, shape, "bulk", Reading(repairs=frozenset(ALL)), V1_2_1) is None
    only_cp932 = Reading(lenient=True, repairs=frozenset({"cp932"}))
    assert mender(Org, shape, "bulk", only_cp932, V1_2_1) is None
    assert mender(Org, shape, "bulk", EVERYTHING, V1_2_1) is not None


def test_every_repair_of_the_policy_is_made_somewhere_and_has_its_rule() -> None:
    assert {*RULES} == {*ALL}
    assert {*ALL} - {*MAKERS} == {"cp932", "header_case"}
    for repair, rule in RULES.items():
        assert (rule.id, rule.severity) == (f"repair.{repair}", "info")


def test_every_flag_and_no_other_column_is_lowered() -> None:
    for entity in BINDING:
        shape = header.layout(entity, JP_1_2_1.header(entity))
        blank = {"line": pl.Series([2], dtype=pl.Int64)}
        rows = pl.DataFrame({**blank, **{name: ["TRUE"] for name in shape.names}})
        out = Mender(entity, shape, "delta", ["boolean_case"]).mend(rows).rows
        changed: set[Column] = {c for c in shape.columns if out[c.name][0] == "true"}
        assert changed == {c for c in shape.columns if isinstance(c, Flag)}


# --- Opening -------------------------------------------------------------------------------------

Open: TypeAlias = Callable[..., tuple[Package, list[Finding]]]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """An upload as an import opens it: the package, and what is said of it."""

    def make(
        data: bytes, reading: Reading = EVERYTHING, entity: str | None = None
    ) -> tuple[Package, list[Finding]]:
        path = tmp_path / "upload"
        path.write_bytes(data)
        mode: Mode | None = "bulk" if entity else None
        claim = Claim(0, uuid4(), attempt=1, fence=1, entity=entity, mode=mode)
        findings = Findings(1000)
        return open_upload(path, claim, Limits(), findings, reading=reading), findings.all

    return make


def ids(findings: list[Finding]) -> list[tuple[str, str, int | None]]:
    return [(f.rule.id, f.file, f.line) for f in findings]


def one(file: str, data: bytes) -> bytes:
    return TOWN.zip(**{file: data})


def read(package: Package, file: str) -> list[tuple[str | None, ...]]:
    """The rows of a file as text."""
    own = next(each for each in package.files if each.entity.file == file)
    shape = header.layout(own.entity, own.header)
    rows: list[tuple[str | None, ...]] = []
    for number, piece in enumerate(text.pieces(own.source)):
        body = text.split_header(piece, own.source.name)[1] if number == 0 else piece
        frame, faults = text.records(body, shape.names, own.source.name, own.source.limits)
        assert faults == []
        rows += frame.drop("line").rows()
    return rows


def test_a_header_in_another_case_is_read_as_the_binding_spells_it(opened: Open) -> None:
    data = TOWN.text("orgs").encode()
    data = data.replace(b"sourcedId,status,date", b"SOURCEDID, Status ,Date", 1)
    package, findings = opened(one("orgs", data))
    assert package.files[0].header == V1_2_1.header(Org)
    assert ids(findings) == [("repair.header_case", "orgs.csv", 1)]
    assert findings[0].facts == {"count": 3}
    strict = opened(one("orgs", data), Reading())[1]
    assert {f.rule.id for f in strict} == {"header.unknown", "header.missing"}


@pytest.mark.parametrize(
    ("name", "right", "count"),
    [
        ("METADATA.Colour", "metadata.Colour", 1),
        ("metadata.Colour", "metadata.Colour", 0),
        ("Metadata.jp.shussekino", "metadata.jp.shussekino", 1),
        ("Schoolcode", "Schoolcode", 0),
    ],
)
def test_of_an_extension_only_what_stands_in_front_is_spelled_anew(
    name: str, right: str, count: int
) -> None:
    names, findings = repairs.header(Enrollment, (*V1_2_1.header(Enrollment), name))
    assert names == (*V1_2_1.header(Enrollment), right)
    assert sum(int(f.facts["count"] or 0) for f in findings) == count


@pytest.mark.parametrize("entity", BINDING, ids=lambda entity: entity.file)
def test_every_header_is_known_in_capitals(entity: type[Org]) -> None:
    right = V1_2_1.header(entity)
    names, (finding,) = repairs.header(entity, tuple(name.upper() for name in right))
    assert (names, finding.facts["count"]) == (right, len(right))
    assert repairs.header(entity, right) == (right, [])


KANJI = TOWN.text("users")


def test_a_file_in_cp932_is_read_where_the_policy_says_so(opened: Open) -> None:
    plain = read(opened(one("users", KANJI.encode()))[0], "users")
    package, findings = opened(one("users", KANJI.encode("cp932")))
    assert ids(findings) == [("repair.cp932", "users.csv", 2)]
    assert findings[0].facts == {"count": 5}
    assert read(package, "users") == plain
    default = opened(one("users", KANJI.encode("cp932")), Reading(lenient=True))[1]
    assert ids(default) == [("csv.encoding", "users.csv", 2)]


def test_a_single_file_and_a_manifest_in_cp932_are_read_too(opened: Open) -> None:
    package, findings = opened(KANJI.encode("cp932"), entity="users")
    assert ids(findings) == [("repair.cp932", "users.csv", 2)]
    assert len(read(package, "users")) == 5
    named = TOWN.manifest() + '"source.systemName","校務"\r\n'
    assert ids(opened(one("manifest", named.encode("cp932")))[1]) == [
        ("repair.cp932", "manifest.csv", 25)
    ]


def test_utf8_is_never_taken_for_cp932(opened: Open) -> None:
    assert opened(one("users", KANJI.encode()))[1] == []
    assert opened(one("users", b"\xef\xbb\xbf" + KANJI.encode()))[1] == []


AMBIGUOUS = {
    "a UTF-8 file with a sign cut in two": KANJI.encode().replace("郎".encode(), b"\xe9\x83", 1),
    "a UTF-8 file with one line in CP932": KANJI.encode().replace(
        "太郎".encode(), "太郎".encode("cp932")
    ),
    "a CP932 file with one line in UTF-8": KANJI.encode("cp932").replace(
        "和子".encode("cp932"), "和子のこ".encode()
    ),
    "EUC-JP": KANJI.encode("euc_jp"),
    "a mark, and then CP932": b"\xef\xbb\xbf" + KANJI.encode("cp932"),
    "signs made at home": KANJI.replace("太郎", "太郎\ue000").encode("cp932"),
    "a byte that each maker reads otherwise": KANJI.encode("cp932").replace(b'"P1"', b'"P1\x80"'),
    "a trail byte that is none": KANJI.encode("cp932").replace(b'"P1"', b'"P1\x81\x7f"'),
    "Latin-1": KANJI.encode("cp932").replace(b'"P1"', b'"Ren\xe9"'),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_may_be_something_else_is_refused_and_not_guessed(opened: Open, name: str) -> None:
    _, findings = opened(one("users", AMBIGUOUS[name]))
    assert [f.rule.id for f in findings] == ["csv.encoding"]


def test_what_cannot_be_read_at_all_is_said_once(opened: Open) -> None:
    data = KANJI.encode("utf-16")
    assert [f.rule.id for f in opened(one("users", data))[1]] == ["csv.utf16"]
    damaged = TOWN.zip()
    at = damaged.index(b"users.csv") + 60
    damaged = damaged[:at] + b"\xff\xff\xff" + damaged[at + 3 :]
    assert [f.rule.id for f in opened(damaged)[1]] == ["package.corrupt"]


def test_what_it_looks_like_is_told(opened: Open) -> None:
    for encoding, said in (("cp932", "Shift_JIS (CP932)"), ("euc_jp", "EUC-JP")):
        (finding,) = opened(one("users", KANJI.encode(encoding)), Reading())[1]
        assert f"it looks like {said}." in finding.message()["en"]
        assert "のようです)。" in finding.message()["ja"]


@pytest.mark.parametrize("piece", [16, 100, 4096])
def test_cp932_is_known_in_pieces_of_any_size(source: Callable[..., Source], piece: int) -> None:
    file, findings = repairs.settle(source(KANJI.encode("cp932"), piece=piece))
    assert [(f.line, f.facts["count"]) for f in findings] == [(2, 5)]
    assert b"".join(each.data for each in text.pieces(file)) == KANJI.encode()


# --- Profiles ------------------------------------------------------------------------------------


def test_the_profile_is_what_the_files_show_unless_the_district_says_otherwise(
    opened: Open,
) -> None:
    assert opened(TOWN.zip(), Reading())[0].profile.name == "JP-1.2.1"
    package, findings = opened(TOWN.zip(), Reading(profile="PSE-6.00"))
    assert package.profile.name == "PSE-6.00"
    assert ids(findings)[:1] == [("manifest.other_version", "manifest.csv", 3)]
    spelled = {f.column for f in findings if f.rule.id == "header.spelling"}
    assert spelled == {"metadata.jp.ShussekiNo", "metadata.jp.PublicFlg"}


def test_a_column_that_only_the_chosen_profile_has_is_missed_and_one_it_has_not_is_named(
    opened: Open,
) -> None:
    package, findings = opened(TOWN.zip(), Reading(profile="1.2"))
    assert package.profile.name == "1.2"
    found = [(f.rule.id, f.column) for f in findings]
    assert found == [("header.lacks_of_profile", "resourceSourcedIds")]
    other = replace(TOWN, profile=V1_2).zip()
    package, findings = opened(other, Reading(profile="1.2.1"))
    found = [(f.rule.id, f.column) for f in findings]
    assert found == [("header.not_in_profile", "resourceSourcedIds")]
    assert "resource_sourced_ids" in {
        column.name for column in header.layout(User, package.files[4].header).columns
    }


@pytest.mark.parametrize("profile", ["1.2.1", "JP-1.2.1"])
def test_extension_columns_are_free_in_every_profile(opened: Open, profile: ProfileName) -> None:
    assert opened(TOWN.zip(), Reading(profile=profile))[1] == []


def test_the_columns_that_a_chosen_profile_requires_are_missed(opened: Open) -> None:
    data = (",".join(V1_2_1.header(User)) + "\r\nx" + "," * 21 + "\r\n").encode()
    _, findings = opened(data, Reading(profile="JP-1.2.1"), entity="users")
    assert [(f.rule.id, f.column, f.rule.severity) for f in findings] == [
        ("header.required_by_profile", "metadata.jp.kanaGivenName", "error"),
        ("header.required_by_profile", "metadata.jp.kanaFamilyName", "error"),
    ]
    assert opened(data, Reading(), entity="users")[1] == []


def test_a_required_file_that_is_absent_from_a_full_package_is_named(opened: Open) -> None:
    _, findings = opened(TOWN.without("courses").zip())
    assert [(f.rule.id, f.column, f.rule.severity) for f in findings] == [
        ("manifest.required_file", "file.courses", "warning")
    ]
    assert findings[0].facts["target"] == "courses.csv"
    assert opened(TOWN.without("demographics", "userProfiles").zip())[1] == []


def test_a_delta_and_an_empty_package_require_no_file(opened: Open) -> None:
    delta = TOWN.only("orgs").meant("delta")
    assert opened(delta.zip())[1] == []
    assert opened(TOWN.only().zip())[1] == []


def test_a_file_that_japan_does_not_use_is_named(opened: Open) -> None:
    package = TOWN.put("resources", {"sourcedId": "b", "vendorResourceId": "v"})
    found = [f for f in opened(package.zip())[1] if f.rule.id == "manifest.unused_file"]
    assert [(f.column, f.value) for f in found] == [("file.resources", "bulk")]
    assert found[0].facts == {"profile": "JP-1.2.1", "target": "resources.csv"}


def test_zip_members_are_all_settled(opened: Open) -> None:
    """Whatever file is in CP932 is read so, with one finding for each."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("manifest.csv", TOWN.manifest())
        for file in TOWN.rows:
            archive.writestr(f"{file}.csv", TOWN.text(file).encode("cp932"))
    package, findings = opened(out.getvalue())
    told = {f.file: f.facts["count"] for f in findings if f.rule.id == "repair.cp932"}
    lines = {f"{file}.csv": TOWN.text(file).split("\r\n") for file in TOWN.rows}
    wanted = {file: sum(not each.isascii() for each in text) for file, text in lines.items()}
    assert told == {file: count for file, count in wanted.items() if count}
    for file in TOWN.rows:
        assert len(read(package, file)) == len(TOWN.rows[file])


def test_the_reader_of_a_settled_source_still_names_a_line(source: Callable[..., Source]) -> None:
    file, _ = repairs.settle(source(KANJI.encode("cp932")))
    file.path.write_bytes(KANJI.encode("cp932") + b"\x81\x7f\r\n")
    with pytest.raises(Broken) as caught:
        [*text.pieces(file)]
    assert (caught.value.finding.rule.id, caught.value.finding.line) == ("csv.encoding", 7)

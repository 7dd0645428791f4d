import csv
import io
import re
import stat
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias
from zipfile import ZipFile

import pytest

import loadtests
from loadtests.districts import check_digit
from loadtests.names import kanji
from loadtests.rosters import FAULTS, Counts, District, package_name, write_package
from schemas.columns import Choice, Flag, Refs
from schemas.profiles import MODES, PROFILES, detect
from schemas.roster import BINDING, ROSTERING, AnyEntity
from schemas.roster.orgs import AcademicSession, Org
from schemas.roster.people import Demographics, Role, User
from schemas.roster.teaching import Class, Course, Enrollment

Row: TypeAlias = Mapping[str, str]

SMALL = District(users=240, schools=3, enrollments_per_student=4, guardians=0.5)
CHANGED = replace(SMALL, generation=1, mutations=0.3)
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
KATAKANA = re.compile(r"[ァ-ヶー]+")


@cache
def package(district: District, *faults: str) -> bytes:
    out = io.BytesIO()
    write_package(out, district, faults=faults)
    return out.getvalue()


@cache
def member(district: District, name: str, *faults: str) -> bytes:
    with ZipFile(io.BytesIO(package(district, *faults))) as archive:
        return archive.read(name)


def records(district: District, entity: AnyEntity) -> list[Row]:
    text = member(district, f"{entity.file}.csv").decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def by_id(district: District, entity: AnyEntity) -> dict[str, Row]:
    return {row["sourcedId"]: row for row in records(district, entity)}


def dangling(district: District) -> list[tuple[str, str, str]]:
    known = {entity.file: by_id(district, entity).keys() for entity in ROSTERING}
    return [
        (entity.file, column.csv, wanted)
        for entity in ROSTERING
        for column in entity.references()
        for row in records(district, entity)
        for value in [row.get(column.csv, "")]
        for wanted in (value.split(",") if isinstance(column, Refs) else [value])
        if wanted and wanted not in known[column.to]
    ]


def test_the_same_district_gives_the_same_bytes() -> None:
    again = io.BytesIO()
    write_package(again, SMALL)
    assert again.getvalue() == package(SMALL)


def test_a_path_and_an_open_file_receive_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / package_name(SMALL)
    write_package(path, SMALL)
    assert path.read_bytes() == package(SMALL)


def test_another_seed_shares_no_identifier() -> None:
    other = replace(SMALL, seed=2)
    for entity in ROSTERING:
        assert not by_id(SMALL, entity).keys() & by_id(other, entity).keys()


@pytest.mark.parametrize("district", [SMALL, CHANGED], ids=["generation 0", "generation 1"])
def test_another_order_has_the_same_rows_at_other_places(district: District) -> None:
    shuffled = replace(district, order=7)
    assert package(shuffled) != package(district)
    for entity in ROSTERING:
        name = f"{entity.file}.csv"
        header, *rows = member(district, name).splitlines()
        other_header, *other_rows = member(shuffled, name).splitlines()
        assert (other_header, Counter(other_rows)) == (header, Counter(rows))
    users = f"{User.file}.csv"
    assert member(shuffled, users) != member(district, users)


def test_the_counts_are_the_rows_of_each_file() -> None:
    counts: Counts = write_package(io.BytesIO(), CHANGED)
    assert counts == {entity.file: len(records(CHANGED, entity)) for entity in ROSTERING}


@pytest.mark.parametrize("users", [36, 37, 240, 241, 1999])
@pytest.mark.parametrize("guardians", [0.0, 0.3, 1.0])
def test_a_district_has_exactly_as_many_users_as_asked(users: int, guardians: float) -> None:
    district = District(users=users, guardians=guardians, enrollments_per_student=1)
    assert write_package(io.BytesIO(), district)[User.file] == users


@pytest.mark.parametrize(
    "impossible",
    [
        {"profile": "1.1"},
        {"schools": 0},
        {"users": 35},
        {"enrollments_per_student": 0},
        {"mutations": 1.5},
        {"guardians": -1},
    ],
    ids=str,
)
def test_an_impossible_district_is_refused(impossible: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=" "):
        replace(District(), **impossible)  # type: ignore[arg-type]  # that is the test


@pytest.mark.parametrize("profile", PROFILES)
def test_headers_are_those_of_the_profile(profile: str) -> None:
    district = replace(SMALL, profile=profile)
    for entity in ROSTERING:
        header, _ = member(district, f"{entity.file}.csv").decode().split("\r\n", 1)
        assert tuple(header.split(",")) == PROFILES[profile].header(entity)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_manifest_names_the_version_and_every_file(profile: str) -> None:
    district = replace(SMALL, profile=profile)
    rows = dict(csv.reader(io.StringIO(member(district, "manifest.csv").decode())))
    assert rows["oneroster.version"] == PROFILES[profile].manifest
    absent, bulk, _ = MODES
    assert {entity.file: rows[f"file.{entity.file}"] for entity in BINDING} == {
        entity.file: bulk if entity in ROSTERING else absent for entity in BINDING
    }


@pytest.mark.parametrize("profile", sorted(PROFILES.keys() - {"PSE-6.00"}))
def test_the_profile_is_recognised_from_the_package(profile: str) -> None:
    lines = member(replace(SMALL, profile=profile), "users.csv").decode().splitlines()
    header = next(csv.reader(lines))
    assert detect(PROFILES[profile].manifest, {"users": tuple(header)}).name == profile


def test_the_base_profiles_carry_the_same_data_without_the_japanese_columns() -> None:
    plain, japanese = records(replace(SMALL, profile="1.2.1"), User), records(SMALL, User)
    ours = [{k: v for k, v in row.items() if not k.startswith("metadata.")} for row in japanese]
    assert plain == ours


def test_values_are_quoted_headers_are_not_and_lines_end_with_crlf() -> None:
    for entity in ROSTERING:
        content = member(SMALL, f"{entity.file}.csv")
        header, *rows, rest = content.split(b"\r\n")
        assert rest == b""
        assert b'"' not in header
        assert not content.startswith(b"\xef\xbb\xbf")
        assert b"\n" not in content.replace(b"\r\n", b"")
        assert all(re.fullmatch(rb'"[^"]*"(,"[^"]*")*', row) for row in rows)


def test_the_package_name_holds_the_day_and_the_board() -> None:
    assert package_name(District()) == "RO_20260401_139999.zip"


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("district", [SMALL, CHANGED], ids=["generation 0", "generation 1"])
def test_required_values_are_there_and_prohibited_ones_are_not(
    district: District, profile: str
) -> None:
    layout, made = PROFILES[profile], replace(district, profile=profile)
    for entity in ROSTERING:
        for column, name in zip(layout.columns(entity), layout.header(entity), strict=True):
            values = [row[name] for row in records(made, entity)]
            assert not (column.required or column in layout.required) or all(values)
            assert column not in layout.prohibited or not any(values)


def test_words_are_those_of_the_vocabulary() -> None:
    header = PROFILES[SMALL.profile].header
    for entity in ROSTERING:
        for column, name in zip(
            PROFILES[SMALL.profile].columns(entity), header(entity), strict=True
        ):
            match column:
                case Choice(words=words):
                    assert {row[name] for row in records(SMALL, entity)} <= {"", *words}
                case Flag():
                    assert {row[name] for row in records(SMALL, entity)} <= {"", "true", "false"}
                case _:
                    pass


@pytest.mark.parametrize(
    "district",
    [SMALL, *(replace(CHANGED, generation=at) for at in (1, 2)), replace(CHANGED, mutations=1)],
    ids=["generation 0", "generation 1", "generation 2", "everybody changed"],
)
def test_every_reference_finds_its_record(district: District) -> None:
    assert dangling(district) == []


@pytest.mark.parametrize("district", [SMALL, CHANGED], ids=["generation 0", "generation 1"])
def test_identifiers_are_lower_case_uuid_4_and_unique_in_their_file(district: District) -> None:
    for entity in ROSTERING:
        names = [row["sourcedId"] for row in records(district, entity)]
        assert len(set(names)) == len(names)
        assert all(UUID4.fullmatch(name) for name in names)
    masters = [row[User.user_master_identifier.csv] for row in records(district, User)]
    assert len(set(masters)) == len(masters)
    assert all(UUID4.fullmatch(master) for master in masters)


def test_login_names_and_office_numbers_are_unique_in_every_generation() -> None:
    for column in (User.username, User.user_ids):
        names = [row[column.csv] for row in records(CHANGED, User)]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("code", ["F112310102342", "B127210000018"])
def test_the_check_digit_agrees_with_published_school_codes(code: str) -> None:
    assert check_digit(code[:-1]) == code[-1]


def test_every_school_has_a_right_code_of_its_own() -> None:
    district = replace(SMALL, schools=12)
    codes = [row["identifier"] for row in records(district, Org) if row["type"] == "school"]
    assert len(set(codes)) == 12
    for code in codes:
        assert re.fullmatch(r"[A-H][12][0-4][0-9][123][0-9]{7}[0-9]", code)
        assert check_digit(code[:-1]) == code[-1]


def test_schools_are_numbered_as_on_their_signs() -> None:
    names = [row["name"] for row in records(SMALL, Org)]
    assert names == [
        "架空市教育委員会",
        "架空市立第一小学校",
        "架空市立第一中学校",
        "架空市立第二小学校",
    ]
    assert [kanji(number) for number in (9, 10, 21, 100, 3456)] == [
        "九",
        "十",
        "二十一",
        "百",
        "三千四百五十六",
    ]


def test_the_school_year_is_named_by_its_first_year_and_ends_in_march() -> None:
    (year,) = records(SMALL, AcademicSession)
    assert (year["title"], year["startDate"], year["endDate"], year["schoolYear"]) == (
        "2026年度",
        "2026-04-01",
        "2027-03-31",
        "2026",
    )


def test_courses_are_titled_by_year_and_subject_and_subjects_are_paired_with_codes() -> None:
    for row in records(SMALL, Course):
        assert re.fullmatch("2026年度.+", row["title"])
        assert bool(row["subjects"]) == bool(row["subjectCodes"])
    assert any(row["title"] == "2026年度ホームルーム" for row in records(SMALL, Course))


def test_no_class_is_larger_than_35_and_most_are_nearly_full() -> None:
    district = District(users=3000, schools=2, enrollments_per_student=1)
    sizes = Counter(
        row["classSourcedId"] for row in records(district, Enrollment) if row["role"] == "student"
    )
    assert max(sizes.values()) <= 35
    assert min(sizes.values()) >= 30


def test_attendance_numbers_run_from_1_through_every_class() -> None:
    numbers: dict[str, list[int]] = {}
    for row in records(SMALL, Enrollment):
        if row["role"] == "student":
            number = int(row["metadata.jp.ShussekiNo"])
            numbers.setdefault(row["classSourcedId"], []).append(number)
    assert all(found == [*range(1, len(found) + 1)] for found in numbers.values())


def test_attendance_numbers_stay_unique_when_pupils_move_and_join() -> None:
    seats = Counter(
        (row["classSourcedId"], row["metadata.jp.ShussekiNo"])
        for row in records(CHANGED, Enrollment)
        if row["role"] == "student"
    )
    assert set(seats.values()) == {1}


@pytest.mark.parametrize("district", [SMALL, CHANGED], ids=["generation 0", "generation 1"])
def test_every_pupil_sits_in_the_home_class_and_in_lessons_of_their_own_grade(
    district: District,
) -> None:
    classes, users = by_id(district, Class), by_id(district, User)
    seats: dict[str, list[str]] = {}
    for row in records(district, Enrollment):
        if row["role"] == "student":
            seats.setdefault(row["userSourcedId"], []).append(row["classSourcedId"])
    for user, rooms in seats.items():
        home, grade = users[user]["metadata.jp.homeClass"], users[user]["grades"]
        assert len(set(rooms)) == district.enrollments_per_student
        assert [r for r in rooms if classes[r]["classType"] == "homeroom"] == [home]
        assert {classes[room]["grades"] for room in rooms} == {grade}
    pupils = {row["sourcedId"] for row in users.values() if row["grades"]}
    assert seats.keys() == pupils == by_id(district, Demographics).keys()


def test_every_home_class_has_one_primary_teacher_and_nothing_else_has() -> None:
    classes = by_id(SMALL, Class)
    primary = [row for row in records(SMALL, Enrollment) if row["primary"] == "true"]
    assert {row["role"] for row in primary} == {"teacher"}
    assert Counter(row["classSourcedId"] for row in primary) == Counter(
        key for key, row in classes.items() if row["classType"] == "homeroom"
    )


def test_everybody_has_one_primary_role_and_the_principal_a_secondary_one() -> None:
    roles = records(SMALL, Role)
    primary = Counter(row["userSourcedId"] for row in roles if row["roleType"] == "primary")
    second = [row for row in roles if row["roleType"] == "secondary"]
    teachers = {row["userSourcedId"] for row in roles if row["role"] == "teacher"}
    assert primary == Counter(by_id(SMALL, User).keys())
    assert [row["role"] for row in second] == ["principal"] * SMALL.schools
    assert {row["userSourcedId"] for row in second} <= teachers


def test_guardians_are_the_agents_of_their_pupils() -> None:
    guardians = {r["userSourcedId"] for r in records(SMALL, Role) if r["role"] == "guardian"}
    agents = [row["agentSourcedIds"] for row in records(SMALL, User) if row["agentSourcedIds"]]
    assert set(agents) == guardians
    assert len(agents) == len(guardians)


def test_readings_are_full_width_katakana() -> None:
    for row in records(SMALL, User):
        assert KATAKANA.fullmatch(row["metadata.jp.kanaFamilyName"])
        assert KATAKANA.fullmatch(row["metadata.jp.kanaGivenName"])


def test_birthdays_fit_the_grade() -> None:
    users = by_id(SMALL, User)
    grades = [*(f"P{at}" for at in range(1, 7)), *(f"J{at}" for at in range(1, 4))]
    for row in records(SMALL, Demographics):
        year = 2020 - grades.index(users[row["sourcedId"]]["grades"])
        assert f"{year - 1}-04-02" <= row["birthDate"] <= f"{year}-04-01"


def test_identifiers_are_stable_over_generations() -> None:
    before, after = by_id(SMALL, User), by_id(CHANGED, User)
    for name in before.keys() & after.keys():
        assert before[name]["username"] == after[name]["username"]
    assert by_id(SMALL, Class) == by_id(CHANGED, Class)


def test_a_generation_renames_moves_adds_and_removes_the_asked_share() -> None:
    district = District(users=2000, schools=2, enrollments_per_student=1, mutations=0.2)
    before, after = by_id(district, User), by_id(replace(district, generation=1), User)
    both = before.keys() & after.keys()
    changes = {
        "renamed": sum(before[i]["familyName"] != after[i]["familyName"] for i in both),
        "moved": sum(
            before[i]["metadata.jp.homeClass"] != after[i]["metadata.jp.homeClass"] for i in both
        ),
        "left": len(before.keys() - after.keys()),
        "joined": len(after.keys() - before.keys()),
    }
    assert all(changes.values())
    assert 0.15 < sum(changes.values()) / len(before) < 0.25


def test_generations_differ_from_each_other() -> None:
    assert package(CHANGED) != package(replace(CHANGED, generation=2))


def test_mutations_say_nothing_about_generation_0() -> None:
    assert package(replace(SMALL, mutations=0.5)) == package(SMALL)


def test_memory_does_not_grow_with_the_district() -> None:
    script = (
        "import io, sys, tempfile, tracemalloc\n"
        "from loadtests.rosters import District, write_package\n"
        "tracemalloc.start()\n"
        "with tempfile.TemporaryFile() as out:\n"
        "    write_package(out, District(users=int(sys.argv[1]), order=int(sys.argv[2])))\n"
        "print(tracemalloc.get_traced_memory()[1])\n"
    )

    def peak(users: int, order: int) -> int:
        command = [sys.executable, "-c", script, str(users), str(order)]
        root = Path(str(loadtests.__file__)).parents[1]
        done = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
        return int(done.stdout)

    rows = 4000 * 14 * 200  # what a list of the larger district's lines would at least take
    assert peak(4000, order=1) - peak(400, order=1) < rows / 4


def lines_of(content: bytes) -> list[bytes]:
    return content.split(b"\r\n")


def cells_at(name: str) -> str:
    """The cell that the fault's expectation points at."""
    at = FAULTS[name]
    text = member(SMALL, at.file, name).decode()
    rows = list(csv.reader(io.StringIO(text, newline="")))
    return rows[at.line - 1][rows[0].index(at.column)]


def faulty(name: str) -> bytes:
    return member(SMALL, FAULTS[name].file, name)


def names_in(fault: str) -> list[str]:
    with ZipFile(io.BytesIO(package(SMALL, fault))) as archive:
        return archive.namelist()


def entry_mode(fault: str) -> int:
    with ZipFile(io.BytesIO(package(SMALL, fault))) as archive:
        return archive.getinfo(FAULTS[fault].file).external_attr >> 16


def both_flags(fault: str) -> tuple[int, int]:
    content = package(SMALL, fault)
    with ZipFile(io.BytesIO(content)) as archive:
        entry = archive.getinfo(FAULTS[fault].file)
    return entry.flag_bits & 1, content[entry.header_offset + 6] & 1


def sizes(fault: str) -> tuple[int, int]:
    content = package(SMALL, fault)
    with ZipFile(io.BytesIO(content)) as archive:
        return len(content), archive.getinfo(FAULTS[fault].file).file_size


def overlap(*faults: str) -> bool:
    with ZipFile(io.BytesIO(package(SMALL, *faults))) as archive:
        entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
    return any(
        entry.header_offset + entry.compress_size > following.header_offset
        for entry, following in pairwise(entries)
    )


PROOFS: Mapping[str, Callable[[str], bool]] = {
    "not_a_zip": lambda name: b"PK" not in package(SMALL, name),
    "no_manifest": lambda name: "manifest.csv" not in names_in(name),
    "wrong_file_name": lambda name: names_in(name)[-1] == "students.csv",
    "path_traversal": lambda name: names_in(name)[-1] == "../users.csv",
    "zip_bomb": lambda name: sizes(name)[0] * 200 < 1 << 30 < sizes(name)[1],
    "wrong_header": lambda name: b"userMasterIdenfitier" in lines_of(faulty(name))[0],
    "ragged_row": lambda name: (
        lines_of(faulty(name))[2].count(b",") + 1 == lines_of(faulty(name))[0].count(b",")
    ),
    "cr_only": lambda name: b"\n" not in faulty(name) and faulty(name).count(b"\r") == 5,
    "utf16": lambda name: (
        faulty(name)[:2] == b"\xff\xfe" and "架空" in faulty(name).decode("utf-16")
    ),
    "nul": lambda name: cells_at(name).endswith("\0"),
    "cp932": lambda name: "架空".encode("cp932") in faulty(name),
    "header_only": lambda name: faulty(name).count(b"\n") == 1,
    "unknown_reference": lambda name: cells_at(name) not in by_id(SMALL, Org),
    "duplicate_sourced_id": lambda name: (
        lines_of(faulty(name))[1][:38] == lines_of(faulty(name))[2][:38]
    ),
    "bad_date": lambda name: cells_at(name) == "2015/05/05",
    "bad_vocabulary": lambda name: cells_at(name) == "Homeroom",
    "missing_value": lambda name: cells_at(name) == "",
    "unclosed_quote": lambda name: lines_of(faulty(name))[2].count(b'"') % 2 == 1,
    "line_break_in_field": lambda name: cells_at(name).endswith("\n"),
    "status_in_bulk": lambda name: cells_at(name) == "active",
    "encrypted_entry": lambda name: both_flags(name) == (1, 1),
    "symlink_entry": lambda name: stat.S_ISLNK(entry_mode(name)),
    "duplicate_entry": lambda name: names_in(name).count("orgs.csv") == 2,
    "overlapping_entries": overlap,
    "manifest_mismatch": lambda name: (
        cells_line(name) == b'"file.demographics","bulk"'
        and "demographics.csv" not in names_in(name)
    ),
    "wrong_version": lambda name: cells_line(name) == b'"oneroster.version","1.1"',
    "duplicate_manifest_property": lambda name: (
        cells_line(name) == lines_of(faulty(name))[FAULTS[name].line - 2]
    ),
}


def cells_line(name: str) -> bytes:
    return lines_of(faulty(name))[FAULTS[name].line - 1]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_really_in_the_package(name: str) -> None:
    assert PROOFS[name](name) if name in PROOFS else is_in_the_cell(name)


def is_in_the_cell(name: str) -> bool:
    at = FAULTS[name]
    rows = csv.DictReader(io.StringIO(member(SMALL, at.file, name).decode(), newline=""))
    cells = [{name.lower(): cell for name, cell in row.items()}[at.column.lower()] for row in rows]
    here = cells[at.line - 2]
    return here == at.becomes or (not at.becomes and here == cells[0])


def test_entries_of_a_clean_package_do_not_overlap() -> None:
    assert not overlap()


@pytest.mark.parametrize("name", sorted(FAULTS.keys() - {"not_a_zip", "no_manifest"}))
def test_a_fault_leaves_the_other_files_as_they_were(name: str) -> None:
    fault = FAULTS[name]
    with ZipFile(io.BytesIO(package(SMALL, name))) as archive:
        for other in {f"{entity.file}.csv" for entity in ROSTERING}:
            if other not in {fault.file, fault.spoils}:
                assert archive.read(other) == member(SMALL, other)


def test_a_fault_says_why_it_is_one_in_a_sentence() -> None:
    assert all(re.fullmatch(r"[A-Z].+\.", fault.why) for fault in FAULTS.values())


def test_two_faults_can_meet_in_one_package() -> None:
    content = member(SMALL, "users.csv", "status_in_bulk", "wrong_header")
    assert b"userMasterIdenfitier" in content
    assert b'"active"' in content


def test_a_duplicate_entry_is_written_without_a_warning() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        write_package(io.BytesIO(), SMALL, faults=["duplicate_entry"])
    assert seen == []

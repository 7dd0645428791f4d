"""Findings get the row they are about, its school, and the group they belong to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import found, header, text
from pipeline.archive import Source
from pipeline.faults import Findings
from pipeline.found import ROW_MAX, ROWS_EACH, Rows, schools_of, short
from pipeline.limits import Limits
from pipeline.opening import File
from schemas import rules
from schemas.roster import BY_FILE
from schemas.rules import Finding, Rule

SMALL = Limits(piece=64)  # a few lines at a time


def a_file(folder: Path, name: str, *lines: str, limits: Limits = SMALL) -> File:
    """A file of a package with these lines behind its header."""
    entity = BY_FILE[name]
    columns = tuple(column.csv for column in header.defined(entity, ()))
    data = "\r\n".join([",".join(columns), *lines]).encode()
    path = folder / f"{name}.csv"
    path.write_bytes(data)
    source = Source(f"{name}.csv", len(data), path, zipped=False, limits=limits)
    return File(entity, source, "bulk", columns)


def a_line(name: str, **cells: str) -> str:
    """A line with these cells, by column in the table."""
    columns = header.defined(BY_FILE[name], ())
    return ",".join(cells.get(column.name, "") for column in columns)


def at(line: int | None, name: str = "users", rule: Rule = rules.values.DATE) -> Finding:
    return Finding(rule=rule, file=f"{name}.csv", line=line)


def told(file: File, *given: Finding, rows: Rows | None = None) -> list[Finding]:
    findings = Findings(10**6)
    findings.add(given)
    (rows or Rows()).complete(findings, [file])
    return findings.all


class TestRows:
    def test_each_finding_gets_its_line_as_it_came_wherever_the_pieces_end(
        self, tmp_path: Path
    ) -> None:
        lines = [a_line("users", sourced_id=f"u-{number}") for number in range(2, 100)]
        file = a_file(tmp_path, "users", *lines)
        assert len(list(text.pieces(file.source))) > 10
        given = [at(line) for line in (99, *range(2, 99), 50, 1)]
        for finding in told(file, *given):
            expected = [",".join(file.header), *lines][(finding.line or 0) - 1]
            assert finding.row == expected, finding.line

    def test_it_is_the_same_while_reading_and_afterwards(self, tmp_path: Path) -> None:
        lines = ['u-2,"太,郎', "", *(a_line("users", sourced_id=f"u-{n}") for n in range(4, 20))]
        file = a_file(tmp_path, "users", *lines)
        given = [at(line) for line in range(2, 20)]
        rows = Rows()
        reading = [
            finding
            for piece in text.pieces(file.source)
            for finding in rows.told(
                file, piece, [f for f in given if piece.first <= (f.line or 0) < end_of(piece)]
            )
        ]
        assert reading == told(file, *given)
        assert [finding.row for finding in reading[:2]] == [None, ""], "no secret is seen in it"

    def test_no_password_is_kept(self, tmp_path: Path) -> None:
        file = a_file(tmp_path, "users", a_line("users", sourced_id="u-2", password="ひみつ1"))
        (finding,) = told(file, at(2))
        assert finding.row is not None
        assert "u-2" in finding.row
        assert "ひみつ" not in finding.row

    def test_a_finding_without_a_line_or_of_another_file_stays_as_it_is(
        self, tmp_path: Path
    ) -> None:
        file = a_file(tmp_path, "users", a_line("users", sourced_id="u-2"))
        given = [at(None), at(2, "orgs"), at(77)]
        assert told(file, *given) == given

    def test_what_a_finding_has_already_is_kept(self, tmp_path: Path) -> None:
        file = a_file(tmp_path, "users", a_line("users", primary_org_sourced_id="s-1"))
        own = Finding(rule=rules.values.DATE, file="users.csv", line=2, school="s-2")
        (finding,) = told(file, own)
        assert (finding.school, finding.row) == (
            "s-2",
            a_line("users", primary_org_sourced_id="s-1"),
        )

    def test_rows_are_kept_for_the_first_thousand_of_each_rule(self, tmp_path: Path) -> None:
        lines = [a_line("users", sourced_id=f"u-{n}", primary_org_sourced_id="s") for n in range(9)]
        file = a_file(tmp_path, "users", *lines)
        rows = Rows()
        given = [at(2 + number % 9) for number in range(ROWS_EACH + 5)]
        data = "\n".join([",".join(file.header), *lines, ""]).encode()
        piece = text.Piece(data, first=1, read=len(data))
        reading = rows.told(file, piece, [*given, at(2, rule=rules.values.YEAR)])
        assert [finding.row is not None for finding in reading] == [
            *[True] * ROWS_EACH,
            *[False] * 5,
            True,
        ]
        assert {finding.school for finding in reading} == {"s"}
        later = told(file, *reading, rows=rows)
        assert later == reading, "a full book is not written on"

    def test_all_rows_of_a_run_have_one_ceiling(self, tmp_path: Path) -> None:
        file = a_file(tmp_path, "orgs", *(["x" * 50] * 9))
        given = [at(line, "orgs") for line in range(2, 11)]
        assert [f.row is not None for f in told(file, *given, rows=Rows(room=120))] == [
            *[True] * 3,
            *[False] * 6,
        ]

    @pytest.mark.parametrize("sign", ["x", "漢", "𠮟"])
    def test_a_long_row_is_cut_between_two_signs(self, sign: str) -> None:
        cut = short(sign * (ROW_MAX + 1))
        assert cut.endswith("…")
        assert ROW_MAX - 4 < len(cut.encode()) <= ROW_MAX
        assert cut.removesuffix("…") == sign * (len(cut) - 1)
        whole = sign * (ROW_MAX // len(sign.encode()))
        assert short(whole) == whole

    def test_a_file_that_breaks_gives_the_rows_before_the_break(self, tmp_path: Path) -> None:
        file = a_file(tmp_path, "users", *(a_line("users", sourced_id=f"u-{n}") for n in range(9)))
        with file.source.path.open("ab") as opened:
            opened.write(b"\r\n\xff\r\n")
        first, last = told(file, at(2), at(11))
        assert first.row is not None
        assert last.row is None


def end_of(piece: text.Piece) -> int:
    return piece.first + len(piece.lines())


class TestSchools:
    @pytest.mark.parametrize(
        ("name", "cells", "school"),
        [
            ("orgs", {"sourced_id": "s-1", "type": "school"}, "s-1"),
            ("orgs", {"sourced_id": "d-1", "type": "district"}, None),
            ("courses", {"org_sourced_id": "s-1"}, "s-1"),
            ("classes", {"school_sourced_id": "s-1"}, "s-1"),
            ("users", {"primary_org_sourced_id": " s-1 "}, "s-1"),
            ("roles", {"org_sourced_id": "s-1"}, "s-1"),
            ("enrollments", {"school_sourced_id": "s-1"}, "s-1"),
            ("enrollments", {}, None),
            ("demographics", {"sourced_id": "u-1"}, None),
            ("academicSessions", {"sourced_id": "t-1"}, None),
        ],
    )
    def test_each_file_names_its_school_in_its_own_way(
        self, tmp_path: Path, name: str, cells: dict[str, str], school: str | None
    ) -> None:
        file = a_file(tmp_path, name)
        assert schools_of(file, {2: a_line(name, **cells)}).get(2) == school

    @pytest.mark.parametrize("line", ["", "a,b", '"a"b' + "," * 20, "," * 90])
    def test_a_misshapen_row_names_none(self, tmp_path: Path, line: str) -> None:
        assert schools_of(a_file(tmp_path, "users"), {2: line}) == {}

    def test_the_header_names_none(self, tmp_path: Path) -> None:
        file = a_file(tmp_path, "users")
        assert schools_of(file, {1: ",".join(file.header)}) == {}


def lost(target: str, value: str, *, name: str = "roles", cause: int | None = None) -> Finding:
    return Finding(
        rule=rules.records.REFERENCE,
        file=f"{name}.csv",
        line=2,
        value=value,
        facts={"target": f"{target}.csv"},
        caused_by=cause,
    )


class TestGroups:
    @staticmethod
    def groups(*given: Finding) -> Iterator[tuple[str, int, int, int]]:
        findings = Findings(10**6)
        findings.add(given)
        ordered, ranks = found.grouped(findings)
        assert {*ranks} == set(range(1, len(ordered) + 1))
        assert sum(g.findings + g.followers for g in ordered) == len(given)
        return ((g.cause, g.first, g.findings, g.followers) for g in ordered)

    def test_the_same_missing_record_is_one_cause_across_files(self) -> None:
        given = [lost("users", "u"), lost("users", "u", name="enrollments"), lost("orgs", "u")]
        assert list(self.groups(*given)) == [("record", 1, 2, 0), ("row", 3, 1, 0)]

    def test_errors_come_before_warnings_and_the_heaviest_first(self) -> None:
        given = [
            at(2, rule=rules.values.CHARACTERS),
            at(3, rule=rules.values.CHARACTERS),
            at(4),
            lost("users", "u", cause=3),
            at(5, rule=rules.values.YEAR),
            lost("users", "v", cause=5),
            lost("users", "w", cause=6),
            at(6),
        ]
        assert list(self.groups(*given)) == [
            ("row", 5, 1, 2),
            ("row", 3, 1, 1),
            ("row", 8, 1, 0),
            ("rule", 1, 2, 0),
        ]

    def test_what_follows_counts_though_it_is_too_much_to_be_listed(self) -> None:
        findings = Findings(10**6)
        findings.add([at(2), lost("users", "u", cause=1), lost("users", "v", cause=2)])
        findings.more(1, 1000)
        findings.more(2, 200)
        ((group,), ranks) = found.grouped(findings)
        assert (group.findings, group.followers, ranks) == (1, 1202, [1, 1, 1])

    def test_a_hundred_thousand_findings_are_grouped_in_a_moment(self) -> None:
        chain = [at(2), *(lost("users", "u", cause=number) for number in range(1, 100_000))]
        assert list(self.groups(*chain)) == [("row", 1, 1, 99_999)]

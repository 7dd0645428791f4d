"""Generated packages: our verdict and our values against those of a slow reader, sign by sign.

The slow reader knows the binding and nothing of the pipeline: plain Python, no csv module, no
frame. Packages are made whole and then damaged. Nothing may be silently wrong: what the slow reader
refuses is refused, on the same lines, and what both accept has the same values.

ROSTERHUB_EXAMPLES says how many packages are made (CI: few; 20,000 take a quarter of an hour),
ROSTERHUB_SEED makes the same ones again. The seed is printed.
"""

import io
import json
import os
import re
import secrets
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4
from warnings import catch_warnings, simplefilter

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, example, given, seed, settings
from hypothesis import strategies as st

from pipeline import header, manifest, repairs, text
from pipeline.claims import Claim, Watch
from pipeline.faults import Findings
from pipeline.frames import Checker
from pipeline.header import Layout
from pipeline.limits import Limits
from pipeline.opening import open_upload
from pipeline.reading import Reader
from pipeline.repairs import MAKERS, Mender
from schemas.policy import Reading
from schemas.profiles import JP_1_2_1
from schemas.roster.people import User

EXAMPLES = int(os.environ.get("ROSTERHUB_EXAMPLES", "600"))
SEED = int(os.environ.get("ROSTERHUB_SEED", "0")) or secrets.randbelow(2**32)
READING = Reading(profile="1.2.1")  # what Japan asks of values is another matter
LIMITS = Limits(field_max=60, zip_entries=40)

bounded = settings(
    max_examples=EXAMPLES,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[*HealthCheck],
)

Values: TypeAlias = dict[str, Any]

# --- The slow reader -----------------------------------------------------------------------------

STATE = ["sourcedId", "status", "dateLastModified"]
COLUMNS = {
    "orgs": [*STATE, "name", "type", "identifier", "parentSourcedId"],
    "demographics": [
        *STATE,
        "birthDate",
        "sex",
        "americanIndianOrAlaskaNative",
        "asian",
        "blackOrAfricanAmerican",
        "nativeHawaiianOrOtherPacificIslander",
        "white",
        "demographicRaceTwoOrMoreRaces",
        "hispanicOrLatinoEthnicity",
        "countryOfBirthCode",
        "stateOfBirthAbbreviation",
        "cityOfBirth",
        "publicSchoolResidenceStatus",
    ],
}
FILES = re.findall(
    r"\w+",
    """academicSessions categories classes classResources courses courseResources demographics
    enrollments lineItemLearningObjectiveIds lineItems lineItemScoreScales orgs resources
    resultLearningObjectiveIds results resultScoreScales roles scoreScales userProfiles
    userResources users""",
)
ORG_TYPES = {"department", "school", "district", "local", "state", "national"}
SEXES = {"male", "female", "unspecified", "other"}
LETTERS = {*"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz./@_-"}
DIGITS = {*"0123456789"}


class Refused(Exception):
    """What cannot be read; `line` where that is known."""

    def __init__(self, line: int | None = None) -> None:
        super().__init__(line)
        self.line = line


def cells_of(line: str) -> list[str] | None:
    """The values of a line, sign by sign; None where its quotes are wrong."""
    found, rest = [], line
    while True:
        if rest[:1] == '"':
            value, rest = "", rest[1:]
            while True:
                before, quote, rest = rest.partition('"')
                value += before
                if not quote:
                    return None
                if rest[:1] != '"':
                    break
                value, rest = value + '"', rest[1:]
            if rest and rest[0] != ",":
                return None
            comma, rest = rest[:1], rest[1:]
        else:
            value, comma, rest = rest.partition(",")
            if '"' in value:
                return None
        found.append(value)
        if not comma:
            return found


def names_of(line: str) -> list[str] | None:
    """The same of a header, where a quote inside a bare name is part of the name."""
    bare = [part if part[:1] == '"' else part.replace('"', "\x02") for part in line.split(",")]
    found = cells_of(",".join(bare)) if '"' in line else line.split(",")
    return None if found is None else [name.replace("\x02", '"') for name in found]


def lines_of(data: bytes) -> list[str]:
    """The lines of a file without what ends them."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or 0 in data[:2]:
        raise Refused
    data = data.removeprefix(b"\xef\xbb\xbf")
    if not data:
        raise Refused
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(line.decode("utf-8").removesuffix("\r"))
        except UnicodeDecodeError:
            raise Refused(number) from None
    return found


def controls(line: str) -> bool:
    return any(ord(sign) < 32 or ord(sign) == 127 for sign in line)


@dataclass
class Slow:
    """What the slow reader makes of a package.

    `refused`: the package as a whole. `unreadable`: files, with the line where that is known.
    `bad`: lines with an error, by file. `rows`: the others by file and line.
    """

    refused: bool = False
    unreadable: dict[str, int | None] = field(default_factory=dict)
    bad: dict[str, set[int]] = field(default_factory=dict)
    rows: dict[str, dict[int, Values]] = field(default_factory=dict)


def slowly(upload: bytes) -> Slow:
    """Read a package."""
    try:
        files = unzipped(upload)
        modes = manifest_of(files)
    except Refused:
        return Slow(refused=True)
    found = Slow()
    for file, mode in modes.items():
        try:
            read_file(found, file, mode, files[f"{file}.csv"])
        except Refused as refused:
            found.unreadable[file] = refused.line
    return found


def entries(upload: bytes) -> dict[str, bytes]:
    """The files of a zip that holds nothing else, each once."""
    with zipfile.ZipFile(io.BytesIO(upload)) as archive:
        names = archive.namelist()
        if len({*names}) < len(names):
            raise Refused
        if {*names} - {f"{name}.csv" for name in ("manifest", *FILES)}:
            raise Refused
        return {name: archive.read(name) for name in names}


def unzipped(upload: bytes) -> dict[str, bytes]:
    """The same; whatever zipfile says against it."""
    try:
        return entries(upload)
    except Exception as error:
        raise Refused from error


def manifest_of(files: Mapping[str, bytes]) -> dict[str, str]:
    """How each file that is there is meant."""
    if "manifest.csv" not in files:
        raise Refused
    lines = lines_of(files["manifest.csv"])
    rows = [cells_of(line) for line in lines]
    names = names_of(lines[0])
    if names != ["propertyName", "value"] or any(map(controls, lines)):
        raise Refused
    values: dict[str, str] = {}
    for row in rows[1:]:
        if row is None or len(row) != 2 or row[0] in values:
            raise Refused
        values[row[0]] = row[1]
    if values.get("manifest.version") != "1.0":
        raise Refused
    if values.get("oneroster.version") not in ("1.2", "1.2.1", "1.2_JP"):
        raise Refused
    modes = {file: values.get(f"file.{file}", "") for file in FILES}
    for file, mode in modes.items():
        if mode not in ("absent", "bulk", "delta") or (mode == "absent") == (
            f"{file}.csv" in files
        ):
            raise Refused
    return {file: mode for file, mode in modes.items() if mode != "absent"}


def read_file(found: Slow, file: str, mode: str, data: bytes) -> None:
    """Read a data file."""
    lines = lines_of(data)
    names = names_of(lines[0])
    if names is None or controls(lines[0]):
        raise Refused(1)
    own, extra = COLUMNS[file], names[len(COLUMNS[file]) :]
    if names[: len(own)] != own or not all(name.startswith("metadata.") for name in extra):
        raise Refused(1)
    if len({*names}) < len(names):
        raise Refused(1)
    if len(lines) == 1:
        raise Refused
    found.bad[file], found.rows[file] = set(), {}
    for number, line in enumerate(lines[1:], start=2):
        cells = None if controls(line) or not line.strip() else cells_of(line)
        if cells is None or len(cells) != len(names):
            found.bad[file].add(number)
            continue
        row = dict(zip(names, cells, strict=True))
        if any(len(cell.encode()) > LIMITS.field_max for cell in cells) or not right(
            file, mode, row
        ):
            found.bad[file].add(number)
        else:
            found.rows[file][number] = valued(mode, row, extra)


def right(file: str, mode: str, row: Mapping[str, str]) -> bool:
    """Whether every value is what its column wants."""
    checks: dict[str, Callable[[str], bool]] = {
        "sourcedId": guid,
        "parentSourcedId": guid,
        "birthDate": day,
        "type": lambda value: value in ORG_TYPES or ext(value),
        "sex": lambda value: value in SEXES or ext(value),
        **dict.fromkeys(COLUMNS["demographics"][5:12], lambda value: value in ("true", "false")),
    }
    needed = {"orgs": ["sourcedId", "name", "type"], "demographics": ["sourcedId"]}[file]
    if mode == "delta":
        needed = [*needed, "status", "dateLastModified"]
        checks["status"] = lambda value: value in ("active", "tobedeleted")
        checks["dateLastModified"] = instant
    elif row["status"] or row["dateLastModified"]:
        return False
    return all(row[name] for name in needed) and all(
        check(row[name]) for name, check in checks.items() if row.get(name)
    )


def guid(value: str) -> bool:
    return len(value) < 256 and {*value} <= LETTERS


def ext(value: str) -> bool:
    return value[:4] == "ext:" and len(value) > 4 and {*value[4:]} <= LETTERS - {*"/@"}


def day(value: str) -> bool:
    if len(value) != 10 or value[4] + value[7] != "--" or {*value[:4]} - DIGITS:
        return False
    try:
        return date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def instant(value: str) -> bool:
    shape = r"T(\d\d):(\d\d):(\d\d)(\.\d{1,9})?(Z|[+-](\d\d):(\d\d))"
    found = re.fullmatch(shape, value[10:], re.ASCII)
    if not found or not day(value[:10]):
        return False
    hour, minute, second = (int(found[number]) for number in (1, 2, 3))
    away, past = int(found[6] or 0), int(found[7] or 0)
    return hour < 24 and minute < 60 and second < 60 and away < 24 and past < 60


def valued(mode: str, row: Mapping[str, str], extra: Sequence[str]) -> Values:
    """What is kept of a row: blanks are nothing, bulk means active."""
    values: Values = {name: value or None for name, value in row.items() if name not in extra}
    del values["dateLastModified"]
    unknown = {name.removeprefix("metadata."): row[name] for name in extra if row[name]}
    values["metadata"] = unknown or None
    return values | {"status": row["status"] if mode == "delta" else "active"}


# --- Packages ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Upload:
    """A package; `damaged` where its bytes were changed after it was made."""

    data: bytes
    damaged: bool = False


ODD = [
    *('"', '""', ",", "\r\n", "\n", "\r", "\0", "\x1a", "\t", "\x7f", "\x1f", "\x01", " ", "'"),
    *("\\", "\\N", "\\.", "NULL", "null", "=1+1", "\ufeff", "\u2028", "\x85", "\u3000", "{a:b}"),
    *("𠮷", "か\u3099", "葛\U000e0100", "表ソ", "①髙﨑", "ﾔﾏﾀﾞ", "０", "é", "x" * 61, "\ufffd"),
]
NAMES = st.sampled_from(["北小学校", "a", "A,B", 'say "hi"', "表", "NULL", " x ", "𠮷", "ﾀﾛｳ"])
ID = st.sampled_from(["a", "b-1", "C.2", "x/y@z_", "0", "9" * 20])
ODDLY = st.sampled_from(ODD)
INSTANTS = st.sampled_from(["2026-04-01T00:00:00.000Z", "2026-04-01T09:00:00+09:00"])
DAYS = st.sampled_from(["2019-05-05", "2024-02-29", "0001-01-01"])
FLAGS = st.sampled_from(["", "true", "false"])
WRONG = [
    "True",
    "2026-02-29",
    "2026/04/01",
    "0000-01-01",
    "School",
    "ext:",
    "a b",
    "あ",
    "yes",
    "1",
]


@st.composite
def made(draw: st.DrawFn, file: str, mode: str) -> str:
    """A row as an exporter writes it, now and then with a wrong value."""
    state = ["", ""]
    if mode == "delta":
        state = [draw(st.sampled_from(["active", "tobedeleted"])), draw(INSTANTS)]
    if file == "orgs":
        kind = draw(st.sampled_from([*sorted(ORG_TYPES), "ext:x"]))
        own = [draw(NAMES), kind, draw(st.just("") | ODDLY), draw(st.just("") | ID)]
    else:
        flags = draw(st.lists(FLAGS, min_size=7, max_size=7))
        sex = draw(st.sampled_from(["", *sorted(SEXES), "ext:NB"]))
        own = [draw(st.just("") | DAYS), sex, *flags, "JP", "", draw(NAMES), ""]
    cells = [draw(ID), *state, *own]
    if draw(st.integers(0, 7)) == 0:
        cells[draw(st.integers(0, len(cells) - 1))] = draw(st.sampled_from([*WRONG, *ODD, ""]))
    return written(cells, always=draw(st.booleans()))


def written(cells: Sequence[str], *, always: bool) -> str:
    """A line, with quotes everywhere or only where they are needed."""
    return ",".join(
        '"' + cell.replace('"', '""') + '"' if always or {*cell} & {*',"\r\n'} else cell
        for cell in cells
    )


@st.composite
def files(draw: st.DrawFn) -> dict[str, bytes]:
    """A manifest and what it speaks of."""
    modes = dict.fromkeys(FILES, "absent")
    found: dict[str, bytes] = {}
    for file in draw(st.sampled_from([["orgs"], ["demographics"], ["orgs", "demographics"]])):
        modes[file] = draw(st.sampled_from(["bulk", "delta"]))
        extra = draw(st.sampled_from([[], [], ["metadata.x"], ["metadata.b", "metadata.a"]]))
        end = draw(st.sampled_from(["\r\n", "\n"]))
        lines = draw(st.lists(made(file, modes[file]), min_size=1, max_size=4))
        tail = ",v" * len(extra)
        text = end.join([",".join([*COLUMNS[file], *extra]), *(line + tail for line in lines)])
        mark = draw(st.sampled_from(["", "", "", "\ufeff"]))
        found[file] = f"{mark}{text}{draw(st.sampled_from([end, '']))}".encode()
    version = draw(st.sampled_from(["1.2", "1.2", "1.2.1", "1.2_JP"]))
    head = ["propertyName,value", "manifest.version,1.0", f"oneroster.version,{version}"]
    lines = [*head, *(f"file.{file},{mode}" for file, mode in modes.items())]
    found["manifest"] = "".join(f"{line}\r\n" for line in lines).encode()
    return found


PLACES = st.integers(0, 2**16)
HURTS = st.sampled_from(
    ["splice", "splice", "splice", "header", "manifest", "line", "bytes", "encode", "zip"]
)
SPLICED = st.sampled_from(
    [*(sign.encode() for sign in ODD), b"", b"\xff", b"\xe3\x81", b"\xc0\x80"]
)
CODECS = st.sampled_from(["cp932", "euc_jp", "utf-16", "utf-16-le", "utf-32-be"])


@st.composite
def uploads(draw: st.DrawFn) -> Upload:
    """A package, whole or hurt in up to two ways."""
    parts = draw(files())
    hurts = draw(st.lists(HURTS, max_size=2))
    for hurt in hurts:
        name = draw(st.sampled_from([*sorted(parts), *sorted({*parts} - {"manifest"})]))
        parts[name] = hurt_file(draw, hurt, parts[name])
    names = dict(zip(parts, (f"{name}.csv" for name in parts), strict=True))
    damaged = False
    if "zip" in hurts:
        name = draw(st.sampled_from(sorted(names)))
        names[name] = draw(st.sampled_from([f"{name}.CSV", f"x/{name}.csv", "users.csv", "x"]))
    data = zipped([(names[name], data) for name, data in parts.items()])
    if draw(st.integers(0, 15)) == 0:
        at = draw(PLACES) % len(data)
        data = data[:at] + draw(st.binary(max_size=3)) + data[at + draw(st.integers(0, 3)) :]
        damaged = True
    return Upload(data, damaged)


def zipped(entries: Sequence[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with catch_warnings(), zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        simplefilter("ignore", UserWarning)  # a name may be there twice
        for name, data in entries:
            archive.writestr(name, data)
    return out.getvalue()


def hurt_file(draw: st.DrawFn, hurt: str, data: bytes) -> bytes:
    """A file hurt in one way."""
    at = draw(PLACES) % (len(data) + 1)
    head, _, body = data.partition(b"\n")
    match hurt:
        case "splice":
            return data[:at] + draw(SPLICED) + data[at + draw(st.integers(0, 2)) :]
        case "bytes":
            return data[:at] + draw(st.binary(max_size=2)) + data[at + 1 :]
        case "header":
            place = at % (len(head) + 1)
            new = draw(st.sampled_from([b"", b",", b"x", b'"', b",metadata.x", b"\0", b" "]))
            return head[:place] + new + head[place + draw(st.integers(0, 2)) :] + b"\n" + body
        case "line":
            lines = data.split(b"\n")
            lines.insert(at % len(lines), draw(st.sampled_from([b"", b"\r", b" ", b",,,", b"x"])))
            return b"\n".join(lines)
        case "manifest":
            old, new = draw(
                st.sampled_from(
                    [(b"bulk", b"delta"), (b"absent", b"bulk"), (b"1.2", b"1.1"), (b",", b";")]
                )
            )
            return data.replace(old, new, 1)
        case "encode":
            try:
                return data.decode().encode(draw(CODECS))
            except UnicodeError:
                return data
        case _:
            return data


# --- The comparison ------------------------------------------------------------------------------


@dataclass
class Ours:
    """What our reader makes of a package, in the same terms."""

    refused: bool
    unreadable: dict[str, int | None]
    bad: dict[str, set[int]]
    rows: dict[str, dict[int, Values]]


OF_THE_FILE = ("csv.encoding", "csv.utf16", "csv.empty", "csv.no_rows")


def quickly(path: Path, upload: bytes) -> Ours:
    """Read a package as an import does."""
    path.write_bytes(upload)
    findings = Findings(10_000)
    claim = Claim(0, uuid4(), attempt=1, fence=1)
    package = open_upload(path, claim, LIMITS, findings, reading=READING)
    found = Ours(findings.fatal and not package.files, {}, {}, {})
    reader = Reader(package, Watch(), findings, LIMITS)
    for file, rows in reader.batches():
        kept = found.rows.setdefault(file.entity.file, {})
        spelled = {column.name: column.csv for column in file.entity.stored()}
        for row in rows.drop("digest").to_dicts():
            line = row.pop("line")
            metadata = row.pop("metadata")
            kept[line] = {spelled[name]: value for name, value in row.items()}
            kept[line]["metadata"] = None if metadata is None else json.loads(metadata)
    for finding in findings.all:
        name = finding.file.removesuffix(".csv")
        if finding.rule.severity == "error":
            if finding.rule.id in OF_THE_FILE or finding.line in (None, 1):
                found.unreadable.setdefault(name, finding.line)
            else:
                found.bad.setdefault(name, set()).add(finding.line)
    found.refused |= bool({*found.unreadable, *found.bad} & {"manifest", "package"})
    found.refused |= any(each.rule.id.startswith("package.c") for each in findings.all)
    return found


def compare(path: Path, upload: Upload) -> str:
    """Hold both readers against each other; answer what kind of package it was."""
    slow, ours = slowly(upload.data), quickly(path, upload.data)
    if slow.refused or (ours.refused and upload.damaged):
        assert ours.refused, "a package that is none was opened"
        return "refused"
    assert {*ours.unreadable} - {"manifest", "package"} == {*slow.unreadable}
    for file, line in slow.unreadable.items():
        # A header that is wrong as well may be told first.
        assert line is None or ours.unreadable[file] in (line, 1, None)
    bad = {file: lines for file, lines in ours.bad.items() if file not in slow.unreadable}
    assert bad == {file: lines for file, lines in slow.bad.items() if lines}
    if slow.unreadable:
        return "unreadable"
    if ours.bad:
        return "bad rows"
    assert not ours.refused
    assert ours.rows == slow.rows
    return "good"


def told() -> None:
    print(f"ROSTERHUB_SEED={SEED} ROSTERHUB_EXAMPLES={EXAMPLES}")  # noqa: T201  # to do it again


ALL_BLANK = zipped(
    [
        ("manifest.csv", b"propertyName,value\r\nmanifest.version,1.0\r\n"),
        ("orgs.csv", b"\xef\xbb\xbf"),
    ]
)


def test_nothing_is_silently_wrong(tmp_path: Path) -> None:
    told()
    kinds: dict[str, int] = {}

    @bounded
    @seed(SEED)
    @example(Upload(ALL_BLANK))
    @given(uploads())
    def compared(upload: Upload) -> None:
        kind = compare(tmp_path / "upload", upload)
        kinds[kind] = kinds.get(kind, 0) + 1

    compared()
    print(kinds)  # noqa: T201  # how much of each kind was looked at
    assert EXAMPLES < 500 or {*kinds} == {"good", "bad rows", "refused", "unreadable"}


def lossy(data: bytes, *_: object) -> bytes:
    return data.decode(errors="ignore").encode()


def nothing(*_: object) -> Iterator[Any]:
    return iter(())


PLANTED: Mapping[str, tuple[object, str, object]] = {
    "every line is well formed": (text, "well_formed", lambda lines, *_: lines.is_not_null()),
    "bytes that are no text are dropped": (text, "decoded", lossy),
    "every header is right": (header, "check", nothing),
    "every value is right": (Checker, "hits", lambda *_: []),
    "the manifest is not compared with the zip": (manifest, "mismatched", nothing),
    "blanks are trimmed": (
        text,
        "parsed",
        lambda *given, parsed=text.parsed: parsed(*given).with_columns(
            pl.col(pl.String).str.strip_chars()
        ),
    ),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    module, name, instead = PLANTED[bug]
    monkeypatch.setattr(module, name, instead)

    @settings(bounded, max_examples=3000, phases=[Phase.generate])
    @seed(4)  # one that meets all of them soon: with others the rarest takes ten seconds
    @given(uploads())
    def compared(upload: Upload) -> None:
        compare(tmp_path / "upload", upload)

    with pytest.raises((AssertionError, KeyError, text.LostRows, pl.exceptions.PolarsError)):
        compared()


# --- Repairs -------------------------------------------------------------------------------------

HALF = dict(
    zip(
        "｡｢｣､･ｦｧｨｩｪｫｬｭｮｯｰｱｲｳｴｵｶｷｸｹｺｻｼｽｾｿﾀﾁﾂﾃﾄﾅﾆﾇﾈﾉﾊﾋﾌﾍﾎﾏﾐﾑﾒﾓﾔﾕﾖﾗﾘﾙﾚﾛﾜﾝﾞﾟ",
        "。「」、・ヲァィゥェォャュョッーアイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワン゛゜",
        strict=True,
    )
)
VOICED = dict(
    zip(
        "ｳｶｷｸｹｺｻｼｽｾｿﾀﾁﾂﾃﾄﾊﾋﾌﾍﾎﾜｦ",
        "ヴガギグゲゴザジズゼゾダヂヅデドバビブベボヷヺ",
        strict=True,
    )
)
PLOSIVE = dict(zip("ﾊﾋﾌﾍﾎ", "パピプペポ", strict=True))


def widened(value: str) -> str:
    """Half-width kana in full width, sign by sign."""
    found, at = "", 0
    while at < len(value):
        sign, mark = value[at], value[at + 1 : at + 2]
        pairs = {"ﾞ": VOICED, "ﾟ": PLOSIVE}.get(mark, {})
        found += pairs.get(sign) or HALF.get(sign, sign)
        at += 2 if sign in pairs else 1
    return found


def mended(column: str, value: str, mode: str) -> tuple[str, list[str]]:
    """A cell put right, and by which repairs."""
    steps: list[tuple[str, Callable[[str], str]]] = [
        ("trailing_blanks", lambda cell: cell.strip(" \u3000\u00a0")),
        ("null_text", lambda cell: "" if cell in ("NULL", "null") else cell),
    ]
    if mode != "delta" and column in ("status", "dateLastModified"):
        always = column == "dateLastModified"
        steps.append(("status_in_bulk", lambda cell: "" if always or cell == "active" else cell))
    if column == "enabledUser":
        lower = {"true": "true", "false": "false"}
        steps.append(("boolean_case", lambda cell: lower.get(cell.lower(), cell)))
    if column in ("familyName", "metadata.jp.kanaGivenName"):
        steps.append(("half_width_kana", widened))
    made = []
    for repair, step in steps:
        if step(value) != value:
            made.append(repair)
        value = step(value)
    return value, made


MENDED = ["status", "dateLastModified", "enabledUser", "familyName", "username"]
SIGNS = st.sampled_from([*HALF, *" \u3000\u00a0", "山", "NULL", "null", "TRUE", "İ", "k"])
CELLS = st.lists(SIGNS, max_size=4).map("".join) | st.sampled_from(
    ["active", "tobedeleted", "True", "fAlse", " NULL ", "\u3000null", "true"]
)


def test_repairs_are_those_of_the_slow_reader() -> None:
    told()
    shape: Layout = header.layout(User, (*JP_1_2_1.header(User),))
    columns = [column for column in shape.columns if column.csv in (*MENDED, KANA)]
    empty = dict.fromkeys(shape.names, "")

    @settings(bounded, max_examples=EXAMPLES)
    @seed(SEED)
    @given(
        rows=st.lists(st.lists(CELLS, min_size=6, max_size=6), min_size=1, max_size=5),
        mode=st.sampled_from(["bulk", "delta", "upsert"]),
    )
    def compared(rows: list[list[str]], mode: Any) -> None:  # noqa: ANN401  # a Mode
        given_ = [
            {**empty, **{c.name: cell for c, cell in zip(columns, row, strict=True)}}
            for row in rows
        ]
        frame = pl.DataFrame(given_, schema=dict.fromkeys(shape.names, pl.String))
        frame = frame.with_columns(pl.all().replace("", None))
        frame = frame.insert_column(0, pl.Series("line", range(2, 2 + len(rows)), dtype=pl.Int64))
        mender = Mender(User, shape, mode, MAKERS)
        found, lines, repaired = mender.mend(frame)
        mender.count(repaired)
        counts: dict[str, int] = {}
        touched = set()
        for number, row in enumerate(rows):
            for column, cell in zip(columns, row, strict=True):
                value, made = mended(column.csv, cell, mode)
                assert (found[column.name][number] or "") == value
                for repair in made:
                    counts[repair] = counts.get(repair, 0) + 1
                    touched.add(number + 2)
        assert (dict(mender.counts), {*lines}) == (counts, touched)

    compared()


KANA = "metadata.jp.kanaGivenName"


def test_a_planted_bug_in_a_repair_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repairs, "BLANKS", " ")
    with pytest.raises(AssertionError):
        test_repairs_are_those_of_the_slow_reader()

"""Hostile zips: refused by name, before anything is inflated or while it is, and at no cost."""

import io
import random
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipInfo
from zlib import crc32

import pytest

from loadtests import faults
from loadtests.rosters import FAULTS, District, write_package
from pipeline.archive import inspected, package
from pipeline.faults import Broken
from pipeline.limits import MIB, Limits
from schemas.rules import Finding

ROW = b"sourcedId,status\r\n1,\r\n"
EOCD = struct.Struct("<4s4H2LH")
CENTRAL = 46


def zipped(*entries: tuple[str | ZipInfo, bytes], method: int = ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return out.getvalue()


def patched(data: bytes, at: int, what: bytes) -> bytes:
    return data[:at] + what + data[at + len(what) :]


def central(data: bytes) -> int:
    """Where the directory begins."""
    return int(EOCD.unpack(data[-EOCD.size :])[6])


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., list[Finding]]:
    """Read a zip to its end, as an import would; what is wrong with it, within the ceilings."""

    def look(data: bytes, **limits: int) -> list[Finding]:
        path = tmp_path / "upload.zip"
        path.write_bytes(data)
        del data
        start = perf_counter()
        tracemalloc.start()
        try:
            sources, findings = package(path, Limits(**limits))
            if not findings:
                for source in sources.values():
                    try:
                        for _ in source.chunks():
                            pass
                    except Broken as broken:
                        findings.append(broken.finding)
            assert tracemalloc.get_traced_memory()[1] < 64 * MIB
        finally:
            tracemalloc.stop()
        assert perf_counter() - start < 2
        assert [*tmp_path.iterdir()] == [path]
        return findings

    return look


Opened = Callable[..., list[Finding]]


def ids(findings: list[Finding]) -> list[str]:
    return [finding.rule.id for finding in findings]


def test_a_clean_zip_is_read(opened: Opened) -> None:
    assert opened(zipped(("orgs.csv", ROW), ("manifest.csv", b"x"))) == []
    assert opened(zipped(("orgs.csv", ROW), method=ZIP_STORED)) == []
    assert opened(zipped(("orgs.csv", b""))) == []


def test_a_zip_of_a_stream_is_read(opened: Opened) -> None:
    class Pipe(io.RawIOBase):
        """Cannot seek, so that sizes follow the data."""

        def __init__(self) -> None:
            self.data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:  # noqa: ANN401  # whatever has bytes
            self.data += bytes(data)
            return len(bytes(data))

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", ZIP_DEFLATED) as archive:
        archive.writestr("orgs.csv", ROW)
    assert opened(pipe.data) == []


def test_a_zip_with_wide_fields_and_a_comment_is_read(opened: Opened) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", ZIP_DEFLATED) as archive:
        archive.comment = "名簿".encode() * 5000
        with archive.open("orgs.csv", "w", force_zip64=True) as entry:
            entry.write(ROW)
    assert opened(out.getvalue()) == []


# Faults of the declaration, which a whole package must show ----------------------------------

OF_THE_ARCHIVE = {
    "not_a_zip": "package.not_zip",
    "wrong_file_name": "package.entry_name",
    "path_traversal": "package.entry_name",
    "zip_bomb": "package.too_large",
    "encrypted_entry": "package.encrypted",
    "symlink_entry": "package.not_a_file",
    "duplicate_entry": "package.duplicate_entry",
    "overlapping_entries": "package.overlap",
}


@pytest.mark.parametrize(("fault", "rule"), OF_THE_ARCHIVE.items())
def test_a_declared_fault_of_the_archive_is_refused(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, fault: str, rule: str
) -> None:
    monkeypatch.setattr(faults, "BOMB", 128 * MIB)  # a GiB takes seconds to make
    out = io.BytesIO()
    write_package(out, District(users=40, schools=1), faults=[fault])
    findings = opened(out.getvalue())
    assert rule in ids(findings)
    wanted = FAULTS[fault].file or "package"
    assert any(wanted in (finding.file, finding.value) for finding in findings)


# Hand-made ---------------------------------------------------------------------------------

BAD_NAMES = [
    "../../etc/passwd",
    "/etc/passwd",
    "C:\\x.csv",
    "..\\orgs.csv",
    "folder/orgs.csv",
    "./orgs.csv",
    "Orgs.csv",
    "orgs.CSV",
    "orgs.csv ",
    "organisations.csv",
    "名簿.csv",
    "inner.zip",
    "__MACOSX/._orgs.csv",
    "a" * 5000,
]


@pytest.mark.parametrize("name", BAD_NAMES, ids=[name[:20] for name in BAD_NAMES])
def test_a_foreign_name_is_refused(opened: Opened, name: str) -> None:
    (finding,) = opened(zipped((name, ROW)))
    assert (finding.rule.id, finding.value) == ("package.entry_name", name[:200])


def test_a_name_that_hides_behind_a_nul_is_refused(opened: Opened) -> None:
    data = zipped(("orgs.csv_.exe", ROW)).replace(b"orgs.csv_.exe", b"orgs.csv\0.exe")
    (finding,) = opened(data)
    assert finding.rule.id == "package.entry_name"
    assert finding.value == "orgs.csv�.exe"


@pytest.mark.parametrize("name", [b"\0rgs.csv", b"\0\0\0\0\0\0\0\0"])
def test_a_name_that_begins_with_a_nul_is_refused(opened: Opened, name: bytes) -> None:
    findings = opened(zipped(("orgs.csv", ROW)).replace(b"orgs.csv", name))
    assert ids(findings) == ["package.entry_name"]


def test_an_entry_without_a_name_is_refused(opened: Opened) -> None:
    data = zipped(("o", b""))
    at = central(data)
    nameless = data[: at + CENTRAL] + data[at + CENTRAL + 1 :]
    nameless = patched(nameless, at + 28, b"\0\0")
    nameless = patched(nameless, len(nameless) - 10, struct.pack("<L", CENTRAL))
    assert ids(opened(nameless)) == ["package.entry_name"]


def test_a_name_with_control_characters_is_told_without_them(opened: Opened) -> None:
    (finding,) = opened(zipped(("\x1b[31morgs.csv", ROW)))
    assert finding.value == "�[31morgs.csv"


def test_a_folder_is_refused(opened: Opened) -> None:
    assert "package.not_a_file" in ids(opened(zipped(("orgs.csv/", b""))))


@pytest.mark.parametrize("kind", [0o010000, 0o020000, 0o060000, 0o120000, 0o140000])
def test_links_pipes_devices_and_sockets_are_refused(opened: Opened, kind: int) -> None:
    entry = ZipInfo("orgs.csv")
    entry.external_attr = (kind | 0o777) << 16
    assert ids(opened(zipped((entry, b"/etc/passwd")))) == ["package.not_a_file"]


def test_a_name_twice_is_refused(opened: Opened) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = zipped(("orgs.csv", ROW), ("orgs.csv", b"x"))
    findings = opened(data)
    assert [(f.rule.id, f.file) for f in findings] == [("package.duplicate_entry", "orgs.csv")]


@pytest.mark.parametrize("method", [ZIP_BZIP2, ZIP_LZMA], ids=["bzip2", "lzma"])
def test_another_compression_than_deflate_is_refused(opened: Opened, method: int) -> None:
    findings = opened(zipped(("orgs.csv", ROW), method=method))
    assert [(f.rule.id, f.file) for f in findings] == [("package.compression", "orgs.csv")]


def test_an_unknown_compression_is_refused(opened: Opened) -> None:
    data = zipped(("orgs.csv", ROW))
    data = patched(data, central(data) + 10, struct.pack("<H", 99))
    assert ids(opened(data)) == ["package.compression"]


@pytest.mark.parametrize("size", [1, len(ROW) - 1, len(ROW) + 1, 5000])
def test_a_size_that_lies_is_found_while_inflating(opened: Opened, size: int) -> None:
    data = zipped(("orgs.csv", ROW))
    lied = patched(data, central(data) + 24, struct.pack("<L", size))
    assert ids(opened(lied)) == ["package.corrupt"]


def test_a_wrong_checksum_is_found(opened: Opened) -> None:
    data = zipped(("orgs.csv", ROW))
    lied = patched(data, central(data) + 16, struct.pack("<L", crc32(b"other")))
    assert ids(opened(lied)) == ["package.corrupt"]


def test_a_name_that_differs_in_front_of_the_data_is_found(opened: Opened) -> None:
    data = zipped(("orgs.csv", ROW)).replace(b"orgs.csv", b"exec.csv", 1)
    assert ids(opened(data)) == ["package.corrupt"]


def test_a_name_in_front_of_the_data_that_is_no_text_is_found(opened: Opened) -> None:
    data = zipped(("orgs.csv", ROW)).replace(b"orgs.csv", b"\xff\xfe\xfdg.csv"[:8], 1)
    data = patched(data, central(data) + 8, struct.pack("<H", 0x800))  # the name is said UTF-8
    assert ids(opened(data)) == ["package.corrupt"]


def test_encryption_is_refused_in_every_shape(opened: Opened) -> None:
    data = zipped(("orgs.csv", ROW))
    for flag in (0x1, 0x1 | 0x40, 0x40, 0x2000):
        assert "package.encrypted" in ids(
            opened(patched(data, central(data) + 8, struct.pack("<H", flag)))
        )


def test_entries_that_share_their_data_are_refused(opened: Opened) -> None:
    """The bomb that needs no ratio: many directory entries, one piece of data."""
    data = zipped(("orgs.csv", b"0" * 500_000), ("users.csv", b"x"))
    first = central(data)
    second = data.index(b"PK\x01\x02", first + 1)
    shared = patched(data, second + 42, struct.pack("<L", 0))
    assert "package.overlap" in ids(opened(shared))


def test_an_entry_beyond_the_end_is_refused(opened: Opened) -> None:
    data = zipped(("orgs.csv", ROW))
    beyond = patched(data, central(data) + 42, struct.pack("<L", 1 << 30))
    assert "package.overlap" in ids(opened(beyond))
    beyond = patched(data, central(data) + 20, struct.pack("<L", 1 << 30))
    assert "package.overlap" in ids(opened(beyond))


def test_an_entry_that_reaches_into_the_directory_is_refused(opened: Opened) -> None:
    data = zipped(("orgs.csv", ROW))
    packed = struct.unpack_from("<L", data, central(data) + 20)[0]
    into = patched(data, central(data) + 20, struct.pack("<L", packed + 1))
    assert ids(opened(into)) == ["package.overlap"]


def test_a_name_that_an_extra_field_replaces_is_refused() -> None:
    """Newer versions of Python believe an extra field of the entry more than its name."""
    entry = ZipInfo("orgs.csv")
    entry.filename = "users.csv"
    (finding,) = inspected(entry)
    assert (finding.rule.id, finding.value) == ("package.entry_name", "orgs.csv")


@pytest.mark.parametrize("ratio", [150, 400])
def test_what_inflates_beyond_the_ratio_is_refused(opened: Opened, ratio: int) -> None:
    noise = random.Random(7).randbytes(2 * MIB // ratio)
    data = zipped(("orgs.csv", noise + b"0" * (2 * MIB)))
    found = opened(data, zip_ratio=200)
    assert [(f.rule.id, f.file) for f in found] == (
        [("package.too_large", "orgs.csv")] if ratio > 200 else []
    )


def test_a_small_file_may_repeat_itself(opened: Opened) -> None:
    assert opened(zipped(("orgs.csv", b"0" * 1_000_000))) == []


def test_what_inflates_beyond_the_ceiling_is_refused(opened: Opened) -> None:
    data = zipped(("orgs.csv", b"01" * 5000), ("users.csv", b"01" * 5000))
    assert opened(data, zip_max=20_000) == []
    assert ids(opened(data, zip_max=19_999)) == ["package.too_large"]


def test_more_entries_than_the_limit_are_refused(opened: Opened) -> None:
    data = zipped(("orgs.csv", ROW), ("users.csv", ROW), ("roles.csv", ROW))
    assert opened(data, zip_entries=3) == []
    assert ids(opened(data, zip_entries=2)) == ["package.too_large"]


def many(count: int) -> bytes:
    """A zip that is nothing but directory: 46 bytes and a name for each of its entries."""
    record = struct.pack("<4s6H3L5H2L", b"PK\1\2", *[0] * 9, 1, *[0] * 6) + b"x"
    end = EOCD.pack(b"PK\5\6", 0, 0, count % 65536, count % 65536, count * len(record), 0, 0)
    return record * count + end


@pytest.mark.parametrize("count", [65, 1_000, 400_000])
def test_a_directory_of_many_entries_costs_nothing(opened: Opened, count: int) -> None:
    assert ids(opened(many(count))) == ["package.too_large"]


NOT_ZIPS = {
    "nothing": b"",
    "text": b"sourcedId,name\r\n",
    "only an end": EOCD.pack(b"PK\5\6", 0, 0, 0, 0, 0, 0, 0)[:-1],
    "a directory elsewhere": EOCD.pack(b"PK\5\6", 0, 0, 1, 1, 46, 1 << 31, 0),
    "gzip": b"\x1f\x8b" + b"\0" * 100,
    "cut": zipped(("orgs.csv", ROW))[:-30],
}


@pytest.mark.parametrize("data", NOT_ZIPS.values(), ids=NOT_ZIPS)
def test_what_is_no_zip_is_said_to_be_none(opened: Opened, data: bytes) -> None:
    found = ids(opened(data))
    assert found in (["package.not_zip"], ["package.corrupt"])


def test_an_empty_zip_holds_nothing(opened: Opened) -> None:
    assert opened(zipped()) == []


def damaged(data: bytes, chance: random.Random) -> Iterator[bytes]:
    """Copies with a few bytes changed, a part cut out, or a part doubled."""
    while True:
        at, size = chance.randrange(len(data)), chance.randrange(1, 30)
        yield patched(data, at, chance.randbytes(min(chance.randrange(1, 5), len(data) - at)))
        yield data[:at] + data[at + size :]
        yield data[: at + size] + data[at:]


def test_no_damage_is_an_accident(tmp_path: Path) -> None:
    """Whatever the bytes, a zip is read whole or refused by a finding."""
    out = io.BytesIO()
    write_package(out, District(users=40, schools=1, enrollments_per_student=1))
    small = zipped(("orgs.csv", ROW * 20), ("manifest.csv", b"propertyName,value\r\n"))
    path, verdicts = tmp_path / "upload.zip", set()
    for original, count in ((small, 800), (out.getvalue(), 60)):
        copies = damaged(original, random.Random(11))
        for _ in range(count):
            path.write_bytes(next(copies))
            sources, findings = package(path, Limits())
            for source in sources.values() if not findings else ():
                try:
                    assert sum(map(len, chain.from_iterable(source.chunks()))) == source.size
                except Broken as broken:
                    findings.append(broken.finding)
            verdicts |= {*ids(findings)} or {"read"}
    assert {"read", "package.corrupt", "package.not_zip"} <= verdicts

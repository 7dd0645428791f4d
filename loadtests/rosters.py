"""A package of any district, written straight into a zip.

    write_package(Path("RO_20260401_139999.zip"), District(users=100_000, schools=200))

The same district always gives the same bytes; another `order` gives the same rows in another
order. The package is clean under its profile, unless `faults` name what shall be wrong with it.
Rows are written while they are made, so memory does not grow with the district.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, TypeAlias
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from loadtests.districts import District, Town
from loadtests.faults import FAULTS, Expectation
from loadtests.sheets import MANIFEST, SHEETS, manifest

__all__ = ["FAULTS", "Counts", "District", "Expectation", "package_name", "write_package"]

Counts: TypeAlias = Mapping[str, int]
"""Rows per file, without the header; files by their name in the binding."""

LEVEL = 1  # identifiers are random: more effort costs seconds and saves little
LARGE = 1 << 22
"""Rows from which an entry may pass 2 GiB and needs the wider fields of zip64."""


def package_name(district: District) -> str:
    """The file name that Japan asks for: the day that the roster shows, and the board's code."""
    return f"RO_{district.year}0401_{district.board}.zip"


def write_package(
    out: BinaryIO | Path, district: District, *, faults: Sequence[str] = ()
) -> Counts:
    """Write the district as a zip; with faults, what each of `FAULTS` says is wrong in it."""
    town, wrong = Town(district), [FAULTS[name] for name in faults]
    with out.open("wb") if isinstance(out, Path) else nullcontext(out) as file:
        for fault in wrong:
            if fault.instead is not None:
                file.write(fault.instead)
                return {}
        with ZipFile(file, "w", ZIP_DEFLATED, compresslevel=LEVEL) as archive:
            return write_entries(archive, town, wrong)


def write_entries(archive: ZipFile, town: Town, wrong: Sequence[Expectation]) -> Counts:
    """The manifest, the data files, and what a fault adds."""
    write_entry(archive, town, MANIFEST, manifest(town), wrong)
    counts = dict.fromkeys((sheet.entity.file for sheet in SHEETS), 0)
    for sheet in SHEETS:
        file = sheet.entity.file
        lines = counted(sheet.lines(town), counts, file)
        write_entry(archive, town, f"{file}.csv", lines, wrong)
    for fault in wrong:
        fault.archive(archive)
    return counts


def write_entry(
    archive: ZipFile, town: Town, name: str, lines: Iterator[str], wrong: Sequence[Expectation]
) -> None:
    """One file of the archive, as its faults want it."""
    mine = [fault for fault in wrong if (fault.spoils or fault.file) == name]
    if any(fault.left_out for fault in mine):
        return
    for fault in mine:
        lines = fault.lines(lines)
    encoding = next((fault.encoding for fault in mine if fault.encoding), "utf-8")
    tampered = ZipInfo(name)  # which does not know the level of its archive, so only where needed
    tampered.compress_type = ZIP_DEFLATED
    with archive.open(tampered if mine else name, "w", force_zip64=large(town)) as entry:
        for fault in mine:
            fault.entry(tampered)  # once open: opening resets the flags
        with TextIOWrapper(entry, encoding, newline="") as text:
            text.writelines(lines)


def large(town: Town) -> bool:
    """Whether a file may come near the 2 GiB of plain zip fields."""
    return town.district.users * town.district.enrollments_per_student > LARGE


def counted(lines: Iterator[str], counts: dict[str, int], file: str) -> Iterator[str]:
    """The lines, counted on their way; the header is line 0."""
    for counts[file], line in enumerate(lines):
        yield line

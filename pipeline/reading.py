"""Read the files of a package: bytes to checked, typed and digested rows, piece by piece.

The reader runs ahead of the database in a thread of its own. Rows with an error are counted and
left out; after the first error nothing is passed on, for the run will be rejected, but everything
is still read, so that one attempt names every faulty row.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import polars as pl

from pipeline import header, text
from pipeline.ahead import ahead
from pipeline.claims import Watch
from pipeline.digests import digested
from pipeline.faults import Broken, Findings
from pipeline.frames import Checker, typed
from pipeline.limits import Limits
from pipeline.opening import File, Package
from schemas import rules
from schemas.rules import Finding

DEPTH = 4
"""Batches that may wait for who stages them."""


@dataclass(slots=True)
class Reader:
    """What was read so far: rows by file, and the lines with errors."""

    package: Package
    watch: Watch
    findings: Findings
    limits: Limits
    rows: Counter[str] = field(default_factory=Counter)
    faulty: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    def batches(self) -> Iterator[tuple[File, pl.DataFrame]]:
        """The good rows of every file, in load order."""
        return ahead(self._all(), DEPTH)

    def _all(self) -> Iterator[tuple[File, pl.DataFrame]]:
        for file in self.package.files:
            for rows in self._file(file):
                yield file, rows

    def _file(self, file: File) -> Iterator[pl.DataFrame]:
        name = file.entity.file
        try:
            for rows in self._pieces(file):
                if not self.findings.fatal:
                    yield rows
        except Broken as broken:
            self._add(name, [broken.finding])
        else:
            if self.rows[name] == 0:
                self._add(name, [Finding(rule=rules.text.NO_ROWS, file=file.source.name)])

    def _pieces(self, file: File) -> Iterator[pl.DataFrame]:
        layout = header.layout(file.entity, file.header)
        checker = Checker(
            file.entity, layout, file.mode, self.package.profile, self.limits.field_max
        )
        name = file.entity.file
        for number, piece in enumerate(ahead(text.pieces(file.source))):
            body = text.split_header(piece, file.source.name)[1] if number == 0 else piece
            if body.data:
                rows, faults = text.records(body, layout.names, file.source.name, self.limits)
                self.rows[name] += rows.height + len(faults)
                self._add(name, faults)
                self._add(name, checker.findings(rows))
                self._advance(file, piece.read)
                yield digested(typed(file.entity, layout, file.mode, rows))

    def _add(self, name: str, findings: Iterable[Finding]) -> None:
        for finding in findings:
            if finding.rule.severity == "error" and finding.line is not None:
                self.faulty[name].add(finding.line)
            self.findings.add([finding])

    def _advance(self, file: File, read: int) -> None:
        done, size = self.rows[file.entity.file], file.source.size
        total = done if read >= size else int(done * size / max(read, 1))
        self.watch.advance(file.entity.file, done, total)

"""A preview: what a mapping makes of a sample, answered by a worker for the gateway.

The sample goes the way of an import as far as a row goes alone: text, mapping, value rules. So what
a preview shows is what an import will do, for it is the same code.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import polars as pl
import structlog
from psycopg.types.json import Jsonb

from pipeline import header, mapping, text
from pipeline.archive import Source
from pipeline.database import Connection, tenant
from pipeline.faults import Broken
from pipeline.frames import Checker
from pipeline.header import Layout
from pipeline.limits import Limits
from pipeline.mapping import SQL, Saved
from pipeline.text import Piece
from schemas.mappings import FileMapping
from schemas.profiles import V1_2_1, detect
from schemas.roster import BY_FILE
from schemas.rules import Finding
from schemas.rules.text import QUOTING
from schemas.runs import Mode

Json: TypeAlias = dict[str, Any]

log = structlog.get_logger()


def answer_due(db: Connection, control: Connection, limits: Limits) -> int:
    """Make every preview that waits, and forget the old ones; answer how many were made."""
    rows = control.execute(SQL["previews_due"]).fetchall()
    return sum(answer_all(db, tenant_id, limits) for (tenant_id,) in rows)


def answer_all(db: Connection, tenant_id: int, limits: Limits) -> int:
    """Make the previews of one district."""
    with tenant(db, tenant_id):
        db.execute(SQL["forget_previews"], {"tenant_id": tenant_id})
    made = 0
    while answer_one(db, tenant_id, limits):
        made += 1
    return made


def answer_one(db: Connection, tenant_id: int, limits: Limits) -> bool:
    """Make the oldest preview that waits; answer whether there was one."""
    with tenant(db, tenant_id):
        row = db.execute(SQL["take_preview"], {"tenant_id": tenant_id}).fetchone()
        if row is None:
            return False
        preview_id, *asked = row
        state, answer = attempted(asked, limits)
        facts = {"tenant_id": tenant_id, "id": preview_id, "state": state}
        db.execute(SQL["answer_preview"], {**facts, "answer": Jsonb(answer)})
    return True


def attempted(asked: Sequence[Any], limits: Limits) -> tuple[str, Json]:
    """The state and the answer; a sample that brings Polars down must not be tried for ever."""
    entity, mode, rows, mapping_said, tables, sample = asked
    try:
        saved = Saved(BY_FILE[entity], None, FileMapping.model_validate(mapping_said), tables)
        return "done", preview(saved, mode, bytes(sample), rows, limits)
    except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001  # same as above
        # The type alone: the message may quote a row.
        log.error("preview_failed", error=type(error).__name__)  # noqa: TRY400  # same
        return "failed", {}


def preview(saved: Saved, mode: Mode, sample: bytes, rows: int, limits: Limits) -> Json:
    """The first rows of a sample before and after the mapping, and what is wrong with them."""
    with TemporaryDirectory(prefix="rosterhub-preview-") as folder:
        path = Path(folder) / "sample"
        whole = sample.removesuffix(b"\n") + b"\n"  # one piece, for all of its lines have an end
        path.write_bytes(whole)
        source = Source(f"{saved.entity.file}.csv", len(whole), path, zipped=False, limits=limits)
        try:
            return shown(saved, mode, source, rows)
        except Broken as broken:
            return result((), (), [], [broken.finding])


def shown(saved: Saved, mode: Mode, source: Source, rows: int) -> Json:
    """The preview of a sample whose text can be read."""
    head, body = text.split_header(next(iter(text.pieces(source))), source.name)
    names = header.split(head)
    if not names:
        return result((), (), [], [Finding(rule=QUOTING, file=source.name, line=1)])
    if not mapping.applies(saved.entity, names, saved, source.limits):
        layout = header.layout(saved.entity, names)
        own, faults = read(body, layout.names, source)
        found = [
            mapping.not_needed(saved.entity),
            *faults,
            *checked(saved, layout, mode, own, source),
        ]
        return result(names, layout.header, paired(own, own, rows), found)
    found = list(mapping.check(saved, names, mode, source.limits))
    if any(finding.rule.severity == "error" for finding in found):
        return result(names, (), [], found)
    plan = mapping.plan(saved, names)
    before, faults = read(body, plan.columns, source)
    after = plan.apply(before)
    found += faults + [
        plan.sourced(each) for each in checked(saved, plan.layout, mode, after, source)
    ]
    return result(names, plan.layout.header, paired(before, after, rows), found)


def read(
    body: Piece, columns: tuple[str, ...], source: Source
) -> tuple[pl.DataFrame, list[Finding]]:
    """The rows of a sample as text."""
    if not body.data:
        return pl.DataFrame(schema={"line": pl.Int64, **dict.fromkeys(columns, pl.String)}), []
    return text.records(body, columns, source.name, source.limits)


def checked(
    saved: Saved, layout: Layout, mode: Mode, rows: pl.DataFrame, source: Source
) -> list[Finding]:
    """What the rules of the values say, by the profile that the header looks like."""
    profile = detect(V1_2_1.manifest, {saved.entity.file: layout.header})
    checker = Checker(saved.entity, layout, mode, profile, source.limits.field_max)
    return checker.findings(rows)


def paired(before: pl.DataFrame, after: pl.DataFrame, rows: int) -> list[Json]:
    """The first rows as they came and as they will be, by line."""
    return [
        {"line": was[0], "before": list(was[1:]), "after": list(becomes[1:])}
        for was, becomes in zip(before.head(rows).rows(), after.head(rows).rows(), strict=True)
    ]


def result(
    names: tuple[str, ...], columns: tuple[str, ...], rows: list[Json], findings: list[Finding]
) -> Json:
    """What the gateway answers with."""
    return {
        "header": list(names),
        "columns": list(columns),
        "rows": rows,
        "findings": [said(finding) for finding in findings],
    }


def said(finding: Finding) -> Json:
    """A finding of a sample."""
    return {
        "line": finding.line,
        "column": finding.column,
        "source": finding.facts.get("source"),
        "rule": finding.rule.id,
        "severity": finding.rule.severity,
        "value": finding.value,
        "message": finding.message(),
    }

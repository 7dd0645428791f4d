"""A preview: what a mapping makes of a sample, answered by a worker for the gateway.

The sample goes the way of an import as far as a row goes alone: header, text, mapping, repairs and
value rules, by the district's policy. So what a preview shows is what an import will do, for it is
the same code.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import polars as pl
import structlog
from psycopg.types.json import Jsonb

from pipeline import header, mapping, text
from pipeline.archive import Source
from pipeline.database import Connection, tenant
from pipeline.faults import Broken, Findings, TooMany
from pipeline.limits import Limits
from pipeline.mapping import SQL, Saved
from pipeline.opening import AUTOMATIC, Opener, remarks
from pipeline.reading import Interpreter
from schemas.policy import Policy, Reading
from schemas.profiles import V1_2_1
from schemas.roster import AnyEntity
from schemas.rules import Finding
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
        preview_id, *asked, policy = row
        state, answer = attempted(asked, Policy.model_validate(policy).reading, limits)
        facts = {"tenant_id": tenant_id, "id": preview_id, "state": state}
        db.execute(SQL["answer_preview"], {**facts, "answer": Jsonb(answer)})
    return True


def attempted(asked: Sequence[Any], reading: Reading, limits: Limits) -> tuple[str, Json]:
    """The state and the answer; a sample that brings Polars down must not be tried for ever."""
    entity, mode, rows, said, tables, sample = asked
    try:
        saved = mapping.saved(entity, None, said, tables)
        return "done", preview(saved, mode, bytes(sample), rows, limits, reading=reading)
    except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001  # same as above
        # The type alone: the message may quote a row.
        log.error("preview_failed", error=type(error).__name__)  # noqa: TRY400  # same
        return "failed", {}


def preview(
    saved: Saved,
    mode: Mode,
    sample: bytes,
    rows: int,
    limits: Limits,
    *,
    reading: Reading = AUTOMATIC,
) -> Json:
    """The first rows of a sample before and after the mapping, and what is wrong with them."""
    findings = Findings(limits.findings_max)
    opener = Opener(limits, findings, reading, {saved.entity.file: saved})
    with TemporaryDirectory(prefix="rosterhub-preview-") as folder:
        path = Path(folder) / "sample"
        whole = sample.removesuffix(b"\n") + b"\n"  # one piece, for all of its lines have an end
        path.write_bytes(whole)
        source = Source(f"{saved.entity.file}.csv", len(whole), path, zipped=False, limits=limits)
        try:
            return shown(saved.entity, mode, source, rows, opener)
        except Broken as broken:
            return result((), (), [], [broken.finding])
        except TooMany:
            return result((), (), [], findings.all)


def shown(entity: AnyEntity, mode: Mode, source: Source, rows: int, opener: Opener) -> Json:
    """The preview of a sample whose text can be read."""
    findings = opener.findings
    head, body = text.split_header(next(iter(text.pieces(source))), source.name)
    names = header.split(head)
    file = opener.file(entity, source, mode)
    if file is None:
        return result(names, (), [], findings.all)
    profile = opener.profile(V1_2_1.manifest, [file])
    findings.add(remarks(file, profile))
    columns = file.plan.header if file.plan else file.header
    if not body.data:
        return result(names, columns, [], findings.all)
    interpreter = Interpreter(file, profile, opener.reading, source.limits)
    read = interpreter.read(body)
    findings.add([*interpreter.told(read.seen).findings, *interpreter.repairs()])
    after = read.rows.select(read.rows.columns[: len(columns) + 1])
    return result(names, columns, paired(read.came, after, rows), findings.all)


def paired(before: pl.DataFrame, after: pl.DataFrame, rows: int) -> list[Json]:
    """The first rows as they came and as they will be, by line."""
    return [
        {"line": was[0], "before": list(was[1:]), "after": list(becomes[1:])}
        for was, becomes in zip(before.head(rows).rows(), after.head(rows).rows(), strict=True)
    ]


def result(
    names: Sequence[str], columns: Sequence[str], rows: list[Json], findings: Iterable[Finding]
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

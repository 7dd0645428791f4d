"""A run goes on after somebody has answered: what was shown is applied, or shown anew with less.

approve: exactly the change set that is kept, without what was excluded, becomes a version. exclude
and rekey: what leaving schools or entities out, or accepting the re-key map, would come to is
worked out and shown; the approval then names the hash of that. If the district has moved since,
nothing is done and the run waits as before. All of it is one transaction under the lock on the
district, like the attempt that made the change set.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from pipeline import claims, exclusions, loads, proposals, publish, rekeyed
from pipeline.claims import Claim, Watch
from pipeline.database import Connection, tenant
from pipeline.merge import Merge
from pipeline.proposals import Asked
from pipeline.stage import look_up
from schemas.events import Emit, RunEnded, RunStarted, StageStarted
from schemas.policy import Policy
from schemas.proposals import Except
from schemas.roster import ROSTERING
from schemas.runs import Counts, Mode, Stage

WORK_MEM = "128MB"
FAILURES = {
    "base_moved": {
        "en": "The roster is at version {version} now; this was shown for version {base}."
        " Nothing was changed. Reject the run and import the package again.",
        "ja": "名簿は版 {version} になりました。表示していたのは版 {base} に対する変更です。"
        "何も変更していません。却下して、もう一度取り込んでください。",
    },
    "diff_changed": {
        "en": "What is kept is not what was approved. Nothing was changed.",
        "ja": "保存されている変更が、承認された内容と一致しません。何も変更していません。",
    },
    "exclusions_break": {
        "en": "What remains without these schools and entities does not hold together ({rules})."
        " Nothing was changed.",
        "ja": "除外した残りの変更では整合が取れません({rules})。何も変更していません。",
    },
    "rekey_breaks": {
        "en": "With the re-key map accepted, the changes do not hold together ({rules})."
        " Nothing was changed.",
        "ja": "sourcedId の対応表を適用すると整合が取れません({rules})。何も変更していません。",
    },
}


class Impossible(Exception):
    """The answer cannot be carried out; the run waits as before. `failure` says why."""

    def __init__(self, code: str, **facts: object) -> None:
        said = {language: text.format(**facts) for language, text in FAILURES[code].items()}
        self.failure = {"code": code, **said}
        super().__init__(code)


@dataclass(slots=True)
class Deciding:
    """One attempt at a run that was answered."""

    claim: Claim
    db: Connection
    watch: Watch
    emit: Emit
    superseded: list[UUID] = field(init=False, default_factory=list)

    def run(self) -> RunEnded:
        """Carry the answer out, or leave everything as it was; say how it has ended."""
        self.emit(RunStarted(run_id=self.claim.id, attempt=self.claim.attempt))
        self.db.execute(f"set work_mem = '{WORK_MEM}'")
        try:
            with tenant(self.db, self.claim.tenant_id):
                ended = self._steps()
        except Impossible as impossible:
            ended = self._back(impossible)
        self.emit(ended)
        for run_id in self.superseded:
            self.emit(RunEnded(run_id=run_id, state="superseded"))
        publish.refresh(self.db, self.claim.tenant_id, ended.counts)
        return ended

    def _steps(self) -> RunEnded:
        base, decided = loads.lock(self.db, self.claim)
        asked = proposals.asked(self.db, self.claim)
        if base != asked.base_version:
            raise Impossible("base_moved", version=base, base=asked.base_version)
        decision = asked.decision or {}
        self._enter("check")
        look_up(self.db)
        proposals.stand(self.db, self.claim.id)
        examples = self._excluded(decision, first=base == 0)
        self._rekeyed(decision)
        tally = proposals.tally(self.db, self.claim.tenant_id, first=base == 0)
        if decision["kind"] == "exclude":
            preview = asked.preview or {}
            shown = exclusions.shown(decision["except"], examples, preview, tally)
            return self._shown(asked, exclusions=shown)
        if decision["kind"] == "rekey":
            return self._shown(asked, rekey=rekeyed.shown(self.db, self.claim, tally))
        if tally.diff != decision["diff"]:
            raise Impossible("diff_changed")
        return self._apply(base, asked, Policy.model_validate(decided))

    def _excluded(self, decision: Mapping[str, Any], *, first: bool) -> list[dict[str, str]]:
        """Take what is excluded out of the views; answer examples of what only follows."""
        if not decision.get("except"):
            return []
        given = Except.model_validate(decision["except"])
        examples = exclusions.exclude(self.db, self.claim, given)
        if wrong := exclusions.faults(self.db, self.claim.tenant_id, first=first):
            raise Impossible("exclusions_break", rules=", ".join(sorted(wrong)))
        return examples

    def _rekeyed(self, decision: Mapping[str, Any]) -> None:
        """Let the change set bear the hub's ids, if the re-key map is accepted."""
        if decision["kind"] != "rekey" and not decision.get("rekey"):
            return
        if wrong := rekeyed.accept(self.db, self.claim):
            raise Impossible("rekey_breaks", rules=", ".join(sorted(wrong)))

    def _shown(self, asked: Asked, **shown: Mapping[str, Any]) -> RunEnded:
        proposals.fall(self.db)
        state = proposals.wait_again(self.db, self.claim, self.watch, **shown)
        return RunEnded(run_id=self.claim.id, state=state, findings=dict(asked.findings))

    def _apply(self, base: int, asked: Asked, policy: Policy) -> RunEnded:
        merge = Merge(self.db, self.claim.tenant_id, base + 1)
        self._enter("apply")
        counts = {entity.file: merge.apply(entity, compared=True) for entity in ROSTERING}
        self._enter("publish")
        claims.hold(self.db, self.claim)
        proposals.fall(self.db)
        if policy.newer == "supersede":
            older = proposals.waiting(self.db, self.claim, applied=True)
            modes = asked.modes or {}
            self.superseded = proposals.supersede(self.db, self.claim, older, modes, asked.diff)
        published = publish.finish(
            self.claim,
            self.watch,
            merge,
            self._balanced(counts, asked, merge.version),
            profile=asked.profile,
            findings=asked.findings,
        )
        return RunEnded(
            run_id=self.claim.id,
            state="applied",
            version=published.version,
            counts=published.counts,
            findings=dict(asked.findings),
        )

    def _balanced(
        self, counts: Mapping[str, Counts], asked: Asked, version: int
    ) -> dict[str, Counts]:
        """The counts of every file; where the map was accepted, it becomes aliases."""
        seen = asked.preview or {}
        if not (asked.decision or {}).get("rekey"):
            return balanced(counts, seen)
        renamed = rekeyed.remember(self.db, self.claim, version)
        return with_aliases(counts, seen, asked.modes or {}, renamed)

    def _back(self, impossible: Impossible) -> RunEnded:
        with tenant(self.db, self.claim.tenant_id):
            state = proposals.wait_again(
                self.db, self.claim, self.watch, failure=impossible.failure
            )
        return RunEnded(run_id=self.claim.id, state=state)

    def _enter(self, name: Stage) -> None:
        self.watch.stage = name
        self.watch.check()
        self.emit(StageStarted(run_id=self.claim.id, stage=name))


def balanced(became: Mapping[str, Counts], preview: Mapping[str, Counts]) -> dict[str, Counts]:
    """What became of each file, with the rows that were read when it was shown."""
    counts: dict[str, Counts] = {}
    for file, merged in became.items():
        seen = preview.get(file, Counts())
        if file not in preview and not any(merged.values()):
            continue
        counts[file] = Counts(
            **merged,
            rows=seen.get("rows", 0),
            unchanged=seen.get("unchanged", 0),
            rejected=seen.get("rejected", 0),
        )
        if excluded := sum(exclusions.difference(seen, merged).values()):
            counts[file]["excluded"] = excluded
    return counts


def with_aliases(
    became: Mapping[str, Counts],
    preview: Mapping[str, Counts],
    modes: Mapping[str, Mode],
    renamed: Mapping[str, int],
) -> dict[str, Counts]:
    """The same where the map was accepted: what would have been new and gone is as it was."""
    counts: dict[str, Counts] = {}
    for file, merged in became.items():
        seen = preview.get(file, Counts())
        if file in preview or any(merged.values()) or file in renamed:
            rows, rejected = seen.get("rows", 0), seen.get("rejected", 0)
            counts[file] = publish.balanced(merged, rows, modes.get(file), rejected)
            if file in renamed:
                counts[file]["rekeyed"] = renamed[file]
    return counts

"""What became of a run: a table of counts, the findings, and the exit status."""

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from deploy.cli.screen import Screen
from deploy.messages import (
    CANCELLED_BY,
    COUNTS,
    DROPPED,
    FINDINGS_FOUND,
    HELD_BECAUSE,
    MAPPED_FILE,
    MAPPED_FILES,
    MORE_FINDINGS,
    NO_FINDINGS,
    REJECTED,
    RUN_FAILED,
    RUN_HELD,
    SEVERITIES,
    STATES,
    SUPERSEDED_BY,
    SUPERSEDES,
    VERSION_PUBLISHED,
    WOULD_CHANGE,
    Failure,
)

if TYPE_CHECKING:
    from deploy.client import Client

Json = dict[str, Any]
UNSAVED = "-"
FIRST = 10  # findings that fit on a screen; the rest is one command away


def receipt(screen: Screen, client: "Client", run: Json, *, as_json: bool) -> None:
    """Print what became of the run; fail unless it was applied."""
    if as_json:
        screen.json(run)
    else:
        summary(screen, run)
        if run["state"] == "rejected":
            first_findings(screen, client, run)
    judge(screen, run)


def first_findings(screen: Screen, client: "Client", run: Json) -> None:
    """Print what to correct first, and how much more there is."""
    path = f"/api/v1/imports/{run['id']}/findings"
    found = list(islice(client.items(path, FIRST, severity="error"), FIRST))
    findings(screen, found)
    if (more := run["findings"].get("error", 0) - len(found)) > 0:
        screen.note(MORE_FINDINGS, more=more)


def summary(screen: Screen, run: Json) -> None:
    """The table of counts, and how many findings there are of which severity."""
    if run["state"] in ("review", "held"):
        proposed(screen, run)
    else:
        table(screen, run["counts"])
    if mapped := mapped_text(screen, run.get("mappings") or {}):
        screen.result(mapped)
    if run["state"] == "applied":
        screen.result(screen.say(VERSION_PUBLISHED, version=run["version"]))
    screen.result(found_text(screen, run["findings"]))


def proposed(screen: Screen, run: Json) -> None:
    """What a run that waits would change, why it waits, and what came of the last answer."""
    if run["failure"]:
        screen.result(run["failure"]["message"][screen.lang])
    if older := run.get("supersedes"):
        screen.result(screen.say(SUPERSEDES[older["same"]], run=older["run"]))
        if not older["same"]:
            table(screen, older["counts"])
    for why in (run.get("guard") or {}).get("reasons", ()):
        screen.result(screen.say(HELD_BECAUSE, reason=why["message"][screen.lang]))
    screen.result(screen.say(WOULD_CHANGE))
    table(screen, run.get("preview") or {})


def table(screen: Screen, counts: Mapping[str, Mapping[str, int]]) -> None:
    """What becomes of each file."""
    if counts:
        rows = [[file, *(of.get(name, 0) for name in COUNTS)] for file, of in counts.items()]
        screen.table(["file", *(screen.say(text) for text in COUNTS.values())], rows)


def mapped_text(screen: Screen, mappings: dict[str, Json]) -> str | None:
    """Which files a mapping has read, and which version; nothing where none has."""
    parts = [
        screen.say(MAPPED_FILE, file=f"{file}.csv", version=used["mapping"] or UNSAVED)
        for file, used in mappings.items()
        if used["fingerprint"]
    ]
    return screen.say(MAPPED_FILES, list=", ".join(parts)) if parts else None


def found_text(screen: Screen, found: dict[str, int]) -> str:
    """How many findings there are, the worst first."""
    parts = [
        f"{screen.say(text)} {found[name]}" for name, text in SEVERITIES.items() if found.get(name)
    ]
    return screen.say(FINDINGS_FOUND, list=", ".join(parts)) if parts else screen.say(NO_FINDINGS)


def findings(screen: Screen, found: list[Json]) -> None:
    """What is wrong where, in the reader's language."""
    screen.table(
        ["file", "line", "column", "message"],
        [[f["file"], f["line"], f["column"], f["message"][screen.lang]] for f in found],
    )


def judge(screen: Screen, run: Json) -> None:
    """Fail unless the run was applied: the exit status is the outcome."""
    match run["state"]:
        case "applied":
            return
        case "rejected" if (run.get("decision") or {}).get("kind") == "reject":
            raise Failure(DROPPED, run=run["id"], by=run["decision"]["by"])
        case "rejected":
            raise Failure(REJECTED, run=run["id"], errors=run["findings"].get("error", 0))
        case "held" | "review":
            raise Failure(RUN_HELD, run=run["id"])
        case state:
            raise Failure(
                RUN_FAILED,
                run=run["id"],
                state=screen.say(STATES[state]),
                reason=reason(screen, run),
            )


def reason(screen: Screen, run: Json) -> str:
    """Why a run has ended without being applied or rejected."""
    if by := run.get("superseded_by"):
        return screen.say(SUPERSEDED_BY, run=by)
    if by := run.get("cancelled_by"):
        return screen.say(CANCELLED_BY, by=by)
    said: Json = run["failure"] or {"message": dict.fromkeys(("ja", "en"), "-")}
    return str(said["message"][screen.lang])

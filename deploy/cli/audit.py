"""`rosterhub audit`: who read or changed what, and whether that is still what was written down."""

# ruff: noqa: PLC0415 -- --help should not wait for what only some commands need

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy.cli.findings import a_path, save
from deploy.cli.hub import talks_to_hub
from deploy.cli.runs import a_moment, at_most, instant
from deploy.cli.screen import Screen, as_json, pass_screen
from deploy.cli.serve import settings_with
from deploy.messages import (
    AUDIT_BROKEN,
    AUDIT_FAULTS,
    AUDIT_HEADLESS,
    AUDIT_INSTALLATION,
    AUDIT_INTACT,
    AUDIT_LOST,
    AUDIT_OPEN,
    AUDIT_SEEN,
    STORE_UNREACHABLE,
    Failure,
)
from schemas.audit import INSTALLATION, OPERATIONS, PARTIES

if TYPE_CHECKING:
    from deploy.client import Client
    from schemas.evidence import Evidence, Fault, Verdict

AUDIT = "/api/v1/audit"
COLUMNS = (
    *("at", "party", "who", "operation", "method", "route", "target", "records", "status"),
    "address",
)
OUTCOMES = ("answered", "refused", "failed")
SHOWN = 100  # faults on the screen
FAULT = ("district", "chain", "seq", "fault")


@click.group
def audit() -> None:
    """See who read or changed what; prove that nobody has changed that record."""


@audit.command("list")
@click.option("--from", "since", type=a_moment, callback=instant, help="Not before this time.")
@click.option("--to", "until", type=a_moment, callback=instant, help="Before this time.")
@click.option("--who", metavar="ID", help="Of this key or client only.")
@click.option("--party", type=click.Choice(PARTIES), help="Of this kind of caller only.")
@click.option("--operation", type=click.Choice(OPERATIONS), help="Of this kind only.")
@click.option("--route", help="Of this route only, such as /api/v1/policy.")
@click.option("--target", metavar="ID", help="Of this record, run, key or version only.")
@click.option("--address", help="From this address only.")
@click.option("--records", type=click.IntRange(min=0), help="With so many records at least.")
@click.option("--outcome", type=click.Choice(OUTCOMES), help="That ended so only.")
@click.option("--csv", type=a_path, metavar="FILE", help="Write all of them to a file for Excel.")
@at_most
@as_json
@talks_to_hub(as_admin=True)
@pass_screen
def list_entries(
    screen: Screen,
    /,
    client: "Client",
    limit: int,
    since: str | None,
    until: str | None,
    *,
    csv: Path | None,
    as_json: bool,
    **filters: str | None,
) -> None:
    """List the newest entries, or those that the options name.

    An administrator's key without --district lists what belongs to no district.
    """
    query = {"from": since, "to": until, **filters}
    asked = {name: value for name, value in query.items() if value is not None}
    if csv:
        save(screen, client, f"{AUDIT}.csv", csv, asked)
        return
    found = list(islice(client.items(AUDIT, limit, **asked), limit))
    if as_json:
        screen.json({"items": found})
    else:
        screen.table(COLUMNS, [[entry[name] for name in COLUMNS] for entry in found])


@audit.command
@as_json
@click.pass_context
def verify(context: click.Context, *, as_json: bool) -> None:
    """Look through the audit of all districts for what was changed, removed or added.

    On a machine that has ROSTERHUB_DATABASE_URL, ROSTERHUB_SECRET_KEY and ROSTERHUB_OBJECT_STORE.
    Ends with status 1 if something is wrong.
    """
    from deploy.database import reached
    from deploy.verifying import districts, verified
    from schemas.settings import plain

    screen: Screen = context.obj
    settings = settings_with("database_url", "secret_key")
    evidence = documents(settings.object_store, plain(settings.secret_key))
    with reached(plain(settings.database_url)) as connection:
        verdict, names = verified(connection, evidence), districts(connection)
    if as_json:
        screen.json(as_object(verdict, evidence, names))
        context.exit(1 if verdict.faults else 0)
    show(screen, verdict, evidence, names)
    if verdict.faults:
        raise Failure(AUDIT_BROKEN, faults=len(verdict.faults))


def documents(location: str, secret: str) -> "Evidence":
    """What is kept outside of the database."""
    from obstore.exceptions import BaseError

    from deploy.messages import SETTING_WRONG
    from deploy.verifying import heard
    from schemas.secrets import Vault, WeakSecret
    from workers.objects import open_store

    try:
        return heard(open_store(location), Vault(secret))
    except WeakSecret as error:
        raise Failure(SETTING_WRONG, reason=(error.__doc__ or "").strip()) from error
    except (BaseError, OSError) as error:
        raise Failure(STORE_UNREACHABLE, reason=type(error).__name__) from error


def show(
    screen: Screen, verdict: "Verdict", evidence: "Evidence", names: Mapping[int, str]
) -> None:
    """What was looked at, and what is wrong with it."""
    counts = {"entries": verdict.entries, "chains": verdict.chains}
    screen.result(screen.say(AUDIT_SEEN, **counts, documents=evidence.documents))
    if verdict.lost:
        screen.result(screen.say(AUDIT_LOST, lost=verdict.lost))
    if verdict.open:
        screen.result(screen.say(AUDIT_OPEN, open=verdict.open))
    if not evidence.documents:
        screen.result(screen.say(AUDIT_HEADLESS))
    if verdict.faults:
        screen.table(FAULT, islice(lines(screen, verdict.faults, names), SHOWN))
    else:
        screen.result(screen.say(AUDIT_INTACT))


def lines(
    screen: Screen, faults: "list[Fault]", names: Mapping[int, str]
) -> Iterator[list[object]]:
    """Each fault as a line of the table."""
    for fault in faults:
        tenant_id, chain = fault.key or (None, None)
        said = screen.say(AUDIT_FAULTS[fault.kind], entries=fault.entries)
        yield [district(screen, tenant_id, names), chain, fault.seq, said]


def district(screen: Screen, tenant_id: int | None, names: Mapping[int, str]) -> str | None:
    """The name of a tenant; a number, if it is gone."""
    if tenant_id is None:
        return None
    if tenant_id == INSTALLATION:
        return screen.say(AUDIT_INSTALLATION)
    return names.get(tenant_id, str(tenant_id))


def as_object(verdict: "Verdict", evidence: "Evidence", names: Mapping[int, str]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "intact": not verdict.faults,
        "entries": verdict.entries,
        "chains": verdict.chains,
        "heads": evidence.documents,
        "open": verdict.open,
        "lost": verdict.lost,
        "faults": [
            {
                "kind": fault.kind,
                "tenant": fault.key and fault.key[0],
                "district": fault.key and names.get(fault.key[0]),
                "chain": fault.key and fault.key[1],
                "seq": fault.seq,
                "entries": fault.entries,
            }
            for fault in verdict.faults
        ],
    }

"""`rosterhub mappings`: how a district's own columns become those of OneRoster."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlencode

import click

from deploy.cli.hub import talks_to_hub
from deploy.cli.screen import Screen, as_json, pass_screen
from deploy.messages import (
    FINDINGS,
    MAPPING_RESET,
    MAPPING_SAVED,
    NOT_JSON,
    PREVIEW_LATE,
    READ_AS_CP932,
    TABLE_SAVED,
    Failure,
)

if TYPE_CHECKING:
    from deploy.client import Client

MAPPINGS = "/api/v1/mappings"
PAGE = 100
LINE = 1_000_000  # bytes of a line
TRIES = 5

Json: TypeAlias = dict[str, Any]

an_entity = click.argument("entity", metavar="ENTITY")
a_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group
def mappings() -> None:
    """See and change how columns of a school information system become those of OneRoster."""


@mappings.command("list")
@as_json
@talks_to_hub()
@pass_screen
def list_mappings(screen: Screen, client: "Client", *, as_json: bool) -> None:
    """List what is used for each entity; version 0 or a tick: the default."""
    found = list(client.items(MAPPINGS, PAGE))
    names = ("entity", "version", "default", "created_at", "created_by")
    if as_json:
        screen.json({"items": found})
    else:
        screen.table(names, [[each.get(name) for name in names] for each in found])


@mappings.command
@an_entity
@click.option("--version", type=click.IntRange(1), help="An older version.")
@as_json
@talks_to_hub()
@pass_screen
def show(
    screen: Screen, client: "Client", entity: str, version: int | None, *, as_json: bool
) -> None:
    """Show the mapping of ENTITY, column by column."""
    path = f"{MAPPINGS}/{entity}"
    shown(screen, client.get(f"{path}/versions/{version}" if version else path), as_json=as_json)


@mappings.command("set")
@an_entity
@click.argument("file", type=a_file, required=False)
@click.option("--template", metavar="ID", help="Take this template instead of a file.")
@as_json
@talks_to_hub()
@pass_screen
def set_mapping(
    screen: Screen,
    client: "Client",
    entity: str,
    file: Path | None,
    template: str | None,
    *,
    as_json: bool,
) -> None:
    """Save FILE, in JSON as `show --json` prints it, as the next version of ENTITY's mapping."""
    if (file is None) == (template is None):
        raise click.UsageError("Name a FILE or a --template.")
    said = client.get(f"{MAPPINGS}/templates/{template}") if template else read(file)
    saved = client.put(f"{MAPPINGS}/{entity}", said.get("mapping", said))
    if as_json:
        screen.json(saved)
    else:
        screen.note(MAPPING_SAVED, entity=entity, version=saved["version"])


@mappings.command
@an_entity
@talks_to_hub()
@pass_screen
def reset(screen: Screen, client: "Client", entity: str) -> None:
    """Go back to the default: files of ENTITY must have the columns of OneRoster again."""
    client.delete(f"{MAPPINGS}/{entity}")
    screen.note(MAPPING_RESET, entity=entity)


@mappings.command
@an_entity
@as_json
@talks_to_hub()
@pass_screen
def versions(screen: Screen, client: "Client", entity: str, *, as_json: bool) -> None:
    """List every version of ENTITY's mapping, newest first."""
    found = list(client.items(f"{MAPPINGS}/{entity}/versions", PAGE))
    names = ("version", "default", "restored_from", "created_at", "created_by")
    if as_json:
        screen.json({"items": found})
    else:
        screen.table(names, [[each.get(name) for name in names] for each in found])


@mappings.command
@an_entity
@click.argument("version", type=click.IntRange(1))
@as_json
@talks_to_hub()
@pass_screen
def restore(screen: Screen, client: "Client", entity: str, version: int, *, as_json: bool) -> None:
    """Save an older VERSION once more, as the next one."""
    saved = client.post(f"{MAPPINGS}/{entity}/versions/{version}/restore", {})
    if as_json:
        screen.json(saved)
    else:
        screen.note(MAPPING_SAVED, entity=entity, version=saved["version"])


@mappings.command
@click.argument("template", metavar="[ID]", required=False)
@as_json
@talks_to_hub()
@pass_screen
def templates(screen: Screen, client: "Client", template: str | None, *, as_json: bool) -> None:
    """List mappings to begin with, or show the one named ID."""
    if template:
        shown(screen, client.get(f"{MAPPINGS}/templates/{template}"), as_json=as_json)
        return
    found = list(client.items(f"{MAPPINGS}/templates", PAGE))
    if as_json:
        screen.json({"items": found})
    else:
        lines = [[each["id"], each["entity"], each["title"][screen.lang]] for each in found]
        screen.table(("id", "entity", "name"), lines)


@mappings.command
@an_entity
@click.argument("file", type=a_file)
@click.option("--mapping", "unsaved", type=a_file, help="A mapping in JSON, not saved yet.")
@click.option("--template", metavar="ID", help="A template.")
@click.option("--version", type=click.IntRange(1), help="An older version.")
@click.option("--rows", type=click.IntRange(1, 100), default=5, show_default=True)
@as_json
@talks_to_hub()
@pass_screen
def preview(
    screen: Screen,
    /,
    client: "Client",
    entity: str,
    file: Path,
    *,
    unsaved: Path | None,
    rows: int,
    as_json: bool,
    **chosen: object,
) -> int:
    """Show what a mapping makes of the first rows of FILE, a CSV; nothing is changed.

    Ends with status 1 where the rows have errors.
    """
    query = {name: value for name, value in chosen.items() if value} | {"rows": rows}
    body: Json = {"sample": beginning(screen, file, rows)}
    if unsaved:
        said = read(unsaved)
        body["mapping"] = said.get("mapping", said)
    found = client.post(f"{MAPPINGS}/{entity}/preview?{urlencode(query)}", body)
    found = waited(client, found)
    if as_json:
        screen.json(found)
    else:
        compared(screen, found)
    wrong = [each for each in found["findings"] if each["severity"] == "error"]
    return FINDINGS if wrong else 0


@mappings.command
@click.argument("name", metavar="[NAME]", required=False)
@click.option("--set", "file", type=a_file, help="Replace it by this JSON object.")
@click.option("--schools", is_flag=True, help="Replace it by the district's schools, by code.")
@click.option("--delete", is_flag=True, help="Delete it.")
@as_json
@talks_to_hub()
@pass_screen
def lookups(
    screen: Screen,
    /,
    client: "Client",
    name: str | None,
    file: Path | None,
    *,
    schools: bool,
    delete: bool,
    as_json: bool,
) -> None:
    """List the lookup tables, or show, replace or delete the one named NAME."""
    path = f"{MAPPINGS}/lookups/{name}"
    if name is None:
        found: Json = {"items": list(client.items(f"{MAPPINGS}/lookups", PAGE))}
    elif delete:
        client.delete(path)
        return
    elif file or schools:
        found = client.put(path, {"from": "schools"} if schools else {"entries": read(file)})
        screen.note(TABLE_SAVED, name=name, entries=len(found["entries"]))
        return
    else:
        found = client.get(path)
    if as_json:
        screen.json(found)
    elif name is None:
        screen.table(
            ("name", "entries", "version", "updated_at"),
            [[t["name"], t["entries"], t["version"], t["updated_at"]] for t in found["items"]],
        )
    else:
        screen.table(("before", "after"), list(found["entries"].items()))


def waited(client: "Client", found: Json) -> Json:
    """The preview when it is ready; each time it is asked for, the hub waits some seconds."""
    for _ in range(TRIES):
        if found["state"] != "waiting":
            return found
        found = client.get(f"{MAPPINGS}/previews/{found['id']}")
    raise Failure(PREVIEW_LATE)


def read(file: Path | None) -> Json:
    """The JSON object of a file."""
    try:
        said = json.loads(file.read_bytes()) if file else None
    except ValueError as error:
        raise Failure(NOT_JSON, file=file) from error
    if not isinstance(said, dict):
        raise Failure(NOT_JSON, file=file)
    return said


def beginning(screen: Screen, file: Path, rows: int) -> str:
    """The header and the first rows of a CSV; no more of it leaves this computer."""
    with file.open("rb") as opened:
        data = b"".join(opened.readline(LINE) for _ in range(rows + 1))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        screen.note(READ_AS_CP932, file=file)
        return data.decode("cp932", "replace")


def shown(screen: Screen, found: Json, *, as_json: bool) -> None:
    """A mapping as JSON, or a line for each column."""
    if as_json:
        screen.json(found)
        return
    columns = found["mapping"]["columns"]
    screen.table(
        ("column", "mapping"),
        [[name, " → ".join(map(step_text, chain))] for name, chain in columns.items()],
    )


def step_text(step: Json) -> str:
    """A transformation on one line."""
    match step:
        case {"kind": "direct", "source": source}:
            return str(source)
        case {"kind": "constant", "value": value}:
            return f"「{value}」"
        case {"kind": "concatenate", "parts": parts}:
            return f" {step.get('separator', '')}+ ".join(map(step_text, parts))
        case {"kind": kind}:
            facts = {name: value for name, value in step.items() if name != "kind"}
            said = ", ".join(f"{name}={brief(value)}" for name, value in facts.items())
            return f"{kind}({said})" if said else str(kind)
        case _:
            return json.dumps(step, ensure_ascii=False)


def brief(value: object) -> str:
    """A fact of a transformation; a table by its size."""
    match value:
        case dict() if "kind" in value:
            return step_text(value)
        case dict():
            return f"{{{len(value)}}}"
        case list():
            return "|".join(map(str, value))
        case _:
            return str(value)


def compared(screen: Screen, found: Json) -> None:
    """Each row before and after, then what is wrong."""
    for row in found["rows"]:
        before = zip(found["header"], row["before"], strict=True)
        screen.result(f"{row['line']}: " + ", ".join(f"{n}={v}" for n, v in before if v))
        after = zip(found["columns"], row["after"], strict=True)
        screen.table(("column", "value"), [[n, v] for n, v in after])
    if found["findings"]:
        names = ("line", "column", "source", "severity", "message")
        screen.table(
            names,
            [
                [f["line"], f["column"], f["source"], f["severity"], f["message"][screen.lang]]
                for f in found["findings"]
            ],
        )

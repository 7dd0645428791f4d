"""Named SQL. A statement starts at `-- name --`, may explain itself, and ends at the next one."""

import re
from importlib import resources
from typing import LiteralString, cast

_HEADING = re.compile(r"^-- ([a-z0-9_]+) --\n(?:-- .*\n)*", re.MULTILINE)


def parse(text: str) -> dict[str, LiteralString]:
    """Split one file into its statements."""
    _, *parts = _HEADING.split(text)
    # The text ships with the code, so it is as literal as if it were written in it.
    return {
        name: cast("LiteralString", body.strip().removesuffix(";"))
        for name, body in zip(parts[::2], parts[1::2], strict=True)
    }


def load(package: str, file: str) -> dict[str, LiteralString]:
    """Read the statements of `sql/<file>`, shipped inside `package`."""
    return parse((resources.files(package) / "sql" / file).read_text(encoding="utf-8"))

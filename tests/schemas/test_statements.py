"""Named SQL: where a statement begins, what explains it, and where it ends."""

from importlib import resources

import pytest

from schemas.statements import load, parse

TEXT = """-- What this file is about.

-- first --
-- Why it is so.
-- And more.
select 1,
    -- inside, a comment stays
    2;

-- second_2 --
update t set x = %(x)s;
"""


def test_a_statement_is_what_stands_between_two_names() -> None:
    assert parse(TEXT) == {
        "first": "select 1,\n    -- inside, a comment stays\n    2",
        "second_2": "update t set x = %(x)s",
    }


def test_a_file_without_names_has_no_statement() -> None:
    assert parse("select 1;") == {}


@pytest.mark.parametrize("package", ["pipeline", "workers", "api"])
def test_every_shipped_file_has_statements_with_a_body(package: str) -> None:
    files = [path.name for path in (resources.files(package) / "sql").iterdir()]
    assert files
    for file in files:
        statements = load(package, file)
        assert statements
        for name, body in statements.items():
            assert body, name
            assert not body.endswith(";")

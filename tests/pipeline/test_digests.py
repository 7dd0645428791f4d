"""Digests: equal for equal values, different for others, and the same for ever."""

from collections.abc import Mapping
from itertools import combinations

import polars as pl
import pytest
import xxhash

from pipeline.digests import digested, numbers, of_texts
from pipeline.frames import typed
from pipeline.header import layout
from schemas.digests import GONE
from schemas.profiles import JP_1_2_1
from schemas.roster import AnyEntity
from schemas.roster.orgs import Org
from schemas.roster.people import User
from schemas.runs import Mode

PINNED = {
    "board": "06a859eb9dc84320796d500cc2c3cf89",
    "taro": "ef09810c21259f06e9fea7861d9ba0e1",
}


def digest(entity: AnyEntity, cells: Mapping[str, str], mode: Mode = "bulk") -> str:
    """The digest of a row; cells that are no column stand to the right of the header."""
    unknown = tuple(name for name in cells if name.startswith("metadata."))
    shape = layout(entity, (*JP_1_2_1.header(entity), *unknown))
    row = {name: cells.get(name) or None for name in shape.names}
    frame = pl.DataFrame([row], schema=dict.fromkeys(shape.names, pl.String))
    frame = frame.insert_column(0, pl.Series("line", [2]))
    (found,) = digested(typed(entity, shape, mode, frame))["digest"]
    return bytes(found).hex()


BOARD = {"sourced_id": "board", "name": "架空市教育委員会", "type": "district"}
TARO = {
    "sourced_id": "taro",
    "enabled_user": "true",
    "username": "taro",
    "user_ids": "{Koumu:0001}, {AD:taro}",
    "given_name": "𠮷太郎",
    "family_name": "か\u3099",
    "grades": "P1",
    "kana_given_name": "タロウ",
}


def test_the_algorithm_has_not_changed() -> None:
    """Digests lie beside the rows: another algorithm would rewrite every district."""
    assert digest(Org, BOARD) == PINNED["board"]
    assert digest(User, {**TARO, "metadata.x": ""}) == PINNED["taro"]


def test_it_is_xxh3_128_of_texts_of_every_length() -> None:
    """Its code has another branch for each of some ranges of lengths."""
    texts = ["", *("か\u3099𠮷a,"[: at % 5] + "x" * at for at in range(2000))]
    expected = [xxhash.xxh3_128_intdigest(text.encode()) for text in texts]
    assert of_texts(pl.Series("text", texts)).to_list() == expected


def test_as_a_number_the_highest_byte_comes_first() -> None:
    rows = digested(pl.DataFrame({"line": [2, 3], "a": ["x", "y"]}))
    assert numbers(rows).to_list() == [int.from_bytes(digest, "big") for digest in rows["digest"]]


def test_equal_values_have_equal_digests_whatever_the_line_and_the_spelling() -> None:
    same = digest(User, TARO)
    assert digest(User, {**TARO, "user_ids": "{Koumu:0001},{AD:taro}"}) == same
    assert digest(User, {**TARO, "metadata.x": ""}) == same
    assert digest(User, {**TARO, "password": "secret"}) == same  # never stored
    assert digest(User, {**TARO, "status": "active"}, "delta") == same


DIFFERENT: dict[str, tuple[Mapping[str, str], Mode]] = {
    "as it is": (TARO, "bulk"),
    "another value": ({**TARO, "username": "taro2"}, "bulk"),
    "a value in another column": ({**TARO, "identifier": "x"}, "bulk"),
    "the value beside it": ({**TARO, "middle_name": "x"}, "bulk"),
    "composed": ({**TARO, "family_name": "が"}, "bulk"),
    "a blank": ({**TARO, "email": " "}, "bulk"),
    "another order of a list": ({**TARO, "user_ids": "{AD:taro},{Koumu:0001}"}, "bulk"),
    "a list of two": ({**TARO, "grades": "P1,P2"}, "bulk"),
    "a quote in an item": ({**TARO, "grades": 'P1","P2'}, "bulk"),
    "unknown metadata": ({**TARO, "metadata.x": "1"}, "bulk"),
    "other metadata": ({**TARO, "metadata.y": "1"}, "bulk"),
    "a tombstone": ({**TARO, "status": "tobedeleted"}, "delta"),
}


def test_other_values_have_other_digests() -> None:
    found = {name: digest(User, cells, mode) for name, (cells, mode) in DIFFERENT.items()}
    assert [(a, b) for a, b in combinations(found, 2) if found[a] == found[b]] == []


@pytest.mark.parametrize("cells", [("ab", "c"), ("a", "bc"), ("abc", None), (None, "abc")])
def test_values_do_not_run_into_each_other(cells: tuple[str | None, str | None]) -> None:
    rows = pl.DataFrame(
        {"line": [2], "a": [cells[0]], "b": [cells[1]]},
        schema={"line": pl.Int64, "a": pl.String, "b": pl.String},
    )
    joined = digested(rows)["digest"][0]
    others = [
        digested(rows.with_columns(a=pl.lit(a, pl.String), b=pl.lit(b, pl.String)))["digest"][0]
        for a, b in (("ab", "c"), ("a", "bc"), ("abc", None), (None, "abc"))
        if (a, b) != cells
    ]
    assert joined not in others


def test_no_record_has_the_digest_of_a_tombstone() -> None:
    found = {digest(User, cells, mode) for cells, mode in DIFFERENT.values()}
    assert GONE.replace("-", "") not in found

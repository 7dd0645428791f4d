"""Sorting: texts as the Unicode Collation Algorithm has them, everything else by what it is."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from api.rosters import collation
from api.rosters.collation import CONSIDERED, key_of
from api.rosters.folding import fold
from api.rosters.operations import COLLECTIONS, Operation
from schemas.columns import Refs
from schemas.rest.properties import PROPERTIES, Linked, Modified, Own
from tests.api.rosters.conftest import NAMES, Json, Town
from tests.api.rosters.slow_reader import (
    DAYS,
    FLAGS,
    IDENTIFIERS,
    NUMBERS,
    PLAIN_LISTS,
    collator,
    values_at,
)


def key(path: str) -> Callable[[str], Any]:
    name = path.rpartition(".")[2]
    if name in DAYS | FLAGS | {"dateLastModified"}:
        return str
    if name in IDENTIFIERS or name == "href":
        return str.encode
    return int if name in NUMBERS else collator().sort_key


def sorted_by(records: list[Json], path: str, *, descending: bool) -> list[str]:
    """Those without a value last, then by sourcedId, which `records` is in order of."""
    valued = [(str(value), r) for r in records for value in [*values_at(r, path)][:1]]
    bare = [r["sourcedId"] for r in records if not [*values_at(r, path)]]
    valued.sort(key=lambda pair: key(path)(pair[0]), reverse=descending)
    if descending:  # Python reverses ties as well, and a stable sort keeps them
        valued.sort(key=lambda pair: key(path)(pair[0]), reverse=True)
    return [r["sourcedId"] for _, r in valued] + bare


def sortable(operation: Operation) -> list[str]:
    return [
        path
        for path, prop in PROPERTIES[operation.entity].items()
        if isinstance(prop, Own | Modified | Linked)
        and path not in PLAIN_LISTS
        and not (
            isinstance(prop, Linked) and (prop.says == "type" or isinstance(prop.column, Refs))
        )
    ]


@pytest.mark.parametrize("operation", COLLECTIONS, ids=lambda operation: operation.path)
def test_every_single_value_is_sorted_by_in_both_directions(
    town: Town, operation: Operation
) -> None:
    records = town.records(operation.path)
    for number, path in enumerate([*sortable(operation), "metadata.vendor.id"]):
        descending = number % 2 == 1
        way = "DESC" if descending else "asc"
        found = town.ids(operation.path, sort=path, orderBy=way)
        assert found == sorted_by(records, path, descending=descending), path
    by_title = town.ids(operation.path, sort="metadata.no,status,dateLastModified")
    assert by_title == [
        r["sourcedId"] for r in sorted(records, key=lambda r: (r["status"], r["dateLastModified"]))
    ]


def test_an_earlier_version_is_sorted_too(town: Town) -> None:
    records = town.records("users", asOf=1)
    found = town.ids("users", asOf=1, sort="metadata.jp.kanaFamilyName", orderBy="desc")
    assert found == sorted_by(records, "metadata.jp.kanaFamilyName", descending=True)


def test_pages_of_a_sorted_collection_are_parts_of_one_order(town: Town) -> None:
    whole = town.ids("users", sort="familyName")
    parts = [
        record["sourcedId"]
        for offset in range(0, 30, 7)
        for record in town.get("users", sort="familyName", limit=7, offset=offset).json["users"]
    ]
    assert parts == whole


@pytest.mark.parametrize(
    "sort", ["none", "", ",", "grades", "roles.role", "agents.sourcedId", "parent", "a'b", "%00"]
)
def test_what_cannot_be_sorted_by_is_passed_over(town: Town, sort: str) -> None:
    assert town.ids("users", sort=sort, orderBy="desc") == town.ids("users")
    mixed = town.ids("users", sort=f"{sort},familyName")
    assert mixed == town.ids("users", sort="familyName")


def test_an_order_that_is_none_is_refused(town: Town) -> None:
    answer = town.get("users", sort="familyName", orderBy="down")
    assert answer.status_code == 400
    assert "invaliddata" in answer.text


def test_keys_of_ascii_are_those_of_the_algorithm() -> None:
    def key(text: str) -> bytes:
        return b"".join(weight.to_bytes(2, "big") for weight in collator().sort_key(text))

    letters = [chr(code) for code in range(128)]
    for text in ("", *letters, *map("".join, product(letters, repeat=2)), "a.B-c_d@e.org"):
        assert key_of(text) == key(text), text
    table = collator().table.root.children
    beyond = {
        ord(letter): table[ord(letter)].children or {} for letter in letters if ord(letter) in table
    }
    assert all(code > 127 for each in beyond.values() for code in each), "a contraction of ASCII"


def test_keys_compare_as_the_algorithm_does() -> None:
    texts = [*NAMES, "", "a" * 300, "山田", "や", "ヤ", "ャ", "Ａ", "A", "á", "a\u0301"]
    assert sorted(texts, key=key_of) == sorted(texts, key=lambda t: collator().sort_key(t))


def test_a_value_that_came_with_a_later_version_is_sorted_right(town: Town) -> None:
    tenant_id = town.other.tenant_id
    for number, name in enumerate(("Öb", "z" * (CONSIDERED + 5), "z" * (CONSIDERED + 4)), start=1):
        row = {"sourced_id": f"new-{number}", "name": name, "type": "school"}
        town.books.publish(tenant_id, {"orgs": [row]}, f"2026-06-0{number}T00:00:00Z")
        answer = town.hub.get(
            "/ims/oneroster/rostering/v1p2/orgs?sort=name&limit=1000", town.other.key
        )
        names = [org["name"] for org in answer.json["orgs"]]
        assert name in names
        assert names == sorted(names, key=lambda text: collator().sort_key(text[:CONSIDERED]))


def test_what_is_slow_to_learn_is_kept_and_the_client_told_to_come_back(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = town.mounted("/ims/impatient", patience=0)
    monkeypatch.setattr(collation, "CHUNK", 4)
    statuses: list[int] = []
    while not statuses or statuses[-1] == 429:
        answer = get("users", filter="userProfiles.profileId>'urn:s'", limit=1000)
        statuses.append(answer.status_code)
        if answer.status_code == 429:
            assert answer.headers["Retry-After"]
            assert "server_busy" in answer.text
    assert statuses[0] == 429, "nothing was to be learnt"
    assert statuses[-1] == 200
    found = [user["sourcedId"] for user in answer.json["users"]]
    assert found == town.ids("users", filter="userProfiles.profileId>'urn:s'")
    assert found


def test_keys_without_case_are_kept_where_they_differ(town: Town) -> None:
    assert town.get("users", sort="familyName", filter="familyName>'a'").status_code == 200
    rows = town.books.rows(
        town.district.tenant_id, "select value, key, coalesce(folded, key) from sort_keys"
    )
    assert rows
    for value, full, folded in rows:
        assert (full, folded) == (key_of(value), key_of(fold(value)))

"""Every character of JIS X 0213 and of CP932 goes in and comes out with the same bytes.

The characters come from Python's codecs: every sequence of bytes of Shift_JIS-2004, which writes
JIS X 0213, and of CP932 with its extensions by NEC and IBM. Signs made at home (gaiji) are none.
"""

import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, product

import orjson
import pytest

from pipeline import repairs, text
from pipeline.archive import Source
from schemas import japan
from schemas.profiles import V1_2_1
from schemas.rest.faces import face
from schemas.roster.orgs import Org
from schemas.roster.people import User
from tests.pipeline.conftest import TOWN, District, Package

ALL = range(0x100)


def decoded(sequences: Iterable[bytes], codec: str) -> Iterator[tuple[bytes, str]]:
    """What the sequences mean that mean one character; no control and nobody's own sign."""
    for data in sequences:
        try:
            character = data.decode(codec)
        except UnicodeDecodeError:
            continue
        # One sign may be two of Unicode, such as か with a ring; two signs are no character.
        one = not any(is_text(data[:cut], codec) for cut in range(1, len(data)))
        if one and {unicodedata.category(sign) for sign in character}.isdisjoint({"Cc", "Co"}):
            yield data, character


def is_text(data: bytes, codec: str) -> bool:
    try:
        data.decode(codec)
    except UnicodeDecodeError:
        return False
    return True


def sequences(*ranges: Iterable[int]) -> Iterator[bytes]:
    return map(bytes, product(*ranges))


JIS_X_0213 = [character for _, character in decoded(sequences(ALL, ALL), "shift_jis_2004")]
CP932 = dict(decoded(chain(sequences(ALL), sequences(ALL, ALL)), "cp932"))
BEYOND = ["𠮷", "か\u3099", "葛\U000e0100", "辻\ufe00", "\u2028", "👪"]
CHARACTERS = sorted({*JIS_X_0213, *CP932.values(), *BEYOND})


def test_these_are_all_of_them() -> None:
    assert len({*JIS_X_0213}) == 11_233  # as the standard of 2004 counts
    assert {*"髙﨑①㈱塚彅纊黑ⅷ∵ｱ"} <= {*CP932.values()}
    assert {"𠮟", "か\u309a", "𩸽", "俱", "剝", "噓", "塡", "頰"} <= {*JIS_X_0213}


@pytest.fixture(scope="module")
def package() -> Package:
    """One org for each, with the character as its name and in an extension."""
    rows = tuple(
        {"sourcedId": str(number), "name": name, "type": "district", "metadata.name": name}
        for number, name in enumerate(CHARACTERS)
    )
    return Package({"orgs": rows}, profile=V1_2_1)


def test_a_name_comes_out_of_the_database_and_in_json_as_it_went_in(
    district: District, package: Package
) -> None:
    assert district.push(package).state == "applied"
    found = district.records("orgs")
    shown = face(Org.name, "")
    for number, name in enumerate(CHARACTERS):
        org = found[str(number)]
        assert org["name"].encode() == name.encode(), ascii(name)
        assert org["metadata"] == {"name": name}, ascii(name)
        assert orjson.dumps(shown(org["name"])).decode() == orjson.dumps(name).decode()
    again = district.push(package)
    assert again.counts["orgs"] == {"rows": len(CHARACTERS), "unchanged": len(CHARACTERS)}


def test_a_name_in_cp932_is_the_same_name(source: Callable[..., Source]) -> None:
    def quoted(name: bytes) -> bytes:
        return b'"' + name.replace(b'"', b'""') + b'","x"\r\n'

    plain = b"a,b\r\n" + b"".join(quoted(name.encode()) for name in CP932.values())
    file, findings = repairs.settle(source(b"a,b\r\n" + b"".join(map(quoted, CP932))))
    lines = sum(not data.isascii() for data in CP932)
    assert [(f.rule.id, f.facts["count"]) for f in findings] == [("repair.cp932", lines)]
    assert b"".join(piece.data for piece in text.pieces(file)) == plain
    rows, faults = text.records(
        text.split_header(next(iter(text.pieces(file))), "x")[1], ("a", "b"), "x", file.limits
    )
    assert faults == []
    assert rows["a"].to_list() == [*CP932.values()]


# As people's names, under the Japan profile ------------------------------------------------------

HALF_WIDTH = {*map(chr, range(0xFF66, 0xFFA0))}
TOGETHER = 7  # characters in one name


def called(characters: Iterable[str]) -> Package:
    """The town, and people whose names hold all of the characters, several each."""
    told = [*characters]
    names = ["".join(told[at : at + TOGETHER]) for at in range(0, len(told), TOGETHER)]
    taro, role = TOWN.row("users", "taro"), TOWN.row("roles", "r-taro")
    here = {"metadata.jp.homeClass": "", "agentSourcedIds": "", "userIds": ""}
    users = (
        {
            **taro,
            **here,
            "sourcedId": f"00000000-0000-4000-8000-{number:012}",
            "userMasterIdentifier": f"00000000-0000-4000-9000-{number:012}",
            "username": f"user{number}",
            **dict.fromkeys(NAMES, f"山{name}田"),
        }
        for number, name in enumerate(names)
    )
    roles = (
        {
            **role,
            "sourcedId": f"00000000-0000-4000-a000-{number:012}",
            "userSourcedId": f"00000000-0000-4000-8000-{number:012}",
            "userProfileSourcedId": "",
        }
        for number in range(len(names))
    )
    return TOWN.put("users", *users).put("roles", *roles)


NAMES = ("givenName", "familyName", "preferredGivenName", "preferredFamilyName")
STORED = ("given_name", "family_name", "preferred_given_name", "preferred_family_name")


def agrees(district: District, package: Package) -> None:
    """Every name is in the database, and in JSON, byte by byte as it was sent."""
    found = district.records("users")
    for row in package.rows["users"]:
        for sent, stored in zip(NAMES, STORED, strict=True):
            name = found[row["sourcedId"]][stored]
            assert name.encode() == row[sent].encode()
            assert orjson.loads(orjson.dumps(face(User.given_name, "")(name))) == row[sent]


def test_names_of_all_characters_of_the_standard_are_without_finding(district: District) -> None:
    package = called(JIS_X_0213)
    done = district.push(package)
    assert (done.state, done.findings) == ("applied", [])
    agrees(district, package)


def test_names_in_a_file_in_cp932_are_the_same_where_the_policy_allows_it(
    district: District,
) -> None:
    policy = {"reading": {"lenient": True, "repairs": ["cp932"]}}
    district.hub.admin.execute(
        "update districts set policy = %s where tenant_id = %s",
        [json.dumps(policy), district.tenant_id],
    )
    full = {name for name in CP932.values() if name not in HALF_WIDTH}
    package = called(sorted(full))
    done = district.push(package.zip(users=package.text("users").encode("cp932")))
    assert done.state == "applied"
    assert done.rules == {"repair.cp932", "value.characters"}  # 髙 and others are not of JIS X 0213
    strange = {found.value or "" for found in done.findings if found.rule == "value.characters"}
    known = {*JIS_X_0213, *map(chr, range(0x80)), *japan.OF_WINDOWS, *"｡｢｣､･"}
    for row in package.rows["users"]:
        assert (row["givenName"] in strange) == (not known.issuperset(row["givenName"]))
    agrees(district, package)
    half = called(sorted(HALF_WIDTH))
    assert district.push(half).rules == {"value.half_width_kana"}

"""What stands in for a person before one client, and finds nobody before another."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.lens import Lens
from schemas.pseudonyms import Pseudonyms, keys_of
from schemas.roster.people import Demographics, Role, User, UserProfile
from schemas.roster.teaching import Class, Enrollment
from schemas.secrets import Vault

OLD, NEW = (
    "an old secret of the hub that is long enough",
    "a new secret of the hub that is long enough",
)
BOTH = Lens(fields=frozenset({"email"}), pseudonyms=frozenset({"sourcedIds", "names"}))
HANA: dict[str, Any] = {
    "sourced_id": "hana",
    "given_name": "花子",
    "preferred_given_name": "はな",
    "family_name": "佐藤",
    "middle_name": None,
    "username": "hana.sato",
    "email": "hana.sato@example.jp",
    "agent_sourced_ids": ["mother"],
    "primary_org_sourced_id": "north",
}


def pseudonyms(
    tenant_id: int = 1, client: str = "lms", secrets: str = OLD, lens: Lens = BOTH
) -> Pseudonyms:
    return Pseudonyms(keys_of(Vault(secrets), tenant_id, client), lens)


@given(sourced_id=st.text(min_size=1, max_size=40))
def test_a_pseudonym_leads_back_to_its_record(sourced_id: str) -> None:
    veil = pseudonyms()
    assert veil.real("users", veil.shown("users", sourced_id)) == sourced_id


@pytest.mark.parametrize("who", [{"tenant_id": 2}, {"client": "other"}])
def test_no_other_client_and_no_other_district_can_use_it(who: dict[str, Any]) -> None:
    ours = pseudonyms().shown("users", "hana")
    theirs = pseudonyms(**who)
    assert theirs.shown("users", "hana") != ours
    assert theirs.real("users", ours) is None


def test_it_outlives_a_new_secret() -> None:
    assert pseudonyms(secrets=f"{NEW},{OLD}").shown("users", "hana") == pseudonyms().shown(
        "users", "hana"
    )


def test_a_real_identifier_finds_nobody_and_neither_does_a_changed_pseudonym() -> None:
    veil = pseudonyms()
    shown = veil.shown("users", "hana")
    wrong = ["hana", shown[2:], shown + "A", shown[:-1], shown + "=", "p_", "p_!", "p_花"]
    wrong += [
        shown[:n] + ("A" if sign != "A" else "B") + shown[n + 1 :] for n, sign in enumerate(shown)
    ]
    assert {veil.real("users", each) for each in wrong} == {None}


def test_a_person_has_one_pseudonym_wherever_the_person_is_named() -> None:
    veil = pseudonyms()
    hana = veil.shown("users", "hana")
    assert veil.row(Demographics, {"sourced_id": "hana"})["sourced_id"] == hana
    enrollment = {"sourced_id": "e1", "user_sourced_id": "hana", "class_sourced_id": "c1"}
    row = veil.row(Enrollment, enrollment)
    assert row["user_sourced_id"] == hana
    assert row["class_sourced_id"] == "c1"
    assert row["sourced_id"] == veil.shown("enrollments", "e1") != "e1"
    role = {"sourced_id": "r", "user_sourced_id": "hana", "user_profile_sourced_id": "p"}
    profile = {"sourced_id": "p", "user_sourced_id": "hana", "username": "hana"}
    profile = veil.row(UserProfile, profile)
    assert veil.row(Role, role)["user_profile_sourced_id"] == profile["sourced_id"]
    assert profile["username"] == veil.row(User, HANA)["username"]


def test_nothing_of_a_name_is_left_and_it_stays_the_same_when_the_real_one_changes() -> None:
    row = pseudonyms().row(User, HANA)
    married = pseudonyms().row(User, {**HANA, "family_name": "山田"})
    assert row == married
    assert row["given_name"] == row["preferred_given_name"]
    assert row["given_name"].isalpha()
    assert row["middle_name"] is None
    assert row["email"] == f"{row['username']}@pseudonym.invalid"
    assert row["primary_org_sourced_id"] == "north"
    texts = {value for value in HANA.values() if isinstance(value, str)}
    assert texts & set(map(str, row.values())) == {"north"}
    assert row["agent_sourced_ids"] == [pseudonyms().shown("users", "mother")]


def test_only_what_the_lens_asks_for_is_replaced() -> None:
    ids = pseudonyms(lens=Lens(pseudonyms=frozenset({"sourcedIds"}))).row(User, HANA)
    assert ids["given_name"] == "花子"
    assert ids["sourced_id"] != "hana"
    named = pseudonyms(lens=Lens(pseudonyms=frozenset({"names"}))).row(User, HANA)
    assert named["given_name"] != "花子"
    assert named["sourced_id"] == "hana"
    assert pseudonyms().row(Class, {"sourced_id": "c1"}) == {"sourced_id": "c1"}

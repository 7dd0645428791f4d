"""What a lens is, beside the records it shows (test_visibility)."""

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from schemas.lens import GROUP_OF, GROUPS, SERVED, Group, Lens, disguised, hidden
from schemas.roster import PARTS, ROSTERING
from schemas.roster.orgs import Org
from schemas.roster.people import Demographics, Role, User, UserProfile
from schemas.roster.teaching import Enrollment

NAMED = {
    "username",
    "given_name",
    "family_name",
    "middle_name",
    "preferred_given_name",
    "preferred_middle_name",
    "preferred_family_name",
    "kana_given_name",
    "kana_family_name",
    "kana_middle_name",
    "kana_preferred_given_name",
    "kana_preferred_family_name",
    "kana_preferred_middle_name",
}
IN_A_CLASS_LIST = {*NAMED, "grades", "pronouns", "shusseki_no"}


def test_every_personal_column_is_granted_by_a_group_or_is_of_a_class_list() -> None:
    open_to_all = {
        column.name
        for entity in ROSTERING
        for column in entity.stored()
        if column.personal and column not in GROUP_OF
    }
    assert open_to_all == IN_A_CLASS_LIST


def test_every_group_is_declared_and_no_column_is_in_two() -> None:
    assert set(GROUPS) == set(get_args(Group))
    assert len(GROUP_OF) == sum(len(columns) for columns in GROUPS.values())


def test_what_can_be_listed_is_what_rest_serves() -> None:
    assert set(ROSTERING) - set(PARTS) == SERVED


def test_an_empty_lens_hides_what_has_to_be_granted() -> None:
    assert hidden(User, Lens()) == {
        "agents",
        "email",
        "identifier",
        "phone",
        "sms",
        "userIds",
        "userMasterIdentifier",
    }
    assert hidden(UserProfile, Lens()) == {"credentials.username", "description"}
    assert "birthDate" in hidden(Demographics, Lens())
    assert hidden(Org, Lens()) == set()


@pytest.mark.parametrize("group", get_args(Group))
def test_a_grant_opens_its_group_and_no_other(group: Group) -> None:
    granted = Lens(fields=frozenset({group}))
    opened = {column for column in GROUP_OF if not granted.hides(column)}
    assert opened == set(GROUPS[group])


def test_who_has_no_lens_misses_nothing() -> None:
    assert all(hidden(entity, None) == disguised(entity, None) == set() for entity in ROSTERING)


def test_beside_pseudonyms_there_is_no_metadata_of_people() -> None:
    veiled = Lens(pseudonyms=frozenset({"sourcedIds"}))
    assert "metadata" in hidden(User, veiled)
    assert veiled.hides(User.kana_given_name)
    assert veiled.hides(Enrollment.shusseki_no)
    assert not veiled.hides_metadata(Org)


def test_pseudonyms_of_names_are_sent_and_never_compared() -> None:
    veiled = Lens(fields=frozenset({"email"}), pseudonyms=frozenset({"names"}))
    assert disguised(User, veiled) == {
        "givenName",
        "familyName",
        "middleName",
        "preferredFirstName",
        "preferredMiddleName",
        "preferredLastName",
        "username",
        "email",
    }
    assert disguised(User, Lens(pseudonyms=frozenset({"sourcedIds"}))) == set()


def test_a_role_is_the_same_word_with_and_without_ext() -> None:
    assert Lens(roles=frozenset({"ext:coach"})).words == Lens(roles=frozenset({"coach"})).words


def test_the_outline_has_the_limits_and_not_their_values() -> None:
    north = Lens(schools=frozenset({"north"}), fields=frozenset({"email"}))
    south = Lens(schools=frozenset({"south"}), fields=frozenset({"email"}))
    assert north.outline == south.outline
    assert north.outline != Lens(fields=frozenset({"email"}))
    assert north.fingerprint != south.fingerprint


def test_equal_lenses_have_equal_fingerprints_in_whatever_order_they_were_said() -> None:
    said = [{"schools": order, "roles": None} for order in (["a", "b"], ["b", "a", "a"])]
    one, other = map(Lens.model_validate, said)
    assert one.fingerprint == other.fingerprint
    assert one.model_dump(mode="json")["schools"] == ["a", "b"]


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"entities": ["enrollments", "users"]}, "enrollments need classes"),
        ({"entities": ["classes"]}, "classes need courses"),
        ({"entities": ["demographics"]}, "demographics need users"),
        ({"entities": ["roles"]}, "Input should be"),
        ({"fields": ["passwords"]}, "Input should be"),
        ({"schools": [""]}, "at least 1 character"),
        ({"school": ["north"]}, "Extra inputs"),
    ],
)
def test_a_lens_that_cannot_be_meant_is_refused(said: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        Lens.model_validate(said)


def test_parts_go_with_their_users_and_the_frame_is_always_there() -> None:
    people = Lens(entities=frozenset({"users"}))
    assert all(people.includes(entity) for entity in (User, Role, UserProfile, Org))
    assert not people.includes(Enrollment)
    assert not people.includes(Demographics)

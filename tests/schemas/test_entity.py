"""What an entity makes of the attributes that declare it."""

import pytest

from schemas.columns import Choice, Key, Ref, Refs, Text
from schemas.ddl import BOOKKEEPING, expected, expected_history, not_null
from schemas.entity import Entity, camel, snake
from schemas.roster import ROSTERING, AnyEntity
from schemas.roster.people import User


class Locker(Entity, file="lockerKeys", rest="LockerKey"):
    """Not in the binding."""

    owner_sourced_id = Ref(to="users", required=True, doc="Owner.")
    room_sourced_ids = Refs(to="orgs", doc="Rooms.")
    from_ = Text(personal=True, required=True, doc="A name that Python keeps for itself.")
    kind = Choice(words=("a",), json="nested.kind", doc="Kind.")
    secret = Text(json=None, stored=False, doc="Secret.")


def test_names_follow_from_the_attribute() -> None:
    assert [column.csv for column in Locker.columns[3:]] == [
        "ownerSourcedId",
        "roomSourcedIds",
        "from",
        "kind",
        "secret",
    ]
    assert [column.name for column in Locker.columns[3:]][2] == "from"


def test_references_lose_their_suffix_in_json() -> None:
    assert Locker.owner_sourced_id.json == "owner"
    assert Locker.room_sourced_ids.json == "rooms"
    assert Locker.kind.json == "nested.kind"
    assert Locker.secret.json is None


def test_table_and_noun_follow_from_file_and_class() -> None:
    assert (Locker.table, Locker.noun, Locker.service) == ("locker_keys", "lockerKey", "Rostering")


def test_a_column_belongs_to_the_entity_that_inherits_it() -> None:
    assert Locker.sourced_id.entity == "locker_keys"
    assert User.sourced_id.entity == "users"
    assert User.sourced_id != Locker.sourced_id
    assert isinstance(Locker.sourced_id, Key)


def test_what_is_not_stored_is_not_in_the_table() -> None:
    assert "secret" not in expected(Locker)
    assert [column.name for column in Locker.stored()][:2] == ["sourced_id", "status"]


def test_a_required_personal_value_may_be_null_because_erasure_wipes_it() -> None:
    assert not not_null(Locker.from_)
    assert not_null(Locker.owner_sourced_id)
    assert not_null(Locker.status)


@pytest.mark.parametrize("entity", ROSTERING, ids=lambda entity: entity.file)
def test_history_is_the_table_and_the_end_of_its_truth(entity: AnyEntity) -> None:
    assert expected_history(entity) == {**expected(entity), "until_version": ("bigint", True)}
    assert expected(entity).items() >= BOOKKEEPING.items()


@pytest.mark.parametrize(
    ("python", "csv"), [("date_last_modified", "dateLastModified"), ("from_", "from"), ("a", "a")]
)
def test_camel(python: str, csv: str) -> None:
    assert camel(python) == csv


@pytest.mark.parametrize(
    ("file", "table"), [("academicSessions", "academic_sessions"), ("orgs", "orgs")]
)
def test_snake(file: str, table: str) -> None:
    assert snake(file) == table

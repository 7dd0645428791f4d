"""What a first load points at is found in the worker, and only what is really there."""

import polars as pl
import pytest

from pipeline.targets import Targets, marks
from schemas.roster import AnyEntity
from schemas.roster.orgs import Org
from schemas.roster.people import Role, User, UserProfile

Rows = list[dict[str, str]]


def frame(entity: AnyEntity, rows: Rows) -> pl.DataFrame:
    """Typed rows, as far as references are concerned."""
    names = [column.name for column in entity.stored()]
    filled = [{**dict.fromkeys(names), "status": "active", **row} for row in rows]
    return pl.DataFrame(filled, schema=dict.fromkeys(names, pl.String))


def orgs(targets: Targets, *rows: dict[str, str]) -> bool:
    return targets.add(Org, frame(Org, [*rows])) and targets.settle(Org)


def users(targets: Targets, *rows: dict[str, str]) -> bool:
    return targets.add(User, frame(User, [*rows])) and targets.settle(User)


def test_a_file_may_point_at_itself_in_any_order_and_batch() -> None:
    targets = Targets()
    assert targets.add(Org, frame(Org, [{"sourced_id": "z", "parent_sourced_id": "a"}]))
    assert targets.add(Org, frame(Org, [{"sourced_id": "m", "parent_sourced_id": "z"}]))
    assert orgs(targets, {"sourced_id": "a"})
    assert not orgs(Targets(), {"sourced_id": "z", "parent_sourced_id": "a"})


@pytest.mark.parametrize("part", [1, 2, 1000])
def test_what_came_in_any_batch_before_is_found_and_nothing_else(
    part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.targets.PART", part)
    targets = Targets()
    assert orgs(targets, {"sourced_id": "school"})
    for batch in ("zebra", "mole", "ant"):
        assert users(targets, {"sourced_id": batch, "primary_org_sourced_id": "school"})
    role = {"sourced_id": "r", "org_sourced_id": "school"}
    for user, there in (("zebra", True), ("ant", True), ("mole", True), ("Mole", False)):
        assert targets.add(Role, frame(Role, [{**role, "user_sourced_id": user}])) is there
    assert users(targets, {"sourced_id": "newt"})
    assert targets.add(Role, frame(Role, [{**role, "user_sourced_id": "newt"}]))
    assert not Targets().add(Role, frame(Role, [{**role, "user_sourced_id": "zebra"}]))


def test_a_record_that_is_deleted_is_no_target() -> None:
    targets = Targets()
    assert orgs(targets, {"sourced_id": "school", "status": "tobedeleted"})
    assert not users(targets, {"sourced_id": "u", "primary_org_sourced_id": "school"})


def test_what_is_remembered_tells_a_million_keys_apart() -> None:
    keys = pl.Series([str(number) for number in range(1_000_000)])
    assert marks(keys).n_unique() == len(keys)


def test_what_no_later_file_points_at_is_forgotten() -> None:
    """A district may have a million user profiles, of which only its roles speak."""
    targets = Targets()
    profiles = frame(UserProfile, [{"sourced_id": "p", "user_sourced_id": "u"}])
    assert users(targets, {"sourced_id": "u"})
    assert targets.add(UserProfile, profiles)
    role = {"sourced_id": "r", "user_sourced_id": "u", "user_profile_sourced_id": "p"}
    roles = frame(Role, [role])
    targets.add(Role, roles)
    assert len(targets.known["userProfiles"]) == 1
    targets.settle(Role)
    assert not targets.known.get("userProfiles", [])
    assert len(targets.known["users"]) == 1

"""Districts come, are seen, and are gone at once when they are deleted."""

import pytest

from schemas.jobs import Job, PurgeDistrict
from tests.api.conftest import Client, District

PATH = "/api/v1/districts"


def test_a_district_is_made_once_and_listed(hub: Client, admin: str) -> None:
    made = hub.post(PATH, admin, json={"id": "east", "name": "東市"})
    assert made.status_code == 201
    assert made.headers["Location"] == f"{PATH}/east"
    assert set(made.json) == {"id", "name", "created_at"}
    assert hub.post(PATH, admin, json={"id": "east", "name": "Other"}).status_code == 409
    assert hub.get(PATH, admin).json == {"items": [made.json], "next": None}
    assert hub.get(f"{PATH}/east", admin).json == made.json


@pytest.mark.parametrize("strange", ["west", "%00", "%C3%28", "EAST", "east%2F"])
def test_an_unknown_district_is_404(hub: Client, admin: str, strange: str) -> None:
    assert hub.get(f"{PATH}/{strange}", admin).status_code == 404
    assert hub.delete(f"{PATH}/{strange}", admin).status_code == 404


def test_a_deleted_district_is_gone_at_once_and_its_rows_soon(
    hub: Client, admin: str, north: District, jobs: list[Job]
) -> None:
    assert hub.get("/api/v1/imports", north.key).status_code == 200
    deleted = hub.delete(f"{PATH}/north", admin)
    assert (deleted.status_code, deleted.content) == (202, b"")
    assert jobs == [PurgeDistrict(tenant_id=north.tenant_id)]
    assert hub.get("/api/v1/imports", north.key).status_code == 401
    assert hub.get(PATH, admin).json["items"] == []
    assert hub.get(f"{PATH}/north", admin).status_code == 404
    assert hub.delete(f"{PATH}/north", admin).status_code == 404
    named = {"X-RosterHub-District": "north"}
    assert hub.get("/api/v1/imports", admin, headers=named).status_code == 404


def test_districts_are_for_administrators(hub: Client, north: District) -> None:
    assert hub.get(PATH, north.key).status_code == 403
    assert hub.delete(f"{PATH}/north", north.key).status_code == 403

"""Administrators' keys: listed without secrets, revoked at once, and never the last one."""

from concurrent.futures import ThreadPoolExecutor

import requests

from tests.api.conftest import Books, Client, District, Serve

PATH = "/api/v1/admin-keys"


def id_of(key: str) -> str:
    return key.split("_")[2]


def test_the_keys_are_listed_without_their_secrets(hub: Client, books: Books, admin: str) -> None:
    other = books.admin_key()
    answer = hub.get(PATH, admin)
    assert [item["id"] for item in answer.json["items"]] == [id_of(admin), id_of(other)]
    assert answer.json["next"] is None
    assert "hash" not in answer.text
    assert admin.split("_")[3] not in answer.text


def test_a_revoked_key_opens_nothing_more(hub: Client, books: Books, admin: str) -> None:
    other = books.admin_key()
    for _ in range(2):
        assert hub.delete(f"{PATH}/{id_of(other)}", admin).status_code == 204
    assert hub.get(PATH, other).status_code == 401
    revoked = {item["id"]: item["revoked_at"] for item in hub.get(PATH, admin).json["items"]}
    assert revoked[id_of(admin)] is None
    assert revoked[id_of(other)] is not None


def test_the_last_key_that_works_stays(hub: Client, books: Books, admin: str) -> None:
    revoked, expired = books.admin_key(), books.admin_key()
    hub.delete(f"{PATH}/{id_of(revoked)}", admin)
    with books.connected("rosterhub_control") as connection:
        connection.execute(
            "insert into admin_keys (id, hash, expires_at) values ('late', '', now())"
        )
    assert hub.delete(f"{PATH}/{id_of(expired)}", admin).status_code == 204
    answer = hub.delete(f"{PATH}/{id_of(admin)}", admin)
    assert (answer.status_code, answer.json["code"]) == (409, "last_key")
    assert hub.delete(f"{PATH}/late", admin).status_code == 204, "it opens nothing as it is"
    assert hub.get(PATH, admin).status_code == 200


def test_a_key_that_is_not_there_is_not_found(
    hub: Client, books: Books, admin: str, north: District
) -> None:
    books.admin_key()
    for strange in ("x", "%00", id_of(north.key)):
        assert hub.delete(f"{PATH}/{strange}", admin).status_code == 404
    assert hub.get("/api/v1/imports", north.key).status_code == 200


def test_two_who_revoke_each_other_do_not_both_succeed(serve: Serve, books: Books) -> None:
    server = serve(gateway_processes=2)
    for _ in range(5):
        with books.connected("rosterhub_control") as connection:
            connection.execute("update admin_keys set revoked_at = now()")
        keys = books.admin_key(), books.admin_key()

        def revoke(mine: str, other: str) -> int:
            return requests.delete(
                f"{server.url}{PATH}/{id_of(other)}",
                headers={"Authorization": f"Bearer {mine}"},
                timeout=20,
            ).status_code

        with ThreadPoolExecutor(2) as pool:
            codes = [*pool.map(revoke, keys, reversed(keys))]
        assert codes.count(204) == 1
        assert {*codes} <= {204, 401, 409}

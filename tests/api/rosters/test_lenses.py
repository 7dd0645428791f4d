"""The same lens in every read: what it conceals leaves by no channel, and all it shows is found.

Each personal value that has to be granted is a canary, so that it is known wherever it turns up.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias
from urllib.parse import quote

import pytest
from falcon.testing import Result
from psycopg.sql import SQL, Identifier, Literal
from psycopg.types.json import Jsonb

from api.rosters.operations import COLLECTIONS, OPERATIONS, OPERATIONS_1P1, ROOT, SERVICE, Operation
from api.rosters.sight import EVERYTHING
from schemas.columns import AnyColumn, Pairs, Refs
from schemas.lens import GROUP_OF, GROUPS, NAMES, Lens, disguised, hidden
from schemas.rest.editions import EDITIONS, ONE_ONE, Edition
from schemas.roster import BY_FILE, ROSTERING, AnyEntity
from schemas.roster.people import Demographics, User, UserProfile
from tests.api.conftest import LearningSystem
from tests.api.rosters.conftest import Tables, Town
from tests.schemas.slow_lens import District, Row, Slow

Json: TypeAlias = dict[str, Any]

SCHOOLS = ["S-1", "s-2"]
LENSES: Mapping[str, Json] = {
    "empty": {},
    "one school": {"schools": SCHOOLS[:1]},
    "two schools": {"schools": SCHOOLS, "fields": ["agents", "demographics"]},
    "roles and grades": {"roles": ["student", "captain"], "grades": ["P1", "J1"]},
    "all of it": {
        "schools": SCHOOLS,
        "roles": ["student", "teacher"],
        "grades": ["P1", "P2", "J1", "j1"],
        "fields": ["demographics"],
    },
    "no enrollments": {"entities": ["classes", "courses", "users"]},
}
VEILED: Json = {"fields": ["agents", "email"], "pseudonyms": ["names", "sourcedIds"]}
MOMENTS = (None, 1, 2)


@dataclass
class Reader:
    """A client behind its lens."""

    town: Town
    lens: Lens
    lms: LearningSystem
    token: str
    root: str = ROOT

    def get(self, path: str, **query: object) -> Result:
        given = "&".join(f"{name}={quote(str(value))}" for name, value in query.items())
        return self.town.hub.get(f"{self.root}/{path}{'?' if given else ''}{given}", self.token)

    def records(self, path: str, **query: object) -> list[Json]:
        answer = self.get(path, limit=10_000, **query)
        assert answer.status_code == 200, answer.text
        ((_, found),) = answer.json.items()
        assert answer.headers["X-Total-Count"] == str(len(found))
        return list(found)

    def ids(self, path: str, **query: object) -> list[str]:
        return [record["sourcedId"] for record in self.records(path, **query)]


def reader(town: Town, lens: Json) -> Reader:
    """A new client with this lens."""
    lms = town.books.client(town.district.tenant_id, lens=Jsonb(lens))
    return Reader(town, Lens.model_validate(lens), lms, lms.token(town.hub))


@pytest.fixture(scope="module")
def canaries(town: Town) -> Town:
    """The town, with a canary in every text that has to be granted and in every name."""
    for entity in (User, UserProfile):
        for column in entity.stored():
            if (column in GROUP_OF or column in NAMES) and not isinstance(column, Refs):
                plant(town, entity, column, GROUP_OF.get(column, "name"))
    plant(town, Demographics, Demographics.city_of_birth, "demographics")
    return town


def plant(town: Town, entity: AnyEntity, column: AnyColumn, kind: str) -> None:
    """Put a canary of this kind into a column of every record, now and before."""
    text = SQL("{} || sourced_id").format(Literal(f"canary.{kind}."))
    if isinstance(column, Pairs):
        text = SQL("array['{{kind:' || {} || '}}']").format(text)
    with town.books.connected("rosterhub_app", town.district.tenant_id) as connection:
        for table in (entity.table, f"{entity.table}_history"):
            connection.execute(
                SQL("update {} set {} = {}").format(
                    Identifier(table), Identifier(column.name), text
                )
            )


@pytest.fixture(scope="module")
def readers(canaries: Town) -> Mapping[str, Reader]:
    return {name: reader(canaries, lens) for name, lens in LENSES.items()}


def history(versions: list[Tables]) -> District:
    """What every record was, from which version on."""
    found: dict[str, dict[str, tuple[tuple[int, Row], ...]]] = {table: {} for table in versions[0]}
    for number, tables in enumerate(versions, start=1):
        for table, rows in tables.items():
            for key, row in rows.items():
                images = found[table].get(key, ())
                if not images or images[-1][1] != row:
                    found[table][key] = (*images, (number, row))
    return found


@pytest.mark.parametrize("name", LENSES)
def test_collections_show_what_a_slow_reader_finds(
    readers: Mapping[str, Reader], name: str
) -> None:
    """Now and at earlier versions, totals included."""
    client = readers[name]
    district = history(client.town.versions)
    for moment in MOMENTS:
        slow = Slow.at(district, client.lens, moment)
        asked = {} if moment is None else {"asOf": moment}
        for operation in COLLECTIONS:
            if operation.conditions:
                continue
            found = client.ids(operation.path, **asked)
            assert found == sorted(slow.sees(operation.entity.table), key=str.encode)


@pytest.mark.parametrize("name", LENSES)
def test_references_show_what_a_slow_reader_finds(readers: Mapping[str, Reader], name: str) -> None:
    """Those of users, which are of every kind: single, listed, in metadata and in parts."""
    client = readers[name]
    slow = Slow.at(history(client.town.versions), client.lens, None)
    for user in client.records("users"):
        key = user["sourcedId"]
        values = slow.values("users", key)
        assert sourced_ids(user.get("agents", [])) == (values["agent_sourced_ids"] or [])
        assert user.get("primaryOrg", {}).get("sourcedId") == values["primary_org_sourced_id"]
        metadata = user.get("metadata", {}).get("jp", {})
        assert metadata.get("homeClass") == values["home_class"]
        held = [role for role in slow.held(slow.rows["users"][key]) if slow.roles(role)]
        shown = sourced_ids(role["org"] for role in user["roles"])
        assert sorted(shown) == sorted(role["org_sourced_id"] for role in held)
    for org in client.records("orgs"):
        assert set(sourced_ids(org.get("children", []))) <= slow.sees("orgs")


def sourced_ids(references: Iterable[Json]) -> list[str]:
    return [reference["sourcedId"] for reference in references]


@pytest.mark.parametrize("name", ["one school", "all of it"])
def test_what_is_invisible_is_not_there_wherever_it_is_named(
    readers: Mapping[str, Reader], name: str
) -> None:
    client = readers[name]
    seen = {entity: set[str]() for entity in ROSTERING}
    for operation in COLLECTIONS:
        seen[operation.entity] |= set(client.ids(operation.path))
    for operation in OPERATIONS:
        for address, named in addresses(operation, client.town):
            answer = client.get(address)
            visible = all(key in seen[entity] for entity, key in named)
            if not visible:
                assert answer.status_code == 404
                assert answer.json == client.get(nowhere(operation)).json
            elif operation.single:
                assert answer.status_code in (200, 404)  # a user may be no student
            elif answer.status_code == 200:
                ids = {record["sourcedId"] for record in client.records(address)}
                assert ids <= seen[operation.entity]
        if not operation.single and not operation.parents:
            for key in keys(client.town, operation.entity) - seen[operation.entity]:
                assert client.ids(operation.path, filter=f"sourcedId='{key}'") == []


def keys(town: Town, entity: AnyEntity) -> set[str]:
    return set(town.versions[-1][entity.table])


def addresses(
    operation: Operation, town: Town
) -> Iterator[tuple[str, list[tuple[AnyEntity, str]]]]:
    """Some addresses of an operation, and what they name."""
    if "{" not in operation.path:
        return
    first = operation.named("sourced_id")
    for number, key in enumerate(sorted(keys(town, first))[::5]):
        named = [(first, key)]
        if "{class_sourced_id}" in operation.path:
            classes = sorted(keys(town, BY_FILE["classes"]))
            named.append((BY_FILE["classes"], classes[number % len(classes)]))
        yield (
            operation.path.format(
                sourced_id=quote(key, safe=""), class_sourced_id=quote(named[-1][1], safe="")
            ),
            named,
        )


def nowhere(operation: Operation) -> str:
    return operation.path.format(sourced_id="nowhere", class_sourced_id="nowhere")


def questions(operation: Operation, client: Reader) -> Iterator[Result]:
    """The ways to ask one collection, those that should not work included."""
    paths = operation.path
    if operation.parents:
        paths = next(
            (a for a, _ in addresses(operation, client.town) if client.get(a).status_code == 200),
            nowhere(operation),
        )
    yield client.get(paths, limit=10_000)
    yield client.get(paths, limit=1, offset=2)
    yield client.get(paths, limit=10_000, asOf=1)
    for path in sorted(concealed(operation.entity, client.lens)):
        yield client.get(paths, filter=f"{path}~'canary'")
        yield client.get(paths, filter=f"{path}!='canary' OR status='active'")
        yield client.get(paths, sort=path, limit=10_000)
        yield client.get(paths, fields=path.partition(".")[0])


def concealed(entity: AnyEntity, lens: Lens) -> set[str]:
    parts = {f"userProfiles.{path}" for path in hidden(UserProfile, lens)}
    own = {*hidden(entity, lens), *disguised(entity, lens)}
    return own | (parts if entity is User else set())


@pytest.mark.parametrize("lacking", [*GROUPS])
def test_no_canary_leaves_without_its_grant(canaries: Town, lacking: str) -> None:
    others = [group for group in GROUPS if group != lacking]
    client = reader(canaries, {"fields": others})
    for operation in OPERATIONS:
        if operation.single or operation.entity not in (User, Demographics):
            continue
        for answer in questions(operation, client):
            assert f"canary.{lacking}" not in answer.text + str(answer.headers)
            assert lacking != "agents" or '"agents"' not in answer.text
    for key in sorted(keys(canaries, User))[::5]:
        for path in (f"users/{key}", f"students/{key}", f"demographics/{key}"):
            assert f"canary.{lacking}" not in client.get(path).text


@pytest.mark.parametrize("operation", OPERATIONS_1P1, ids=lambda operation: operation.id)
def test_no_canary_leaves_by_1_1(
    canaries: Town, first_edition: Reader, operation: Operation
) -> None:
    """Nothing is granted: each way to ask shows what a client may see, and what stays at home."""
    if not operation.single:
        for answer in questions(operation, first_edition):
            assert answer.status_code in (200, 400, 404)
            for group in GROUPS:
                assert f"canary.{group}" not in answer.text + str(answer.headers)
            assert '"agents"' not in answer.text
        return
    for path, _ in addresses(operation, canaries):
        answer = first_edition.get(path)
        assert not any(f"canary.{group}" in answer.text for group in GROUPS)
        assert (answer.status_code == 404) == (operation.entity is Demographics) or (
            operation.path.split("/")[0] != operation.entity.file
        )


@pytest.fixture(scope="module")
def first_edition(canaries: Town) -> Reader:
    """A client that nothing is granted, by OneRoster 1.1."""
    return replace(reader(canaries, {}), root=ONE_ONE.address(SERVICE))


def test_granted_canaries_leave_by_1_1(canaries: Town) -> None:
    """Otherwise the test above could not fail."""
    client = replace(reader(canaries, {"fields": [*GROUPS]}), root=ONE_ONE.address(SERVICE))
    text = client.get("users", limit=1000).text + client.get("demographics", limit=1000).text
    # What agents are called is no text, and what 1.1 does not have is not said.
    assert {*GROUPS} - set(re.findall(r"canary\.(\w+)", text)) == {"agents"}
    assert '"agents"' in text


@pytest.mark.parametrize("name", LENSES)
def test_1_1_shows_the_records_that_1_2_shows(readers: Mapping[str, Reader], name: str) -> None:
    other = replace(readers[name], root=ONE_ONE.address(SERVICE))
    for operation in COLLECTIONS:
        if operation.path not in ("students", "teachers"):  # of one role here, of several there
            assert other.ids(operation.path) == readers[name].ids(operation.path)
    orgs = set(other.ids("orgs"))
    for user in other.records("users"):
        assert set(sourced_ids(user["orgs"])) <= orgs


def test_all_canaries_leave_where_they_are_granted(canaries: Town) -> None:
    """Otherwise the test above could not fail."""
    client = reader(canaries, {"fields": [*GROUPS]})
    text = client.get("users", limit=1000).text + client.get("demographics", limit=1000).text
    assert {*GROUPS} - set(re.findall(r"canary\.(\w+)", text)) == {"agents"}
    assert '"agents"' in text


def test_what_is_hidden_cannot_be_asked_about(canaries: Town) -> None:
    client = reader(canaries, {})
    for path in concealed(User, client.lens):
        name = "agents.sourcedId" if path == "agents" else path
        name = f"{name}.type" if path == "userIds" else name
        assert client.get("users", filter=f"{name}='canary'").status_code == 400, path
        assert client.ids("users", sort=name) == client.ids("users")


def test_a_filter_on_a_reference_that_is_left_out_finds_nobody(
    readers: Mapping[str, Reader],
) -> None:
    """Users of the school whose primary org is another one."""
    client = readers["one school"]
    for other in keys(client.town, BY_FILE["orgs"]) - set(client.ids("orgs")):
        assert client.ids("users", filter=f"primaryOrg.sourcedId='{other}'") == []
        assert client.ids("users", filter=f"roles.org.sourcedId='{other}'") == []


def test_a_changed_lens_is_another_entity_tag(canaries: Town) -> None:
    client = reader(canaries, {})
    tag = client.get("users").headers["ETag"]
    path = f"/api/v1/clients/{client.lms.id}/lens"
    changed = canaries.hub.ask("PUT", path, canaries.district.key, json={"schools": SCHOOLS})
    assert changed.status_code == 200
    again = canaries.hub.get(f"{ROOT}/users", client.token, headers={"If-None-Match": tag})
    assert again.status_code == 200
    assert again.headers["ETag"] != tag


# --- Pseudonyms ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def veiled(canaries: Town) -> Reader:
    return reader(canaries, VEILED)


def words(value: object) -> Iterator[str]:
    """Every text of a JSON value."""
    match value:
        case dict():
            for part in value.values():
                yield from words(part)
        case list():
            for part in value:
                yield from words(part)
        case str():
            yield value


def people(town: Town) -> set[str]:
    tables = ("users", "user_profiles", "enrollments")
    return {key for table in tables for key in town.versions[-1][table]}


@pytest.mark.parametrize("edition", EDITIONS, ids=lambda edition: edition.name)
def test_no_identifier_and_no_name_of_a_person_leaves(veiled: Reader, edition: Edition) -> None:
    veiled = replace(veiled, root=edition.address(SERVICE))
    real = people(veiled.town)
    for operation in OPERATIONS:
        if operation.single or operation.parents:
            continue
        answer = veiled.get(operation.path, limit=10_000)
        said = {part for word in words(answer.json) for part in (word, *re.split("[/:]", word))}
        assert (operation.id, said & (real | {quote(key, safe="") for key in real})) == (
            operation.id,
            set(),
        )
        assert "canary.name" not in answer.text
    assert veiled.records("users")[0]["sourcedId"].startswith("p_")
    assert any(user["email"].endswith("@pseudonym.invalid") for user in veiled.records("users"))


def test_a_pseudonym_names_its_record_in_addresses_and_filters(veiled: Reader) -> None:
    users = {user["sourcedId"]: user for user in veiled.records("users")}
    enrollments = veiled.records("enrollments", filter="status='active'")
    for enrollment in enrollments[:5]:
        user, class_ = enrollment["user"]["sourcedId"], enrollment["class"]["sourcedId"]
        assert veiled.get(f"users/{user}").json == {"user": users[user]}
        assert enrollment["user"]["href"].endswith(f"/users/{user}")
        assert veiled.ids("users", filter=f"sourcedId='{user}'") == [user]
        of_user = veiled.ids("enrollments", filter=f"user.sourcedId='{user}'")
        assert enrollment["sourcedId"] in of_user
        others = veiled.ids("enrollments", filter=f"user.sourcedId!='{user}'")
        assert not set(of_user) & set(others)
        assert class_ in veiled.ids(f"users/{user}/classes")
    parents = [user for user in users.values() if "agents" in user]
    assert {agent["sourcedId"] for user in parents for agent in user["agents"]} <= set(users)


def test_real_identifiers_find_nobody_and_pseudonyms_are_not_compared(veiled: Reader) -> None:
    for key in sorted(keys(veiled.town, User))[::7]:
        assert veiled.get(f"users/{key}").status_code == 404
        assert veiled.get(f"users/{key}/classes").status_code == 404
        assert veiled.ids("users", filter=f"sourcedId='{key}'") == []
    for path in ("givenName~'c'", "sourcedId~'u'", "sourcedId>'u'", "agents.href~'u'"):
        assert veiled.get("users", filter=path).status_code == 400, path
    assert veiled.get("enrollments", filter="user.href~'u'").status_code == 400
    assert veiled.ids("users", sort="familyName") == veiled.ids("users")
    profile = "userProfiles.profileId~'7'"
    assert veiled.get("users", filter=profile).status_code == 400


def test_two_clients_know_one_person_by_two_names(canaries: Town, veiled: Reader) -> None:
    other = reader(canaries, VEILED)
    assert not set(other.ids("users")) & set(veiled.ids("users"))
    (user,) = veiled.ids("users")[:1]
    assert other.get(f"users/{user}").status_code == 404


def test_without_its_sight_a_client_would_be_caught(canaries: Town) -> None:
    """The checks above see a gateway that forgets the lens."""
    get = canaries.mounted("/blind", sight_of=lambda _: EVERYTHING)
    assert "canary.email" in get("users", limit=1000).text
    assert people(canaries) & set(words(json.loads(get("users", limit=1000).text)))

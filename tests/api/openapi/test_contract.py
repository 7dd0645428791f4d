"""Schemathesis against a small district of odd values: our document, and the official one.

A run takes one case of each operation, right and wrong; `ROSTERHUB_CASES=100000` spreads so many
over them, and `ROSTERHUB_SEED` repeats a run or begins another. The gateway is a process of its
own and nothing works for it: what it rings for stays where it is, and nothing leaves this machine.

What makes sense only with things that are there (ids, versions, cursors) is put into most of the
right cases: identifiers come from what earlier cases made, never from what the test itself needs.
"""

import os
import random
import re
import uuid
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeAlias, cast
from urllib.parse import parse_qs, unquote, urlsplit

import orjson
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case as AnyCase
from schemathesis import CheckFunction, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation

from api.rosters.operations import ROOT
from deploy.local.redis import Redis
from pipeline.database import connect
from pipeline.deltas import prepare
from schemas.exports import Wanted
from schemas.secrets import Vault
from schemas.settings import plain
from schemas.tickets import Ticket, issue
from tests.api.conftest import Books, District, Server, secret, serving
from tests.api.rosters.conftest import PUBLISHED, Tables, changed, made, write
from tests.conftest import settings_on
from tests.databases import Shelf

OFFICIAL = Path("/work/shared/reference/openapi/onerosterv1p2rostersservice_openapi3_v1p0.json")
CASES = int(os.environ.get("ROSTERHUB_CASES", "0"))
SEED = int(os.environ.get("ROSTERHUB_SEED", "1"))
FEW = 1
SHARE = 0.8
"""Of the cases that are asked for; the others go to the official document."""
FAULTS = 30
"""Different faults after which a run has told enough."""
KEPT = 30
"""Things of a kind that are remembered, the newest: what is older may be gone."""

WAITS = ("/api/v1/mappings/{entity}/preview",)
"""Waits for a worker, of which there is none."""
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)

Json: TypeAlias = dict[str, Any]
Case: TypeAlias = AnyCase[Any]
Operation: TypeAlias = APIOperation[Any, Any, Any, Any]
Names: TypeAlias = dict[str, str]

load_all_checks()
ALL = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    *("response_headers_conformance", "response_schema_conformance"),
    *("negative_data_rejection", "positive_data_acceptance", "missing_required_header"),
    "allow_header_conformance",
)
FOREIGN = ("not_a_server_error", "content_type_conformance", "response_schema_conformance")
UNFIT = {400, 410, 412, 416, 422}
"""What valid data may meet: rules that no schema can say."""

REFUSED = {410, 411, 412, 413, 414, 431}
"""Refusals that Schemathesis does not count as such."""

TABLES = {
    "schools": "orgs",
    "terms": "academic_sessions",
    "gradingPeriods": "academic_sessions",
    "academicSessions": "academic_sessions",
    "students": "users",
    "teachers": "users",
}
PLACEHOLDER = re.compile(r"\{(\w+)\}")
EVENT_STREAM = "text/event-stream"
OURS = {"authorization", "x-api-key", "x-rosterhub-district"}
"""What says who asks is said by this test."""


@dataclass
class Village:
    """A hub that serves, a district in it with three versions, and what was made there since."""

    server: Server
    district: District
    admin: str
    tables: Tables
    made: dict[str, deque[Names]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=KEPT))
    )
    cursors: dict[str, deque[str]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=KEPT))
    )
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))

    def names_for(self, path: str, wanted: list[str]) -> Names:
        """Identifiers for an address: of something that was made, or of a record."""
        before = path[: path.rindex("{")].rstrip("/")
        if known := self.made.get(before):
            found = self.chance.choice([*known])
            return {name: found[name] for name in wanted if name in found}
        return {name: self._record(path, name) for name in wanted}

    def _record(self, path: str, name: str) -> str:
        """The identifier of a record, or a word that often fits."""
        if name.endswith("ourcedId"):
            plural = path.split(f"/{{{name}}}", maxsplit=1)[0].rpartition("/")[2]
            return self.chance.choice(sorted(self.tables[TABLES.get(plural, plural)]))
        words = {"version": "2", "sourced_id": "u-00", "template": "none", "name": "a"}
        return words.get(name, "users" if name.startswith("entity") else "x")

    def learn(self, templates: Mapping[str, re.Pattern[str]], answer: requests.Response) -> None:
        """Remember what an answer says that it made, and where its list goes on."""
        path = urlsplit(str(answer.request.url)).path
        place = answer.headers.get("Location")
        said = orjson.loads(answer.content) if is_json(answer) and answer.content else None
        if isinstance(said, dict) and answer.request.method == "POST" and "id" in said:
            place = place or f"{path}/{said['id']}"
        if place is not None:
            self.remember(templates, place)
        following = answer.links.get("next", {}).get("url")
        if isinstance(said, dict) and isinstance(said.get("next"), str):
            following = said["next"]
        if following is not None:
            self.cursors[path] += parse_qs(urlsplit(following).query).get("cursor", [])

    def remember(self, templates: Mapping[str, re.Pattern[str]], place: str) -> None:
        """What is at this address, for every operation on it."""
        for template, pattern in templates.items():
            if template.endswith("}") and (match := pattern.fullmatch(place)):
                before = template[: template.rindex("{")].rstrip("/")
                names = {name: unquote(value) for name, value in match.groupdict().items()}
                self.made[before].append(names)


def is_json(answer: requests.Response) -> bool:
    return answer.headers.get("Content-Type", "").partition(";")[0] == "application/json"


def is_stream(answer: schemathesis.Response) -> bool:
    """Events that come one by one: their document says of the whole that it is text."""
    return answer.headers.get("content-type", [""])[0].startswith(EVENT_STREAM)


def pattern_of(path: str) -> re.Pattern[str]:
    """Matches the addresses that a template stands for."""
    return re.compile(PLACEHOLDER.sub(r"(?P<\1>[^/]+)", re.sub(r"[.]", r"\\.", path)))


@dataclass
class Contract:
    """Sends cases to the hub, and holds the answers against a document."""

    village: Village
    root: str = ""
    checks: tuple[str, ...] = ALL
    templates: dict[str, re.Pattern[str]] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    closed: set[str] = field(default_factory=set)
    session: requests.Session = field(default_factory=requests.Session)

    def test(self, case: Case) -> None:
        positive = case.meta is None or case.meta.generation.mode.is_positive
        if positive:
            self.fill(case)
        self.hurry(case)
        answer = self.send(case)
        self.statuses[answer.status_code] += 1
        checks = [
            cast("CheckFunction", CHECKS.get_one(name))
            for name in self.checks
            if not (name == "positive_data_acceptance" and self.may_be_unfit(case, answer))
            if not (name == "negative_data_rejection" and self.was_refused(case, answer))
            if not (name == "response_schema_conformance" and is_stream(answer))
        ]
        case.validate_response(answer, checks=checks)
        if answer.status_code < HTTPStatus.BAD_REQUEST and case.operation.label not in self.closed:
            self.closed.add(case.operation.label)
            self.ask_as_nobody(case)

    def may_be_unfit(self, case: Case, answer: schemathesis.Response) -> bool:
        return answer.status_code in UNFIT or case.operation.path == "/token"

    def was_refused(self, case: Case, answer: schemathesis.Response) -> bool:
        # An upload is any bytes, of which a worker says what is wrong. Of a header, blanks around
        # the value are no part of it, wherever they are taken away.
        upload = case.operation.path == "/api/v1/imports"
        values = [str(value) for value in (case.headers or {}).values()]
        trimmed = any(value != value.strip() for value in values)
        return answer.status_code in REFUSED or upload or trimmed

    def fill(self, case: Case) -> None:
        """Name what is there, mostly."""
        chance, path = self.village.chance, case.operation.path
        if case.path_parameters and chance.random() < 0.8:
            known = self.village.names_for(path, [*case.path_parameters])
            case.path_parameters.update(known)
        query = case.query or {}
        if "cursor" in query and chance.random() < 0.9:
            given = self.village.cursors.get(case.formatted_path)
            query.pop("cursor")
            if given:
                query["cursor"] = chance.choice([*given])
        if "asOf" in query:
            query["asOf"] = chance.choice(["1", "2", "3", PUBLISHED[1]])

    def hurry(self, case: Case) -> None:
        """Wait for nothing."""
        query = case.query or {}
        if str(query.get("wait", "0")).isdigit():
            query.pop("wait", None)

    def send(self, case: Case) -> schemathesis.Response:
        given = case.as_transport_kwargs(base_url=f"{self.village.server.url}{self.root}")
        headers = {n: v for n, v in given.pop("headers", {}).items() if n.lower() not in OURS}
        answer = self.ask(given, headers | self.credentials(case))
        self.village.learn(self.templates, answer)
        return schemathesis.Response.from_requests(answer, verify=False)

    def ask(self, given: Json, headers: Mapping[str, str]) -> requests.Response:
        given = {**given, "headers": headers, "timeout": 30, "allow_redirects": False}
        answer = self.session.request(**given, stream=True)
        if answer.headers.get("Content-Type", "").startswith(EVENT_STREAM):
            # There is no end to wait for: the first event will do.
            answer._content = next(answer.iter_content(1 << 16), b"")  # noqa: SLF001
            answer.close()
        answer.content  # noqa: B018 -- reads it to its end
        return answer

    def credentials(self, case: Case) -> dict[str, str]:
        ways = case.operation.definition.raw.get("security", [])
        administrator = {"Authorization": f"Bearer {self.village.admin}"}
        if ways and not self.root:
            if all("District" in way for way in ways):
                return {**administrator, "X-RosterHub-District": self.village.district.id}
            if ways == [{"Key": []}, {"KeyHeader": []}]:
                return administrator
        return {"Authorization": f"Bearer {self.village.district.key}"}

    def ask_as_nobody(self, case: Case) -> None:
        """The same without a credential, or with one that is none."""
        if self.root or "Key" not in str(case.operation.definition.raw.get("security")):
            return
        given = case.as_transport_kwargs(base_url=self.village.server.url)
        headers = {n: v for n, v in given.pop("headers", {}).items() if n.lower() not in OURS}
        for credential in ({}, {"Authorization": "Bearer nobody"}, {"X-API-Key": "nobody"}):
            answer = self.ask(given, headers | credential)
            assert answer.status_code == HTTPStatus.UNAUTHORIZED, f"{case.operation.label} is open"


@pytest.fixture(scope="module")
def village(
    shelf: Shelf, redis: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Village]:
    """A hub that counts no requests, or most would be refused for being too many."""
    folder = tmp_path_factory.mktemp("village")
    with shelf.lent() as url:
        asked = settings_on(url, redis.url, folder).model_copy(update={"rate_limit": 10_000_000})
        vault = Vault(secret(asked))
        with Books(plain(asked.database_url), vault) as books, serving(asked, folder) as serve:
            district = books.district("north")
            versions = [made(1), changed(made(1), 2), changed(changed(made(1), 2), 3)]
            write(books, district.tenant_id, versions)
            with connect(url) as db:
                assert prepare(db, vault, district.tenant_id)
            found = Village(serve(), district, books.admin_key(), versions[-1])
            found.made["/api/v1/imports"].append({"run_id": books.run(district.tenant_id)})
            package = exported(books, district, folder / "objects")
            found.made["/api/v1/exports"].append({"export_id": str(package)})
            ticket = Ticket(district.tenant_id, package, datetime.now(UTC) + timedelta(days=2))
            found.made["/api/v1/downloads"].append({"ticket": issue(vault, ticket)})
            yield found


def exported(books: Books, district: District, store: Path) -> uuid.UUID:
    """An export as a worker would have left it."""
    export, content = uuid.uuid4(), b"PK of a package"
    store.mkdir(parents=True, exist_ok=True)
    (store / "package").write_bytes(content)
    with books.connected("rosterhub_app", district.tenant_id) as db:
        db.execute(
            "insert into exports (tenant_id, id, state, wanted, created_by, finished_at, version,"
            " name, object_key, bytes, sha256)"
            " values (%s, %s, 'completed', %s, 'test', now(), 3, 'RO.zip', 'package', %s,"
            " sha256(%s))",
            [district.tenant_id, export, Wanted().model_dump_json(), len(content), content],
        )
    return export


def operations(document: Json) -> list[Operation]:
    schema = schemathesis.openapi.from_dict(document)
    schema.config.generation.update(with_security_parameters=False)
    results = [*schema.get_all_operations()]
    found = [result.ok() for result in results if isinstance(result, Ok)]
    assert len(found) == len(results)
    return [each for each in found if each.path not in WAITS]


def try_all(tester: Contract, found: list[Operation], share: float) -> None:
    """Every operation in both modes, in rounds: what one makes, others find in the next."""
    tester.templates = {each.path: pattern_of(each.path) for each in found}
    wanted = [
        (number, operation, mode)
        for number, operation in enumerate(found)
        for mode in MODES
        if mode is GenerationMode.POSITIVE or can_be_wrong(operation)
    ]
    each = max(FEW, int(CASES * share / len(wanted)))
    faults: dict[tuple[str, str], str] = {}
    for number, operation, mode in wanted:
        try:
            run_cases(tester, operation, mode, each, number)
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE  # nothing that is sent can be wrong
        except (AssertionError, BaseExceptionGroup) as error:
            faults[operation.label, mode.value] = told(error)
            if len(faults) == FAULTS:
                break
    asked, said = sum(tester.statuses.values()), dict(sorted(tester.statuses.items()))
    print(f"\n{asked} cases of {len(found)} operations, ROSTERHUB_SEED={SEED}: {said}")  # noqa: T201
    told_all = "\n\n".join(f"{' '.join(name)}\n{text}" for name, text in faults.items())
    assert not faults, f"{len(faults)} operations, ROSTERHUB_SEED={SEED}:\n{told_all}"


def told(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "\n".join(map(told, error.exceptions))
    return str(error)[:1500]


def can_be_wrong(operation: Operation) -> bool:
    """Whether anything that is sent has a form: as an identifier any text is right."""
    said = operation.definition.raw
    forms = [each.get("schema", {}) for each in said.get("parameters", [])]
    return "requestBody" in said or any(form.keys() - {"type", "minLength"} for form in forms)


def run_cases(
    tester: Contract, operation: Operation, mode: GenerationMode, most: int, number: int
) -> None:
    @seed(SEED * 10_000 + number)
    @settings(
        max_examples=most,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=[*HealthCheck],
    )
    @given(operation.as_strategy(generation_mode=mode))
    def each(case: Case) -> None:
        tester.test(case)

    each()


def test_our_document_is_kept_in_every_answer(village: Village) -> None:
    document = requests.get(f"{village.server.url}/openapi.json", timeout=20).json()
    try_all(Contract(village), operations(document), SHARE)


@pytest.mark.skipif(not OFFICIAL.exists(), reason="the official documents are not here")
def test_the_official_document_is_kept_in_every_answer(village: Village) -> None:
    """But for two things that it wants of every answer, and that it cannot have of some.

    What a client asks away with `fields`, and the role of a user who has none.
    """
    document = orjson.loads(OFFICIAL.read_bytes())
    del document["components"]["schemas"]["UserDType"]["properties"]["roles"]["minItems"]
    for methods in document["paths"].values():
        for said in methods.values():
            said["parameters"] = [p for p in said["parameters"] if p.get("name") != "fields"]
    try_all(Contract(village, ROOT, FOREIGN), operations(document), 1 - SHARE)

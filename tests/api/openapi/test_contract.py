"""Schemathesis against a small district of odd values: our document, and the official one.

A run takes one case of each operation, right and wrong; `ROSTERHUB_CASES=100000` spreads so many
over them, and `ROSTERHUB_SEED` repeats a run or begins another.

What makes sense only with things that are there (ids, versions, cursors) is put into most of the
right cases: identifiers come from what earlier cases made, never from what the test itself needs.

All checks but those that Schemathesis makes of its own walks: whether nobody gets in is asked here
(`ask_as_nobody`) and in test_tenants.py, other methods in test_errors.py, and what is deleted is
looked for in the tests of what it was.
"""

import base64
import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeAlias, cast

import orjson
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy
from schemathesis import Case as AnyCase
from schemathesis import CheckFunction, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation

from api.errors import TOKEN
from api.rosters.operations import ROOT
from schemas.scopes import CLIENT_SCOPES
from tests.api.conftest import OFFICIAL
from tests.api.openapi.conftest import SEED, Json, Village, pattern_of
from tests.api.rosters.conftest import PUBLISHED

CASES = int(os.environ.get("ROSTERHUB_CASES", "0"))
FEW = 1
SHARE = 0.8
"""Of the cases that are asked for; the others go to the official document."""
ROUND = 25
"""Cases of an operation until the others have their turn: what one makes, others find."""
FAULTS = 30
"""Different faults after which a run has told enough."""
WAITS = ("/api/v1/mappings/{entity}/preview",)
"""Waits for a worker, of which there is none."""
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)

Case: TypeAlias = AnyCase[Any]
Operation: TypeAlias = APIOperation[Any, Any, Any, Any]

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

FITTING: Mapping[str, object] = {
    "url": "https://hooks.example.org/rosters",
    "cron": "30 2 * * *",
    "time_zone": "Asia/Tokyo",
    "client": None,
    "networks": [],
    "schools": ["d-1"],
    "events": None,
    "export": {},
}
"""What is well-formed and means something: no schema says which words are known."""
ITS_OWN = {"id": "town", "name": "name", "label": "label"}
"""What has to be another each time."""
CONDITIONS = ("If-None-Match", "If-Match", "If-Range")
MAPPINGS = ("/api/v1/mappings/{entity}", "/ims/oneroster/v1p2/mappings/{entity_type}")
EVENT_STREAM = "text/event-stream"
OURS = {"authorization", "x-api-key", "x-rosterhub-district"}
"""What says who asks is said by this test."""


def is_stream(answer: schemathesis.Response) -> bool:
    """Events that come one by one: their document says of the whole that it is text."""
    return answer.headers.get("content-type", [""])[0].startswith(EVENT_STREAM)


@dataclass
class Contract:
    """Sends cases to the hub, and holds the answers against a document."""

    village: Village
    root: str = ""
    checks: tuple[str, ...] = ALL
    templates: dict[str, re.Pattern[str]] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    right: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    number: int = 0
    closed: set[str] = field(default_factory=set)
    session: requests.Session = field(default_factory=requests.Session)

    def test(self, case: Case) -> None:
        positive = case.meta is None or case.meta.generation.mode.is_positive
        if positive:
            self.fill(case)
        self.hurry(case)
        answer = self.send(case)
        self.statuses[answer.status_code] += 1
        if positive:
            self.right[case.operation.label][answer.status_code] += 1
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
        if chance.random() < 0.8:
            self.fit(case)
        query = case.query or {}
        if "cursor" in query and chance.random() < 0.9:
            given = self.village.cursors.get(case.formatted_path)
            query.pop("cursor")
            if given:
                query["cursor"] = chance.choice([*given])
        if "sourcedId" in query:
            query |= {"entity": "users", "sourcedId": "u-00"}
        if (tag := self.village.tags.get(case.formatted_path)) and chance.random() < 0.5:
            case.headers.update({n: tag for n in CONDITIONS if n in case.headers})
        if "asOf" in query:
            query["asOf"] = chance.choice(["1", "2", "3", PUBLISHED[1]])

    def fit(self, case: Case) -> None:
        """Say what is understood, where the body would mean nothing."""
        body = case.body
        if case.operation.path == TOKEN:
            case.body = {"grant_type": "client_credentials", "scope": CLIENT_SCOPES[0]}
        elif case.operation.path in MAPPINGS and case.method == "PUT":
            key = {"Authorization": f"Bearer {self.village.district.key}"}
            address = f"{self.village.server.url}/api/v1/mappings/users"
            case.body = cast("Json", self.session.get(address, headers=key).json()["mapping"])
        elif isinstance(body, dict):
            self.number += 1
            known = {**FITTING, **{n: f"{word}-{self.number}" for n, word in ITS_OWN.items()}}
            for name in body.keys() & known.keys():
                body[name] = cast("Json", known[name])

    def hurry(self, case: Case) -> None:
        """Wait for nothing."""
        query = case.query or {}
        if re.fullmatch("[0-9]{1,2}", str(query.get("wait"))):
            query.pop("wait")

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
            answer._content = next(answer.iter_content(1 << 16), b"")  # noqa: SLF001  # as reading it does
            answer.close()
        answer.content  # noqa: B018 -- reads it to its end
        return answer

    def credentials(self, case: Case) -> dict[str, str]:
        ways = case.operation.definition.raw.get("security", [])
        if case.operation.path == TOKEN:
            client = self.village.client
            basic = base64.b64encode(f"{client.id}:{client.secret}".encode()).decode()
            return {"Authorization": f"Basic {basic}"}
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


def operations(document: Json) -> list[Operation]:
    schema = schemathesis.openapi.from_dict(document)
    schema.config.generation.update(with_security_parameters=False)
    results = [*schema.get_all_operations()]
    found = [result.ok() for result in results if isinstance(result, Ok)]
    assert len(found) == len(results)
    return [each for each in found if each.path not in WAITS]


@dataclass(frozen=True)
class Turn:
    """An operation that is asked rightly, or wrongly."""

    number: int
    operation: Operation
    mode: GenerationMode
    strategy: SearchStrategy[Case]

    @property
    def name(self) -> str:
        return f"{self.operation.label} {self.mode.value}"

    @property
    def place(self) -> int:
        """Deletions come behind everything else, what belongs to something before that."""
        deletes = self.operation.method.lower() == "delete"
        return 1000 - len(self.operation.path) if deletes else 0


def turns(found: list[Operation]) -> list[Turn]:
    """Every operation in both modes."""
    wanted = [
        Turn(number, operation, mode, operation.as_strategy(generation_mode=mode))
        for number, operation in enumerate(found)
        for mode in MODES
        if mode is GenerationMode.POSITIVE or can_be_wrong(operation)
    ]
    return sorted(wanted, key=lambda turn: turn.place)


def try_all(tester: Contract, found: list[Operation], share: float) -> None:
    """Everybody's turn, in rounds."""
    tester.templates = {each.path: pattern_of(each.path) for each in found}
    wanted = turns(found)
    each = max(FEW, int(CASES * share / len(wanted)))
    rounds = max(1, each // ROUND)
    faults: dict[str, str] = {}
    for place in range(rounds):
        for turn in wanted:
            if turn.name not in faults and len(faults) < FAULTS:
                faults |= fault(tester, turn, each // rounds, place)
        sent, said = sum(tester.statuses.values()), dict(sorted(tester.statuses.items()))
        tell(f"{sent} cases of {len(found)} operations, ROSTERHUB_SEED={SEED}: {said}")
    for label, statuses in tester.right.items():
        if CASES and min(statuses) >= HTTPStatus.BAD_REQUEST:
            tell(f"never accepted: {label} {dict(statuses)}")
    text = "\n\n".join(f"{name}\n{text}" for name, text in faults.items())
    assert not faults, f"{len(faults)} faults, ROSTERHUB_SEED={SEED}:\n{text}"


def tell(text: str) -> None:
    print(f"\n{text}", flush=True)  # noqa: T201 -- how a long run goes


def fault(tester: Contract, turn: Turn, most: int, place: int) -> dict[str, str]:
    """What is wrong with an answer, if anything is."""
    try:
        run_cases(tester, turn, most, turn.number * 1000 + place)
    except Unsatisfiable:
        assert turn.mode is GenerationMode.NEGATIVE  # nothing that is sent can be wrong
    except (AssertionError, BaseExceptionGroup, requests.RequestException) as error:
        tell(f"{turn.name}\n{told(error)}")
        return {turn.name: told(error)}
    return {}


def told(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "\n".join(map(told, error.exceptions))
    return str(error)[:1500]


def can_be_wrong(operation: Operation) -> bool:
    """Whether anything that is sent has a form: as an identifier any text is right."""
    said = operation.definition.raw
    forms = [each.get("schema", {}) for each in said.get("parameters", [])]
    return "requestBody" in said or any(form.keys() - {"type", "minLength"} for form in forms)


def run_cases(tester: Contract, turn: Turn, most: int, number: int) -> None:
    @seed(SEED * 1_000_000_000 + number)
    @settings(
        max_examples=most,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=[*HealthCheck],
    )
    @given(turn.strategy)
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

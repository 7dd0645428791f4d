"""Schemathesis against a small district of odd values: our documents, and the official one.

A run takes a few cases of each operation; `ROSTERHUB_CASES=100000` spreads so many over them. What
makes sense only with things that are there (ids, versions) is put into a part of the cases. Streams
have no end and previews wait for a worker: they are looked at elsewhere.
"""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast

import orjson
import pytest
import requests
import schemathesis
import structlog
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from pydantic import SecretStr
from schemathesis import Case as AnyCase
from schemathesis import CheckFunction, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation

from api.app import create_gateway
from api.database import Database
from api.redis import client
from api.rosters.operations import ROOT
from deploy.local.redis import Redis
from schemas.secrets import Vault
from schemas.settings import Settings
from tests.api.conftest import Client
from tests.api.rosters.conftest import PUBLISHED, SECRET, Town

OFFICIAL = Path("/work/shared/reference/openapi/onerosterv1p2rostersservice_openapi3_v1p0.json")
CASES = int(os.environ.get("ROSTERHUB_CASES", "0"))
FEW = 2
SENT_TO = "http://hub"
ELSEWHERE = ("/events", "/preview")
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)

log = structlog.get_logger()
Case: TypeAlias = AnyCase[Any]
Operation: TypeAlias = APIOperation[Any, Any, Any, Any]

load_all_checks()
ALL = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    *("response_headers_conformance", "response_schema_conformance"),
    *("negative_data_rejection", "positive_data_acceptance", "missing_required_header"),
)
FOREIGN = ("not_a_server_error", "content_type_conformance", "response_schema_conformance")
UNFIT = {400, 410, 412, 422}
"""What valid data may meet under /api/v1: rules that no schema can say."""

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


@dataclass
class Contract:
    """Sends cases to the hub in this process, and holds the answers against a document."""

    town: Town
    admin: str
    run: str
    root: str = ""
    checks: tuple[str, ...] = ALL
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    sent: int = 0
    statuses: dict[int, int] = field(default_factory=dict)

    def test(self, case: Case) -> None:
        positive = case.meta is None or case.meta.generation.mode.is_positive
        if positive:
            self.fill(case)
        answer = self.send(case)
        self.sent += 1
        self.statuses[answer.status_code] = self.statuses.get(answer.status_code, 0) + 1
        checks = [
            cast("CheckFunction", CHECKS.get_one(name))
            for name in self.checks
            if not (name == "positive_data_acceptance" and self.may_be_unfit(case, answer))
            if not (name == "negative_data_rejection" and self.was_refused(case, answer))
        ]
        case.validate_response(answer, checks=checks)

    def may_be_unfit(self, case: Case, answer: schemathesis.Response) -> bool:
        return case.operation.path.startswith(("/api/", "/token", "/ims/oneroster/v1p2")) and (
            answer.status_code in UNFIT or case.operation.path == "/token"
        )

    def was_refused(self, case: Case, answer: schemathesis.Response) -> bool:
        # An upload is any bytes, of which a worker says what is wrong. Of a header, blanks around
        # the value are no part of it, wherever they are taken away.
        upload = case.operation.path == "/api/v1/imports"
        values = [str(value) for value in (case.headers or {}).values()]
        trimmed = any(value != value.strip() for value in values)
        return answer.status_code in REFUSED or upload or trimmed

    def fill(self, case: Case) -> None:
        """Name what is there, mostly."""
        for name in case.path_parameters:
            if self.chance.random() < 0.7:
                case.path_parameters[name] = self.known(case.operation.path, name)
        query = case.query or {}
        query.pop("cursor", None)
        if "asOf" in query:
            query["asOf"] = self.chance.choice(["1", "2", "3", PUBLISHED[1]])

    def known(self, path: str, name: str) -> str:
        town = self.town.versions[-1]
        if name.endswith("ourcedId"):
            plural = path.split(f"/{{{name}}}", maxsplit=1)[0].rpartition("/")[2]
            return self.chance.choice(sorted(town[TABLES.get(plural, plural)]))
        return {
            "run_id": self.run,
            "entity": "users",
            "entity_type": "users",
            "version": "2",
            "sourced_id": "u-00",
            "template": "none",
        }.get(name, "x")

    def send(self, case: Case) -> schemathesis.Response:
        given = case.as_transport_kwargs(base_url=f"{SENT_TO}{self.root}")
        names = ("method", "url", "headers", "params", "data", "json", "files", "cookies")
        asked = requests.Request(**{n: v for n, v in given.items() if n in names}).prepare()
        headers = {n: v for n, v in asked.headers.items() if n.lower() not in DROPPED}
        headers |= self.credentials(case)
        path = asked.path_url.partition("#")[0]
        body = asked.body.encode() if isinstance(asked.body, str) else asked.body
        found = self.town.hub.ask(asked.method or "GET", path, body=body, headers=headers)
        return schemathesis.Response(
            status_code=found.status_code,
            headers={name.lower(): [value] for name, value in found.headers.items()},
            content=found.content,
            request=asked,
            elapsed=0.0,
            verify=False,
        )

    def credentials(self, case: Case) -> dict[str, str]:
        ways = case.operation.definition.raw.get("security", [])
        if all("District" not in way for way in ways) and not self.root:
            return {"Authorization": f"Bearer {self.admin}"}
        if all("District" in way for way in ways) and ways:
            return {
                "Authorization": f"Bearer {self.admin}",
                "X-RosterHub-District": self.town.district.id,
            }
        return {"Authorization": f"Bearer {self.town.district.key}"}


DROPPED = {"authorization", "x-api-key", "x-rosterhub-district", "accept-encoding"}


@pytest.fixture(scope="module")
def module_hub(
    module_database: Database, redis: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    """A hub that counts no requests, or most would be refused for being too many."""
    gateway = create_gateway(
        Settings(
            object_store=str(tmp_path_factory.mktemp("objects")),
            secret_key=SecretStr(SECRET),
            public_url="https://hub.example.org/",
            rate_limit=10_000_000,
        ),
        vault=Vault(SECRET),
        database=module_database,
        redis=client(redis.url),
        ring=lambda _: True,
    )
    with Client(gateway.app) as hub:
        yield hub


@pytest.fixture(scope="module")
def tester(town: Town) -> Contract:
    books = town.books
    return Contract(town, books.admin_key(), books.run(town.district.tenant_id))


def operations(document: dict[str, Any]) -> list[Operation]:
    schema = schemathesis.openapi.from_dict(document)
    schema.config.generation.update(with_security_parameters=False)
    results = [*schema.get_all_operations()]
    found = [result.ok() for result in results if isinstance(result, Ok)]
    assert len(found) == len(results)
    return [each for each in found if not each.path.endswith(ELSEWHERE)]


def try_all(tester: Contract, found: list[Operation], share: float) -> None:
    """Every operation in both modes; `share` of the cases that were asked for."""
    each = max(FEW, int(CASES * share / len(found) / len(MODES)))
    faults = []
    for number, operation in enumerate(found):
        for mode in MODES:
            if mode is GenerationMode.NEGATIVE and not can_be_wrong(operation):
                continue
            try:
                run_cases(tester, operation, mode, each, number)
            except Unsatisfiable:
                assert mode is GenerationMode.NEGATIVE  # nothing that is sent can be wrong
            except (AssertionError, BaseExceptionGroup) as error:
                faults.append(f"{operation.label} {mode.value}\n{told(error)}")
    log.info("contract", cases=tester.sent, statuses=dict(sorted(tester.statuses.items())))
    assert not faults, f"{len(faults)} operations:\n" + "\n\n".join(faults)


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
    @seed(number)
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


def test_our_document_is_kept_in_every_answer(tester: Contract, module_hub: Client) -> None:
    try_all(tester, operations(module_hub.get("/openapi.json").json), 0.5)


@pytest.mark.skipif(not OFFICIAL.exists(), reason="the official documents are not here")
def test_the_official_document_is_kept_in_every_answer(tester: Contract) -> None:
    """But for two things that it wants of every answer, and that it cannot have of some.

    What a client asks away with `fields`, and the role of a user who has none.
    """
    document = orjson.loads(OFFICIAL.read_bytes())
    del document["components"]["schemas"]["UserDType"]["properties"]["roles"]["minItems"]
    for methods in document["paths"].values():
        for said in methods.values():
            said["parameters"] = [p for p in said["parameters"] if p.get("name") != "fields"]
    official = Contract(tester.town, tester.admin, tester.run, ROOT, FOREIGN)
    try_all(official, operations(document), 0.5)

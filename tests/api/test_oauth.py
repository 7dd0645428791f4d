"""Tokens for clients: what is asked, what is given, and when it ends."""

import base64
from collections.abc import Callable
from urllib.parse import quote, urlencode

import jwt
import psycopg
import pytest
from falcon.testing import Result

from schemas.scopes import CORE, CORE_1P1, DEMOGRAPHICS, ROSTER
from schemas.secrets import Vault, new_key
from schemas.settings import Settings
from tests.api.conftest import Books, Client, District, LearningSystem, secret

TOKEN = "/token"
ORGS = "/ims/oneroster/rostering/v1p2/orgs"
DEMOGRAPHICS_PATH = "/ims/oneroster/rostering/v1p2/demographics"
CLIENTS = "/api/v1/clients"
FORM = "application/x-www-form-urlencoded"
GRANT = "grant_type=client_credentials"


@pytest.fixture
def lms(books: Books, north: District) -> LearningSystem:
    return books.client(north.tenant_id)


def basic(client: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{client}:{password}".encode()).decode()


def test_a_token_is_given_as_the_standard_says(hub: Client, lms: LearningSystem) -> None:
    answer = lms.asks(hub, CORE, "https://example.org/unknown", ROSTER, CORE)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json;charset=UTF-8"
    assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")
    said = answer.json
    assert list(said) == ["access_token", "token_type", "expires_in", "scope"]
    assert (said["token_type"], said["expires_in"]) == ("bearer", 3600)
    assert said["scope"] == f"{CORE} {ROSTER}"
    assert hub.get(ORGS, said["access_token"]).status_code == 200


def test_a_token_says_what_rfc_9068_wants_and_nothing_of_a_secret(
    hub: Client, lms: LearningSystem, north: District
) -> None:
    token = lms.token(hub, CORE)
    header = jwt.get_unverified_header(token)
    assert (header["typ"], header["alg"]) == ("at+jwt", "HS256")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["iss"] == claims["aud"] == "https://hub.example.org"
    assert claims["sub"] == claims["client_id"] == lms.id
    assert (claims["tenant"], claims["scope"]) == (north.tenant_id, CORE)
    assert 0 < claims["exp"] - claims["iat"] <= 3600
    assert claims["jti"] != jwt.decode(lms.token(hub), options={"verify_signature": False})["jti"]
    assert lms.secret.split("_")[3] not in str(claims)


GRANTS: list[tuple[list[str], list[str], list[str] | None]] = [
    ([ROSTER], [CORE], [CORE]),  # what opens everything opens the core
    ([CORE], [ROSTER, CORE], [CORE]),
    ([CORE, CORE_1P1], [CORE_1P1], [CORE_1P1]),
    ([ROSTER], [DEMOGRAPHICS], None),
    ([ROSTER], ["roster.read"], None),
    ([ROSTER], [ROSTER[:-1]], None),
    ([ROSTER], [], None),
]


def test_granted_is_what_was_asked_for_and_is_owned(
    hub: Client, books: Books, north: District
) -> None:
    for owned, asked, given in GRANTS:
        answer = books.client(north.tenant_id, scopes=owned).asks(hub, *asked)
        if given is None:
            assert (answer.status_code, answer.json["error"]) == (400, "invalid_scope")
        else:
            assert answer.json["scope"] == " ".join(given)


REFUSALS: list[tuple[str, dict[str, str], str, str]] = [
    ("no grant", {}, "scope=x", "invalid_request"),
    ("another grant", {}, "grant_type=password&scope=x", "unsupported_grant_type"),
    ("twice", {}, f"{GRANT}&{GRANT}", "invalid_request"),
    ("no form", {"Content-Type": "application/json"}, "{}", "invalid_request"),
    ("no text", {}, f"{GRANT}&scope=%FF", "invalid_request"),
    ("many fields", {}, "&".join(f"f{n}=1" for n in range(17)), "invalid_request"),
    ("nobody", {"Authorization": ""}, GRANT, "invalid_client"),
    ("no base64", {"Authorization": "Basic ???"}, GRANT, "invalid_client"),
    ("no colon", {"Authorization": "Basic eA=="}, GRANT, "invalid_client"),
    ("bearer", {"Authorization": "Bearer x"}, GRANT, "invalid_client"),
    ("unknown", {"Authorization": basic("x", str(new_key("secret")))}, GRANT, "invalid_client"),
    ("nul", {"Authorization": basic("\0", str(new_key("secret")))}, GRANT, "invalid_client"),
    ("key", {"Authorization": basic("x", str(new_key("live")))}, GRANT, "invalid_client"),
]


def test_a_refusal_speaks_rfc_6749(hub: Client, lms: LearningSystem) -> None:
    usual = {"Authorization": basic(lms.id, lms.secret), "Content-Type": FORM}
    for name, headers, body, error in REFUSALS:
        answer = hub.post(TOKEN, body=body.encode(), headers=usual | headers)
        assert (answer.status_code, answer.json["error"]) == (400, error), name
        assert set(answer.json) == {"error", "error_description"}
        assert answer.headers["Content-Type"] == "application/json;charset=UTF-8"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Pragma"] == "no-cache"


def test_what_is_no_question_for_a_token_is_refused_in_the_same_words(hub: Client) -> None:
    large = hub.post(TOKEN, body=b"x" * 20_000, headers={"Content-Type": FORM})
    assert (large.status_code, large.json["error"]) == (413, "invalid_request")
    wrong = hub.get(TOKEN)
    assert (wrong.status_code, wrong.json["error"]) == (405, "invalid_request")


def test_the_secret_of_another_client_or_of_the_past_is_refused(
    hub: Client, books: Books, north: District, lms: LearningSystem
) -> None:
    other = books.client(north.tenant_id)
    mixed = LearningSystem(lms.id, other.secret)
    assert mixed.asks(hub, CORE).json["error"] == "invalid_client"
    encoded = LearningSystem(quote(lms.id), lms.secret.replace("_", "%5F"))
    assert encoded.asks(hub, CORE).status_code == 200  # RFC 6749, 2.3.1
    token = lms.token(hub)
    with psycopg.connect(books.url) as superuser:
        superuser.execute("update rosterhub.client_secrets set expires_at = now()")
    assert lms.asks(hub, CORE).json["error"] == "invalid_client"
    assert hub.get(ORGS, token).status_code == 401


def test_credentials_in_the_body_are_taken_where_that_is_switched_on(
    open_hub: Callable[..., Client], database_url: str, hub: Client, lms: LearningSystem
) -> None:
    form = urlencode({"client_id": lms.id, "client_secret": lms.secret, "scope": CORE})
    body = f"{GRANT}&{form}".encode()
    assert hub.post(TOKEN, body=body, headers={"Content-Type": FORM}).json["error"] == (
        "invalid_client"
    )
    with open_hub(database_url, token_in_body=True) as other:
        assert other.post(TOKEN, body=body, headers={"Content-Type": FORM}).status_code == 200
        both = {"Content-Type": FORM, "Authorization": basic(lms.id, lms.secret)}
        answer = other.post(TOKEN, body=body, headers=both)
        assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")


def test_who_checks_for_401_can_have_it(
    open_hub: Callable[..., Client], database_url: str, lms: LearningSystem
) -> None:
    with open_hub(database_url, token_refusal=401) as hub:
        refused = LearningSystem(lms.id, str(new_key("secret"))).asks(hub, CORE)
        assert (refused.status_code, refused.json["error"]) == (401, "invalid_client")
        assert refused.headers["WWW-Authenticate"] == "Basic"
        assert lms.asks(hub, "x").status_code == 400


def test_a_token_reads_by_its_scopes_and_by_what_its_client_still_has(
    hub: Client, books: Books, north: District, admin: str
) -> None:
    lms = books.client(north.tenant_id, scopes=[ROSTER, DEMOGRAPHICS])
    everything, roster = lms.token(hub), lms.token(hub, ROSTER)
    assert hub.get(DEMOGRAPHICS_PATH, everything).status_code == 200
    refused = hub.get(DEMOGRAPHICS_PATH, roster)
    assert refused.status_code == 403
    minor = refused.json["imsx_CodeMinor"]["imsx_codeMinorField"][0]
    assert minor["imsx_codeMinorFieldValue"] == "forbidden"
    named = {"X-RosterHub-District": "north"}
    less = hub.ask("PATCH", f"{CLIENTS}/{lms.id}", admin, json={"scopes": [ROSTER]}, headers=named)
    assert less.status_code == 200
    assert hub.get(DEMOGRAPHICS_PATH, everything).status_code == 403
    assert hub.get(ORGS, everything).status_code == 200


class TestTheEnd:
    """Each of these ends tokens with the next request, not when they expire."""

    @staticmethod
    def ask(hub: Client, key: str, method: str, path: str, **body: object) -> Result:
        return hub.ask(method, f"{CLIENTS}/{path}", key, json=body or None)

    def test_of_a_disabled_client_also_when_it_is_enabled_again(
        self, hub: Client, north: District, lms: LearningSystem
    ) -> None:
        token = lms.token(hub)
        assert self.ask(hub, north.key, "PATCH", lms.id, enabled=False).json["enabled"] is False
        assert hub.get(ORGS, token).status_code == 401
        assert lms.asks(hub, CORE).json["error"] == "invalid_client"
        self.ask(hub, north.key, "PATCH", lms.id, enabled=True)
        assert hub.get(ORGS, token).status_code == 401
        assert hub.get(ORGS, lms.token(hub)).status_code == 200

    def test_of_a_deleted_client_with_its_keys(
        self, hub: Client, north: District, lms: LearningSystem
    ) -> None:
        token = lms.token(hub)
        key = self.ask(hub, north.key, "POST", f"{lms.id}/keys", label="a").json["key"]
        assert [hub.get(ORGS, each).status_code for each in (token, key)] == [200, 200]
        assert self.ask(hub, north.key, "DELETE", lms.id).status_code == 204
        assert [hub.get(ORGS, each).status_code for each in (token, key)] == [401, 401]
        assert lms.asks(hub, CORE).json["error"] == "invalid_client"

    def test_of_a_revoked_secret_while_the_new_one_goes_on(
        self, hub: Client, north: District, lms: LearningSystem
    ) -> None:
        old = lms.token(hub)
        made = self.ask(hub, north.key, "POST", f"{lms.id}/secrets", expires_in_days=1).json
        new = LearningSystem(lms.id, made["client_secret"]).token(hub)
        assert [hub.get(ORGS, each).status_code for each in (old, new)] == [200, 200]
        assert self.ask(hub, north.key, "POST", f"{lms.id}/secrets", expires_in_days=1).json[
            "code"
        ] == ("two_live")
        old_id = lms.secret.split("_")[2]
        assert self.ask(hub, north.key, "DELETE", f"{lms.id}/secrets/{old_id}").status_code == 204
        assert [hub.get(ORGS, each).status_code for each in (old, new)] == [401, 200]
        assert lms.asks(hub, CORE).json["error"] == "invalid_client"

    def test_of_a_deleted_district(
        self, hub: Client, admin: str, north: District, lms: LearningSystem
    ) -> None:
        token = lms.token(hub)
        assert hub.delete(f"/api/v1/districts/{north.id}", admin).status_code == 202
        assert hub.get(ORGS, token).status_code == 401
        assert lms.asks(hub, CORE).json["error"] == "invalid_client"


def test_an_older_secret_of_the_installation_still_verifies_tokens(  # noqa: PLR0917 -- fixtures
    open_hub: Callable[..., Client],
    database_url: str,
    hub: Client,
    settings: Settings,
    lms: LearningSystem,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    token = lms.token(hub)
    both = f"a new secret in front of the others,{secret(settings)}"
    monkeypatch.setattr("tests.api.conftest.Vault", lambda _: Vault(both))
    with open_hub(database_url) as rotated:
        assert rotated.get(ORGS, token).status_code == 200
        newer = lms.token(rotated)
        assert hub.get(ORGS, newer).status_code == 401
    monkeypatch.setattr("tests.api.conftest.Vault", lambda _: Vault(both.partition(",")[0]))
    with open_hub(database_url) as without:
        assert without.get(ORGS, newer).status_code == 200
        assert without.get(ORGS, token).status_code == 401


def test_a_client_comes_from_its_networks_only(hub: Client, books: Books, north: District) -> None:
    lms = books.client(north.tenant_id, networks=["203.0.113.0/24", "2001:db8::/32"])
    token = lms.token(hub, address="203.0.113.7")
    assert lms.asks(hub, CORE, address="198.51.100.1").json["error"] == "invalid_client"
    for address, status in (
        ("203.0.113.200", 200),
        ("2001:db8::5", 200),
        ("::ffff:203.0.113.7", 200),
        ("203.0.114.1", 403),
        ("2001:db9::5", 403),
    ):
        assert hub.ask("GET", ORGS, token, address=address).status_code == status

"""Credentials and headers that were made up: not one of them is accepted.

A control stands beside every family (the good credential passes), and planted faults show that the
test would notice.
"""

import base64
import hmac
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest

from api import addresses, caller, tokens
from schemas.errors import Forbidden
from schemas.scopes import CORE, DEMOGRAPHICS, ROSTER
from schemas.secrets import ApiKey, Vault, new_key, random_text
from schemas.settings import Settings
from tests.api.conftest import Books, Client, District, LearningSystem, secret

ROOT = "/ims/oneroster/rostering/v1p2"
ISSUER = "https://hub.example.org"
INSIDE, OUTSIDE, PROXY = "203.0.113.7", "198.51.100.9", "10.0.0.5"
PROXIES = f"{PROXY},10.1.0.0/16"


@dataclass(frozen=True)
class Forgery:
    name: str
    headers: dict[str, str]
    path: str = f"{ROOT}/orgs"
    address: str = INSIDE


@dataclass
class Scene:
    """A hub behind a proxy, and a client of the north that asks from one network."""

    hub: Client
    settings: Settings
    books: Books
    north: District
    south: District
    client: LearningSystem
    token: str
    claims: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.claims = jwt.decode(self.token, options={"verify_signature": False})

    def signed(self, changes: dict[str, object], kind: str = "at+jwt") -> str:
        """A token by our very key, with some claims otherwise; None: without that claim."""
        said = {n: v for n, v in (self.claims | changes).items() if v is not None}
        return forged(said, self.key(), typ=kind)

    def key(self) -> bytes:
        return Vault(secret(self.settings)).derive(tokens.PURPOSE)[0]

    def accepted(self, forgeries: Iterable[Forgery]) -> Iterator[str]:
        """Those that got in."""
        return (
            each.name
            for each in forgeries
            if self.hub.ask(
                "GET", each.path, headers=each.headers, address=each.address
            ).status_code
            not in (401, 403)
        )


@pytest.fixture
def districts(north: District, south: District) -> tuple[District, District]:
    return north, south


@pytest.fixture
def scene(
    open_hub: Callable[..., Client],
    database_url: str,
    settings: Settings,
    books: Books,
    districts: tuple[District, District],
) -> Iterator[Scene]:
    with open_hub(database_url, proxies=PROXIES) as hub:
        client = books.client(districts[0].tenant_id, networks=["203.0.113.0/24"])
        token = client.token(hub, address=INSIDE)
        yield Scene(hub, settings, books, *districts, client, token)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def part(value: object) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def forged(claims: dict[str, Any], key: bytes, **header: str) -> str:
    """A token made by hand: a library would warn of a bad key."""
    head = {"alg": "HS256", "typ": "at+jwt"} | header
    signing = f"{part(head)}.{part(claims)}"
    digest = head["alg"].replace("HS", "sha")
    return f"{signing}.{part(hmac.digest(key, signing.encode(), digest))}"


def unsigned(scene: Scene) -> Iterator[Forgery]:
    """No signature, or one by whatever an outsider may know or guess."""
    body, good = scene.token.split(".")[1], scene.token.split(".")[2]
    for name in ("none", "None", "NONE", "nOnE", ""):
        for kind in ("at+jwt", "JWT", "at+JWT"):
            header = part({"alg": name, "typ": kind})
            for signature in ("", good, part(b"x" * 32)):
                yield Forgery(f"alg {name!r}", bearer(f"{header}.{body}.{signature}"))
    guesses = (
        *(b"", b"secret", ISSUER.encode(), scene.client.id.encode(), scene.client.secret.encode()),
        *(bytes(32), scene.token.encode(), scene.north.key.encode(), b"x" * 32),
        secret(scene.settings).encode(),
        Vault("another secret that is long enough to be one").derive(tokens.PURPOSE)[0],
        Vault(secret(scene.settings)).derive("api-key")[0],
        Vault(secret(scene.settings)).derive("cursor")[0],
    )
    for guess in guesses:
        for algorithm in ("HS256", "HS384", "HS512"):
            token = forged(scene.claims, guess, alg=algorithm)
            yield Forgery(f"{algorithm} by {guess[:12]!r}", bearer(token))
    for algorithm in ("HS384", "HS512"):
        token = forged(scene.claims, scene.key(), alg=algorithm)
        yield Forgery(f"{algorithm} by our key", bearer(token))


def altered(scene: Scene) -> Iterator[Forgery]:
    """One sign of a good token is another one, or is one too many."""
    draw, signs = random.Random(9), base64.urlsafe_b64encode(bytes(range(256))).decode()
    for at in (*draw.sample(range(len(scene.token)), 120), -1, -2, -3, -4, -5):
        wrong = draw.choice([sign for sign in signs if sign not in (scene.token[at], "=")])
        cut = at % len(scene.token)
        yield Forgery(f"sign {at}", bearer(scene.token[:cut] + wrong + scene.token[cut + 1 :]))
    for ending in ("=", "==", "A", ".", "~", ".x", "%00"):
        yield Forgery(f"ending {ending}", bearer(scene.token + ending))
    last = scene.token[-1]
    for sign in signs.strip("="):
        if sign != last:  # two bits of the last sign mean nothing to a decoder
            yield Forgery(f"last sign {sign}", bearer(scene.token[:-1] + sign))


def untrue(scene: Scene) -> Iterator[Forgery]:
    """Signed by our key, as a fault or a thief of another day could have it, and yet not good."""
    now = int(time.time())
    otherwise: dict[str, tuple[object, ...]] = {
        **dict.fromkeys(tokens.CLAIMS, (None,)),
        "exp": (None, now - 1, now - 60, now - 3600, 0),
        "iss": (None, "", "https://hub.example.com", f"{ISSUER}/", [ISSUER]),
        "aud": (None, "", f"{ISSUER}/x", [], ["x", "y"]),
        "sub": (None, "", "x", scene.north.id, random_text(16), scene.client.id[1:]),
        "tenant": (None, scene.south.tenant_id, 0, -1, 10**6),
        "secret": (None, "", "x", random_text(12)),
        "epoch": (None, 0, 2, -1),
        "scope": (None, "", "x", "imports settings", CORE[:-1], f"{ROSTER}s"),
    }
    for name, values in otherwise.items():
        for value in values:
            yield Forgery(f"{name} {value!r}", bearer(scene.signed({name: value})))
    for kind in ("JWT", "jwt", "at+jwt2", "refresh+jwt", "id+jwt", ""):
        yield Forgery(f"kind {kind}", bearer(scene.signed({}, kind)))


def beyond(scene: Scene) -> Iterator[Forgery]:
    """A good token, for something else."""
    for scope, paths in (
        (CORE, ("demographics", "demographics/x")),
        (ROSTER, ("demographics", "demographics/x")),
        (DEMOGRAPHICS, ("orgs", "users", "enrollments/x")),
    ):
        token = scene.client.token(scene.hub, scope, address=INSIDE)
        for path in paths:
            yield Forgery(f"{scope} for {path}", bearer(token), f"{ROOT}/{path}")
    for path in (
        *("imports", "policy", "clients", "keys", "districts", "versions", "mappings", "origins"),
        f"clients/{scene.client.id}/secrets",
    ):
        yield Forgery(f"token for {path}", bearer(scene.token), f"/api/v1/{path}")
    yield Forgery("metrics", bearer(scene.token), "/metrics")
    elsewhere = bearer(scene.token) | {"X-RosterHub-District": "south"}
    yield Forgery("another district", elsewhere)


def wrong_keys(scene: Scene) -> Iterator[Forgery]:
    """Keys with a right checksum and a wrong secret, and right secrets in the wrong place."""
    _, _, identifier, good, _ = scene.north.key.split("_")
    draw = random.Random(7)
    for number in range(100):
        at = draw.randrange(len(good))
        sign = draw.choice([sign for sign in "0aZz9" if sign != good[at]])
        near = good[:at] + sign + good[at + 1 :]
        for header in ({"X-API-Key": ""}, {}):
            text = str(ApiKey("live", identifier, near if number % 2 else random_text(43)))
            headers = dict.fromkeys(header, text) or bearer(text)
            yield Forgery(f"key {number}", headers)
    for kind in ("admin", "secret"):
        yield Forgery(f"as {kind}", bearer(str(ApiKey(kind, identifier, good))))
    for text in (
        *(scene.client.secret, scene.client.id, f"{scene.client.id}:{scene.client.secret}"),
        *(str(new_key("live")), str(new_key("admin")), scene.north.key[:-1], scene.north.key * 2),
        scene.north.key.upper(),
    ):
        yield Forgery(f"text {text[:20]}", bearer(text))
        yield Forgery(f"text {text[:20]} as key", {"X-API-Key": text})


def from_elsewhere(scene: Scene) -> Iterator[Forgery]:
    """The good token from outside its network, with headers that say otherwise."""
    draw = random.Random(3)
    names = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Client-IP", "X-Forwarded-Host")
    for number in range(60):
        claims = {
            name: f"for={INSIDE}" if name == "Forwarded" else INSIDE
            for name in draw.sample(names, draw.randint(1, len(names)))
        }
        yield Forgery(f"headers {number}", bearer(scene.token) | claims, address=OUTSIDE)
        hops = [INSIDE] * draw.randint(1, 3) + [OUTSIDE] + [PROXY, "10.1.2.3"][: number % 3]
        claims |= {"X-Forwarded-For": ", ".join(hops)}
        yield Forgery(f"hops {number}", bearer(scene.token) | claims, address=PROXY)
    for nobody in ("", "unknown", PROXY, f"{INSIDE}, x", f"{INSIDE},", "127.0.0.1"):
        claims = {"X-Forwarded-For": nobody}
        yield Forgery(f"nobody {nobody}", bearer(scene.token) | claims, address=PROXY)
    yield Forgery("no header", bearer(scene.token), address=PROXY)


FAMILIES = (unsigned, altered, untrue, beyond, wrong_keys, from_elsewhere)


def test_none_of_500_forgeries_is_accepted(scene: Scene) -> None:
    good = [
        Forgery("token", bearer(scene.token)),
        Forgery("token by our key", bearer(scene.signed({}))),
        Forgery("key", bearer(scene.north.key)),
        Forgery("proxied", bearer(scene.token) | {"X-Forwarded-For": INSIDE}, address=PROXY),
    ]
    assert [*scene.accepted(good)] == [each.name for each in good]
    forgeries = [forgery for family in FAMILIES for forgery in family(scene)]
    assert len(forgeries) >= 500
    assert [*scene.accepted(forgeries)] == []


class Plant:
    """Faults that somebody could make."""

    @staticmethod
    def trusts_what_is_unsigned(patch: pytest.MonkeyPatch) -> None:
        real = jwt.decode_complete

        def careless(token: str, *_: object, **__: object) -> dict[str, Any]:
            return real(token, options={"verify_signature": False})

        patch.setattr(jwt, "decode_complete", careless)
        patch.setattr(tokens, "is_canonical", lambda _: True)

    @staticmethod
    def takes_any_spelling(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(tokens, "is_canonical", lambda _: True)

    @staticmethod
    def forgets_claims(patch: pytest.MonkeyPatch) -> None:
        real = jwt.decode_complete

        def careless(token: str, key: bytes, **_: object) -> dict[str, Any]:
            loose = {"verify_exp": False, "verify_aud": False, "verify_iss": False}
            return real(token, key, algorithms=["HS256"], options=loose)  # type: ignore[arg-type]

        patch.setattr(jwt, "decode_complete", careless)

    @staticmethod
    def compares_parts_of_scopes(patch: pytest.MonkeyPatch) -> None:
        def loose(who: caller.Caller, needs: caller.Needs) -> None:
            if needs.scope and needs.scope.partition(".")[0] not in " ".join(who.scopes):
                raise Forbidden

        patch.setattr("api.door.permit", loose)

    @staticmethod
    def believes_the_left_hop(patch: pytest.MonkeyPatch) -> None:
        def left(_: object, peer: str, forwarded: str) -> addresses.Address | None:
            return addresses.address_in(forwarded.split(",", maxsplit=1)[0] or peer)

        patch.setattr(addresses.Addresses, "_find", left)

    @staticmethod
    def compares_no_secret(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(Vault, "verifies", lambda *_: True)


FAULTS = (
    (Plant.trusts_what_is_unsigned, unsigned),
    (Plant.takes_any_spelling, altered),
    (Plant.forgets_claims, untrue),
    (Plant.compares_parts_of_scopes, beyond),
    (Plant.compares_no_secret, wrong_keys),
    (Plant.believes_the_left_hop, from_elsewhere),
)


def test_every_planted_fault_is_noticed(
    open_hub: Callable[..., Client],
    database_url: str,
    settings: Settings,
    books: Books,
    districts: tuple[District, District],
) -> None:
    client = books.client(districts[0].tenant_id, networks=["203.0.113.0/24"])
    for fault, family in FAULTS:
        with pytest.MonkeyPatch.context() as patch:
            fault(patch)
            with open_hub(database_url, proxies=PROXIES) as hub:
                token = client.token(hub, address=INSIDE)
                scene = Scene(hub, settings, books, *districts, client, token)
                assert any(scene.accepted(family(scene))), fault.__name__

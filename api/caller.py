"""Who is asking, and what a resource asks of them.

A resource says what it needs; one that says nothing cannot be routed. A district's own key, and the
keys and tokens of its clients, speak for their district only. An administrator's key speaks for the
district that `X-RosterHub-District` names.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from falcon.asgi import Request

from schemas.errors import BadRequest, Forbidden
from schemas.scopes import Scope, opened

DISTRICT = "X-RosterHub-District"


@dataclass(frozen=True, slots=True)
class Needs:
    """What a resource asks of its caller. `any_of`: one of these scopes is enough.

    `own`: what it asks instead of a client, to whom it shows nothing but what is its own.
    """

    scope: Scope | None = None
    administrator: bool = False
    district: bool = True
    any_of: frozenset[str] = field(default=frozenset(), kw_only=True)
    own: Scope | None = field(default=None, kw_only=True)


HUB = Needs(administrator=True, district=False)
"""An administrator, for the installation as a whole."""

KEYS = Needs(administrator=True)
"""An administrator, for one district."""

SETTINGS = Needs("settings")
"""Whoever decides for a district."""


class Guarded(Protocol):
    """A resource that says who may reach it."""

    @property
    def needs(self) -> Needs | None:
        """What it asks of its caller; None: nothing."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A credential, and what its holder may do and see.

    `scopes` are all that its own open. `client` is the system that asks, `lens` what that may see
    (as it is stored); None: the district itself or an administrator, who see everything.
    `version` is that of the district's roster, looked up with the credential: after the request
    came, so whoever was told of a version before gets no older one.
    """

    key_id: str
    scopes: frozenset[str]
    tenant_id: int | None = None
    district: str | None = None
    administrator: bool = False
    client: str | None = None
    lens: Mapping[str, Any] | None = None
    lens_revision: int = 0
    version: int = 0

    @property
    def tenant(self) -> int:
        """The district the caller speaks for."""
        if self.tenant_id is None:
            raise DistrictNotNamed
        return self.tenant_id


class DistrictNotNamed(BadRequest):
    """An administrator names the district with the header X-RosterHub-District."""

    code = "district_not_named"


def caller_of(req: Request) -> Caller:
    """The caller of a guarded request."""
    return cast("Caller", req.context.caller)


def permit(caller: Caller, needs: Needs) -> None:
    """Refuse a caller who may not."""
    if needs.administrator and not caller.administrator:
        raise Forbidden("Only an administrator's key may do that.")
    scope = needs.own if needs.own and caller.client else needs.scope
    if scope is not None and scope not in caller.scopes:
        raise Forbidden(f"The key lacks the scope {scope}.", scope=scope)
    if needs.any_of and needs.any_of.isdisjoint(caller.scopes):
        wanted = sorted(needs.any_of)
        raise Forbidden(f"One of these scopes is needed: {', '.join(wanted)}.", scopes=wanted)
    if needs.district and caller.tenant_id is None:
        raise DistrictNotNamed


def permit_to_grant(caller: Caller, scopes: Iterable[str]) -> None:
    """Refuse a caller who would hand out more than they may do themselves."""
    if beyond := sorted(opened(scopes) - caller.scopes):
        raise Forbidden(
            f"A key grants only what it may do itself; this one lacks {', '.join(beyond)}.",
            scopes=beyond,
        )

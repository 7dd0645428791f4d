"""What a credential may do: the words of the hub, and the addresses that OneRoster gave its scopes.

A district's own key bears words of ours. A client, that is a system which reads the roster, bears
scopes of OneRoster. Scopes are compared as whole words; what one of them opens beside itself is
said here and nowhere else. An administrator's key may do all of it.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Literal, TypeAlias, get_args

Scope: TypeAlias = Literal["roster.read", "roster.demographics", "imports", "settings"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""Every word of ours, and what a district's own key gets when none is named."""

ClientScope: TypeAlias = Literal[
    "https://purl.imsglobal.org/spec/or/v1p2/scope/roster-core.readonly",
    "https://purl.imsglobal.org/spec/or/v1p2/scope/roster.readonly",
    "https://purl.imsglobal.org/spec/or/v1p2/scope/roster-demographics.readonly",
    "https://purl.imsglobal.org/spec/or/v1p1/scope/roster-core.readonly",
    "https://purl.imsglobal.org/spec/or/v1p1/scope/roster.readonly",
    "https://purl.imsglobal.org/spec/or/v1p1/scope/roster-demographics.readonly",
]
CLIENT_SCOPES: tuple[ClientScope, ...] = get_args(ClientScope)
"""Every scope that a client can be granted: of OneRoster 1.2, and of 1.1."""

CORE, ROSTER, DEMOGRAPHICS, CORE_1P1, ROSTER_1P1, DEMOGRAPHICS_1P1 = CLIENT_SCOPES

OPENS: Mapping[str, frozenset[str]] = {
    "roster.read": frozenset({ROSTER, CORE, ROSTER_1P1, CORE_1P1}),
    "roster.demographics": frozenset({DEMOGRAPHICS, DEMOGRAPHICS_1P1}),
    # Who may read everything of the roster may do so by the hub's own interface too. The core is
    # less than that, and 1.1 opens nothing of 1.2.
    ROSTER: frozenset({CORE, "roster.read"}),
    DEMOGRAPHICS: frozenset({"roster.demographics"}),
    ROSTER_1P1: frozenset({CORE_1P1}),
}
"""What a scope opens beside itself."""


def opened(granted: Iterable[str]) -> frozenset[str]:
    """Every scope that these open, themselves included."""
    return _opened(tuple(granted))


@lru_cache(maxsize=1024)
def _opened(granted: tuple[str, ...]) -> frozenset[str]:
    return frozenset(granted).union(*(OPENS.get(scope, ()) for scope in granted))

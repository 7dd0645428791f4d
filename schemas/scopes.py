"""What a district's key may do. An administrator's key may do all of it."""

from typing import Literal, TypeAlias, get_args

Scope: TypeAlias = Literal["roster.read", "roster.demographics", "imports", "settings"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""Every scope, and what a key gets when none is named."""

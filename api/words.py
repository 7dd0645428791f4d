"""A parameter that takes one of a few words, and the refusal that says which."""

from collections.abc import Mapping

from falcon.asgi import Request

from schemas.errors import BadRequest


def among(
    req: Request, name: str, allowed: tuple[str, ...], fields: Mapping[str, str] | None = None
) -> str | None:
    """A parameter that takes one of a few words."""
    value = req.get_param(name)
    if value is None:
        value = (fields or {}).get(name)
    if value is not None and value not in allowed:
        raise not_among(name, allowed)
    return value


def not_among(name: str, allowed: tuple[str, ...]) -> BadRequest:
    """The refusal that says what would be right."""
    return BadRequest(
        f"{name} must be one of {', '.join(allowed)}.", field=name, allowed=list(allowed)
    )

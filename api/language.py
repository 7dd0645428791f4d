"""The language that a reader wants: `?lang=`, else what the browser says, else English."""

from falcon.asgi import Request

from api.words import among
from schemas.rulebook import Language

LANGUAGES: tuple[Language, ...] = ("ja", "en")


def language_of(req: Request) -> Language:
    """The language of a request; raises BadRequest for a `lang` that is none of ours."""
    asked = among(req, "lang", LANGUAGES)
    wanted = [asked] if asked else accepted(req.get_header("Accept-Language") or "")
    return next((ours for each in wanted for ours in LANGUAGES if each == ours), "en")


def accepted(text: str) -> list[str]:
    """The languages of an Accept-Language header, the most wanted first (RFC 9110, 12.5.4)."""
    weighed = [(weight(part), part.partition(";")[0]) for part in text.split(",")]
    ordered = sorted((pair for pair in weighed if pair[0] > 0), key=lambda pair: -pair[0])
    return [name.strip().partition("-")[0].lower() for _, name in ordered]


def weight(part: str) -> float:
    """The `q` of one language; what is not a number counts for nothing."""
    _, _, said = part.partition(";")
    name, _, number = said.strip().partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        return float(number)
    except ValueError:
        return 0.0

"""Paging of the REST binding: limit and offset in, total and links out."""

from dataclasses import dataclass
from urllib.parse import quote

from falcon.asgi import Request

from schemas.errors import BadRequest

INT32 = 2**31 - 1
KEPT = "%=~!'()*,;:@/?$+-._"  # what a query may hold as it is; < > and " would end a link


@dataclass(frozen=True, slots=True)
class Page:
    """The part of a collection that is asked for; `cursor` is that of the page before it."""

    limit: int
    offset: int
    cursor: str | None = None


def page_of(req: Request, default: int, largest: int) -> Page:
    """The page; a limit beyond the largest is cut, as the standard's clients expect."""
    limit = whole(req, "limit", default, least=1)
    cursor = req.get_param(CURSOR)
    return Page(min(limit, largest), whole(req, "offset", 0, least=0), cursor)


def whole(req: Request, name: str, default: int, *, least: int) -> int:
    """A whole number of the query."""
    text = req.get_param(name)
    if text is None:
        return default
    digits = text.lstrip("0") or "0"
    if not (text.isascii() and text.isdigit()):
        raise BadRequest(f"{name} is a whole number from {least}.")
    if len(digits) > len(str(INT32)):
        digits = str(INT32 + 1)
    value = int(digits)
    if value < least or (name == "offset" and value > INT32):
        raise BadRequest(f"{name} is a whole number from {least}.")
    return value


def links(req: Request, page: Page, total: int, base: str, following: Page | None) -> str:
    """`Link` with the neighbouring pages; `following` is the next one, as it was found."""
    address = f"{base}{quote(req.path)}?{kept(req.query_string)}"
    return ", ".join(
        f'<{address}limit={target.limit}&offset={target.offset}{behind(target)}>; rel="{rel}"'
        for rel, target in neighbours(page, total, following).items()
    )


def behind(page: Page) -> str:
    """The cursor of a page in its address."""
    return "" if page.cursor is None else f"&{CURSOR}={page.cursor}"


def neighbours(page: Page, total: int, following: Page | None) -> dict[str, Page]:
    """The first, previous, next and last page; the last one has the remainder as its limit."""
    start = max(total - 1, 0) // page.limit * page.limit
    found = {"first": Page(page.limit, 0)}
    if page.offset > 0:
        before = min(page.offset, start + page.limit)
        found["prev"] = Page(min(page.limit, before), max(before - page.limit, 0))
    if following is not None:
        found["next"] = following
    found["last"] = Page(min(page.limit, total - start) or page.limit, start)
    return found


def kept(query: str) -> str:
    """Every other parameter as the client wrote it."""
    others = [
        item for item in query.split("&") if item and item.partition("=")[0] not in PARAMETERS
    ]
    return "".join(f"{quote(item, safe=KEPT)}&" for item in others)


CURSOR = "cursor"
PARAMETERS = ("limit", "offset", CURSOR)

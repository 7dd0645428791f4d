"""What comes behind a place: one part of a version, which is an entity coming or going.

Written from the rows that the version left, from their before-images and from the flips that were
kept for the lens. A record *is there* if it is active and visible; an event says that it came,
stayed and changed, or went. So a consumer that has applied all events holds the active records that
a full read shows.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString, NamedTuple

from api.deltas.places import COMING, Place
from schemas.lens import Lens
from schemas.moments import Sight, at, differs, images, limited, made, replaced
from schemas.roster import AnyEntity
from schemas.roster.orgs import AcademicSession, Org
from schemas.visibility import literal

TREES: tuple[AnyEntity, ...] = (Org, AcademicSession)
"""Records that refer to others of their kind: parents come first and go last."""


class Found(NamedTuple):
    """A record that an event is about."""

    sourced_id: str
    action: str
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a version as a statement; `stands`: it is the newest, so no image is of it."""

    entity: AnyEntity
    place: Place
    lens: Lens | None
    former: Lens | None
    tag: str
    limit: int
    stands: bool = False

    @property
    def is_tree(self) -> bool:
        """Whether the part is read whole and put in order here."""
        return self.entity in TREES

    @property
    def parameters(self) -> dict[str, Any]:
        """The values of the statement."""
        place = self.place
        before = place.since if place.mode == "lens" else place.version - 1
        return {
            "before": before,
            "partly": place.partly,
            "after": place.version,
            "lens": self.tag,
            "behind": place.sourced_id,
            "limit": None if self.is_tree else self.limit,
            **self._after.parameters,
            **self._before("before").parameters,
        }

    @property
    def query(self) -> LiteralString:
        """The statement."""
        coming = self.place.phase == COMING
        parts = self._coming() if coming else self._going()
        # Each in order by itself and no longer than the page: an index has that order.
        ordered = [f"({part} order by sourced_id{self._tail(coming)})" for part in parts]
        return literal(
            f"select * from ({' union all '.join(ordered)}) as found"  # noqa: S608
            f" order by sourced_id{self._tail(coming)}"
        )

    @property
    def _after(self) -> Sight:
        return Sight(self.lens, "after")

    def _before(self, moment: str) -> Sight:
        if self.place.mode == "lens":
            return Sight(self.former, moment, "old_")
        return Sight(self.lens, moment)

    def _tail(self, coming: bool) -> str:  # noqa: FBT001
        return f"{'' if coming else ' desc'} limit %(limit)s"

    def _coming(self) -> Iterator[str]:
        """What is there after the version."""
        there = f"live.status = 'active' and {self._after.sees(self.entity)}"
        match self.place.mode:
            case "all":
                for rows in self._left(images):
                    yield self._rows(rows, "'created'", there)
            case "log":
                was = self._was(replaced(self.entity, "after"))
                for rows in self._left(made):
                    yield self._rows(rows, action(was), there)
                yield from self._flips("<> 'deleted'")
            case "lens":
                was = self._was(at(self.entity, "before"))
                other = differs(self._before("before"), self._after, self.entity)
                changed = f"(live.version > %(before)s or {other} or not {was})"
                for rows in self._left(images):
                    yield self._rows(rows, action(was), f"{there} and {changed}")

    def _going(self) -> Iterator[str]:
        """What was there before the version and is not any more."""
        match self.place.mode:
            case "all":
                yield self._rows(at(self.entity, "after"), "'deleted'", "false")
            case "log":
                there = f"(live.status = 'active' and {self._after.sees(self.entity)})"
                was = self._was(replaced(self.entity, "after"))
                for rows in self._left(made):
                    yield self._rows(rows, "'deleted'", f"{there} is not true and {was}")
                yield from self._flips("= 'deleted'")
            case "lens":
                yield "select * from ({}) as went".format(  # noqa: S608
                    " union ".join(
                        self._rows(
                            at(self.entity, moment),
                            "'deleted'",
                            f"live.status = 'active' and"
                            f" {self._before(moment).sees(self.entity)} and not {self._is}",
                        )
                        for moment in ("before", "partly")
                    )
                )

    def _left(
        self, of: Callable[[AnyEntity, str], tuple[LiteralString, LiteralString]]
    ) -> tuple[LiteralString, ...]:
        """Where the rows are that the version left or made."""
        return of(self.entity, "after")[: 1 if self.stands else None]

    def _rows(self, rows: str, action: str, condition: str) -> str:
        parent = "live.parent_sourced_id" if self.is_tree else "null::text"
        return (
            f"select live.sourced_id, {action} as action, {parent} as parent"  # noqa: S608
            f" from ({rows}) as live where {condition}{self._behind}"
        )

    @property
    def _behind(self) -> str:
        if self.is_tree or self.place.sourced_id is None:
            return ""
        sign = ">" if self.place.phase == COMING else "<"
        return f" and live.sourced_id {sign} %(behind)s"

    def _flips(self, which: str) -> Iterator[str]:
        """Records that became visible or invisible by others; their row is as it was."""
        if not limited(self.lens):
            return
        rows = (
            "select sourced_id, action from feed_flips"  # noqa: S608
            " where tenant_id = %(tenant_id)s and lens = %(lens)s and version = %(after)s"
            f" and entity = '{self.entity.file}' and action {which}"
        )
        if self.is_tree:
            rows = (
                "select f.*, r.parent_sourced_id"  # noqa: S608
                f" from ({rows}) as f join {at(self.entity, 'after')} as r using (sourced_id)"
            )
        yield self._rows(rows, "live.action", "true")

    def _was(self, rows: str) -> str:
        """Whether the record was there before."""
        seen = self._before("before").sees(self.entity, "was")
        return (
            f"exists (select from ({rows}) as was where was.sourced_id = live.sourced_id"
            f" and was.status = 'active' and {seen})"
        )

    @property
    def _is(self) -> str:
        """Whether the record is there now."""
        seen = self._after.sees(self.entity, "now")
        return (
            f"exists (select from {at(self.entity, 'after')} as now"
            f" where now.sourced_id = live.sourced_id and now.status = 'active' and {seen})"
        )


def action(was: str) -> str:
    """Whether the record came or stayed."""
    return f"case when {was} then 'updated' else 'created' end"


def at_once(parts: Sequence[Part]) -> LiteralString:
    """Parts of one version as one statement: it reads no part once those before fill the page.

    Which part a row is of is its number. Only without parallel workers do they come in this order.
    """
    some = (f"(select {n} as part, * from ({part.query}) as p{n})" for n, part in enumerate(parts))  # noqa: S608  # declared
    return literal(" union all ".join(some) + " limit %(limit)s")


def in_order(part: Part, rows: list[dict[str, Any]]) -> list[Found]:
    """The records of a part behind its place, as many as the page takes."""
    if not part.is_tree:
        return [Found(row["sourced_id"], row["action"]) for row in rows]
    parents = {row["sourced_id"]: row["parent"] for row in rows}
    found = [
        Found(row["sourced_id"], row["action"], depth(row["sourced_id"], parents)) for row in rows
    ]
    coming, place = part.place.phase == COMING, part.place
    found.sort(key=lambda each: (each.depth, each.sourced_id), reverse=not coming)
    if place.sourced_id is not None:
        behind = (place.depth, place.sourced_id)
        found = [
            each
            for each in found
            if ((each.depth, each.sourced_id) > behind) == coming
            and (each.depth, each.sourced_id) != behind
        ]
    return found[: part.limit]


def depth(sourced_id: str, parents: dict[str, str | None]) -> int:
    """How many of the records stand above this one; a circle ends."""
    above = {sourced_id}
    parent = parents[sourced_id]
    while parent in parents and parent not in above:
        above.add(parent)
        parent = parents[parent]
    return len(above) - 1


def busy(entities: tuple[AnyEntity, ...]) -> LiteralString:
    """The entities to which a version did something."""
    parts = [
        f"select '{entity.file}' as entity where "
        + " or ".join(f"exists ({rows})" for rows in made(entity, "after"))
        for entity in entities
    ]
    parts.append(
        "select distinct entity from feed_flips where tenant_id = %(tenant_id)s"
        " and lens = %(lens)s and version = %(after)s"
    )
    return literal(" union ".join(parts))

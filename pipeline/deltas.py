"""What consumers need of a version to stay in step, prepared once for every distinct lens.

After a version is published: the sums by which a consumer proves that it holds what the hub holds,
and the flips, which are records that the version made visible, invisible or different for a lens
without changing them. Both come from the few records that the version changed or touches by their
references. A lens that is new is summed in full. Each version is one transaction under a lock of
the district's own, so a worker that dies leaves nothing half done, and imports wait for none of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, LiteralString, Protocol, TypeAlias
from uuid import uuid4

from psycopg.types.json import Jsonb

from pipeline.database import Connection, one, tenant
from schemas import schools
from schemas.columns import Ref, Refs
from schemas.lens import Lens
from schemas.moments import SERVED, Sight, at, differs, images, limited, made, optional, tag_of
from schemas.policy import Policy
from schemas.pseudonyms import Pseudonyms, keys_of
from schemas.rest.instants import instant
from schemas.roster import PARTS, AnyEntity
from schemas.roster.orgs import Org
from schemas.roster.people import Demographics, User
from schemas.roster.teaching import Class, Course, Enrollment
from schemas.secrets import Vault
from schemas.statements import load
from schemas.sums import ALL, Sums, restored, weight
from schemas.visibility import NOT_WHOLE, WHOLE, literal

NAMED = load("pipeline", "deltas.sql")
FETCH = 10_000
FEW = 10_000  # touched records; of a version with more packages are made behind it

Facts: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class View:
    """What some clients see; `names` are the pseudonyms by which one of them knows the records.

    `enabled`: whether any of them may ask.
    """

    tag: str
    lens: Lens | None
    names: Pseudonyms | None = None
    enabled: bool = True

    def shown(self, entity: AnyEntity, sourced_id: str) -> str:
        """The identifier that the clients know."""
        return sourced_id if self.names is None else self.names.of(entity, sourced_id)

    def lists(self, school: str) -> bool:
        """Whether the clients may know of sums of a school."""
        return self.lens is None or self.lens.schools is None or school in self.lens.schools


class Ahead(Protocol):
    """Makes a package of the events of a version for those who follow it."""

    def __call__(self, db: Connection, tenant_id: int, view: View, version: int, /) -> None:
        """Part of the transaction that prepares the version: both are there at once."""


def prepare(db: Connection, vault: Vault, tenant_id: int, ahead: Ahead | None = None) -> bool:
    """Prepare what is not, version by version; answer whether there is nothing left to do."""
    while True:
        with tenant(db, tenant_id):
            (ours,) = one(db, NAMED["hold"], {"tenant_id": tenant_id})
            if not ours:
                return False  # somebody else is at it
            if not Preparation(db, vault, tenant_id, ahead).step():
                return True


def views_of(db: Connection, vault: Vault, tenant_id: int) -> dict[str, View]:
    """What is seen of a district, by its names."""
    views = {"": View("", None)}
    rows = db.execute(NAMED["lenses"], {"tenant_id": tenant_id}).fetchall()
    for client, stored, enabled in rows:
        lens = Lens.model_validate(stored)
        names = Pseudonyms(keys_of(vault, tenant_id, client), lens)
        tag = tag_of(lens, client)
        views[tag] = View(tag, lens, names, enabled)
    return views


class Preparation:
    """A step, in one transaction: a version for all lenses that have the one before, or an end."""

    def __init__(
        self, db: Connection, vault: Vault, tenant_id: int, ahead: Ahead | None = None
    ) -> None:
        self._db = db
        self._vault = vault
        self._ahead = ahead
        self._key = {"tenant_id": tenant_id}
        self._instants: dict[int, str] = {}

    def step(self) -> bool:
        """Answer whether there may be more to do."""
        state = self._db.execute(
            NAMED["state"], {**self._key, "days": Policy().feed_days}
        ).fetchone()
        if state is None:
            return False
        newest, lenses, days = state
        views = views_of(self._db, self._vault, self._key["tenant_id"])
        prepared: dict[str, int] = dict(self._db.execute(NAMED["prepared"], self._key).fetchall())
        behind = {tag: prepared[tag] for tag in views if prepared.get(tag, newest) < newest}
        if behind:
            version = min(behind.values()) + 1
            self._version(version, [views[tag] for tag, had in behind.items() if had < version])
            return True
        for tag in views.keys() - prepared.keys():
            self._whole(views[tag], newest)
        self._end({"version": newest, "lenses": lenses, "days": days, "tags": [*views]})
        return False

    def _end(self, facts: Facts) -> None:
        """Write down that all is prepared, and forget what has served its time."""
        facts = {**self._key, **facts}
        self._db.execute(NAMED["progress"], facts)
        for statement in ("forget_sums", "forget_unused", "forget_flips", "forget_lenses"):
            self._db.execute(NAMED[statement], facts)

    def _whole(self, view: View, version: int) -> None:
        """The sums of a lens that had none."""
        sums = Sums()
        if version:
            self._db.execute(WHOLE)
            for entity in SERVED:
                self._add(sums, view, entity, Sight(view.lens, "after"), {"after": version})
            self._db.execute(NOT_WHOLE)
        self._keep(view, version, sums)

    def _version(self, version: int, views: list[View]) -> None:
        """A version for some lenses."""
        moments = {"before": version - 1, "after": version}
        if version == 1:
            for view in views:
                self._whole(view, version)
            return
        self._touch(moments)
        for view in views:
            key = {**self._key, "lens": view.tag, **moments}
            (stored,) = one(self._db, NAMED["sums"], key)
            sums = restored(stored)
            for entity in SERVED:
                for moment, sign in (("before", -1), ("after", 1)):
                    sight = Sight(view.lens, moment)
                    self._add(sums, view, entity, sight, moments, touched=True, sign=sign)
                if limited(view.lens):
                    self._flip(view, entity, moments)
            self._keep(view, version, sums)
        (few,) = one(self._db, NAMED["few_touched"], {"few": FEW})
        self._db.execute("drop table touched")
        if few and self._ahead is not None:
            for view in views:
                self._ahead(self._db, self._key["tenant_id"], view, version)

    def _keep(self, view: View, version: int, sums: Sums) -> None:
        self._db.execute(
            NAMED["keep_sums"],
            {**self._key, "lens": view.tag, "after": version, "sums": Jsonb(sums.stored())},
        )

    # --- What a version touches -------------------------------------------------------------

    def _touch(self, moments: Mapping[str, int]) -> None:
        """Find the records; references are followed as they were before and as they are after."""
        key = {**self._key, **moments}
        self._db.execute(NAMED["touched"])
        for entity in SERVED:
            for part in made(entity, "after"):
                self._put(entity, part, key, own=True)
        (tree,) = one(self._db, NAMED["tree_changed"], key)
        if tree:
            self._put(Org, at(Org, "after"), key)
            self._put(Course, at(Course, "after"), key)
        self._put(Course, referred(Class, Class.course_sourced_id.name), key)
        self._put(Class, referring(Class, Class.course_sourced_id.name, Course), key)
        self._put(Demographics, referring(Demographics, "sourced_id", User), key)
        self._put(Enrollment, referring(Enrollment, Enrollment.user_sourced_id.name, User), key)
        self._put(Enrollment, referring(Enrollment, Enrollment.class_sourced_id.name, Class), key)
        # Last, for nothing hangs on how a reference that may be left out looks.
        self._put(User, mentioning(User), key)
        self._db.execute("analyze touched")

    def _put(
        self, entity: AnyEntity, rows: LiteralString, key: Facts, *, own: bool = False
    ) -> None:
        self._db.execute(
            literal(
                "insert into touched (entity, sourced_id, own)"  # noqa: S608  # declared names
                f" select '{entity.file}', found.sourced_id, {own} from ({rows}) as found"
                " on conflict do nothing"
            ),
            key,
        )

    # --- Sums -------------------------------------------------------------------------------

    def _add(
        self,
        sums: Sums,
        view: View,
        entity: AnyEntity,
        sight: Sight,
        moments: Mapping[str, int],
        *,
        touched: bool = False,
        sign: int = 1,
    ) -> None:
        """Add the records that are seen at a moment, or with another sign take them away."""
        if view.lens is not None and not view.lens.includes(entity):
            return
        key = {**self._key, **moments, **sight.parameters}
        records = seen(entity, sight, touched=touched)
        for sourced_id, version, school in self._stream(records, key):
            number = self._weight(view, entity, sourced_id, version)
            sums.add(entity.file, ALL, number, sign)
            if school is not None and view.lists(school):
                sums.add(entity.file, school, number, sign)
        if (pairs := of_schools(entity, sight, touched=touched)) is not None:
            for sourced_id, version, school in self._stream(pairs, key):
                if view.lists(school):
                    number = self._weight(view, entity, sourced_id, version)
                    sums.add(entity.file, school, number, sign)

    def _weight(self, view: View, entity: AnyEntity, sourced_id: str, version: int) -> int:
        return weight(entity.file, view.shown(entity, sourced_id), self._instant(version))

    def _instant(self, version: int) -> str:
        if version not in self._instants:
            found = self._db.execute(NAMED["instants"], self._key)
            self._instants = {number: instant(moment) for number, moment in found}
        return self._instants[version]

    def _stream(self, query: LiteralString, key: Facts) -> Iterator[Any]:
        """The rows of a query, some thousand at a time."""
        with self._db.cursor(name=f"feed_{uuid4().hex}") as cursor:
            cursor.itersize = FETCH
            cursor.execute(query, key)
            yield from cursor

    # --- Flips ------------------------------------------------------------------------------

    def _flip(self, view: View, entity: AnyEntity, moments: Mapping[str, int]) -> None:
        """Keep which records the version made visible, invisible or different by others."""
        if view.lens is None or not view.lens.includes(entity):
            return
        before, after = Sight(view.lens, "before"), Sight(view.lens, "after")
        other = differs(before, after, entity) if optional(entity) else "false"
        self._db.execute(
            literal(
                "insert into feed_flips (tenant_id, lens, version, entity, sourced_id, action)"  # noqa: S608  # declared names
                f" select %(tenant_id)s, %(lens)s, %(after)s, '{entity.file}', sourced_id,"
                " case when not was then 'created' when not now then 'deleted' else 'updated' end"
                f" from (select live.sourced_id, {before.sees(entity)} as was,"
                f" {after.sees(entity)} as now, {other} as other"
                f" from ({at(entity, 'after')}) as live"
                f" where live.status = 'active' and live.sourced_id in (select sourced_id"
                f" from touched where entity = '{entity.file}' and not own)) as found"
                " where was <> now or (now and other)"
                " on conflict do nothing"
            ),
            {**self._key, "lens": view.tag, **moments, **after.parameters},
        )


# --- Their SQL ------------------------------------------------------------------------------


def seen(entity: AnyEntity, sight: Sight, *, touched: bool) -> LiteralString:
    """The active records that are seen, each with its school where it names exactly one."""
    own = own_school(entity)
    return literal(
        f"select sourced_id, version, {own or 'null'} from ({rows(entity, sight, touched)}) as r"  # noqa: S608  # declared names
    )


def of_schools(entity: AnyEntity, sight: Sight, *, touched: bool) -> LiteralString | None:
    """The same records once for each of their schools, where these are found by other records.

    By such as are seen themselves: a consumer knows no other, and is to come to the same sums.
    """
    template = schools.query(entity, carry=("version",))
    if template is None or own_school(entity) is not None:
        return None
    relations = {
        other.table: f"(select * from ({at(other, sight.moment)}) as o where o.status = 'active'"  # noqa: S608  # declared names
        f" and {sight.holds(other, 'o') if other in PARTS else sight.sees(other, 'o')})"
        for other in schools.looked_up(entity)
    }
    return literal(template.format(records=f"({rows(entity, sight, touched)})", **relations))


def rows(entity: AnyEntity, sight: Sight, touched: bool) -> str:  # noqa: FBT001
    """The active records that are seen at the moment of the sight."""
    among = " and live.sourced_id in (select sourced_id from touched where entity = '{}')"
    also = among.format(entity.file) if touched else ""
    parts = [
        f"select live.* from ({part}) as live where live.status = 'active'"  # noqa: S608  # declared names
        f" and {sight.sees(entity)}{also}"
        for part in images(entity, sight.moment)
    ]
    return " union all ".join(parts)


def own_school(entity: AnyEntity) -> str | None:
    """The column that names the only school a record can have."""
    match schools.SCHOOLS[entity]:
        case (schools.Own(column),):
            return column.name
        case _:
            return None


def referred(entity: AnyEntity, column: str) -> LiteralString:
    """Records that those which the version changed refer to, or referred to."""
    found = (*made(entity, "after"), former(entity))
    return literal(
        " union ".join(f"select {column} as sourced_id from ({part}) as r" for part in found)  # noqa: S608  # declared names
    )


def former(entity: AnyEntity) -> str:
    """The before-images of a version."""
    return (
        f"select * from {entity.table}_history"  # noqa: S608  # declared names
        " where tenant_id = %(tenant_id)s and until_version = %(after)s"
    )


def referring(entity: AnyEntity, column: str, to: AnyEntity) -> LiteralString:
    """Records that refer to touched ones: what changed itself is there already."""
    return literal(
        " union all ".join(
            f"select sourced_id from ({part}) as r where {column} in"  # noqa: S608  # declared names
            f" (select sourced_id from touched where entity = '{to.file}')"
            for part in images(entity, "after")
        )
    )


def mentioning(entity: AnyEntity) -> LiteralString:
    """Records with a reference to a touched record that may be left out."""
    ways = [mention(column) for column in optional(entity)]
    return literal(
        f"select sourced_id from ({at(entity, 'after')}) as r where {' or '.join(ways)}"  # noqa: S608  # declared names
    )


def mention(column: Ref | Refs) -> str:
    """Whether the record has a touched one in this column."""
    touched = f"select sourced_id from touched where entity = '{column.to}'"  # noqa: S608  # declared names
    match column:
        case Ref():
            return f"{column.name} in ({touched})"
        case Refs():
            return f"{column.name} && array({touched})"

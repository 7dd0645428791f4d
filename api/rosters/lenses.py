"""What a client sees, as its lens says: the sight that reads of its requests go by."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, LiteralString, TypeAlias

from falcon.asgi import Request
from psycopg.sql import SQL, Composable

from api.caller import caller_of
from api.rosters.sight import EVERYTHING, Condition, Relations, Sight
from api.rosters.veil import Veil
from schemas import visibility
from schemas.lens import Lens, disguised, hidden
from schemas.pseudonyms import Pseudonyms, keys_of
from schemas.rest.properties import CARRIED
from schemas.roster import ROSTERING, AnyEntity
from schemas.secrets import Vault

Names: TypeAlias = Callable[[AnyEntity, Lens], frozenset[str]]

REMEMBERED = 1000  # sights; one is made in a millisecond


class Sights:
    """The sight of whoever asks. A lens is the same as long as its revision is."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._made: OrderedDict[tuple[int, str, int], Sight] = OrderedDict()

    def __call__(self, req: Request) -> Sight:
        """What the caller of a request sees; the district itself and administrators: everything."""
        caller = caller_of(req)
        if caller.client is None or caller.lens is None:
            return EVERYTHING
        name = (caller.tenant, caller.client, caller.lens_revision)
        sight = self._made.get(name)
        if sight is None:
            sight = self._made[name] = self._make(caller.tenant, caller.client, caller.lens)
            if len(self._made) > REMEMBERED:
                self._made.popitem(last=False)
        return sight

    def _make(self, tenant_id: int, client: str, stored: Mapping[str, Any]) -> Sight:
        lens = Lens.model_validate(stored)
        if not lens.pseudonyms:
            return seen_through(lens)
        veil = Veil(Pseudonyms(keys_of(self._vault, tenant_id, client), lens))
        return seen_through(lens, veil, f"{lens.fingerprint}/{client}")


def seen_through(lens: Lens, veil: Veil | None = None, tag: str = "") -> Sight:
    """The sight of a lens. Equal lenses see the same, unless pseudonyms tell them apart."""
    shown = [entity for entity in ROSTERING if lens.includes(entity)]
    return Sight(
        tag=tag or lens.fingerprint,
        visible={
            entity: condition(template)
            for entity in ROSTERING
            if (template := visibility.visible(entity, lens)) is not None
        },
        # Of an entity that is left out there is nothing to hide: a filter finds nobody.
        hidden={entity: names for entity in shown if (names := paths(hidden, entity, lens))},
        silent={entity: names for entity in shown if (names := paths(disguised, entity, lens))},
        parameters=visibility.parameters(lens),
        veil=veil,
    )


def condition(template: LiteralString) -> Condition:
    """Whether `live` is visible, by the rules of the lens."""

    def composed(relations: Relations) -> Composable:
        looked_up = {
            entity.table: of_district(relations(entity))
            for entity in visibility.looked_up(template)
        }
        return SQL(template).format(**looked_up)

    return composed


def of_district(rows: Composable) -> Composable:
    """These rows, of the district alone."""
    return SQL("(select * from {} as every where every.tenant_id = %(tenant_id)s)").format(rows)


def paths(names: Names, entity: AnyEntity, lens: Lens) -> frozenset[str]:
    """The paths of a class, those of its parts included."""
    carried = CARRIED.get(entity, {}).items()
    return names(entity, lens).union(
        f"{prefix}.{name}" for prefix, part in carried for name in names(part, lens)
    )

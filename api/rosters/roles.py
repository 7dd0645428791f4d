"""The roles of users in SQL: those that a record shows, and the one that it has in 1.1.

What is the first role is said twice, here and where records are written (schemas/rest/records.py):
filters and views mean the role that is read.
"""

from psycopg.sql import SQL, Composed, Literal

from api.rosters import expressions
from api.rosters.sight import Rows
from schemas.roster.people import Role

HAD = SQL(
    "part.tenant_id = %(tenant_id)s and part.user_sourced_id = live.sourced_id"
    " and (part.status = 'active'"
    " or (live.status <> 'active' and part.version >= live.version))"
)
"""The parts that JSON shows of `live`: the living, and what went with a deleted user."""


def first_role(rows: Rows) -> Composed:
    """What the first role of `live` is called, in an edition that knows one.

    A role that the edition has a word for goes before the others, then one at the primary org, then
    a primary one, then the vocabulary's own order.
    """
    words = rows.edition.vocabularies[Role.role]
    own = SQL("part.role")
    ranks = SQL("array_position({}::text[], {})").format(
        Literal(list(words.words)), expressions.called(words, own)
    )
    return SQL(
        "coalesce((select {called} from {rows} as part where {had} order by"
        " {own} = any({known}) desc,"
        " part.org_sourced_id is not distinct from live.primary_org_sourced_id desc,"
        " part.role_type = 'primary' desc, {ranks}, part.sourced_id limit 1), {other})"
    ).format(
        called=expressions.called(words, own),
        rows=rows.seen(Role),
        had=HAD,
        own=own,
        known=Literal(list(words.said)),
        ranks=ranks,
        other=Literal(words.other),
    )

"""What the records of a roster must add up to: one SQL query per rule, the same for every engine.

A query selects `line, sourced_id, value` of each row that breaks the rule, then the facts of its
sentence under their names, then `person` where records of that person may be missing because their
rows are faulty. It may speak of these relations, for each table T:

    after_T   the active rows as they will be after the apply; `line` is null for a stored row
    staged_T  the rows of the package that differ from what is stored (offline: all of them)
    touched_T the rows that change or go, as they were and as they will be
    new_T     the active rows whose sourcedId is not stored
    items_T_C each item of the list column C of the rows of after_T: `line, sourced_id, key`
    extent_T  one row: `C_min` and `C_max` of each column C of days of the active rows of staged_T

A rule must cost only for what changed. So `near` says which rows of after_T matter, by a column and
the keys it must be among; where there is nothing stored, all rows matter and it is left away. There
`few` says which rows of after_T are enough for one part of a rule, under a name of its own: they
are found by an index, instead of by a look at a million rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import LiteralString

from schemas import rules
from schemas.columns import AnyColumn, Column, Day, Ref, Refs
from schemas.profiles import PROFILES
from schemas.roster import BY_FILE, ROSTERING, AnyEntity
from schemas.roster.orgs import AcademicSession, Org
from schemas.roster.people import Role, User, UserProfile
from schemas.roster.teaching import Class, Enrollment
from schemas.rules import Rule

ALL = frozenset(PROFILES)
UNSURE = frozenset({"K12-1.0"})
"""Not known to require what the domestic standards require (Japan profile 5 and 11)."""
JAPAN = frozenset({"JP-1.2.1", "PSE-6.00"}) | UNSURE


@dataclass(frozen=True)
class Few:
    """Rows of `after_T` of which only those matter whose column is among the keys of a query.

    Others may be there too. The column should be the first of an index of the district's.
    """

    entity: AnyEntity
    column: str
    keys: LiteralString


@dataclass(frozen=True)
class Kind:
    """A reference whose target must be of one type; outside of Japan an `ext:` type passes too."""

    entity: AnyEntity
    column: AnyColumn
    to: AnyEntity
    type: AnyColumn
    expected: str
    japan: bool = False

    @property
    def rule(self) -> Rule:
        """What a target of another type breaks."""
        return rules.records.KIND_BY_PROFILE if self.japan else rules.records.KIND


@dataclass(frozen=True)
class Rows:
    """Active rows that have one of these words, None for blank, and name a record `of` a kind."""

    entity: AnyEntity
    where: tuple[tuple[AnyColumn, tuple[str | None, ...]], ...] = ()
    of: Kind | None = None


@dataclass(frozen=True)
class Cells:
    """What rows have in columns, together, as far as none of them is blank.

    A required column never is, or no row would come in; so a rule need not say what it then finds.
    """

    rows: Rows
    columns: tuple[AnyColumn, ...]


@dataclass(frozen=True)
class Proof:
    """What is enough for a rule to hold, where the rows of a package are all there is."""

    cells: Cells
    others: Cells | None = None

    @property
    def whole(self) -> tuple[Cells, ...]:
        """All that it speaks of."""
        return (self.cells, self.others) if self.others else (self.cells,)


class Single(Proof):
    """No two rows have the same cells."""


class Within(Proof):
    """Whatever stands in the cells stands in the others, too."""


class Apart(Proof):
    """Nothing that stands in the cells stands in the others, too."""


@dataclass(frozen=True)
class Inside:
    """Rows begin within the spans of all that others list, and end in or behind them.

    `spans`: the column of a list; `first` and `last` are the days of a record that is listed.
    """

    begin: Day
    end: Day
    spans: Refs
    first: Day
    last: Day


@dataclass(frozen=True, kw_only=True)
class Check:
    """A rule and the query for what breaks it. `entity` and `column` are the place that is named.

    `near`: by relation, a column and the query for its keys. `parts`: queries with a name of their
    own, and `few` rows of a relation. `proof`: where it holds of the rows of a package, and nothing
    is stored, the query finds nothing. `whole`: columns of files that must be known completely, for
    the rule looks for what is not there; a faulty row of theirs that names `person` is what the
    finding follows from. `ids`: values and facts that are sourcedIds, and where from, as far as
    `column` does not say so.
    `profiles` are those that have the rule; to the `advised` ones it is a warning whatever it is.
    """

    rule: Rule
    entity: AnyEntity
    column: AnyColumn | None
    sql: LiteralString
    near: Mapping[str, tuple[str, LiteralString]] = field(default_factory=dict)
    parts: Mapping[str, LiteralString] = field(default_factory=dict)
    few: Mapping[str, Few] = field(default_factory=dict)
    proof: Proof | Inside | None = None
    whole: tuple[Column, ...] = ()
    facts: tuple[str, ...] = ()
    ids: Mapping[str, AnyColumn] = field(default_factory=dict)
    profiles: frozenset[str] = ALL
    advised: frozenset[str] = frozenset()

    def under(self, profile: str) -> Rule | None:
        """The rule, as grave as the profile takes it; None: it does not have it."""
        if profile not in self.profiles:
            return None
        return replace(self.rule, severity="warning") if profile in self.advised else self.rule

    @property
    def text(self) -> str:
        """All that its queries say."""
        near = (keys for _, keys in self.near.values())
        few = (f"after_{few.entity.table} {few.column} {few.keys}" for few in self.few.values())
        return " ".join([self.sql, *self.parts.values(), *near, *few])


TYPES: Mapping[str, AnyColumn] = {
    each.entity: each for each in (Org.type, AcademicSession.type, Class.class_type)
}

KINDS: tuple[Kind, ...] = (
    *(
        Kind(entity, column, BY_FILE[column.to], TYPES[BY_FILE[column.to].table], column.kind)
        for entity in ROSTERING
        for column in entity.columns
        if isinstance(column, Ref) and column.kind
    ),
    Kind(User, User.primary_org_sourced_id, Org, Org.type, "school", japan=True),
    Kind(Org, Org.parent_sourced_id, Org, Org.type, "district", japan=True),
    Kind(User, User.home_class, Class, Class.class_type, "homeroom", japan=True),
)
"""CSV binding 8; in Japan also japan-profile 5 and 8."""


USERS = Rows(User)
ROLES = Rows(Role)
PRIMARY_ROLES = Rows(Role, ((Role.role_type, ("primary",)),))
STUDENTS = Cells(Rows(Role, ((Role.role, ("student",)),)), (Role.user_sourced_id,))
SECONDARY_ROLES = Rows(Role, ((Role.role_type, ("secondary",)),))
ADMINS = ("principal", "siteAdministrator", "districtAdministrator", "systemAdministrator")
SECONDARY_ADMINS = Rows(Role, (*SECONDARY_ROLES.where, (Role.role, ADMINS)))
TEACHERS_FIRST = Rows(Role, (*PRIMARY_ROLES.where, (Role.role, ("teacher", *ADMINS))))
PRIMARY_TEACHERS = Rows(
    Enrollment, ((Enrollment.role, ("teacher",)), (Enrollment.primary, ("true",)))
)
HOMEROOM = Kind(Enrollment, Enrollment.class_sourced_id, Class, Class.class_type, "homeroom")
AT_HOME = Rows(Enrollment, of=HOMEROOM)

MEMBERS = """
    select start, line, min(at) as ring from walk as w
    where exists (select 1 from walk as o where o.start = w.start and o.at = w.start)
    group by start, line
"""
RINGS = """
    select s.line, s.sourced_id, s.parent_sourced_id as value
    from staged_TABLE as s
    where s.line in (select min(line) from members group by ring)
"""
WALK = """
    select sourced_id as start, line, parent_sourced_id as at from staged_TABLE
    where status = 'active' and parent_sourced_id is not null
    union
    select w.start, w.line, a.parent_sourced_id
    from walk as w join after_TABLE as a on a.sourced_id = w.at
    where a.parent_sourced_id is not null
"""


def cycle(entity: AnyEntity, column: AnyColumn) -> Check:
    """A record that is above itself. Of each ring the first changed row is named."""
    walk = WALK.replace("TABLE", entity.table)
    return Check(
        rule=rules.records.CYCLE,
        entity=entity,
        column=column,
        parts={"walk": walk, "members": MEMBERS},
        sql=RINGS.replace("TABLE", entity.table),
    )


def twice(rule: Rule, column: AnyColumn, advised: frozenset[str] = frozenset()) -> Check:
    """A value that two users have; the later rows are named."""
    near = f"select {column.name} from staged_users where status = 'active'"  # noqa: S608
    return Check(
        rule=rule,
        entity=User,
        column=column,
        near={"after_users": (column.name, near)},
        proof=Single(Cells(USERS, (column,))),
        sql="""
            select line, sourced_id, NAME as value from (
                select line, sourced_id, NAME,
                    row_number() over (partition by NAME order by line nulls first) as nth
                from after_users
                where NAME in (
                    select NAME from after_users where NAME is not null
                    group by NAME having count(*) > 1
                )
            ) as same where nth > 1 and line is not null
        """.replace("NAME", column.name),
        profiles=JAPAN,
        advised=advised,
    )


CHANGED_ROLES = "select user_sourced_id from touched_roles"
SECONDARY = """
    select line, sourced_id, user_sourced_id, role from after_roles where role_type = 'secondary'
"""
THEIRS = Few(Role, "user_sourced_id", "select user_sourced_id from secondary")
ROLES_OR_PROFILES = """
    select user_sourced_id from staged_roles
    union select user_sourced_id from touched_user_profiles
"""
USERS_OR_ROLES = """
    select sourced_id from staged_users union select user_sourced_id from touched_roles
"""
USERS_OR_ENROLLMENTS = """
    select sourced_id from staged_users union select user_sourced_id from touched_enrollments
"""
ROLES_OR_ENROLLMENTS = """
    select user_sourced_id from touched_roles
    union select user_sourced_id from touched_enrollments
"""
TAUGHT = """
    select class_sourced_id from staged_enrollments where role = 'teacher' and "primary"
"""

CHECKS: tuple[Check, ...] = (
    cycle(Org, Org.parent_sourced_id),
    cycle(AcademicSession, AcademicSession.parent_sourced_id),
    # CSV binding 8, roles: at most one primary per person and org.
    Check(
        rule=rules.records.PRIMARY_ROLE,
        entity=Role,
        column=Role.role_type,
        near={"after_roles": ("user_sourced_id", "select user_sourced_id from staged_roles")},
        proof=Single(Cells(PRIMARY_ROLES, (Role.user_sourced_id,))),
        sql="""
            select r.line, r.sourced_id, r.user_sourced_id as value, r.org_sourced_id as org
            from after_roles as r join (
                select user_sourced_id, org_sourced_id, min(coalesce(line, 0)) as first
                from after_roles where role_type = 'primary'
                group by user_sourced_id, org_sourced_id having count(*) > 1
            ) as p
              on p.user_sourced_id = r.user_sourced_id and p.org_sourced_id = r.org_sourced_id
            where r.role_type = 'primary' and r.line > p.first
        """,
        facts=("org",),
        ids={"value": Role.user_sourced_id, "org": Role.org_sourced_id},
    ),
    # CSV binding 8, roles: a profile of the same person.
    Check(
        rule=rules.records.OTHER_USER,
        entity=Role,
        column=Role.user_profile_sourced_id,
        near={
            "after_roles": ("user_sourced_id", ROLES_OR_PROFILES),
            "after_user_profiles": (
                "sourced_id",
                "select user_profile_sourced_id from after_roles",
            ),
        },
        # A sourcedId stands once among the profiles, or they would not have come in.
        proof=Within(
            Cells(ROLES, (Role.user_profile_sourced_id, Role.user_sourced_id)),
            Cells(Rows(UserProfile), (UserProfile.sourced_id, UserProfile.user_sourced_id)),
        ),
        sql="""
            select r.line, r.sourced_id, p.sourced_id as value, p.user_sourced_id as found
            from after_roles as r
            join after_user_profiles as p on p.sourced_id = r.user_profile_sourced_id
            where p.user_sourced_id <> r.user_sourced_id
        """,
        facts=("found",),
        ids={"found": UserProfile.user_sourced_id},
    ),
    # CSV binding 7: users need roles.
    Check(
        rule=rules.records.USER_WITHOUT_ROLE,
        entity=User,
        column=None,
        near={"after_roles": ("user_sourced_id", "select sourced_id from new_users")},
        proof=Within(Cells(USERS, (User.sourced_id,)), Cells(ROLES, (Role.user_sourced_id,))),
        sql="""
            select u.line, u.sourced_id, u.sourced_id as value, u.sourced_id as person
            from new_users as u
            where not exists (
                select 1 from after_roles as r where r.user_sourced_id = u.sourced_id
            )
        """,
        whole=(Role.user_sourced_id,),
        ids={"value": User.sourced_id},
    ),
    # CSV binding 8, users: the person should hold a role at the main org.
    Check(
        rule=rules.records.PRIMARY_ORG,
        entity=User,
        column=User.primary_org_sourced_id,
        near={
            "after_users": ("sourced_id", USERS_OR_ROLES),
            "after_orgs": ("sourced_id", "select primary_org_sourced_id from after_users"),
            "after_roles": ("user_sourced_id", "select sourced_id from after_users"),
        },
        proof=Within(
            Cells(USERS, (User.sourced_id, User.primary_org_sourced_id)),
            Cells(ROLES, (Role.user_sourced_id, Role.org_sourced_id)),
        ),
        parts={
            "strangers": """
                select u.line, u.sourced_id, u.primary_org_sourced_id from after_users as u
                where u.primary_org_sourced_id is not null and not exists (
                    select 1 from after_roles as r
                    where r.user_sourced_id = u.sourced_id
                      and r.org_sourced_id = u.primary_org_sourced_id
                )
            """,
        },
        few={"elsewhere": Few(Role, "user_sourced_id", "select sourced_id from strangers")},
        sql="""
            select u.line, u.sourced_id, u.primary_org_sourced_id as value, u.sourced_id as person
            from strangers as u
            where exists (
                select 1 from after_orgs as o where o.sourced_id = u.primary_org_sourced_id
            ) and exists (
                select 1 from elsewhere as r where r.user_sourced_id = u.sourced_id
            )
        """,
        whole=(Role.user_sourced_id,),
    ),
    # CSV binding 8, enrollments: one primary teacher per class and period.
    Check(
        rule=rules.records.PRIMARY_TEACHER,
        entity=Enrollment,
        column=Enrollment.primary,
        near={
            "after_enrollments": ("class_sourced_id", TAUGHT),
            "after_classes": ("sourced_id", "select class_sourced_id from teachers"),
        },
        proof=Single(Cells(PRIMARY_TEACHERS, (Enrollment.class_sourced_id,))),
        parts={
            "teachers": """
                select line, sourced_id, class_sourced_id,
                    coalesce(begin_date, '0001-01-01') as since,
                    coalesce(end_date, '9999-12-31') as until
                from after_enrollments where role = 'teacher' and "primary"
            """,
            "crowded": """
                select class_sourced_id from teachers
                group by class_sourced_id having count(*) > 1
            """,
        },
        sql="""
            select t.line, t.sourced_id, t.class_sourced_id as value
            from crowded as c join teachers as t on t.class_sourced_id = c.class_sourced_id
            where t.line is not null and c.class_sourced_id not in (
                select sourced_id from items_classes_periods
                group by sourced_id having count(*) > 1
            ) and exists (
                select 1 from teachers as o
                where o.class_sourced_id = t.class_sourced_id
                  and coalesce(o.line, 0) < t.line and o.since < t.until and t.since < o.until
            )
        """,
        ids={"value": Enrollment.class_sourced_id},
    ),
    # CSV binding 8, academicSessions: a session is a part of its parent.
    Check(
        rule=rules.records.SESSION_OUTSIDE,
        entity=AcademicSession,
        column=AcademicSession.start_date,
        sql="""
            select s.line, s.sourced_id, s.start_date || ' - ' || s.end_date as value,
                p.start_date || ' - ' || p.end_date as expected
            from after_academic_sessions as s
            join after_academic_sessions as p on p.sourced_id = s.parent_sourced_id
            where s.start_date < p.start_date or s.end_date > p.end_date
        """,
        facts=("expected",),
    ),
    # CSV binding 8, enrollments: dates should align with the class's sessions.
    Check(
        rule=rules.records.ENROLLMENT_OUTSIDE,
        entity=Enrollment,
        column=Enrollment.begin_date,
        near={"after_classes": ("sourced_id", "select class_sourced_id from staged_enrollments")},
        proof=Inside(
            begin=Enrollment.begin_date,
            end=Enrollment.end_date,
            spans=Class.term_sourced_ids,
            first=AcademicSession.start_date,
            last=AcademicSession.end_date,
        ),
        parts={
            "spans": """
                select t.sourced_id, min(s.start_date) as first, max(s.end_date) as last
                from items_classes_term_sourced_ids as t
                join after_academic_sessions as s on s.sourced_id = t.key
                group by t.sourced_id
            """,
            # Where all rows begin and end within the sessions, none needs a look at its own.
            "narrow": """
                select s.sourced_id, s.first, s.last
                from spans as s cross join extent_enrollments as e
                where e.begin_date_min < s.first or e.begin_date_max > s.last
                   or e.end_date_min < s.first
            """,
            "suspects": """
                select line, sourced_id, class_sourced_id, begin_date, end_date
                from staged_enrollments
                where status = 'active' and exists (select 1 from narrow)
            """,
        },
        sql="""
            select e.line, e.sourced_id,
                coalesce(cast(e.begin_date as text), '') || ' - '
                || coalesce(cast(e.end_date as text), '') as value,
                s.first || ' - ' || s.last as expected
            from suspects as e join narrow as s on s.sourced_id = e.class_sourced_id
            where e.begin_date < s.first or e.begin_date > s.last or e.end_date < s.first
        """,
        facts=("expected",),
    ),
    # Japan profile 5, users: grades are required for students.
    Check(
        rule=rules.records.STUDENT_GRADES,
        entity=User,
        column=User.grades,
        near={
            "after_users": ("sourced_id", USERS_OR_ROLES),
            "after_roles": ("user_sourced_id", "select sourced_id from after_users"),
        },
        proof=Apart(STUDENTS, Cells(Rows(User, ((User.grades, (None,)),)), (User.sourced_id,))),
        sql="""
            select u.line, u.sourced_id, cast(null as text) as value from after_users as u
            where u.grades is null and exists (
                select 1 from after_roles as r
                where r.user_sourced_id = u.sourced_id and r.role = 'student'
            )
        """,
        profiles=JAPAN,
        advised=UNSURE,
    ),
    # Japan profile 5, roles: a person with secondary rows must also have a primary row.
    Check(
        rule=rules.records.NO_PRIMARY_ROLE,
        entity=Role,
        column=Role.role_type,
        near={"after_roles": ("user_sourced_id", CHANGED_ROLES)},
        proof=Within(
            Cells(SECONDARY_ROLES, (Role.user_sourced_id,)),
            Cells(PRIMARY_ROLES, (Role.user_sourced_id,)),
        ),
        parts={"secondary": SECONDARY},
        few={"theirs": THEIRS},
        sql="""
            select r.line, r.sourced_id, r.user_sourced_id as value, r.user_sourced_id as person
            from secondary as r
            where not exists (
                select 1 from theirs as p
                where p.user_sourced_id = r.user_sourced_id and p.role_type = 'primary'
            )
        """,
        whole=(Role.user_sourced_id,),
        ids={"value": Role.user_sourced_id},
        profiles=JAPAN,
        advised=UNSURE,
    ),
    # Japan profile 5 and 7, roles: heads and administrators are teachers first.
    Check(
        rule=rules.records.ADMIN_WITHOUT_TEACHER,
        entity=Role,
        column=Role.role,
        near={"after_roles": ("user_sourced_id", CHANGED_ROLES)},
        proof=Within(
            Cells(SECONDARY_ADMINS, (Role.user_sourced_id,)),
            Cells(TEACHERS_FIRST, (Role.user_sourced_id,)),
        ),
        parts={"secondary": SECONDARY},
        few={"theirs": THEIRS},
        sql="""
            select r.line, r.sourced_id, r.user_sourced_id as value, r.role,
                r.user_sourced_id as person
            from secondary as r
            where r.role in (
                'principal', 'siteAdministrator', 'districtAdministrator', 'systemAdministrator'
            ) and exists (
                select 1 from theirs as p
                where p.user_sourced_id = r.user_sourced_id and p.role_type = 'primary'
            ) and not exists (
                select 1 from theirs as p
                where p.user_sourced_id = r.user_sourced_id and p.role_type = 'primary'
                  and p.role in (
                      'teacher', 'principal', 'siteAdministrator', 'districtAdministrator',
                      'systemAdministrator'
                  )
            )
        """,
        facts=("role",),
        whole=(Role.user_sourced_id,),
        ids={"value": Role.user_sourced_id},
        profiles=JAPAN,
    ),
    # Japan profile 5, orgs: a school's parent is its district where there is one.
    Check(
        rule=rules.records.SCHOOL_WITHOUT_DISTRICT,
        entity=Org,
        column=Org.parent_sourced_id,
        sql="""
            select s.line, s.sourced_id, cast(null as text) as value from staged_orgs as s
            where s.status = 'active' and s.type = 'school' and s.parent_sourced_id is null
              and exists (select 1 from after_orgs as d where d.type = 'district')
        """,
        profiles=JAPAN,
    ),
    # Japan profile 8: one academicSession of type schoolYear per fiscal year.
    Check(
        rule=rules.records.SCHOOL_YEAR_TWICE,
        entity=AcademicSession,
        column=AcademicSession.school_year,
        sql="""
            select s.line, s.sourced_id, s.school_year as value from after_academic_sessions as s
            where s.type = 'schoolYear' and s.line is not null and exists (
                select 1 from after_academic_sessions as o
                where o.type = 'schoolYear' and o.school_year = s.school_year
                  and coalesce(o.line, 0) < s.line
            )
        """,
        profiles=JAPAN,
    ),
    # Japan profile 5 and 9: one identifier per person; conformance 4.2 (Q): one login name.
    twice(rules.records.MASTER_IDENTIFIER_TWICE, User.user_master_identifier, UNSURE),
    twice(rules.records.USERNAME_TWICE, User.username),
    # Japan profile 8: users.homeClass repeats the home class, which is known by enrollments.
    Check(
        rule=rules.records.HOME_CLASS,
        entity=User,
        column=User.home_class,
        near={
            "after_users": ("sourced_id", USERS_OR_ENROLLMENTS),
            "after_enrollments": ("user_sourced_id", "select sourced_id from homes"),
            "after_classes": ("sourced_id", "select home_class from homes"),
        },
        # Of a homeroom, as it should be: then those are enough which the next but one looks at.
        proof=Within(
            Cells(USERS, (User.sourced_id, User.home_class)),
            Cells(AT_HOME, (Enrollment.user_sourced_id, Enrollment.class_sourced_id)),
        ),
        parts={
            "homes": "select line, sourced_id, home_class from after_users"
            " where home_class is not null",
        },
        few={"at_home": Few(Enrollment, "class_sourced_id", "select home_class from homes")},
        sql="""
            select h.line, h.sourced_id, h.home_class as value, h.sourced_id as person
            from homes as h join after_classes as c on c.sourced_id = h.home_class
            where not exists (
                select 1 from at_home as e
                where e.user_sourced_id = h.sourced_id and e.class_sourced_id = h.home_class
            )
        """,
        whole=(Enrollment.user_sourced_id,),
        profiles=JAPAN,
    ),
    # Japan profile 7: pupils are enrolled in the homeroom class (must) and in lesson classes.
    Check(
        rule=rules.records.PUPIL_WITHOUT_HOMEROOM,
        entity=User,
        column=None,
        near={
            "after_users": ("sourced_id", ROLES_OR_ENROLLMENTS),
            "after_roles": ("user_sourced_id", "select sourced_id from after_users"),
            "after_enrollments": ("user_sourced_id", "select sourced_id from after_users"),
            "after_classes": ("sourced_id", "select class_sourced_id from after_enrollments"),
        },
        proof=Within(STUDENTS, Cells(AT_HOME, (Enrollment.user_sourced_id,))),
        parts={
            "homerooms": "select sourced_id from after_classes where class_type = 'homeroom'",
            "unhoused": """
                select distinct r.user_sourced_id from after_roles as r
                where r.role = 'student' and not exists (
                    select 1 from at_home as e join homerooms as c
                      on c.sourced_id = e.class_sourced_id
                    where e.user_sourced_id = r.user_sourced_id
                )
            """,
        },
        few={
            "at_home": Few(Enrollment, "class_sourced_id", "select sourced_id from homerooms"),
            "theirs": Few(Enrollment, "user_sourced_id", "select user_sourced_id from unhoused"),
            "pupils": Few(User, "sourced_id", "select user_sourced_id from unhoused"),
        },
        # Not those in a class that is not there: that is another rule's matter.
        sql="""
            select u.line, u.sourced_id, u.sourced_id as value, u.sourced_id as person
            from unhoused as p join pupils as u on u.sourced_id = p.user_sourced_id
            where exists (
                select 1 from theirs as e where e.user_sourced_id = p.user_sourced_id
            ) and not exists (
                select 1 from theirs as e
                where e.user_sourced_id = p.user_sourced_id and not exists (
                    select 1 from after_classes as c where c.sourced_id = e.class_sourced_id
                )
            )
        """,
        whole=(Enrollment.user_sourced_id,),
        ids={"value": User.sourced_id},
        profiles=JAPAN,
    ),
)
"""Every rule between records but keys and references, in load order of what they name."""

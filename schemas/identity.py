"""What makes two records look alike when their sourcedIds differ: the identity of each entity.

A source system that is replaced gives every record a new sourcedId. Which new record is which old
one is then told by what they say; each entity names the columns that tell, the surest first. What
is re-used in time (a login name, a class number) never tells alone, and what belongs to a year says
which: a class of this year is not that of the last.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.columns import AnyColumn
from schemas.roster import AnyEntity
from schemas.roster.orgs import AcademicSession, Org
from schemas.roster.people import Demographics, Role, User, UserProfile
from schemas.roster.teaching import Class, Course, Enrollment


@dataclass(frozen=True, slots=True)
class Alike:
    """Columns that are equal in two records that look alike.

    `by` must be filled, `also` may be blank in both. `decisive`: who differs here is somebody else,
    whatever the weaker identities say.
    """

    by: tuple[AnyColumn, ...]
    also: tuple[AnyColumn, ...] = ()
    decisive: bool = False

    @property
    def names(self) -> list[str]:
        """The columns, as people know them."""
        return [column.csv for column in (*self.by, *self.also)]


NAMES = (User.family_name, User.given_name)
PLACE = (Class.course_sourced_id, Class.school_sourced_id, Class.term_sourced_ids)
YEAR = (Course.school_year_sourced_id,)

IDENTITIES: Mapping[AnyEntity, tuple[Alike, ...]] = {
    Org: (
        Alike(by=(Org.identifier, Org.type)),
        Alike(by=(Org.name, Org.type)),
    ),
    AcademicSession: (
        Alike(
            by=(
                AcademicSession.title,
                AcademicSession.type,
                AcademicSession.start_date,
                AcademicSession.end_date,
            )
        ),
    ),
    Course: (
        Alike(by=(Course.course_code, Course.title, Course.org_sourced_id), also=YEAR),
        Alike(by=(Course.title, Course.org_sourced_id), also=YEAR),
    ),
    Class: (
        Alike(by=(Class.class_code, *PLACE)),
        Alike(by=(Class.title, *PLACE)),
    ),
    User: (
        Alike(by=(User.user_master_identifier,), decisive=True),
        Alike(by=(User.username, *NAMES)),
        Alike(by=(User.identifier, *NAMES)),
        Alike(by=(User.email, *NAMES)),
    ),
    UserProfile: (
        Alike(
            by=(UserProfile.user_sourced_id, UserProfile.vendor_id, UserProfile.profile_type),
            also=(UserProfile.application_id, UserProfile.credential_type),
        ),
    ),
    Role: (
        Alike(
            by=(Role.user_sourced_id, Role.org_sourced_id, Role.role),
            also=(Role.role_type, Role.begin_date),
        ),
    ),
    Demographics: (),  # they bear the sourcedId of their user
    Enrollment: (
        Alike(
            by=(Enrollment.user_sourced_id, Enrollment.class_sourced_id, Enrollment.role),
            also=(Enrollment.begin_date,),
        ),
    ),
}


def space(entity: AnyEntity) -> str:
    """The file whose sourcedIds the records of an entity bear."""
    return entity.sourced_id.to or entity.file

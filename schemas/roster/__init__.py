"""The 21 data files of the CSV binding, in load order: referred-to before referring.

Only orgs, academicSessions and users also refer to themselves (CSV binding 7).
"""

from schemas.entity import Entity
from schemas.roster.gradebook import (
    Category,
    LineItem,
    LineItemLearningObjectiveId,
    LineItemScoreScale,
    Result,
    ResultLearningObjectiveId,
    ResultScoreScale,
    ScoreScale,
)
from schemas.roster.orgs import AcademicSession, Org
from schemas.roster.people import Demographics, Role, User, UserProfile
from schemas.roster.resources import ClassResource, CourseResource, Resource, UserResource
from schemas.roster.teaching import Class, Course, Enrollment

AnyEntity = type[Entity]

ROSTERING: tuple[AnyEntity, ...] = (
    Org,
    AcademicSession,
    Course,
    Class,
    User,
    UserProfile,
    Role,
    Demographics,
    Enrollment,
)
"""The nine files that are stored and served."""

BINDING: tuple[AnyEntity, ...] = (
    *ROSTERING,
    Resource,
    ClassResource,
    CourseResource,
    UserResource,
    Category,
    LineItem,
    ScoreScale,
    LineItemScoreScale,
    Result,
    ResultScoreScale,
    LineItemLearningObjectiveId,
    ResultLearningObjectiveId,
)
"""Every data file; those outside `ROSTERING` are checked and not yet stored."""

PARTS: tuple[AnyEntity, ...] = (Role, UserProfile)
"""Files whose records are parts of a user, by `user_sourced_id`."""

BY_FILE: dict[str, AnyEntity] = {entity.file: entity for entity in BINDING}
BY_TABLE: dict[str, AnyEntity] = {entity.table: entity for entity in BINDING}

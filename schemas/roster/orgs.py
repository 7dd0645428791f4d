"""Organisations and academic sessions."""

from schemas.checks import NotBefore
from schemas.columns import Choice, Day, Ref, Text, Year
from schemas.entity import Entity
from schemas.rules import values


class Org(Entity, file="orgs", rest="Org"):
    """A district, a school, or anything in between."""

    name = Text(required=True, doc="Name.")
    type = Choice(
        words=("department", "school", "district", "local", "state", "national"),
        extensible=True,
        required=True,
        doc="Kind of org.",
    )
    identifier = Text(doc="Human readable code, such as a school code.")
    parent_sourced_id = Ref(to="orgs", doc="The org above.")


class AcademicSession(Entity, file="academicSessions", rest="AcademicSession"):
    """A school year, a term, a semester or a grading period."""

    title = Text(required=True, doc="Name of the session.")
    type = Choice(
        words=("gradingPeriod", "semester", "schoolYear", "term"),
        extensible=True,
        required=True,
        doc="Kind of session.",
    )
    start_date = Day(required=True, doc="First day, inclusive.")
    end_date = Day(required=True, doc="End day, exclusive (Japan writes it inclusive).")
    parent_sourced_id = Ref(to="academicSessions", doc="The session above.")
    school_year = Year(
        required=True, doc="Year in which the school year ends (Japan: in which it starts)."
    )

    checks = (NotBefore(rule=values.ORDER, column=end_date, begin=start_date, apart=True),)

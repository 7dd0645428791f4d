"""Courses, classes, and who is in them."""

from schemas.checks import NotBefore, OnlyWith, Paired
from schemas.columns import Choice, Day, Flag, Ref, Refs, Text, Texts, Whole
from schemas.entity import Entity
from schemas.rules import values


class Course(Entity, file="courses", rest="Course"):
    """A course of study; classes are its instances."""

    school_year_sourced_id = Ref(to="academicSessions", kind="schoolYear", doc="Its school year.")
    title = Text(required=True, doc="Name of the course.")
    course_code = Text(doc="Human readable code.")
    grades = Texts(doc="Grade codes.")
    org_sourced_id = Ref(to="orgs", required=True, doc="Owning org, of any type.")
    subjects = Texts(doc="Human readable subjects, paired with subjectCodes.")
    subject_codes = Texts(doc="Machine codes, paired with subjects.")

    checks = (Paired(rule=values.PAIRING, column=subject_codes, other=subjects),)


class Class(Entity, file="classes", rest="Class"):
    """An instance of a course, held at one school."""

    title = Text(required=True, doc="Name of the class.")
    grades = Texts(doc="Grade codes.")
    course_sourced_id = Ref(to="courses", required=True, doc="The course it is an instance of.")
    class_code = Text(doc="Human readable code.")
    class_type = Choice(
        words=("homeroom", "scheduled"), extensible=True, required=True, doc="Kind of class."
    )
    location = Text(doc="Where the class meets.")
    school_sourced_id = Ref(
        to="orgs", kind="school", required=True, doc="The school that teaches it."
    )
    term_sourced_ids = Refs(to="academicSessions", required=True, doc="One or more sessions.")
    subjects = Texts(doc="Human readable subjects, paired with subjectCodes.")
    subject_codes = Texts(doc="Machine codes, paired with subjects.")
    periods = Texts(doc="Time slots of the day.")
    special_needs = Flag(csv="metadata.jp.specialNeeds", doc="Special-needs class (Japan).")

    checks = (Paired(rule=values.PAIRING, column=subject_codes, other=subjects),)


class Enrollment(Entity, file="enrollments", rest="Enrollment"):
    """A person in a class."""

    class_sourced_id = Ref(to="classes", required=True, doc="The class.")
    school_sourced_id = Ref(to="orgs", kind="school", required=True, doc="The school.")
    user_sourced_id = Ref(to="users", required=True, doc="The person.")
    role = Choice(
        words=("administrator", "proctor", "student", "teacher"),
        extensible=True,
        required=True,
        doc="Role in the class.",
    )
    primary = Flag(doc="Primary teacher; for teachers only.")
    begin_date = Day(doc="First day, inclusive.")
    end_date = Day(doc="End day, exclusive.")
    shusseki_no = Whole(
        csv="metadata.jp.shussekiNo", personal=True, doc="Attendance number in the class (Japan)."
    )
    public_flg = Flag(csv="metadata.jp.publicFlg", doc="Public flag (Japan).")

    checks = (
        OnlyWith(
            rule=values.PRIMARY, column=primary, words=("true",), other=role, others=("teacher",)
        ),
        NotBefore(rule=values.ORDER, column=end_date, begin=begin_date),
    )

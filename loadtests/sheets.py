"""The nine files of a district: what stands in each column, and how to write the n-th row.

A sheet names its cells by the declared columns; a profile decides which of them exist, in which
order. A row is a handful of values that depend on nothing but the district and the row's number,
so rows can be written in any order and are forgotten at once.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate
from typing import TypeAlias

from loadtests.districts import Group, Person, School, Town, shuffled
from schemas.columns import Column
from schemas.profiles import MANIFEST_HEADER, MANIFEST_VERSION
from schemas.roster import BINDING, ROSTERING, AnyEntity
from schemas.roster.orgs import AcademicSession, Org
from schemas.roster.people import Demographics, Role, User, UserProfile
from schemas.roster.teaching import Class, Course, Enrollment

Row: TypeAlias = Mapping[str, object]
Cells: TypeAlias = Mapping[Column, str]
"""What a column holds: a constant, or `%(name)s` for a value of the row. Others are empty."""

LINE_END = "\r\n"
MANIFEST = "manifest.csv"
FILE_PROPERTIES = tuple(
    f"file.{name}" for name in sorted((entity.file for entity in BINDING), key=str.lower)
)
PROPERTIES = (
    "manifest.version",
    "oneroster.version",
    *FILE_PROPERTIES,
    "source.systemName",
    "source.systemCode",
)


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """One file. `size` counts the rows that a school may have, `row` writes one of them.

    A row that is `None` belongs to somebody who is not there. `office` is the one row, at the
    head, that belongs to no school.
    """

    entity: AnyEntity
    cells: Callable[[Town], Cells]
    size: Callable[[Town, School], int]
    row: Callable[[Town, School, int], Row | None]
    office: Callable[[Town], Row] | None = None

    def rows(self, town: Town) -> Iterator[Row]:
        """Every row, in the order that the district asks for."""
        sizes = (self.size(town, school) for school in town.schools)
        starts = list(accumulate(sizes, initial=1 if self.office else 0))
        for at in shuffled(starts[-1], town.district.order, self.entity.file):
            place = bisect_right(starts, at) - 1
            if place >= 0:
                row = self.row(town, town.schools[place], at - starts[place])
            else:
                row = self.office and self.office(town)
            if row:
                yield row

    def lines(self, town: Town) -> Iterator[str]:
        """The header, then the rows, as text."""
        columns, cells = town.profile.columns(self.entity), self.cells(town)
        template = quoted(*(cells.get(column, "") for column in columns))
        yield ",".join(town.profile.header(self.entity)) + LINE_END
        for row in self.rows(town):
            yield template % row


def quoted(*values: str) -> str:
    """One line of cells. No value here holds a quotation mark."""
    return '"' + '","'.join(values) + '"' + LINE_END


def manifest(town: Town) -> Iterator[str]:
    """The lines of manifest.csv."""
    values = {
        "manifest.version": MANIFEST_VERSION,
        "oneroster.version": town.profile.manifest,
        **dict.fromkeys(FILE_PROPERTIES, "absent"),
        **{f"file.{sheet.entity.file}": "bulk" for sheet in SHEETS},
        "source.systemName": "RosterHub sample district",
        "source.systemCode": f"rosterhub-sample-{town.district.board}",
    }
    yield ",".join(MANIFEST_HEADER) + LINE_END
    for name in PROPERTIES:
        yield quoted(name, values[name])


def begin(town: Town) -> str:
    """The first day of the school year."""
    return f"{town.district.year}-04-01"


def end(town: Town) -> str:
    """The last day of the school year, inclusive as Japan writes it."""
    return f"{town.district.year + 1}-03-31"


def session_id(town: Town) -> str:
    """The sourcedId of the school year."""
    return town.id("session", town.district.year)


def school_id(town: Town, school: School) -> str:
    """The sourcedId of a school."""
    return town.id("school", school.index)


def course_id(town: Town, school: School, subject: int) -> str:
    """The sourcedId of a course; 0 is the home room."""
    return town.id("course", town.district.year, school.index, subject)


def class_id(town: Town, school: School, room: int, lesson: int) -> str:
    """The sourcedId of a home class (lesson 0) or of one of its lesson groups."""
    return town.id("class", town.district.year, school.index, room, lesson)


def profile_id(town: Town, school: School, person: Person) -> str:
    """The sourcedId of somebody's account."""
    return town.id("profile", school.index, *person)


def subject_of(school: School, lesson: int) -> int:
    """The subject of a lesson, counted from 1; more lessons than subjects start over."""
    return (lesson - 1) % len(school.level.subjects) + 1 if lesson else 0


def subjects(town: Town, school: School) -> int:
    """How many subjects are taught."""
    return min(town.district.enrollments_per_student - 1, len(school.level.subjects))


def ordinal(town: Town, school: School, person: Person) -> int:
    """The number of a user in the whole district, equal in every generation."""
    if person.group == "newcomer":
        return town.district.users + school.first + person.number + 1
    at = school.first + person.number + 1
    for group, size in school.groups:
        if group == person.group:
            return at
        at += 0 if group == "newcomer" else size
    raise ValueError(person)


def username(town: Town, school: School, person: Person) -> str:
    """The login name."""
    return f"user{ordinal(town, school, person):06d}@example.ed.jp"


def org_cells(_: Town) -> Cells:
    """orgs.csv."""
    return {
        Org.sourced_id: "%(id)s",
        Org.name: "%(name)s",
        Org.type: "%(type)s",
        Org.identifier: "%(code)s",
        Org.parent_sourced_id: "%(parent)s",
    }


def board_of_education(town: Town) -> Row:
    """The district."""
    return {
        "id": town.id("district"),
        "name": "架空市教育委員会",
        "type": "district",
        "code": town.district.board,
        "parent": "",
    }


def school_row(town: Town, school: School, _: int) -> Row:
    """A school."""
    return {
        "id": school_id(town, school),
        "name": school.title,
        "type": "school",
        "code": school.code(town.district.board),
        "parent": town.id("district"),
    }


def session_cells(town: Town) -> Cells:
    """academicSessions.csv: one school year, named by the year in which it starts."""
    return {
        AcademicSession.sourced_id: "%(id)s",
        AcademicSession.title: f"{town.district.year}年度",
        AcademicSession.type: "schoolYear",
        AcademicSession.start_date: begin(town),
        AcademicSession.end_date: end(town),
        AcademicSession.school_year: str(town.district.year),
    }


def school_year(town: Town) -> Row:
    """The one session."""
    return {"id": session_id(town)}


def course_cells(town: Town) -> Cells:
    """courses.csv: the home room and every subject, per school."""
    return {
        Course.sourced_id: "%(id)s",
        Course.school_year_sourced_id: session_id(town),
        Course.title: f"{town.district.year}年度%(subject)s",
        Course.grades: "%(grades)s",
        Course.org_sourced_id: "%(school)s",
        Course.subjects: "%(subjects)s",
        Course.subject_codes: "%(code)s",
    }


def course_row(town: Town, school: School, at: int) -> Row:
    """A course."""
    name, code = school.level.subjects[at - 1] if at else ("", "")
    return {
        "id": course_id(town, school, at),
        "subject": name or "ホームルーム",
        "grades": ",".join(school.level.grades),
        "school": school_id(town, school),
        "subjects": name,
        "code": code,
    }


def class_cells(town: Town) -> Cells:
    """classes.csv: a home class and its lesson groups."""
    return {
        Class.sourced_id: "%(id)s",
        Class.title: "%(title)s",
        Class.grades: "%(grade)s",
        Class.course_sourced_id: "%(course)s",
        Class.class_type: "%(type)s",
        Class.location: "%(location)s",
        Class.school_sourced_id: "%(school)s",
        Class.term_sourced_ids: session_id(town),
        Class.subjects: "%(subject)s",
        Class.subject_codes: "%(code)s",
        Class.periods: "%(period)s",
        Class.special_needs: "false",
    }


def class_row(town: Town, school: School, at: int) -> Row:
    """A home class or a lesson group."""
    room, lesson = divmod(at, town.district.enrollments_per_student)
    grade, section = divmod(room, school.sections)
    subject = subject_of(school, lesson)
    name, code = school.level.subjects[subject - 1] if lesson else ("", "")
    again = (lesson - 1) // len(school.level.subjects) + 1
    title = f"{grade + 1}年{section + 1}組"
    return {
        "id": class_id(town, school, room, lesson),
        "title": f"{title}{name}{again if again > 1 else ''}",
        "grade": school.level.grades[grade],
        "course": course_id(town, school, subject),
        "type": "scheduled" if lesson else "homeroom",
        "location": f"{title}教室" if lesson else "",
        "school": school_id(town, school),
        "subject": name,
        "code": code,
        "period": (lesson - 1) % 6 + 1 if lesson else "",
    }


def user_cells(_: Town) -> Cells:
    """users.csv."""
    return {
        User.sourced_id: "%(id)s",
        User.enabled_user: "true",
        User.username: "%(username)s",
        User.user_ids: "{Koumu:%(ordinal)04d}",
        User.given_name: "%(given)s",
        User.family_name: "%(family)s",
        User.agent_sourced_ids: "%(agent)s",
        User.grades: "%(grade)s",
        User.user_master_identifier: "%(master)s",
        User.preferred_given_name: "%(given)s",
        User.preferred_family_name: "%(family)s",
        User.primary_org_sourced_id: "%(school)s",
        User.kana_given_name: "%(kana_given)s",
        User.kana_family_name: "%(kana_family)s",
        User.home_class: "%(home)s",
        User.kana_preferred_family_name: "%(kana_family)s",
        User.kana_preferred_given_name: "%(kana_given)s",
    }


def user_row(town: Town, school: School, at: int) -> Row | None:
    """A person."""
    person = school.person(at)
    if not town.here(school, person):
        return None
    family, kana_family = town.family(school, person)
    given, kana_given = town.given(school, person)
    home, group = town.home(school, person), person.group
    pupil = group in {"pupil", "newcomer"}
    guarded = group == "pupil" and person.number < school.guardians
    return {
        "id": town.user_id(school, person),
        "username": username(town, school, person),
        "ordinal": ordinal(town, school, person),
        "given": given,
        "family": family,
        "agent": town.user_id(school, Person("guardian", person.number)) if guarded else "",
        "grade": school.level.grades[school.grade(home)] if pupil and home is not None else "",
        "master": town.own_id("person", school.index, *person),
        "school": school_id(town, school),
        "kana_given": kana_given,
        "kana_family": kana_family,
        "home": "" if home is None else class_id(town, school, home, 0),
    }


def account_cells(_: Town) -> Cells:
    """userProfiles.csv: one account each."""
    return {
        UserProfile.sourced_id: "%(id)s",
        UserProfile.user_sourced_id: "%(user)s",
        UserProfile.profile_type: "学習eポータル",
        UserProfile.vendor_id: "example-vendor",
        UserProfile.application_id: "example-app",
        UserProfile.credential_type: "OIDC",
        UserProfile.username: "%(username)s",
    }


def account_row(town: Town, school: School, at: int) -> Row | None:
    """Somebody's account."""
    person = school.person(at)
    if not town.here(school, person):
        return None
    return {
        "id": profile_id(town, school, person),
        "user": town.user_id(school, person),
        "username": username(town, school, person),
    }


def role_cells(town: Town) -> Cells:
    """roles.csv: a primary role each, and the secondary one of the principal."""
    return {
        Role.sourced_id: "%(id)s",
        Role.user_sourced_id: "%(user)s",
        Role.role_type: "%(type)s",
        Role.role: "%(role)s",
        Role.begin_date: begin(town),
        Role.end_date: end(town),
        Role.org_sourced_id: "%(school)s",
        Role.user_profile_sourced_id: "%(profile)s",
    }


PRIMARY_ROLES: Mapping[Group, str] = {
    "pupil": "student",
    "newcomer": "student",
    "teacher": "teacher",
    "principal": "teacher",  # a principal is a teacher first (Japan profile 7)
    "guardian": "guardian",
}


def role_row(town: Town, school: School, at: int) -> Row | None:
    """A role; the last of a school is what the principal is besides a teacher."""
    secondary = at == school.people
    person = Person("principal", 0) if secondary else school.person(at)
    if not town.here(school, person):
        return None
    kind, year = "secondary" if secondary else "primary", town.district.year
    return {
        "id": town.own_id("role", year, school.index, *person, kind),
        "user": town.user_id(school, person),
        "type": kind,
        "role": "principal" if secondary else PRIMARY_ROLES[person.group],
        "school": school_id(town, school),
        "profile": profile_id(town, school, person),
    }


def demographics_cells(_: Town) -> Cells:
    """demographics.csv: pupils only."""
    return {
        Demographics.sourced_id: "%(id)s",
        Demographics.birth_date: "%(born)s",
        Demographics.sex: "%(sex)s",
    }


def demographics_row(town: Town, school: School, at: int) -> Row | None:
    """A pupil's day of birth and sex."""
    person = school.person(at)
    if not town.here(school, person):
        return None
    return {
        "id": town.user_id(school, person),
        "born": born(town, school, person),
        "sex": "female" if town.girl(school, person) else "male",
    }


def born(town: Town, school: School, person: Person) -> date:
    """A day that fits the grade: who is 6 on 1 April starts school, from 2 April on waits."""
    age = school.level.youngest + school.grade(town.seat(school, person).room)
    first = date(town.district.year - age - 1, 4, 2)
    return first + timedelta(days=(town.lot(school, person) >> 40) % 365)


def enrollment_cells(town: Town) -> Cells:
    """enrollments.csv."""
    return {
        Enrollment.sourced_id: "%(id)s",
        Enrollment.class_sourced_id: "%(class)s",
        Enrollment.school_sourced_id: "%(school)s",
        Enrollment.user_sourced_id: "%(user)s",
        Enrollment.role: "%(role)s",
        Enrollment.primary: "%(primary)s",
        Enrollment.begin_date: begin(town),
        Enrollment.end_date: end(town),
        Enrollment.shusseki_no: "%(number)s",
        Enrollment.public_flg: "true",
    }


def enrollment_row(town: Town, school: School, at: int) -> Row | None:
    """Somebody in the home class (lesson 0) or in one of its lesson groups.

    A pupil who moved keeps the enrollments, which now point at the new classes.
    """
    at, lesson = divmod(at, town.district.enrollments_per_student)
    person = school.person(at)
    if not town.here(school, person):
        return None
    group, number = person
    teaches = group == "teacher"
    room, place = (number, "") if teaches else town.seat(school, person)
    return {
        "id": town.own_id("enrollment", town.district.year, school.index, *person, lesson),
        "class": class_id(town, school, room, lesson),
        "school": school_id(town, school),
        "user": town.user_id(school, person),
        "role": "teacher" if teaches else "student",
        "primary": "true" if teaches and lesson == 0 else "false",
        "number": place,
    }


def none(_: Town, __: School) -> int:
    """Nothing of this is a school's."""
    return 0


def nothing(_: Town, __: School, ___: int) -> None:
    """No row."""


def one(_: Town, __: School) -> int:
    """The school itself."""
    return 1


def courses(town: Town, school: School) -> int:
    """The home room and the subjects."""
    return 1 + subjects(town, school)


def classes(town: Town, school: School) -> int:
    """The home classes and their lesson groups."""
    return school.rooms * town.district.enrollments_per_student


def people(_: Town, school: School) -> int:
    """Everybody."""
    return school.people


def roles(_: Town, school: School) -> int:
    """Everybody, and the principal once more."""
    return school.people + 1


def learners(_: Town, school: School) -> int:
    """Pupils and newcomers."""
    return school.pupils + school.newcomers


def enrollments(town: Town, school: School) -> int:
    """Pupils, newcomers and home room teachers, in every lesson."""
    seats = school.pupils + school.newcomers + school.rooms
    return seats * town.district.enrollments_per_student


FILES = (
    Sheet(entity=Org, cells=org_cells, size=one, row=school_row, office=board_of_education),
    Sheet(entity=AcademicSession, cells=session_cells, size=none, row=nothing, office=school_year),
    Sheet(entity=Course, cells=course_cells, size=courses, row=course_row),
    Sheet(entity=Class, cells=class_cells, size=classes, row=class_row),
    Sheet(entity=User, cells=user_cells, size=people, row=user_row),
    Sheet(entity=UserProfile, cells=account_cells, size=people, row=account_row),
    Sheet(entity=Role, cells=role_cells, size=roles, row=role_row),
    Sheet(entity=Demographics, cells=demographics_cells, size=learners, row=demographics_row),
    Sheet(entity=Enrollment, cells=enrollment_cells, size=enrollments, row=enrollment_row),
)
SHEETS = tuple(sorted(FILES, key=lambda sheet: ROSTERING.index(sheet.entity)))
"""Every file, referred-to before referring."""

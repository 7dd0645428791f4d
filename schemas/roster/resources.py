"""Learning resources and their links to classes, courses and users."""

from schemas.columns import Choice, Choices, Ref, Text
from schemas.entity import Entity


class Resource(Entity, file="resources", rest="Resource", service="Resources"):
    """A learning resource."""

    vendor_resource_id = Text(required=True, doc="The vendor's own identifier.")
    title = Text(doc="Name.")
    roles = Choices(
        words=(
            "administrator",
            "aide",
            "guardian",
            "parent",
            "proctor",
            "relative",
            "student",
            "teacher",
        ),
        extensible=True,
        doc="Roles that may use the resource.",
    )
    importance = Choice(words=("primary", "secondary"), doc="How important it is.")
    vendor_id = Text(doc="Issued by 1EdTech.")
    application_id = Text(doc="Issued by the vendor.")


class ClassResource(Entity, file="classResources", rest="Class", service="Resources"):
    """A resource used in a class."""

    title = Text(json=None, doc="Label.")
    class_sourced_id = Ref(to="classes", required=True, json="sourcedId", doc="The class.")
    resource_sourced_id = Ref(to="resources", required=True, json="resources", doc="The resource.")


class CourseResource(Entity, file="courseResources", rest="Course", service="Resources"):
    """A resource used in a course."""

    title = Text(json=None, doc="Label.")
    course_sourced_id = Ref(to="courses", required=True, json="sourcedId", doc="The course.")
    resource_sourced_id = Ref(to="resources", required=True, json="resources", doc="The resource.")


class UserResource(Entity, file="userResources", rest="User", service="Resources"):
    """A resource that a user may use, at an org or in a class."""

    user_sourced_id = Ref(to="users", required=True, json="sourcedId", doc="The user.")
    org_sourced_id = Ref(to="orgs", json=None, doc="Where.")
    class_sourced_id = Ref(to="classes", json=None, doc="In which class.")
    resource_sourced_id = Ref(to="resources", required=True, json="resources", doc="The resource.")

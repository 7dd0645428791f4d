"""Categories, line items, results, score scales and their links."""

from schemas.checks import FormWhere, NotBefore
from schemas.columns import Choice, Day, Decimal, Flag, Pairs, Ref, Text, Whole
from schemas.entity import Entity
from schemas.rules import values

CASE_ID = "urn:uuid:[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"
"""How CASE names a learning objective (binding 7)."""


class Category(Entity, file="categories", rest="Category", service="Gradebook"):
    """A group of line items."""

    title = Text(required=True, doc="Name.")
    weight = Whole(doc="Per cent of the final grade.")


class LineItem(Entity, file="lineItems", rest="LineItem", service="Gradebook"):
    """A column of the gradebook."""

    title = Text(required=True, doc="Name.")
    description = Text(doc="Description.")
    assign_date = Day(required=True, doc="Assigned on.")
    due_date = Day(required=True, doc="Due on.")
    class_sourced_id = Ref(to="classes", required=True, doc="The class.")
    category_sourced_id = Ref(to="categories", required=True, doc="The category.")
    academic_session_sourced_id = Ref(
        to="academicSessions", required=True, doc="The grading period."
    )
    result_value_min = Decimal(doc="Lowest score, inclusive.")
    result_value_max = Decimal(doc="Highest score, inclusive.")
    school_sourced_id = Ref(to="orgs", kind="school", required=True, doc="The school.")

    checks = (NotBefore(rule=values.RANGE, column=result_value_max, begin=result_value_min),)


class ScoreScale(Entity, file="scoreScales", rest="ScoreScale", service="Gradebook"):
    """How numbers become grades."""

    title = Text(required=True, doc="Name.")
    type = Text(required=True, doc="Free text, such as percent.")
    org_sourced_id = Ref(to="orgs", required=True, json=None, doc="The org.")
    course_sourced_id = Ref(to="courses", required=True, doc="The course.")
    class_sourced_id = Ref(to="classes", required=True, doc="The class.")
    score_scale_value = Pairs(
        left="itemValueLHS", right="itemValueRHS", required=True, doc="Steps, {left:right}."
    )


class LineItemScoreScale(Entity, file="lineItemScoreScales", rest="LineItem", service="Gradebook"):
    """The score scale of a line item."""

    title = Text(json=None, doc="Label.")
    line_item_sourced_id = Ref(
        to="lineItems", required=True, json="sourcedId", doc="The line item."
    )
    score_scale_sourced_id = Ref(to="scoreScales", required=True, doc="The score scale.")


class Result(Entity, file="results", rest="Result", service="Gradebook"):
    """What a student achieved on a line item."""

    line_item_sourced_id = Ref(to="lineItems", required=True, doc="Line item.")
    student_sourced_id = Ref(to="users", required=True, doc="The student.")
    score_status = Choice(
        words=("exempt", "fully graded", "not submitted", "partially graded", "submitted"),
        extensible=True,
        required=True,
        doc="State of the score.",
    )
    score = Decimal(personal=True, doc="Score.")
    score_date = Day(required=True, doc="Day of the score.")
    comment = Text(personal=True, doc="Comment.")
    text_score = Text(personal=True, doc="Score that is not a number.")
    class_sourced_id = Ref(to="classes", doc="The class.")
    in_progress = Flag(doc="In progress.")
    incomplete = Flag(doc="Incomplete.")
    late = Flag(doc="Late.")
    missing = Flag(doc="Missing.")


class ResultScoreScale(Entity, file="resultScoreScales", rest="Result", service="Gradebook"):
    """The score scale of a result."""

    title = Text(json=None, doc="Label.")
    result_sourced_id = Ref(to="results", required=True, json="sourcedId", doc="The result.")
    score_scale_sourced_id = Ref(to="scoreScales", required=True, doc="The score scale.")


class LineItemLearningObjectiveId(
    Entity, file="lineItemLearningObjectiveIds", rest="LineItem", service="Gradebook"
):
    """A learning objective of a line item."""

    line_item_sourced_id = Ref(
        to="lineItems", required=True, json="sourcedId", doc="The line item."
    )
    source = Choice(
        words=("case", "unknown"),
        extensible=True,
        required=True,
        json="learningObjectiveSet.source",
        doc="Kind of identifier.",
    )
    learning_objective_id = Text(
        required=True,
        json="learningObjectiveSet.learningObjectiveIds",
        doc="A UUID URN where the source is case.",
    )

    checks = (
        FormWhere(
            rule=values.OBJECTIVE,
            column=learning_objective_id,
            other=source,
            word="case",
            pattern=CASE_ID,
        ),
    )


class ResultLearningObjectiveId(
    Entity, file="resultLearningObjectiveIds", rest="Result", service="Gradebook"
):
    """A learning objective of a result, with the mastery reached."""

    result_sourced_id = Ref(to="results", required=True, json="sourcedId", doc="The result.")
    source = Choice(
        words=("case", "unknown"),
        extensible=True,
        required=True,
        json="learningObjectiveSet.source",
        doc="Kind of identifier.",
    )
    learning_objective_id = Text(
        required=True,
        json="learningObjectiveSet.learningObjectiveResults.learningObjectiveId",
        doc="A UUID URN where the source is case.",
    )
    score = Decimal(
        personal=True,
        json="learningObjectiveSet.learningObjectiveResults.score",
        doc="Mastery score.",
    )
    text_score = Text(
        personal=True,
        json="learningObjectiveSet.learningObjectiveResults.textScore",
        doc="Mastery score as text.",
    )

    checks = (
        FormWhere(
            rule=values.OBJECTIVE,
            column=learning_objective_id,
            other=source,
            word="case",
            pattern=CASE_ID,
        ),
    )

"""A slow reader of lenses: judges one record at a time in plain Python.

It is written from the words of the product and not from its rules, to be compared with them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from schemas.lens import Lens

Row: TypeAlias = dict[str, Any]
Image: TypeAlias = tuple[int, Row]
District: TypeAlias = Mapping[str, Mapping[str, tuple[Image, ...]]]
"""By table and sourcedId: what the record was, from which version on, oldest first."""


@dataclass
class Slow:
    """Looks at one record after another, as they were at a version."""

    lens: Lens
    rows: dict[str, dict[str, Row]] = field(default_factory=dict)

    @classmethod
    def at(cls, district: District, lens: Lens, moment: int | None) -> "Slow":
        reader = cls(lens)
        for table, records in district.items():
            reader.rows[table] = {}
            for key, images in records.items():
                known = [(v, row) for v, row in images if moment is None or v <= moment]
                if known:
                    version, row = known[-1]
                    reader.rows[table][key] = {**row, "sourced_id": key, "version": version}
        return reader

    def sees(self, table: str) -> set[str]:
        return {key for key, row in self.rows[table].items() if getattr(self, table)(row)}

    def refers(self, table: str, key: str) -> bool:
        """Whether a reference may be shown; to what nothing limits, even to nowhere."""
        if not self.limited(table):
            return True
        if table == "orgs":
            return self.org(key)
        row = self.rows[table].get(key)
        return row is not None and getattr(self, table)(row)

    def limited(self, table: str) -> bool:
        lens = self.lens
        listed = lens.entities is None or table in lens.entities
        match table:
            case "orgs":
                return lens.schools is not None
            case "academic_sessions":
                return False
            case "courses":
                return not listed or lens.schools is not None or lens.grades is not None
            case "classes":
                return not listed or self.limited("courses")
            case "users":
                limits = (lens.schools, lens.grades, lens.roles)
                return not listed or any(limit is not None for limit in limits)
            case _:
                return self.limited("users")

    def at_school(self, key: str | None) -> bool:
        return self.lens.schools is None or key in self.lens.schools

    def org(self, key: str) -> bool:
        """A visible school, or above one."""
        if self.lens.schools is None:
            return True
        above: set[str] = set()
        ways = list(self.lens.schools)
        while ways:
            row = self.rows["orgs"].get(ways.pop())
            parent = row and row.get("parent_sourced_id")
            if parent and parent not in above:
                above.add(parent)
                ways.append(parent)
        return key in self.lens.schools or key in above

    def in_grades(self, row: Row) -> bool:
        return self.lens.grades is None or bool(self.lens.grades & set(row.get("grades") or ()))

    def without_grades(self, row: Row) -> bool:
        return self.lens.grades is not None and not row.get("grades")

    def included(self, name: str) -> bool:
        return self.lens.entities is None or name in self.lens.entities

    def in_roles(self, word: str) -> bool:
        if self.lens.roles is None:
            return True
        return word.removeprefix("ext:") in {w.removeprefix("ext:") for w in self.lens.roles}

    def orgs(self, row: Row) -> bool:
        return self.org(row["sourced_id"])

    def academic_sessions(self, _: Row) -> bool:
        return True

    def courses(self, row: Row) -> bool:
        schools = [row["org_sourced_id"]] + [
            each["school_sourced_id"]
            for each in self.rows["classes"].values()
            if each["course_sourced_id"] == row["sourced_id"]
        ]
        return (
            self.included("courses")
            and any(self.at_school(school) for school in schools)
            and (self.in_grades(row) or self.without_grades(row))
            and self.refers("orgs", row["org_sourced_id"])
        )

    def classes(self, row: Row) -> bool:
        return (
            self.included("classes")
            and self.at_school(row["school_sourced_id"])
            and (self.in_grades(row) or self.without_grades(row))
            and self.refers("courses", row["course_sourced_id"])
        )

    def held(self, row: Row) -> list[Row]:
        """The roles of a user, or those a deleted user last had."""
        return [
            role
            for role in self.rows["roles"].values()
            if role["user_sourced_id"] == row["sourced_id"]
            and (
                role["status"] == "active"
                or (row["status"] != "active" and role["version"] >= row["version"])
            )
        ]

    def users(self, row: Row) -> bool:
        held = self.held(row)
        schools = [role["org_sourced_id"] for role in held] + [row.get("primary_org_sourced_id")]
        if self.lens.roles is None:
            here = self.lens.schools is None or any(map(self.at_school, schools))
        else:
            here = any(
                self.in_roles(role["role"]) and self.at_school(role["org_sourced_id"])
                for role in held
            )
        graded = self.in_grades(row) or (
            self.without_grades(row) and all(role["role"] != "student" for role in held)
        )
        return self.included("users") and here and graded

    def roles(self, row: Row) -> bool:
        return (
            self.at_school(row["org_sourced_id"])
            and self.in_roles(row["role"])
            and self.refers("users", row["user_sourced_id"])
        )

    def user_profiles(self, row: Row) -> bool:
        return self.refers("users", row["user_sourced_id"])

    def demographics(self, row: Row) -> bool:
        granted = "demographics" in self.lens.fields and self.included("demographics")
        return granted and self.refers("users", row["sourced_id"])

    def enrollments(self, row: Row) -> bool:
        return (
            self.included("enrollments")
            and self.at_school(row["school_sourced_id"])
            and self.in_roles(row["role"])
            and self.refers("classes", row["class_sourced_id"])
            and self.refers("users", row["user_sourced_id"])
        )

    def values(self, table: str, key: str) -> Row:
        """The values that a lens may take away."""
        row, fields = self.rows[table][key], self.lens.fields
        match table:
            case "users":
                agents = [a for a in row.get("agent_sourced_ids") or () if self.refers("users", a)]
                return {
                    "agent_sourced_ids": agents or None if "agents" in fields else None,
                    "email": row.get("email") if "email" in fields else None,
                    "identifier": row.get("identifier") if "identifiers" in fields else None,
                    "primary_org_sourced_id": self.optional(row, "orgs", "primary_org_sourced_id"),
                    "home_class": self.optional(row, "classes", "home_class"),
                }
            case "user_profiles":
                return {"username": row["username"] if "identifiers" in fields else None}
            case "roles":
                return {
                    "user_profile_sourced_id": self.optional(
                        row, "user_profiles", "user_profile_sourced_id"
                    )
                }
            case "orgs":
                return {"parent_sourced_id": self.optional(row, "orgs", "parent_sourced_id")}
            case _:
                return {}

    def optional(self, row: Row, table: str, name: str) -> str | None:
        key: str | None = row.get(name)
        return key if key is not None and self.refers(table, key) else None

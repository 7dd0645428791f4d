"""The events of the delta feed as shapes: a record of any class, or the end of a version."""

from typing import Any, Final

from api.openapi.answers import VersionPublished
from api.openapi.classes import anyhow
from schemas.moments import SERVED

ACTIONS: Final = ("created", "updated", "deleted")

RECORDS: Final[dict[str, Any]] = {
    "title": "RecordChanged",
    "description": "A record that was created, updated or deleted, as the reads of 1.2 show it.",
    "anyOf": [
        {
            "type": "object",
            "properties": {
                "version": {"type": "integer", "minimum": 1},
                "entity": {"const": entity.file},
                "action": {"type": "string", "enum": [*ACTIONS]},
                "sourcedId": {"type": "string"},
                "object": anyhow(entity),
            },
            "required": ["version", "entity", "action", "sourcedId", "object"],
        }
        for entity in SERVED
    ],
}
EVENT: Final = (RECORDS, VersionPublished)

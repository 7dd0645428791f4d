"""Templates: mappings to begin with, each with a sample of the layout it reads.

The layouts are made up after what Japanese school registers commonly hold; none is a product's.
"""

import json
from collections.abc import Mapping
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from schemas.mappings import FileMapping


class Words(BaseModel):
    """A sentence in both languages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ja: str
    en: str


class Template(BaseModel):
    """A mapping of one entity to begin with, and lines it can read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    entity: str
    title: Words
    description: Words
    sample: tuple[str, ...]
    mapping: FileMapping


def _read() -> Mapping[str, Template]:
    texts = [
        each.read_text(encoding="utf-8")
        for each in sorted(files(__name__).iterdir(), key=lambda each: each.name)
        if each.name.endswith(".json")
    ]
    found = [Template.model_validate(json.loads(text)) for text in texts]
    return {template.id: template for template in found}


TEMPLATES: Mapping[str, Template] = _read()
"""Every template by its id."""

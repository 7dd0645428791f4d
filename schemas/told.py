"""What a client is told of an event: no more than its lens shows."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from schemas.lens import Lens
from schemas.view import of_lens


def as_seen(body: str, lens: Mapping[str, Any] | None) -> str:
    """The body as a client may read it: no number counts records that its lens does not show."""
    hidden = hidden_by(orjson.dumps(lens)) if lens is not None else frozenset()
    if not hidden:
        return body
    told = orjson.loads(body)
    data = told["data"]
    if told["type"].startswith("csv.import."):
        data["metadata"] = {}
    elif "counts" in data:
        data["counts"] = {name: n for name, n in data["counts"].items() if name not in hidden}
    return orjson.dumps(told).decode()


@lru_cache(maxsize=1024)
def hidden_by(lens: bytes) -> frozenset[str]:
    """The files of which a lens does not show every record."""
    seen = of_lens(Lens.model_validate_json(lens)).visible
    return frozenset(entity.file for entity in seen)

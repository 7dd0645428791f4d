"""Sums as the guides say: what a consumer adds up is what the hub does."""

import re
from pathlib import Path

import pytest

from schemas.sums import ALL, Sum, Sums, restored, weight

GUIDES = Path(__file__).parents[2] / "docs"
ROW = re.compile(r"\| `(\w+)` \| `([^`]+)` \| `([^`]+)` \| `([0-9a-f]{64})` \|")


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_vectors_of_the_guides_are_what_the_hub_computes(language: str) -> None:
    page = (GUIDES / language / "stay-in-step.md").read_text(encoding="utf-8")
    rows = ROW.findall(page)
    assert len(rows) == 3
    both = Sum()
    for entity, sourced_id, modified, digest in rows:
        assert f"{weight(entity, sourced_id, modified):064x}" == digest
        if entity == "users":
            both.add(weight(entity, sourced_id, modified))
    assert f"| `{both.digest}` |" in page
    (recipe,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, object] = {}
    exec(recipe, names)
    users = [{"sourcedId": i, "dateLastModified": m} for e, i, m, _ in rows if e == "users"]
    assert names["digest"]("users", users) == both.digest  # type: ignore[operator]


def test_what_came_and_went_leaves_no_trace_and_what_is_kept_comes_back() -> None:
    sums = Sums()
    for number in range(5):
        sums.add("users", ALL, weight("users", f"u{number}", "now"))
    kept = sums.stored()
    sums.add("users", ALL, weight("users", "x", "now"))
    sums.add("users", ALL, weight("users", "x", "now"), -1)
    assert sums.stored() == kept == restored(kept).stored()
    for number in range(5):
        sums.add("users", ALL, weight("users", f"u{number}", "now"), -1)
    assert sums.stored() == {"users": {}}

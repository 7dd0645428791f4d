"""What others wrote about the standard: the reference models and samples beside the repository."""

import json
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).parents[3] / "shared"


def reference(name: str) -> dict[str, Any]:
    """A model of the shared reference; skips where only the repository was checked out."""
    path = SHARED / "reference" / name
    if not path.exists():
        pytest.skip(f"needs ../shared/reference/{name}, which is not part of the repository")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="session")
def csv_model() -> dict[str, Any]:
    """The 21 data files of the CSV binding."""
    return reference("csv-model.json")


@pytest.fixture(scope="session")
def rest_model() -> dict[str, dict[str, Any]]:
    """The REST classes, by name; a rostering class wins over a namesake."""
    services = reference("oneroster-1.2-model.json")["classes"]
    return {**services["resources"], **services["gradebook"], **services["rostering"]}


@pytest.fixture(scope="session")
def samples() -> Path:
    """The shared sample packages."""
    folder = SHARED / "samples"
    if not folder.exists():
        pytest.skip("needs ../shared/samples, which is not part of the repository")
    return folder

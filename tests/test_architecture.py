"""What the map in ARCHITECTURE.md promises of names and imports."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES: list[str] = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
CONTRACTS = {
    contract["name"]: contract for contract in PROJECT["tool"]["importlinter"]["contracts"]
}
LINT = "from importlinter.cli import lint_imports_command as lint; lint()"
WRONG = {
    "schemas/planted.py": "import psycopg",
    "pipeline/planted.py": "import dramatiq",
    "workers/planted.py": "import api.app",
    "api/planted.py": "import polars",
    "api/by_another_door.py": "import workers.process",
}


def run(code: str, *arguments: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Python in another process, which knows that tree and no other."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", PACKAGES)
def test_nobody_else_installs_our_names(name: str) -> None:
    assert {*packages_distributions().get(name, ["rosterhub"])} == {"rosterhub"}


def test_every_package_is_shipped() -> None:
    packages = {each.parent.name for each in ROOT.glob("*/__init__.py")}
    assert packages == {*PACKAGES} == {*PROJECT["tool"]["importlinter"]["root_packages"]}


def test_no_package_of_the_tests_shadows_ours() -> None:
    assert [*(ROOT / "tests").rglob("__init__.py")] == []


def test_only_what_reads_files_loads_data_frames() -> None:
    absent = "import sys; sys.modules['polars'] = sys.modules['polars_hash'] = None; "
    done = run(
        f"{absent}import api.app; assert not any(m.startswith('pipeline') for m in sys.modules)"
    )
    assert done.returncode == 0, done.stderr
    bells = "import workers.deltas, workers.exports, workers.process, workers.webhooks"
    assert run(f"{absent}{bells}").returncode == 0
    assert run(f"{absent}import workers.imports").returncode != 0, "the absence has no effect"


def test_the_import_contracts_hold() -> None:
    done = run(LINT, "--no-cache")
    assert done.returncode == 0, done.stdout
    assert f"{len(CONTRACTS)} kept, 0 broken" in done.stdout


def test_every_import_contract_catches_a_violation(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, line in WRONG.items():
        (tmp_path / name).write_text(f"{line}\n")
    done = run(LINT, "--no-cache", root=tmp_path)
    assert done.returncode != 0
    assert [name for name in CONTRACTS if f"{name} BROKEN" not in done.stdout] == []


def test_every_module_begins_with_its_story() -> None:
    modules = [each for name in PACKAGES for each in (ROOT / name).rglob("*.py")]
    assert modules
    silent = [each for each in modules if not ast.get_docstring(ast.parse(each.read_text()))]
    assert silent == []

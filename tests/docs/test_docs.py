"""The guides say what is there: both languages, all of it, and nothing else."""

import re
import shlex
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import click
import falcon.inspect
import pytest

from api.app import create_gateway
from api.database import Database
from api.redis import client
from api.rosters.operations import ROOT
from deploy.cli import rosterhub
from schemas import rulebook
from schemas.rulebook import GUIDES, Language
from schemas.rules import RULES
from schemas.secrets import Vault
from schemas.settings import PREFIX, Settings

PROJECT = Path(__file__).parents[2]
LANGUAGES: tuple[Language, ...] = ("en", "ja")
GUIDE_PAGES = sorted(PROJECT.glob("docs/??/*.md"))
PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", PROJECT / "CHANGELOG.md"]
PAGES += sorted(PROJECT.glob("docs/**/*.md"))

CODE = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^```\w*\n.*?^```$", re.MULTILINE | re.DOTALL)
TYPED = re.compile(r"^(?:[$#] |  )(?:\S*/)?((?:rosterhub|make) .+)$", re.MULTILINE)
ADDRESS = re.compile(
    r"/(?:api/v1|ims|health|metrics|token|docs)(?![\w.])[\w/{}-]*(?:\.(?:csv|ndjson|json)\b)?"
    r"|/openapi\.json",
    re.ASCII,
)

any_language = pytest.mark.parametrize("language", LANGUAGES)
any_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
any_guide = pytest.mark.parametrize(
    "page", GUIDE_PAGES, ids=lambda page: str(page.relative_to(PROJECT))
)


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8").replace("…/", f"{ROOT}/")


def guides(language: Language) -> str:
    return "\n".join(read(page) for page in GUIDE_PAGES if page.parent.name == language)


def typed(text: str) -> list[str]:
    """The commands that a reader is told to type."""
    return [
        code
        for code in (*TYPED.findall(text), *CODE.findall(FENCE.sub("", text)))
        if re.match(r"(rosterhub|make) [a-z]", code)
    ]


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Those of a gateway that has not been started."""
    gateway = create_gateway(
        Settings(object_store=str(tmp_path_factory.mktemp("objects"))),
        vault=Vault("a secret of 32 characters or more"),
        database=Database("postgresql://nowhere", size=1, query_timeout=1),
        redis=client("redis://nowhere"),
        ring=lambda _job: True,
    )
    return {route.path for route in falcon.inspect.inspect_routes(gateway.app)}


class TestRules:
    @any_language
    def test_the_table_is_the_book(self, language: Language) -> None:
        guide = read(PROJECT / GUIDES[language])
        assert guide.count(rulebook.BEGIN) == guide.count(rulebook.END) == 1
        assert rulebook.table(language) in guide
        assert rulebook.rewritten(guide, language) == guide, "run python -m schemas.rulebook"

    @any_language
    def test_it_has_every_rule_and_no_gap(self, language: Language) -> None:
        table = rulebook.table(language)
        assert [line.split("`")[1] for line in table.splitlines()[2:]] == list(RULES)
        assert {line.count(" | ") for line in table.splitlines()} == {3}

    def test_what_a_finding_fills_in_stands_there_by_its_name(self) -> None:
        assert "‹ファイル› の ‹行› 行目は空行です。" in rulebook.table("ja")
        assert "Line ‹line› of ‹file› is blank." in rulebook.table("en")
        assert "{Koumu:0001}" in rulebook.table("ja")


OF_TESTS = {f"{PREFIX}{name}" for name in ("KILLS", "CASES", "SEED", "FEED_STORM", "FEED_IMPORTS")}


class TestSettings:
    settings = frozenset(PREFIX + name.upper() for name in Settings.model_fields)
    name = re.compile(rf"{PREFIX}[A-Z]+(?:_[A-Z]+)*")

    @any_language
    def test_every_setting_is_explained(self, language: Language) -> None:
        page = read(PROJECT / "docs" / language / "operate.md")
        assert self.settings <= set(self.name.findall(page))

    @any_page
    def test_only_settings_are_named(self, page: Path) -> None:
        assert set(self.name.findall(read(page))) <= self.settings | OF_TESTS


class TestRoutes:
    @any_language
    def test_every_route_is_named(self, routes: set[str], language: Language) -> None:
        assert routes <= set(ADDRESS.findall(guides(language)))

    @any_guide
    def test_only_routes_are_named(self, routes: set[str], page: Path) -> None:
        named = {address.rstrip("/") for address in ADDRESS.findall(read(page))}
        assert {
            address
            for address in named
            if not any(f"{route}/".startswith(f"{address}/") for route in routes)
        } == set()


class TestCommands:
    @staticmethod
    def leaves(group: click.Group, path: str) -> Iterator[str]:
        for name, command in group.commands.items():
            if isinstance(command, click.Group):
                yield from TestCommands.leaves(command, f"{path} {name}")
            else:
                yield f"{path} {name}"

    @staticmethod
    def understood(line: str) -> click.Command:
        """The command that a line names, its words and options looked at."""
        command: click.Command = rosterhub
        _, *words = shlex.split(line.removesuffix(" \\"))
        while isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
        known = {option for param in command.params for option in param.opts}
        assert {word for word in words if word.startswith("-")} <= known, line
        for param in command.params:
            if isinstance(param, click.Argument) and isinstance(param.type, click.Choice):
                assert set(words[:1]) <= set(param.type.choices), line
        return command

    @any_language
    def test_every_command_is_named(self, language: Language) -> None:
        said = [line for line in typed(guides(language)) if line.startswith("rosterhub ")]
        for path in self.leaves(rosterhub, "rosterhub"):
            assert any(f"{line} ".startswith(f"{path} ") for line in said), path

    @any_page
    def test_every_line_is_understood(self, page: Path) -> None:
        for line in typed(read(page)):
            if line.startswith("rosterhub "):
                self.understood(line)

    @any_page
    def test_every_make_command_exists(self, page: Path) -> None:
        makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
        targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
        wanted = {line.split()[1] for line in typed(read(page)) if line.startswith("make ")}
        assert wanted <= targets

    def test_the_readme_begins_with_the_two_commands(self) -> None:
        lines = [line for line in typed(read(PROJECT / "README.md")) if line.startswith("make ")]
        assert lines[:2] == ["make run", "make test"]


class TestMetrics:
    @staticmethod
    def metrics() -> set[str]:
        """Every name that the code declares; a counter is published with its suffix."""
        texts = [
            file.read_text(encoding="utf-8")
            for package in ("api", "workers")
            for file in resources.files(package).iterdir()
            if file.name.endswith(".py")
        ]
        declared = re.findall(r'(Counter\(\s*)?"(rosterhub_[a-z_]+)"', "\n".join(texts))
        roles = {"rosterhub_app", "rosterhub_control"}
        return {f"{name}_total" if counter else name for counter, name in declared} - roles

    @any_language
    def test_the_metrics_are_those_of_the_code(self, language: Language) -> None:
        assert set(re.findall(r"rosterhub_[a-z_]+", guides(language))) == self.metrics()


class TestPages:
    def test_both_languages_have_the_same_pages(self) -> None:
        pages = {
            language: {p.name for p in GUIDE_PAGES if p.parent.name == language}
            for language in LANGUAGES
        }
        assert pages["en"] == pages["ja"] != set()

    @pytest.mark.parametrize("name", sorted({page.name for page in GUIDE_PAGES}))
    def test_both_languages_have_the_same_parts(self, name: str) -> None:
        def parts(language: Language) -> list[tuple[int, ...]]:
            text = read(PROJECT / "docs" / language / name)
            prose = FENCE.sub("", text)
            return [
                tuple(map(len, re.findall(r"^(#+) ", prose, re.MULTILINE))),
                tuple(row.count("|") for row in re.findall(r"^\|[-| ]+\|$", prose, re.MULTILINE)),
                (len(FENCE.findall(text)), len(re.findall(r"^\|", prose, re.MULTILINE))),
            ]

        assert parts("en") == parts("ja")

    @any_page
    def test_every_link_leads_somewhere(self, page: Path) -> None:
        links = re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", read(page)))
        inside = [link for link in links if not re.match(r"https://|#", link)]
        assert [link for link in inside if not (page.parent / link.split("#")[0]).exists()] == []


class TestRequirements:
    page = read(PROJECT / "docs" / "requirements.md")
    rows = tuple(
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in page.splitlines()
        if line.startswith("| ") and not line.startswith(("| id", "| capability"))
    )

    def test_each_is_there_once(self) -> None:
        ids = [row[0] for row in self.rows if row[0].startswith("REQ-")]
        assert len(ids) == len(set(ids)) == 102

    def test_each_is_done_with_a_proof_or_named_for_later(self) -> None:
        later = set(re.findall(r"\*([a-z ]+)\*", self.page))
        for *_, status, proof in self.rows:
            if status == "done":
                assert CODE.search(proof) or proof == "same", proof
            else:
                assert re.sub(r"later \((.+)\)", r"\1", status) in later, status

    def test_every_proof_exists(self) -> None:
        for code in CODE.findall(self.page):
            if code.startswith(("tests/", "loadtests/", ".ci/")):
                file, _, test = code.partition("::")
                text = (PROJECT / file).read_text(encoding="utf-8")
                assert not test or f"def {test}(" in text, code

"""Test that generated parts of documents are current, links resolve, and every setting is documented."""

from __future__ import annotations

import code
import re
from pathlib import Path
from types import CodeType
from typing import get_type_hints

import pytest

from leaderboard_cli.commands.up import up
from tests.docs.reference import slug
from tests.docs.regions import GENERATED, REPOSITORY, Region
from tests.docs.snippets import snippets
from tests.docs.tables import variables

ENV_EXAMPLE = (REPOSITORY / ".env.example").read_text("utf-8")
COMPOSE = (REPOSITORY / "docker-compose.yml").read_text("utf-8")

DOCUMENTS = (*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"))

# Those that name files of ours; the others name files of their readers too.
DEVELOPER_DOCUMENTS = (
    REPOSITORY / "CONTRIBUTING.md",
    *(REPOSITORY / "docs" / name for name in ("architecture.md", "glossary.md", "performance.md")),
    *sorted(REPOSITORY.glob("docs/decisions/*.md")),
)
FILE_NAME = re.compile(r"(?<![\w./<>-])[\w./+-]*\w\.(?:py|lua|sql|template|conf|toml)\b")

VARIABLE_LINE = re.compile(r"^# ?([A-Z][A-Z0-9_<>]*)=(.*)$", re.MULTILINE)


@pytest.mark.parametrize("region", GENERATED, ids=lambda region: f"{region.file}-{region.name}")
def test_a_generated_part_is_what_the_code_makes(region: Region) -> None:
    _, inside, _ = region.split(region.path.read_text("utf-8"))
    assert inside == region.make(), "make docs"


def test_env_example_has_every_setting_with_its_default() -> None:
    process, _, _ = ENV_EXAMPLE.partition("# --- Docker and the local cluster")
    given = dict(VARIABLE_LINE.findall(process))
    assert given == {variable.name: variable.default for variable in variables()}


def test_env_example_has_what_compose_and_the_local_cluster_read() -> None:
    _, _, rest = ENV_EXAMPLE.partition("# --- Docker and the local cluster")
    named = {name for name, _ in VARIABLE_LINE.findall(rest)}
    wanted = set(re.findall(r"\$\{([A-Z][A-Z0-9_]*)", COMPOSE)) | up_variables()
    known = {variable.name for variable in variables()}
    assert wanted - known - {"COMPOSE_PROJECT_NAME"} <= named
    unused = named - wanted - set(re.findall(r"NGINX_[A-Z_]+", nginx_template()))
    assert not unused


def up_variables() -> set[str]:
    """Return the environment variables of `leaderboard up`'s options."""
    hints = get_type_hints(up, include_extras=True).values()
    options = [option for hint in hints for option in getattr(hint, "__metadata__", ())]
    return {option.envvar for option in options if option.envvar}


def nginx_template() -> str:
    return (REPOSITORY / "nginx" / "templates" / "default.conf.template").read_text("utf-8")


def test_compose_passes_every_setting_on() -> None:
    of_a_region = {variable.name for variable in variables() if "<REGION>" in variable.name}
    named = set(re.findall(r"^\s+([A-Z][A-Z0-9_]*):", COMPOSE, flags=re.MULTILINE))
    missing = {variable.name for variable in variables()} - named - of_a_region
    assert missing == set(), "docker-compose.yml gives each process its settings by name"


def test_no_setting_is_active_in_env_example() -> None:
    active = [line for line in ENV_EXAMPLE.splitlines() if line and not line.startswith("#")]
    assert active == []


def test_the_errors_that_nginx_makes_itself_are_documented() -> None:
    api = (REPOSITORY / "docs" / "api.md").read_text("utf-8")
    codes = set(re.findall(r'"error":"(\w+)"', nginx_template()))
    assert len(codes) > 10
    assert [code for code in sorted(codes) if f"`{code}`" not in api] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", without_code(document)):
        file, _, anchor = target.partition("#")
        path = (document.parent / file).resolve() if file else document
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", without_code(path), flags=re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, target


@pytest.mark.parametrize("document", DEVELOPER_DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_the_files_that_documents_name_exist(document: Path) -> None:
    folders = [path for path in REPOSITORY.iterdir() if path.is_dir() and not path.name.startswith(".")]
    files = [str(path) for path in (*REPOSITORY.glob("*.*"), *(path for one in folders for path in one.rglob("*.*")))]
    named = set(FILE_NAME.findall(document.read_text("utf-8")))
    assert {name for name in named if not any(file.endswith(f"/{name}") for file in files)} == set()


def test_the_picture_of_the_architecture_names_the_files_of_a_write_and_of_a_read() -> None:
    _, picture, _ = (REPOSITORY / "docs" / "architecture.md").read_text("utf-8").split("```", 2)
    assert len(FILE_NAME.findall(picture)) > 20


@pytest.mark.parametrize("name", ["README.md", "docs/quickstart.md", "leaderboard_client/README.md"])
def test_python_can_be_pasted_into_its_prompt(name: str) -> None:
    """There an empty line ends a body: without one the statement behind a loop is a syntax error."""
    blocks = [one for one in snippets((REPOSITORY / name).read_text("utf-8")) if one.language == "python"]
    assert blocks
    prompt = Prompt()
    for block in blocks:
        unfinished = [prompt.push(line) for line in [*block.code.splitlines(), ""]][-1]
        assert (unfinished, prompt.complaints) == (False, []), f"the block at line {block.line}"


class Prompt(code.InteractiveConsole):
    """Python's prompt, which compiles what is typed and runs none of it."""

    def __init__(self) -> None:
        super().__init__()
        self.complaints: list[str] = []

    def runcode(self, code: CodeType) -> None:
        pass

    def write(self, data: str) -> None:
        self.complaints.append(data)


def test_the_glossary_is_alphabetical() -> None:
    glossary = (REPOSITORY / "docs" / "glossary.md").read_text("utf-8")
    terms = re.findall(r"^- \*\*(.+?)\*\*:", glossary, flags=re.MULTILINE)
    assert len(terms) > 50
    assert terms == sorted(terms, key=str.lower)


def without_code(document: Path) -> str:
    """Return a document's text without its code blocks."""
    return re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)

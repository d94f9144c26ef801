"""Generated clients register, log in, write, read, export and delete with the largest scores there are.

`make test-clients` runs it: the first time it fetches the generators, and Java's takes a minute.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.cluster import clean_environment
from tests.support.node import leave_out, missing_tool, packages
from tests.support.service import Api

FOLDER = Path(__file__).parent
OLDEST_JAVA = 17
OLDEST_NODE = (20, 0)
SECONDS = 400


def required(language: str, reason: str | None) -> None:
    """Leave the language out for that reason. TEST_CLIENTS=required makes it a failure."""
    if reason:
        leave_out(f"no client is generated for {language}", reason, "TEST_CLIENTS")


def version_of(*words: str) -> tuple[int, ...] | None:
    """The first version that a command prints; None where there is no such command."""
    if shutil.which(words[0]) is None:
        return None
    printed = subprocess.run(words, cwd="/", capture_output=True, text=True, timeout=60, check=True)
    found = re.search(r"(\d+)((?:\.\d+)*)", printed.stdout + printed.stderr)
    assert found is not None, printed
    return tuple(int(part) for part in found[0].split("."))


async def run(folder: Path, *words: str, **environment: str) -> str:
    """Run a command to its end, and return what it printed."""
    process = await asyncio.create_subprocess_exec(
        *words,
        cwd=folder,
        env=clean_environment(**environment),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, out.decode()
    return out.decode()


@pytest.fixture
async def work(api: Api, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the language's folder, with the document as the service serves it."""
    folder = tmp_path / "work"
    language = request.node.name.removeprefix("test_")
    shutil.copytree(FOLDER / language, folder, ignore=shutil.ignore_patterns("node_modules"))
    (folder / "openapi.json").write_bytes((await api.get("/openapi.json")).content)
    return folder


def url_of(api: Api) -> str:
    return str(api.http.base_url).rstrip("/")


async def test_typescript(api: Api, work: Path) -> None:
    """openapi-typescript and openapi-fetch."""
    required("TypeScript", missing_tool(OLDEST_NODE))
    commands = packages(FOLDER / "typescript")
    (work / "node_modules").symlink_to(commands.parent)
    await run(work, str(commands / "openapi-typescript"), "openapi.json", "--output", "schema.d.ts")
    await run(work, str(commands / "tsc"))
    assert "a whole life" in await run(work, "node", "made/life.js", url_of(api))


async def test_go(api: Api, work: Path) -> None:
    """oapi-codegen, in the version that go.mod names."""
    wanted = re.search(r"^go (\d+)\.(\d+)", (work / "go.mod").read_text("utf-8"), re.MULTILINE)
    assert wanted is not None
    version = version_of("go", "env", "GOVERSION")
    if version is None:
        required("Go", "go is not installed")
    elif version < tuple(int(part) for part in wanted.groups()):
        required("Go", f"go is older than {wanted[1]}.{wanted[2]}")
    words = ("-generate", "types,client", "-package", "main", "-o", "client.go", "openapi.json")
    await run(work, "go", "tool", "oapi-codegen", *words, GOTOOLCHAIN="local")
    assert "a whole life" in await run(work, "go", "run", ".", url_of(api), GOTOOLCHAIN="local")


async def test_java(api: Api, work: Path) -> None:
    """openapi-generator, as a plugin of Maven."""
    version = version_of("java", "--version")
    if version is None or shutil.which("mvn") is None:
        required("Java", "java and mvn are not installed")
    elif version < (OLDEST_JAVA,):
        required("Java", f"java is older than {OLDEST_JAVA}")
    words = ("mvn", "--quiet", "--batch-mode", "compile", "exec:java")
    document = work / "openapi.json"
    assert "a whole life" in await run(work, *words, f"-Ddocument={document}", f"-Durl={url_of(api)}")

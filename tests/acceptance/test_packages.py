"""Test the distributions as they would be published: built, and the client alone in an environment of its own."""

from __future__ import annotations

import secrets
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from leaderboard_client import __version__
from tests.acceptance.cluster import REPOSITORY, clean_environment

UV = Path(sys.executable).with_name("uv")
ADDRESS = "http://127.0.0.1:8080"


def uv(*words: str | Path, python: Path | str = sys.executable) -> None:
    """Run uv for a Python, as .ci/setup does: a second time with the certificates of the system."""
    for more in ((), ("--system-certs",)):
        done = subprocess.run(
            [UV, *words, "--quiet", "--python", python, *more],
            cwd=REPOSITORY,
            env=clean_environment(UV_PYTHON_DOWNLOADS="never"),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode == 0:
            return
    raise AssertionError(done.stderr)


@dataclass(frozen=True)
class Distribution:
    """A built distribution: its files, by their names in the archive."""

    sdist: Path
    wheel: Path

    @property
    def files(self) -> set[str]:
        return set(zipfile.ZipFile(self.wheel).namelist())

    @property
    def sources(self) -> set[str]:
        with tarfile.open(self.sdist) as archive:
            return {member.name.partition("/")[2] for member in archive.getmembers()}

    @property
    def metadata(self) -> Message:
        name = next(name for name in self.files if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(zipfile.ZipFile(self.wheel).read(name))


def built(folder: Path, name: str) -> Distribution:
    stem = f"{name}-{__version__}"
    return Distribution(folder / f"{stem}.tar.gz", folder / f"{stem}-py3-none-any.whl")


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build both, each wheel from its sdist."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--all-packages", "--out-dir", folder)
    return folder


@pytest.fixture(scope="module")
def client(dist: Path) -> Distribution:
    return built(dist, "leaderboard_client")


@pytest.fixture(scope="module")
def system(dist: Path) -> Distribution:
    return built(dist, "leaderboard_system")


def test_no_file_belongs_to_both(client: Distribution, system: Distribution) -> None:
    assert {"leaderboard_client/__init__.py", "leaderboard_client/py.typed"} <= client.files
    assert {name.partition("/")[0] for name in client.files} == {
        "leaderboard_client",
        f"leaderboard_client-{__version__}.dist-info",
    }
    assert client.files & system.files == set()


def test_a_wheel_from_the_repository_is_the_one_from_the_sdist(
    client: Distribution, system: Distribution, tmp_path: Path
) -> None:
    uv("build", "--all-packages", "--wheel", "--out-dir", tmp_path)
    for of_sdist in (client, system):
        assert (tmp_path / of_sdist.wheel.name).read_bytes() == of_sdist.wheel.read_bytes()


def test_the_system_has_what_it_loads_at_run_time(system: Distribution) -> None:
    packages = ("api_gateway", "leaderboard_cli", "leaderboard_core", "leaderboard_service", "worker_service")
    wanted = {
        str(path.relative_to(REPOSITORY))
        for package in packages
        for path in (REPOSITORY / package).rglob("*.*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted - system.files == set()
    assert "leaderboard_cli/nginx_templates/default.conf.template" in system.files


def test_the_sdists_hold_what_is_needed_to_build_and_no_more(client: Distribution, system: Distribution) -> None:
    for distribution in (client, system):
        folders = {name.partition("/")[0] for name in distribution.sources}
        assert folders & {"tests", "benchmarks", "postman", "observability", "uv.lock", "docker-compose.yml"} == set()
        assert {"LICENSE", "PKG-INFO", "pyproject.toml"} <= folders
    assert system.sdist.stat().st_size < 1_000_000


def test_the_index_is_told_the_same_as_the_projects_say(client: Distribution, system: Distribution) -> None:
    for distribution in (client, system):
        assert distribution.metadata["Version"] == __version__
        assert distribution.metadata["License-Expression"] == "MIT"
        assert "Typing :: Typed" in distribution.metadata.get_all("Classifier", [])
        assert "leaderboard_client import Client" in str(distribution.metadata.get_payload())
    assert client.metadata.get_all("Requires-Dist") == ["httpx>=0.28"]
    assert f"leaderboard-client=={__version__}" in system.metadata.get_all("Requires-Dist", [])


@pytest.mark.parametrize("document", ["leaderboard_client/README.md", "docs/package.md"])
def test_the_client_alone_plays_what_the_index_shows(
    client: Distribution, url: str, tmp_path: Path, document: str
) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    uv("venv", tmp_path / "venv")
    uv("pip", "install", client.wheel, python=python)
    _, _, rest = (REPOSITORY / document).read_text("utf-8").partition("```python\n")
    script, _, _ = rest.partition("```")
    user_id = f"ada-{secrets.token_hex(4)}"
    assert (script.count(f'"{ADDRESS}"'), script.count('"ada"')) == (1, 1)
    script = script.replace(ADDRESS, url).replace('"ada"', f'"{user_id}"')

    def run(code: str) -> subprocess.CompletedProcess[str]:
        words = [str(python), "-c", code]
        environ = clean_environment()
        return subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False)

    for score in (10, 20):
        played = run(script)
        assert f"user_id='{user_id}', name='Ada', score={score}" in played.stdout, played.stderr
    assert "ModuleNotFoundError" in run("import leaderboard_core").stderr

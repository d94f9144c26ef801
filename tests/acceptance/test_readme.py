"""Test that the README's transcript works when it is pasted."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import httpx

from leaderboard_client import Client
from tests.acceptance.cluster import REPOSITORY, clean_environment

CURL = REPOSITORY / "tests" / "acceptance" / "curl.py"


def block(name: str, language: str) -> str:
    """Return the code between two marks of the README, for a cluster on port 8080."""
    text = (REPOSITORY / "README.md").read_text("utf-8")
    _, begin, rest = text.partition(f"<!-- {name} -->\n```{language}\n")
    code, end, _ = rest.partition(f"```\n<!-- /{name} -->")
    assert begin
    assert end
    assert code.count("http://127.0.0.1:8080") == 1
    return code


def path_with_curl(folder: Path) -> str:
    """Return PATH for the transcript; where curl is missing, one made of httpx stands in."""
    if shutil.which("curl"):
        return clean_environment()["PATH"]
    stand_in = folder / "curl"
    stand_in.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{CURL}" "$@"\n')
    stand_in.chmod(0o755)
    return f"{folder}:{clean_environment()['PATH']}"


def test_the_transcript(url: str, tmp_path: Path) -> None:
    script = block("transcript", "sh").replace("http://127.0.0.1:8080", url)
    result = subprocess.run(
        ["sh", "-eu", "-c", script],
        env=clean_environment(PATH=path_with_curl(tmp_path)),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = [line for line in result.stdout.splitlines() if line]
    update, add, top, rank, around = (json.loads(line) for line in lines[:5])
    assert (update["score"], add["score"]) == (250, 300)
    assert "alice" in [row["user_id"] for row in top["rows"]]
    assert (rank["found"], rank["score"], rank["region"]) == (True, 300, "GLOBAL")
    assert around["self"]["user_id"] == "alice"
    headers = [line.lower() for line in lines[5:]]
    gateways = {line for line in headers if line.startswith("x-upstream-addr")}
    services = {line for line in headers if line.startswith("x-service-addr")}
    assert (len(headers), len(gateways), len(services)) == (18, 3, 3)


def test_the_python_client(url: str, visitor: Client) -> None:
    # "grace" may be there from an earlier run of the tests against the same system.
    script = block("python-client", "python").replace("http://127.0.0.1:8080", url)
    user_id = f"grace-{secrets.token_hex(4)}"
    script = script.replace('"grace"', f'"{user_id}"')
    for score in (10, 20):  # it can be run again
        result = subprocess.run(
            [sys.executable, "-c", script],
            cwd=REPOSITORY,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        first, *rows, names = result.stdout.splitlines()
        assert first.startswith("Rank(region='GLOBAL', ")
        assert f"user_id='{user_id}', name='Grace', score={score}" in first
        assert len(rows) == visitor.top("NA", limit=1).total
        assert names.startswith("[")


def test_the_stand_in_for_curl_does_what_the_transcript_needs(url: str) -> None:
    body = json.dumps({"user_id": "curl-stand-in", "name": "Curl", "region": "EU"})
    words = ["-s", "-D", "-", "-X", "POST", f"{url}/auth/register", "-d", body]
    result = subprocess.run([sys.executable, str(CURL), *words], capture_output=True, text=True, timeout=30, check=True)
    head, _, answer = result.stdout.partition("\n\n")
    assert "x-upstream-addr: " in head.lower()
    assert json.loads(answer)["user"]["user_id"] == "curl-stand-in"
    assert httpx.get(f"{url}/rank/curl-stand-in").status_code == 200
    words = ["-sf", f"{url}/auth/register", "-d", body]
    again = subprocess.run([sys.executable, str(CURL), *words], capture_output=True, text=True, timeout=30, check=False)
    assert (again.returncode, again.stdout) == (22, "")

"""Run the Postman collection from top to bottom by newman against the running system."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.cluster import REPOSITORY, LocalCluster, clean_environment, command
from tests.support.node import leave_out, missing_tool, packages
from tests.unit.project.test_postman import folder, requests_of

pytestmark = pytest.mark.local_cluster

POSTMAN = REPOSITORY / "postman"
OLDEST_NODE = (20, 0)
CALLS = {item["name"]: item for item in requests_of(folder("Calls"))}
WITH_ANOTHER_TOKEN = {
    *("Submit for anybody", "Submit many", "New secret", "Delete the rival", "Define a board"),
    *("Define a board: a rule that cannot be changed", "Take a board away: the main board"),
    *("Make a board", "Make a board: it has another order", "Submit to the board"),
    *("Take an entry off", "Take a board away"),
}


@pytest.fixture(scope="session")
def newman() -> Path:
    """Install newman from the lock file. CI sets TEST_POSTMAN=required, so that there it cannot be left out."""
    if reason := missing_tool(OLDEST_NODE):
        leave_out("the Postman collection is not run", reason, "TEST_POSTMAN")
    return packages(POSTMAN) / "newman"


@dataclass
class Run:
    """The calls that newman made, in order."""

    executions: list[dict[str, Any]]

    @property
    def names(self) -> list[str]:
        return [execution["item"]["name"] for execution in self.executions]


def run(newman: Path, report: Path, **variables: str) -> Run:
    """Run the folder Calls; fail with newman's message when a test of the collection fails."""
    words = [str(newman), "run", "leaderboard.postman_collection.json", "-e", "local.postman_environment.json"]
    words += ["--folder", "Calls", "--timeout-request", "15000", "--color", "off"]
    words += ["--reporters", "cli,json", "--reporter-json-export", str(report)]
    for name, value in variables.items():
        words += ["--env-var", f"{name}={value}"]
    environment = clean_environment(NO_PROXY="127.0.0.1,localhost", no_proxy="127.0.0.1,localhost")
    result = subprocess.run(
        words, cwd=POSTMAN, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return Run(json.loads(report.read_text("utf-8"))["run"]["executions"])


@pytest.fixture(scope="module")
def whole_run(newman: Path, cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run every call, with tokens made as the README says."""
    tokens = {}
    for role in ("server", "admin"):
        words = command("token", "postman", "--role", role)
        found = subprocess.run(words, env=cluster.environment(), capture_output=True, text=True, timeout=60, check=True)
        tokens[f"{role}_token"] = found.stdout.strip()
    report = tmp_path_factory.mktemp("newman") / "report.json"
    return run(newman, report, base_url=cluster.url, **tokens)


def test_every_call_passes_from_top_to_bottom(whole_run: Run) -> None:
    assert whole_run.names == list(CALLS)
    for execution in whole_run.executions:
        # One test of the call's own beside those of the whole collection.
        assert len(execution["assertions"]) >= 2
        assert [check for check in execution["assertions"] if "error" in check] == []


def test_the_saved_examples_are_what_the_system_answers(whole_run: Run) -> None:
    for execution in whole_run.executions:
        (example,) = CALLS[execution["item"]["name"]]["response"]
        answer, where = execution["response"], execution["item"]["name"]
        assert answer["code"] == example["code"], where
        kinds = [
            next(header["value"] for header in headers if header["key"].lower() == "content-type").split(";")[0]
            for headers in (answer["header"], example["header"])
        ]
        assert kinds[0] == kinds[1], where
        if kinds[0] == "application/json":
            body = json.loads(bytes(answer["stream"]["data"]))
            alike(body, json.loads(example["body"]), where)


def alike(answer: Any, example: Any, where: str) -> None:
    """Tell whether fields and types are equal, recursively; of lists the common length is compared."""
    if answer is None or example is None:
        return
    numbers = (int, float)
    assert type(answer) is type(example) or (type(answer) in numbers and type(example) in numbers), where
    if isinstance(answer, dict):
        assert answer.keys() == example.keys(), where
        for name in answer:
            alike(answer[name], example[name], f"{where}.{name}")
    elif isinstance(answer, list):
        for number, (one, other) in enumerate(zip(answer, example, strict=False)):
            alike(one, other, f"{where}[{number}]")


def test_a_run_without_these_tokens_leaves_out_what_needs_them(
    newman: Path, cluster: LocalCluster, tmp_path: Path
) -> None:
    done = run(newman, tmp_path / "report.json", base_url=cluster.url)
    assert set(CALLS) - set(done.names) == WITH_ANOTHER_TOKEN

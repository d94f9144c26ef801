"""Fixtures: the tools of others that run on node."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.node import leave_out, missing_tool, packages

FOLDER = Path(__file__).parent
OLDEST_NODE = (20, 19)


@pytest.fixture(scope="session")
def node_tools() -> Path:
    """The folder of the commands that package-lock.json names. CI sets TEST_FOREIGN=required."""
    if reason := missing_tool(OLDEST_NODE):
        leave_out("linters and parsers that run on node are not tried", reason, "TEST_FOREIGN")
    return packages(FOLDER)

"""What the tests need of node: is it here, and the packages of a lock file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest


def missing_tool(oldest: tuple[int, int]) -> str | None:
    """Return why nothing can be run by node on this machine; None when it can. `oldest` is major and minor version."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return "node and npm are not installed"
    version = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    number = re.match(r"v(\d+)\.(\d+)\.", version)
    if number is None or (int(number[1]), int(number[2])) < oldest:
        return f"node is {version}, and {oldest[0]}.{oldest[1]} or newer is needed"
    return None


def leave_out(what: str, reason: str, variable: str) -> NoReturn:
    """Skip a test with a sentence; fail where the environment variable says `required`, as in CI."""
    if os.environ.get(variable) == "required":
        pytest.fail(f"{variable}=required, but {reason}")
    pytest.skip(f"{what}: {reason}")


def packages(folder: Path) -> Path:
    """Install what a folder's package-lock.json names, unless it is there; return the folder of its commands."""
    wanted, installed = folder / "package-lock.json", folder / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < wanted.stat().st_mtime:
        words = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        result = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
    return folder / "node_modules" / ".bin"

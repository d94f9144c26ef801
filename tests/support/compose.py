"""Whether docker compose is here: a package of its own in many distributions; reading a file needs no engine."""

from __future__ import annotations

import shutil
import subprocess

import pytest


def _compose_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0


needs_compose = pytest.mark.skipif(not _compose_answers(), reason="there is no docker command with the compose plugin")

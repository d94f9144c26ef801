"""Unpack the version before this one from the history of the repository."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

from tests.acceptance.cluster import REPOSITORY

VERSION_BEFORE = "fcb7fc6dcb5c327aa5fe1d5609476485e708cdf8"
"""The last commit of the version before, which must run beside this one; a release moves it."""


def is_there() -> bool:
    """Tell whether the history holds the version before; a shallow clone or an archive has none."""
    try:
        found = _git("cat-file", "-e", f"{VERSION_BEFORE}^{{commit}}")
    except OSError:  # no git
        return False
    return found.returncode == 0


def unpack(folder: Path) -> Path:
    """Write the files of the version before into `folder`; return it. Raises CalledProcessError."""
    archive = _git("archive", "--format=tar", VERSION_BEFORE)
    archive.check_returncode()
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def _git(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(REPOSITORY), *words], capture_output=True, check=False)

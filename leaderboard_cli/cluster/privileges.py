"""Choose the user that runs Postgres, which refuses to run as root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from leaderboard_cli.cluster.errors import PrivilegeError

_UNPRIVILEGED_USERS = ("postgres", "nobody")
_NAMESPACE_OPTIONS = ("--user", "--map-user=1000", "--map-group=1000")
_PROBE = 'cd "$1" && test -w . && exec "$2" --version'
_PROBE_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class RunAs:
    """How to start a program: as another user (`uid`, `gid`), and behind which prefix (`unshare …`)."""

    uid: int | None = None
    gid: int | None = None
    prefix: tuple[str, ...] = ()


def choose_run_as(program: Path, folder: Path) -> RunAs:
    """Find out how `program` can run unprivileged with `folder` as its data folder.

    `folder` must exist; as root its content changes owner accordingly.
    Raises PrivilegeError, with what was tried, when no way works.
    """
    if os.geteuid() != 0:
        return RunAs()
    tried: list[str] = []
    for name in _UNPRIVILEGED_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        _give(folder, entry.pw_uid, entry.pw_gid)
        problem = _try(RunAs(uid=entry.pw_uid, gid=entry.pw_gid), program, folder)
        if problem is None:
            return RunAs(uid=entry.pw_uid, gid=entry.pw_gid)
        tried.append(f"  as user {name}: {problem}")
    _give(folder, 0, 0)
    unshare = shutil.which("unshare") or "/usr/bin/unshare"
    in_namespace = RunAs(prefix=(unshare, *_NAMESPACE_OPTIONS))
    problem = _try(in_namespace, program, folder)
    if problem is None:
        return in_namespace
    tried.append(f"  in a user namespace: {problem}")
    raise PrivilegeError(
        "\n".join(
            [
                "Postgres does not run as root, and no other way worked here:",
                *tried,
                f"Run this command as an ordinary user, or move the installation ({program}) and the data "
                f"folder ({folder.parent}) to where user 'nobody' may read them, or set POSTGRES_HOST to a "
                "server that runs.",
            ]
        )
    )


def _try(run_as: RunAs, program: Path, folder: Path) -> str | None:
    """Return None when `program` runs and can write in `folder`, else the reason."""
    command = [*run_as.prefix, "/bin/sh", "-c", _PROBE, "sh", str(folder), str(program)]
    try:
        if run_as.uid is None:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_TIMEOUT_SECONDS)
        else:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=_PROBE_TIMEOUT_SECONDS,
                cwd="/",
                user=run_as.uid,
                group=run_as.gid,
                extra_groups=[],
            )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    if done.returncode == 0:
        return None
    return done.stderr.strip() or f"exit code {done.returncode}"


def _give(folder: Path, uid: int, gid: int) -> None:
    """Make `uid` the owner of the folder and its content; quick when it already is."""
    if folder.stat().st_uid == uid:
        return
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(parent, name), uid, gid, follow_symlinks=False)
    # Last, so that an interrupted change is resumed.
    os.chown(folder, uid, gid)

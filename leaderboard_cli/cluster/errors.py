"""Define the errors of a local cluster's start, each with a message that says what to do."""

from __future__ import annotations

from collections.abc import Sequence


class ClusterError(Exception):
    """Base of every failure of the local cluster; its text is shown to the user unchanged."""


class BinaryNotFoundError(ClusterError):
    """No usable server program was found."""


class PrivilegeError(ClusterError):
    """Postgres cannot be started by this user in this folder."""


class PortBusyError(ClusterError):
    """A port that the cluster needs is taken."""


class AlreadyRunningError(ClusterError):
    """Another supervisor holds the data folder."""


class StartError(ClusterError):
    """A process did not start; carries the end of its log."""

    def __init__(self, name: str, reason: str, log_tail: Sequence[str] = ()) -> None:
        self.name = name
        self.log_tail = tuple(log_tail)
        lines = [f"{name} did not start: {reason}"]
        if log_tail:
            lines += [f"last lines of the log of {name}:", *(f"  {line}" for line in log_tail)]
        super().__init__("\n".join(lines))

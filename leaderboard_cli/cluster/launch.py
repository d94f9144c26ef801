"""Become another program after making sure that it cannot outlive the process that started it.

Run by path as `python -I -S launch.py <parent pid> <death signal> <uid or -1> <gid or -1> <program> <args…>`.
A program of its own rather than `preexec_fn`, which is unsafe in a process that has threads.
"""

import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Switch user if asked, tie this process to `parent`, then exec; return only by raising."""
    parent, death_signal, uid, gid = (int(value) for value in arguments[:4])
    argv = arguments[4:]
    libc = None
    if sys.platform == "linux":
        import ctypes  # before the change of user, who may not be allowed to read the standard library

        libc = ctypes.CDLL(None, use_errno=True)
    if gid >= 0:
        os.setgroups([])
        os.setgid(gid)
    if uid >= 0:
        os.setuid(uid)
    if libc is not None:  # after the change of user, which would clear it
        if libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
            raise OSError("prctl(PR_SET_PDEATHSIG) failed")
        if os.getppid() != parent:  # it died before the request was in place
            os._exit(0)
    # The interpreter ignores the first two, and a shell that puts `leaderboard up` into the background the others: a
    # program started from here must not inherit that.
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    os.execv(argv[0], argv)  # noqa: S606 - a shell is what must not come between


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as error:
        sys.stderr.write(f"cannot start {sys.argv[5]}: {error}\n")
        sys.exit(127)

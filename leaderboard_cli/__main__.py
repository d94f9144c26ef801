"""Start the `leaderboard` command, also as `python -m leaderboard_cli`."""

from __future__ import annotations

import io
import os
import sys

from leaderboard_cli import healthcheck


def main() -> None:
    """Run a command; the health check starts without the second that the imports of the others take."""
    if sys.argv[1:2] == ["healthcheck"]:
        sys.exit(healthcheck.main(sys.argv[2:]))
    from leaderboard_core.settings.foreign import keep_out

    # Before the libraries that read them, and the processes that inherit them.
    keep_out(os.environ)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8 ends no command
    from leaderboard_cli.app import main as run_app

    run_app()


if __name__ == "__main__":
    main()

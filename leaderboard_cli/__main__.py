"""Where the `leaderboard` command and `python -m leaderboard_cli` begin."""

from __future__ import annotations

import sys

from leaderboard_cli import healthcheck


def main() -> None:
    """Run a command. The health check does not wait a second for everything that the others import."""
    if sys.argv[1:2] == ["healthcheck"]:
        sys.exit(healthcheck.main(sys.argv[2:]))
    from leaderboard_cli.app import main as run_app

    run_app()


if __name__ == "__main__":
    main()

"""`leaderboard healthcheck`: exit with 0 when a process reports that it is healthy, for containers.

Standard library only: this runs every few seconds in every container.
"""

from __future__ import annotations

import argparse
import http.client
import os
import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

SUMMARY = "Ask a process for its health; exit 1 when it is not well or not there (for containers)."


def main(arguments: Sequence[str]) -> int:
    """Print the answer of the process; return 0 for HTTP 200, else 1."""
    parser = argparse.ArgumentParser(prog="leaderboard healthcheck", description=SUMMARY)
    parser.add_argument("url", nargs="?", default=f"http://127.0.0.1:{os.environ.get('PORT', '5000')}/health")
    parser.add_argument("--timeout", type=float, default=3, help="seconds to wait (default 3)")
    options = parser.parse_args(arguments)
    parts = urlsplit(options.url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 80, timeout=options.timeout)
    try:
        connection.request("GET", parts.path or "/health")
        answer = connection.getresponse()
        body = answer.read(65_536).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        sys.stderr.write(f"{options.url}: {error}\n")
        return 1
    finally:
        connection.close()
    sys.stdout.write(f"{body}\n")
    return 0 if answer.status == 200 else 1

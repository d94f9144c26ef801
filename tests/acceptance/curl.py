"""Implement the few options of curl that the documents use, by httpx, for machines without curl."""

from __future__ import annotations

import argparse
import sys
import time

import httpx

FAILED, TIMED_OUT = 22, 28


def main() -> int:
    """Send one request as curl would."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-s", action="store_true")
    parser.add_argument("-N", action="store_true")
    parser.add_argument("-f", dest="fails", action="store_true")
    parser.add_argument("-X", dest="method")
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("-d", dest="data")
    parser.add_argument("-D", dest="dump", choices=["-"])
    parser.add_argument("-o", dest="output", choices=["/dev/null"])
    parser.add_argument("--max-time", type=float, default=30)
    parser.add_argument("url")
    options = parser.parse_args()
    headers = [tuple(header.split(": ", 1)) for header in options.headers]
    method = options.method or ("POST" if options.data else "GET")
    deadline = time.monotonic() + options.max_time
    try:
        with httpx.stream(
            method, options.url, headers=headers, content=options.data, timeout=options.max_time
        ) as answer:
            if options.fails and answer.status_code >= 400:
                return FAILED
            if options.dump:
                lines = [f"{name}: {value}" for name, value in answer.headers.items()]
                sys.stdout.write("\n".join([f"HTTP/1.1 {answer.status_code}", *lines]) + "\n\n")
            for piece in answer.iter_text():
                if not options.output:
                    sys.stdout.write(piece)
                if time.monotonic() > deadline:
                    return TIMED_OUT
    except httpx.TimeoutException:
        return TIMED_OUT
    return 0


sys.exit(main())

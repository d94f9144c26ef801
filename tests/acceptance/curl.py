"""The few options of curl that the README uses, on httpx, for machines without curl."""

from __future__ import annotations

import argparse
import sys

import httpx


def main() -> None:
    """Send one request as curl would."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-s", action="store_true")
    parser.add_argument("-X", dest="method")
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("-d", dest="data")
    parser.add_argument("-D", dest="dump", choices=["-"])
    parser.add_argument("-o", dest="output", choices=["/dev/null"])
    parser.add_argument("url")
    options = parser.parse_args()
    headers = [tuple(header.split(": ", 1)) for header in options.headers]
    method = options.method or ("POST" if options.data else "GET")
    answer = httpx.request(method, options.url, headers=headers, content=options.data, timeout=30)
    if options.dump:
        lines = [f"HTTP/1.1 {answer.status_code}", *(f"{name}: {value}" for name, value in answer.headers.items())]
        sys.stdout.write("\n".join(lines) + "\n\n")
    if not options.output:
        sys.stdout.write(answer.text)


main()

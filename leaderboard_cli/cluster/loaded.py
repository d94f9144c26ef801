"""Load one of our processes while what it needs is still starting: it says so, and runs when it is told to.

Both are a byte on its standard input, a socket. `python -m leaderboard_cli.cluster.loaded <package>` is
`python -m <package>` from then on. The imports take most of the time of a start, and nothing has to be there for them.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module


def main(package: str) -> None:
    """Import, wait, run; exit without a word when nobody is left to say when."""
    gc.disable()  # hardly anything of what imports make is garbage
    start = import_module(f"{package}.__main__").start
    gc.enable()
    os.write(0, b"\n")
    if not os.read(0, 1):
        sys.exit(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    start()


if __name__ == "__main__":
    main(sys.argv[1])

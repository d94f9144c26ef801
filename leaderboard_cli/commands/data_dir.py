"""Declares the option that names the data folder, for the commands that make or remove one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leaderboard_cli.data_folder import VARIABLE

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        "--data",
        envvar=VARIABLE,
        help="Where data, logs and cluster.json are kept.",
        show_default=".local of a checkout, else $XDG_DATA_HOME/leaderboard",
    ),
]

"""`leaderboard token`: sign a token for a player, a game server or an administrator."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from leaderboard_cli.commands.environment import command_environment, signer
from leaderboard_cli.console import fail
from leaderboard_core.errors import UnknownRegion
from leaderboard_core.names import is_name, is_user_id
from leaderboard_core.settings import TopologySettings, load
from leaderboard_core.tokens import OPERATOR


class Role(StrEnum):
    player = "player"
    server = "server"
    admin = "admin"


def token(
    user_id: Annotated[
        str, typer.Argument(help="Whom the token speaks for; for a server or an administrator, a name.")
    ],
    role: Annotated[Role, typer.Option(help="A server may submit for anybody, an admin define boards.")] = Role.player,
    name: Annotated[str, typer.Option(help="Display name; default the user_id.")] = "",
    region: Annotated[str, typer.Option(help="Home region.")] = "GLOBAL",
    ttl: Annotated[int | None, typer.Option(min=1, help="Seconds to live; default JWT_TTL_SECONDS.")] = None,
) -> None:
    """Print a token signed with JWT_SECRET, and nothing else."""
    environ = command_environment()
    regions = load(TopologySettings, environ).regions
    if region.upper() not in regions:
        raise UnknownRegion(region, regions)
    if not is_user_id(user_id):
        fail("A user_id has 1 to 128 characters without white space, control characters or '/'.")
    if name and not is_name(name):
        fail("A name has 1 to 200 characters without control characters.")
    tokens = signer(environ)
    method = OPERATOR if role is Role.player else ""
    signed = tokens.issue(user_id, name or user_id, region.upper(), role=role.value, ttl_seconds=ttl, method=method)
    typer.echo(signed)

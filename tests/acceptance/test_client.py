"""Test the Python client and commands built on it through NGINX, a gateway and a service."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing

import pytest

from leaderboard_client import Client, NotFound
from tests.acceptance.cluster import LocalCluster, command
from tests.acceptance.conftest import Register

STRANGE_IDS = [
    "%41",
    "a?b=c&d",
    "a#b",
    "...",
    "a;b+c",
    "😀",
    "مَاهِر",
    "a\\b",
    "%2F",
    "\"'<x>",
    "a%2F%2Fb",
]


@pytest.fixture(scope="module")
def game_server(cluster: LocalCluster) -> Iterator[Client]:
    """Open a client with a server's token, made as the README says."""
    words, environment = command("token", "acceptance", "--role", "server"), cluster.environment()
    token = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout
    with Client(cluster.url, token=token.strip()) as client:
        yield client


@pytest.mark.local_cluster
@pytest.mark.parametrize("user_id", STRANGE_IDS)
def test_any_user_id_reaches_its_player_through_every_hop(game_server: Client, user_id: str) -> None:
    game_server.submit(user_id, "ASIA", 3, name=f"Name of {user_id}")
    assert game_server.rank(user_id).name == f"Name of {user_id}"
    assert game_server.around(user_id, reach=1).own.user_id == user_id
    with closing(game_server.stream_rank(user_id, reach=0)) as places:
        assert next(places).own.user_id == user_id
    assert game_server.export_user(user_id).user.score == 3
    assert game_server.delete_user(user_id).user_id == user_id
    with pytest.raises(NotFound):
        game_server.rank(user_id)


def test_a_live_board_moves_through_every_hop(visitor: Client, register: Register) -> None:
    player = register("ASIA", 1)
    with closing(visitor.stream_rank(player.user_id, region="ASIA", reach=0)) as places:
        assert next(places).own.score == 1
        for score in (2, 3):
            player.client.update(score)
            assert next(places).own.score == score

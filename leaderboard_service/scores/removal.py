"""Takes a player's entry off a board, with one script call on the player's shard."""

from __future__ import annotations

from collections.abc import Sequence

from leaderboard_core.boards import ALL, Board, Place
from leaderboard_core.errors import MainBoard, Unavailable, UserNotFound
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import LimitSettings
from leaderboard_service.definitions.known import TRIES, KnownBoards
from leaderboard_service.players.service import Players, StoredPlayer
from leaderboard_service.scores.refusals import refusal_of, stale_definition
from leaderboard_service.scores.writes import event_fields, event_start


class EntryRemover:
    """Removes entries of boards other than `main`, on which a player stands as long as it has a card."""

    def __init__(self, shard_map: ShardMap, limits: LimitSettings, players: Players, boards: KnownBoards) -> None:
        self._map = shard_map
        self._limits = limits
        self._players = players
        self._boards = boards

    async def remove(self, board_name: str, user_id: str, request_id: str) -> bool:
        """Take an entry off; False when there was none. A later score makes a new one.

        Raises MainBoard, BoardNotFound, UserNotFound, QueueFull, WarmingUp or Unavailable.
        """
        board = await self._boards.board(board_name)
        if board.is_main:
            raise MainBoard("Every player stands on the main board; DELETE /users/{user_id} takes one away.")
        player = await self._players.find(user_id)
        if player is None:
            raise UserNotFound
        shard = self._map.shard_of(player.region, user_id)
        for _ in range(TRIES):
            answer = await self._call(shard, board, player, request_id)
            if answer[0] != "refused":
                return answer[0] == "ok"
            if answer[1] == "region_mismatch":
                raise Unavailable("This player is being made anew in another region; try again.")
            if answer[1] != "stale_definition":
                raise refusal_of(answer[1], answer[2:])
            board = await self._boards.read_again(shard, board_name)
        raise stale_definition()

    async def _call(self, shard: Shard, board: Board, player: StoredPlayer, request_id: str) -> Sequence[str]:
        keys, user_id, place = shard.keys, player.user_id, Place(board, ALL, player.region)
        answer: Sequence[str] = await shard.run(
            "remove_entry",
            (
                keys.admission,
                keys.user(user_id),
                keys.queue(player.region),
                keys.definition(board.name),
                keys.entries(user_id),
                *keys.sets(place),
            ),
            (
                user_id,
                player.region,
                event_start(user_id, event_fields(player.region, request_id)),
                shard.partition.share_of(self._limits.queue_reject_length),
                self._boards.heeded(shard, board).state,
                place.entry_field,
            ),
        )
        return answer

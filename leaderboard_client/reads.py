"""Build the read calls that are of no board: regions, definitions, exports, the state of the system."""

from __future__ import annotations

from leaderboard_client import reading
from leaderboard_client.board_reads import BoardReads
from leaderboard_client.calls import Call, segment
from leaderboard_client.results import BoardPage, DefinedBoard, EntryPage, Export
from leaderboard_client.system_results import Health, Status


class Reads(BoardReads):
    """Read calls; those of rankings are of the board `main`. An omitted user_id means the player who logged in."""

    def regions(self) -> Call[tuple[str, ...]]:
        """Return the names of all regions: where a player may be at home, each with a board."""
        return Call("GET", "/regions", reading.regions)

    def boards(self, *, cursor: str | None = None) -> Call[BoardPage]:
        """Return the boards and their rules, by name, a hundred at once; from the `next_cursor` of those before."""
        return Call("GET", "/boards", reading.board_page, query={"cursor": cursor})

    def board_definition(self, board: str) -> Call[DefinedBoard]:
        """Return a board, its rules, and how many players it has. Raises NotFound with the code board_not_found."""
        return Call("GET", f"/boards/{segment(board)}", reading.defined_board)

    def export_user(self, user_id: str) -> Call[Export]:
        """Return all data kept of a player, with its own token or a server's. Raises NotFound, Forbidden."""
        return Call("GET", f"/users/{segment(user_id)}", reading.export, token=self.token)

    def entries(self, user_id: str | None = None, *, cursor: str | None = None) -> Call[EntryPage]:
        """Return where a player stands on every board, a hundred at once. Raises NotFound."""
        path = f"/users/{segment(self.own(user_id))}/entries"
        return Call("GET", path, reading.entries, query={"cursor": cursor})

    def status(self) -> Call[Status]:
        """Return whether everything is saved, the workers, and the source of reads."""
        return Call("GET", "/status", reading.status)

    def health(self) -> Call[Health]:
        """Return the health of the process that answers (a gateway, behind NGINX); an unhealthy one raises nothing."""
        return Call("GET", "/health", reading.health, also_read=(503,))

    def metrics(self) -> Call[str]:
        """Return the Prometheus metrics of the process that answers, as text."""
        return Call("GET", "/metrics", reading.text)

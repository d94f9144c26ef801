"""Build the names of every Redis key, and nothing else."""

from __future__ import annotations

from typing import NamedTuple

from leaderboard_core.boards import Place

GLOBAL = "GLOBAL"


class RegionKeys(NamedTuple):
    """What every write of a region names."""

    board: str
    global_board: str
    queue: str
    bucket: str


class Keys:
    """Key builders of one shard; `prefix` is empty on a single server (docs/architecture.md shows those names).

    In a cluster it is the hash tag of the shard's partition. Where the shard has one region only, `only_region`, that
    region's board is its part of the GLOBAL board as well.
    """

    __slots__ = ("_of_regions", "only_region", "prefix")

    def __init__(self, prefix: str = "", only_region: str = "") -> None:
        self.prefix = prefix
        self.only_region = only_region
        self._of_regions: dict[str, RegionKeys] = {}

    def of_region(self, region: str) -> RegionKeys:
        """Name what the writes of a region share: built once, since they are asked for all the time."""
        found = self._of_regions.get(region)
        if found is None:
            built = RegionKeys(self.board(region), self.board(GLOBAL), self.queue(region), self.region_bucket(region))
            found = self._of_regions[region] = built
        return found

    def place(self, place: Place) -> str:
        """Name the set of a ranking; that of a shard's only region is its part of GLOBAL too, unless it has none."""
        if place.region == GLOBAL and self.only_region and place.board.rules.regions:
            place = place.in_region(self.only_region)
        return f"{self.prefix}leaderboard:{place.name}"

    def board(self, region: str) -> str:
        """Name the set of `Place.on_main(region)`."""
        if region == GLOBAL and self.only_region:
            region = self.only_region
        return f"{self.prefix}leaderboard:{region}"

    def entries(self, user_id: str) -> str:
        """A player's entries on boards other than `main`, by board and window."""
        return f"{self.prefix}entries:{user_id}"

    def sets(self, place: Place) -> tuple[str, str]:
        """Name the sets that an entry of a region is in: the region's and GLOBAL's, which may be the same."""
        if place.is_default:
            return self.board(place.region), self.board(GLOBAL)
        return self.sets_of_entry(place.entry_field, place.region, regions=place.board.rules.regions)

    def sets_of_entry(self, field: str, region: str, *, regions: bool) -> tuple[str, str]:
        """Name those of an entry by its name, on a board that has rankings of regions or has none."""
        if not regions:
            of_global = self.entry_set(field, GLOBAL)
            return of_global, of_global
        return self.entry_set(field, region), self.entry_set(field, self.only_region or GLOBAL)

    def entry_set(self, field: str, region: str) -> str:
        """Name the set of a region, or of GLOBAL, in which an entry may be: it depends on the rules of its board."""
        return f"{self.prefix}leaderboard:{field}:{region}"

    @property
    def own_global_board(self) -> str:
        """The GLOBAL board where it is no region's; there is none on a shard of `only_region`."""
        return f"{self.prefix}leaderboard:{GLOBAL}"

    def definition(self, board: str) -> str:
        """Which definition of a board this shard has: its id, and its version or that it is gone."""
        return f"{self.prefix}board:{board}"

    def rules(self, board: str) -> str:
        """The rules of that definition, as JSON."""
        return f"{self.definition(board)}:rules"

    @property
    def board_names(self) -> str:
        """SET of the names that have a definition here, also of boards that are gone."""
        return f"{self.prefix}boards"

    @property
    def living_boards(self) -> str:
        """ZSET of the names of boards that are not gone, and "", all of one score: in the order of the names."""
        return f"{self.prefix}shard:boards"

    @property
    def last_board_id(self) -> str:
        """The greatest id of a board that this Redis was ever told of: Postgres may have been taken back behind it."""
        return f"{self.prefix}shard:last_board_id"

    def user(self, user_id: str) -> str:
        return f"{self.prefix}user:{user_id}"

    def queue(self, region: str) -> str:
        return f"{self.prefix}queue:scores:{region}"

    def processing(self, region: str, worker: str) -> str:
        return f"{self.queue(region)}:processing:{worker}"

    def dead(self, region: str) -> str:
        return f"{self.queue(region)}:dead"

    def user_bucket(self, user_id: str) -> str:
        return f"{self.prefix}bucket:user:{user_id}"

    def login_bucket(self, user_id: str, address: str | None = None) -> str:
        """Failed logins into an account, from everywhere or from one address ('': unknown); a user_id has no "/"."""
        return f"{self.prefix}bucket:login:{user_id}" + ("" if address is None else f"/{address}")

    def registration_bucket(self, address: str) -> str:
        return f"{self.prefix}bucket:registrations:{address}"

    def password_bucket(self, address: str) -> str:
        return f"{self.prefix}bucket:passwords:{address}"

    def region_bucket(self, region: str) -> str:
        return f"{self.prefix}bucket:region:{region}"

    def idempotency(self, subject: str, key: str) -> str:
        """`subject` is the token's user_id: two players may use the same Idempotency-Key.

        A user_id has no "/", so that no two pairs make one name.
        """
        return f"{self.prefix}idempotency:{subject}/{key}"

    def claim(self, user_id: str) -> str:
        """A registration in progress holds this lease on its user_id."""
        return f"{self.prefix}claim:{user_id}"

    def tombstone(self, user_id: str) -> str:
        """When a player of that user_id was deleted (µs); expires some time after Postgres has it too."""
        return f"{self.prefix}deleted:{user_id}"

    def returned_deletion(self, user_id: str) -> str:
        """The time of a tombstone that was given back, and when that player was deleted (µs); a user_id has no "/"."""
        return f"{self.tombstone(user_id)}/returned"

    @property
    def any_tombstone(self) -> str:
        """There is, or was, a tombstone on this Redis: a script that finds no player has to check for one."""
        return f"{self.prefix}shard:deleted"

    @property
    def admission(self) -> str:
        """Names the life of the server, and the regions of which it holds everything that Postgres has."""
        return f"{self.prefix}shard:admission"

    @property
    def layout(self) -> str:
        """Which part of the players this Redis holds, and the id of the system whose they are."""
        return f"{self.prefix}shard:layout"

    @property
    def ready(self) -> str:
        """What processes of the version before look for in the place of the admission."""
        return f"{self.prefix}shard:ready"

    @property
    def incomplete(self) -> str:
        """ZSET of players who are on a board without a hash, by when that was seen (µs)."""
        return f"{self.prefix}shard:incomplete"

    @property
    def trial(self) -> str:
        """Never exists: a write to it that takes nothing but an existing key tries whether writes are taken."""
        return f"{self.prefix}shard:trial"

    @property
    def rebuild_lock(self) -> str:
        return f"{self.prefix}shard:rebuild"

    @property
    def rebuild_rewrites(self) -> str:
        """When Redis rewrote its append-only file before a rebuild put that off (a percentage)."""
        return f"{self.prefix}shard:rebuild:rewrites"

    @property
    def workers(self) -> str:
        """ZSET of worker names by their last heartbeat (µs)."""
        return f"{self.prefix}workers"

    @property
    def worker_versions(self) -> str:
        """HASH of worker names to what they know of, so that a newer one knows what it must do beside them."""
        return f"{self.prefix}workers:versions"

"""JSON Web Tokens: issued at login, verified at the gateway and again in the services."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import jwt

from leaderboard_core.errors import InvalidToken, MissingToken
from leaderboard_core.names import is_name, is_user_id
from leaderboard_core.settings import AuthSettings

ALGORITHM = "HS256"
ROLES = (PLAYER, SERVER, ADMIN) = ("player", "server", "admin")
"""What a token may do: play for one player, write for anybody, or say how boards are. None may do what another may."""
METHODS = (PASSWORD, SECRET, NAME, OPERATOR) = ("pwd", "secret", "name", "operator")
"""How a player got a token, as the first of its claim `amr` (RFC 8176 names `pwd`)."""
_REQUIRED = ["exp", "user_id", "name", "region"]
_CACHE_SIZE = 50_000


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token speaks for; `role` is one of ROLES.

    A player's token is worth nothing once the player was deleted after `issued_at` (µs; 0 for a token that does
    not say when). `method` is how the player logged in, '' for a token that does not say.
    """

    user_id: str
    name: str
    region: str
    role: str
    expires_at: float
    issued_at: int = 0
    method: str = ""

    @property
    def is_server(self) -> bool:
        return self.role == SERVER

    @property
    def is_admin(self) -> bool:
        return self.role == ADMIN

    @property
    def is_player(self) -> bool:
        return self.role == PLAYER


def revoked_token() -> InvalidToken:
    """The refusal of a player's token that is older than the player's deletion."""
    return InvalidToken("This token is from before its player was deleted; POST /auth/register makes a new player.")


class Tokens:
    """Issues and verifies tokens with one secret."""

    def __init__(self, settings: AuthSettings) -> None:
        self._secret = settings.jwt_secret.get_secret_value()
        self._ttl = settings.jwt_ttl_seconds
        self._verified: OrderedDict[str, Identity] = OrderedDict()

    def issue(
        self,
        user_id: str,
        name: str,
        region: str,
        *,
        role: str = PLAYER,
        ttl_seconds: int | None = None,
        issued_at: int | None = None,
        method: str = "",
    ) -> str:
        """A signed token that lives `ttl_seconds` (JWT_TTL_SECONDS if None).

        `issued_at` is in µs on the clock of the player's Redis, as a deletion's time is, so that the two compare;
        None takes the clock of this process. `method` is one of METHODS, '' for a token that is no player's.
        """
        now = time.time()
        issued = now if issued_at is None else issued_at / 1_000_000
        claims: dict[str, Any] = {"user_id": user_id, "name": name, "region": region}
        claims["iat"] = round(issued, 6)
        claims["exp"] = int(now) + (self._ttl if ttl_seconds is None else ttl_seconds)
        if role != PLAYER:
            claims["role"] = role
        if method:
            claims["amr"] = [method]
        return jwt.encode(claims, self._secret, algorithm=ALGORITHM)

    def verify(self, token: str) -> Identity:
        """The identity in a token. Raises InvalidToken.

        A token verified once is remembered until it expires: its signature cannot change.
        """
        header = f"Bearer {token}"  # as nearly everybody sends it
        identity = self._verified.get(header)
        if identity is not None:
            if identity.expires_at > time.time():
                return identity
            del self._verified[header]
            raise InvalidToken
        identity = self._verified[header] = self._decode(token)
        if len(self._verified) > _CACHE_SIZE:
            self._verified.popitem(last=False)
        return identity

    def verify_header(self, authorization: str | None) -> Identity:
        """The identity in an Authorization header's value. Raises MissingToken or InvalidToken."""
        identity = self._verified.get(authorization) if authorization else None
        if identity is not None and identity.expires_at > time.time():
            return identity
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise MissingToken
        return self.verify(token)

    def _decode(self, token: str) -> Identity:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                # `iat` is of another machine's clock, which may be ahead of ours.
                options={"require": _REQUIRED, "verify_iat": False},
            )
            expires_at = float(claims["exp"])
            issued_at = round(float(claims.get("iat", 0)) * 1_000_000)
        except (jwt.PyJWTError, UnicodeError, ArithmeticError, ValueError, TypeError) as error:
            raise InvalidToken from error
        user_id, name, region = claims["user_id"], claims["name"], claims["region"]
        role = claims.get("role", PLAYER)
        if not all(isinstance(value, str) and value for value in (user_id, name, region)) or role not in ROLES:
            raise InvalidToken
        # Tokens may be made elsewhere with our secret: what could not be registered cannot be played either.
        if not is_user_id(user_id) or not is_name(name):
            raise InvalidToken("The token's user_id or name is not one that this system takes.")
        return Identity(user_id, name, region.upper(), role, expires_at, issued_at, _method_in(claims.get("amr")))


def _method_in(amr: object) -> str:
    """Read the claim: a list of methods, or one; the weakest of them is what the token is worth."""
    methods = amr if isinstance(amr, list) else [amr]
    named = [method for method in methods if isinstance(method, str)]
    return NAME if NAME in named else "".join(named[:1])

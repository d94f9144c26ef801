"""Declares the dependencies that several features share: the caller, its idempotency key, the regions.

A feature's own service is a dependency in that feature's `dependencies.py`.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Request, Security
from fastapi.security import HTTPBearer
from pydantic.json_schema import SkipJsonSchema
from starlette.types import Scope

from leaderboard_core.errors import Forbidden
from leaderboard_core.http.dependencies import CurrentRequestId, CurrentScope, FromState
from leaderboard_core.http.origins import Origins
from leaderboard_core.tokens import Identity, Tokens
from leaderboard_service.idempotency import HEADER, Idempotency
from leaderboard_service.regions import Regions

known_regions = FromState("regions")
KnownRegions = Annotated[Regions, Depends(known_regions)]

tokens = FromState("tokens")
TokenIssuer = Annotated[Tokens, Depends(tokens)]


async def same_origin(
    scope: Annotated[Scope, Depends(CurrentScope())],
    origins: Annotated[Origins, Depends(FromState("origins"))],
    origin: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> None:
    """Refuse a page of another site. Raises ForbiddenOrigin."""
    origins.check(origin, scope)


SAME_ORIGIN = (Depends(same_origin),)
"""Dependencies of each path operation that changes something."""


class BearerToken(HTTPBearer):
    """The security scheme of the API, which returns the Authorization header as it was sent."""

    async def __call__(  # type: ignore[override]
        self, authorization: Annotated[str | None, Header(include_in_schema=False)] = None
    ) -> str | None:
        return authorization


bearer = BearerToken(bearerFormat="JWT", scheme_name="bearer", auto_error=False)


async def identity(authorization: Annotated[str | None, Security(bearer)], tokens: TokenIssuer) -> Identity:
    """Return the identity that the token is of. Raises MissingToken or InvalidToken."""
    return tokens.verify_header(authorization)


Caller = Annotated[Identity, Depends(identity)]


async def optional_identity(
    authorization: Annotated[str | None, Security(bearer)], tokens: TokenIssuer
) -> Identity | None:
    """Return the identity that the token is of, None without a token. Raises InvalidToken."""
    return None if authorization is None else tokens.verify_header(authorization)


OptionalCaller = Annotated[Identity | None, Depends(optional_identity)]


async def admin(caller: Caller) -> Identity:
    """Return an administrator's identity. Raises MissingToken, InvalidToken or Forbidden."""
    if not caller.is_admin:
        raise Forbidden("Only a token with role 'admin' defines boards: `leaderboard token NAME --role admin`.")
    return caller


AdminToken = Annotated[Identity, Depends(admin)]


async def player(caller: Caller, regions: KnownRegions) -> Identity:
    """Return the token's player. Raises MissingToken, InvalidToken, Forbidden or UnknownRegion."""
    if caller.is_server:
        raise Forbidden("A server's token speaks for no player; use POST /score.")
    if not caller.is_player:
        raise Forbidden("An administrator's token speaks for no player.")
    regions.resolve(caller.region)
    return caller


Player = Annotated[Identity, Depends(player)]


async def idempotency(
    request: Request,
    key: Annotated[
        str | SkipJsonSchema[None],
        Header(
            alias=HEADER,
            description="The write happens once, however often it is sent with this key; visible ASCII.",
            json_schema_extra={"minLength": 1, "maxLength": 255},
        ),
    ] = None,
) -> Idempotency | None:
    """Return the Idempotency-Key with a fingerprint of path and body. Raises InvalidPayload."""
    return None if key is None else Idempotency.of(key, request.scope["path"], await request.body())


IdempotencyKey = Annotated[Idempotency | None, Depends(idempotency)]


request_id = CurrentRequestId()
RequestId = Annotated[str, Depends(request_id)]

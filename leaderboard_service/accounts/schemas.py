"""Defines the JSON of registration and login."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from leaderboard_service.schemas import Body, Card, InitialScore, Name, NewName, NewUserId, Region, UserId

Password = Annotated[str, Field(min_length=8, max_length=1024, examples=["correct horse battery"])]

Token = Annotated[str, Field(description="A JSON Web Token, good for JWT_TTL_SECONDS.")]


class RegisterBody(Body):
    user_id: NewUserId
    name: NewName
    region: Region
    initialScore: InitialScore = 0  # noqa: N815 - the API's name
    password: Annotated[
        Password | None, Field(description="Without one, `user_id` and `name` are enough to log in.")
    ] = None


class LoginBody(Body):
    user_id: UserId
    name: Name
    region: Annotated[Region | None, Field(description="When given, a player of another region is refused.")] = None
    password: Annotated[Password | None, Field(description="Needed when the account has one.")] = None


class Registered(BaseModel):
    ok: bool
    token: Token
    user: Annotated[Card, Field(description="The player.")]


class LoggedIn(BaseModel):
    token: Token

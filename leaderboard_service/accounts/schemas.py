"""Defines the JSON of registration and login."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from leaderboard_service.schemas import Body, Card, InitialScore, Name, NewName, NewUserId, Region, UserId

Password = Annotated[str, Field(min_length=8, max_length=1024, examples=["correct horse battery"])]

Secret = Annotated[
    str,
    Field(
        min_length=1,
        max_length=128,
        examples=["0f1e2d3c4b5a69788796a5b4c3d2e1f0"],
        description="The player's secret, as the registration answered it.",
    ),
]

Token = Annotated[str, Field(description="A JSON Web Token, good for JWT_TTL_SECONDS.")]


class RegisterBody(Body):
    user_id: NewUserId
    name: NewName
    region: Region
    initialScore: InitialScore = 0  # noqa: N815 - the API's name
    password: Annotated[Password | None, Field(description="Without one the answer has a `secret` to log in with.")] = (
        None
    )


class LoginBody(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"user_id": "alice", "password": "correct horse battery"}]}
    )

    user_id: UserId
    name: Annotated[Name | None, Field(description="Needed, and compared, only without password and secret.")] = None
    region: Annotated[Region | None, Field(description="When given, a player of another region is refused.")] = None
    password: Annotated[Password | None, Field(description="The account's, if it has one.")] = None
    secret: Annotated[Secret | None, Field(description="What a registration without a password answered.")] = None


class SetPasswordBody(Body):
    password: Annotated[Password, Field(description="The new one.")]
    old_password: Annotated[Password | None, Field(description="The present one, if the player has one.")] = None
    secret: Annotated[Secret | None, Field(description="For the first password, if the player has one.")] = None


class PasswordSet(BaseModel):
    ok: bool
    user_id: UserId


class NewSecret(BaseModel):
    secret: Annotated[Secret, Field(description="The player's new secret, answered this once.")]


class Registered(BaseModel):
    ok: bool
    token: Token
    user: Annotated[Card, Field(description="The player.")]
    secret: Annotated[
        Secret | None,
        Field(
            description="Answered this once, to a registration without a password: whoever has it is this player. "
            "Null with a password."
        ),
    ]


class LoggedIn(BaseModel):
    token: Token
    user: Annotated[Card, Field(description="The player.")]

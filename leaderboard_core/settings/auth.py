"""Settings of tokens and of the accounts that may be entered."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from leaderboard_core.settings.loading import Group

SECRET_COMMAND = "python3 -c 'import secrets; print(secrets.token_hex(32))'"  # noqa: S105 - a command, not a secret
_PLACEHOLDER_PARTS = ("change-me", "changeme", "change_me", "your-secret", "your_secret", "yoursecret",
                      "your-jwt", "your_jwt", "supersecret", "super-secret", "super_secret", "placeholder",
                      "replace-me", "replace_me", "replaceme", "jwt-secret", "jwt_secret", "example")  # fmt: skip


class AuthSettings(Group):
    """How tokens are signed and which accounts may be entered."""

    jwt_secret: SecretStr = Field(
        SecretStr(""),
        validate_default=True,
        description="Secret that signs tokens (HS256), at least 32 bytes; the same in every process.",
    )
    jwt_secret_file: Path | None = Field(None, description="File to read JWT_SECRET from instead.")
    jwt_ttl_seconds: int = Field(86_400, ge=1, description="Life of a token.")
    registration: Literal["open", "closed"] = Field(
        "open", description="Who makes players: anybody (open), or game servers alone (closed)."
    )
    auth_require_password: bool = Field(False, description="Refuse registration and login without a password.")
    auth_name_login: bool = Field(
        True, description="Let user_id and name log in who registered itself without a password."
    )
    password_cpu_share: float = Field(
        0.25, gt=0, le=1, description="Share of a core that one service spends on passwords at most."
    )
    password_queue_length: int = Field(
        16, ge=1, le=1000, description="Logins, and registrations, with a password that may wait in one service."
    )

    @model_validator(mode="before")
    @classmethod
    def _read_secret_file(cls, values: dict[str, Any]) -> dict[str, Any]:
        path = values.get("jwt_secret_file")
        if not path or values.get("jwt_secret"):
            return values
        try:
            secret = Path(path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"JWT_SECRET_FILE: cannot read {path}: {error}.") from error
        return {**values, "jwt_secret": secret}

    @field_validator("jwt_secret")
    @classmethod
    def _check_secret(cls, given: SecretStr) -> SecretStr:
        secret = given.get_secret_value()
        remedy = f"Set JWT_SECRET (or JWT_SECRET_FILE) to a random value of your own: {SECRET_COMMAND}"
        if not secret:
            raise ValueError(f"JWT_SECRET: is not set. {remedy}")
        if len(secret.encode()) < 32:
            raise ValueError(f"JWT_SECRET: is shorter than 32 bytes. {remedy}")
        if len(set(secret)) < 8 or any(part in secret.lower() for part in _PLACEHOLDER_PARTS):
            raise ValueError(f"JWT_SECRET: is a placeholder or easy to guess. {remedy}")
        return given

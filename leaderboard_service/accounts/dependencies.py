"""Provides the accounts of the running service."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from leaderboard_core.http.dependencies import FromState
from leaderboard_service.accounts.service import Accounts

accounts = FromState("accounts")
AccountService = Annotated[Accounts, Depends(accounts)]

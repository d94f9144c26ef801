"""Provides the accounts of the running service, and who asks for them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from leaderboard_core.http.dependencies import CallerAddress, FromState
from leaderboard_service.accounts.changes import CredentialChanges
from leaderboard_service.accounts.service import Accounts, Visitor

accounts = FromState("accounts")
AccountService = Annotated[Accounts, Depends(accounts)]

credential_changes = FromState("credential_changes")
Changes = Annotated[CredentialChanges, Depends(credential_changes)]

caller_address = CallerAddress()


async def visitor(request: Request, address: Annotated[str, Depends(caller_address)]) -> Visitor:
    """Return who registers or logs in."""
    return Visitor(address, request.is_disconnected)


CurrentVisitor = Annotated[Visitor, Depends(visitor)]

"""Keys for the routes of the API that write: shown once, kept as hashes."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from fastapi import HTTPException, Request
from fastapi.security import HTTPBearer

KEY_BYTES = 32
"""Random bytes of a key. Nobody can try so many, so that a fast hash keeps it as well as a slow one."""


def create(path: Path) -> str:
    """Add a key to the file of hashes, which only its owner can read, and return the key."""
    key = secrets.token_urlsafe(KEY_BYTES)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "w") as file:
        # A line break before it, because a file that was edited by hand may not end with one.
        file.write(f"\n{_hash(key)}\n")
    return key


class ApiKeys(HTTPBearer):
    """FastAPI dependency that lets a request pass with a key of the file.

    Where there is no file, it lets everybody pass, or nobody if a key is required.

    The file is read at each request: a key counts from the moment it is added, and no longer than its line is
    there. An empty file lets nobody pass.
    """

    def __init__(self, path: Path, required: bool = False) -> None:
        super().__init__(auto_error=False, description="A key of `python -m serving key`, once there is one.")
        self._path, self._required = path, required

    async def __call__(self, request: Request) -> None:  # type: ignore[override]
        """Refuse the request unless it brings a key.

        Raises:
            HTTPException: 401, with the remedy.
        """
        try:
            hashes = self._path.read_bytes().split()
        except FileNotFoundError:
            if not self._required:
                return
            hashes = []
        given = await super().__call__(request)
        offered = _hash(given.credentials).encode() if given else b""
        # Every hash is compared in full: the time tells neither how much of one is right nor which.
        if not sum(hmac.compare_digest(offered, known) for known in hashes):
            raise HTTPException(
                401,
                "this route writes, and needs a key: send the header Authorization: Bearer KEY with one of "
                "`python -m serving key`",
                {"WWW-Authenticate": "Bearer"},
            )


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()

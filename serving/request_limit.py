"""A limit on the bodies of requests: nothing larger is held in memory or parsed."""

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 16_384
"""Bytes; feedback has three ids of at most 128 characters and a rating."""

LARGEST_BODIES = {"/v1/events": 1_000_000, "/ratings:predict": 250_000}
"""Where more is taken: a thousand events of four times their usual length, a hundred pairs of the longest
ids."""


class RequestLimit:
    """ASGI middleware which refuses a body as soon as more bytes of it have come than its path takes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, its body counted as it is read."""
        size, largest = 0, LARGEST_BODIES.get(scope.get("path", ""), LARGEST_BODY)

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > largest:
                raise HTTPException(413, f"the body is larger than {largest} bytes: send less at once")
            return message

        await self._app(scope, counted, send)

"""A limit on the bodies of requests: nothing larger is held in memory or parsed."""

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 16_384
"""Bytes; feedback, the only thing that is posted, has three ids of at most 128 characters and a rating."""


class RequestLimit:
    """ASGI middleware which refuses a body as soon as more than ``LARGEST_BODY`` bytes of it have come."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, its body counted as it is read."""
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > LARGEST_BODY:
                raise HTTPException(413, f"the body is larger than {LARGEST_BODY} bytes: send one feedback")
            return message

        await self._app(scope, counted, send)

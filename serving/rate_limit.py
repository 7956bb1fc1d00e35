"""How often one client may ask, so that one does not take the answers of all."""

import math
import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.problems import problem

UNLIMITED = ("/healthz", "/readyz", "/metrics")
"""Routes of those who watch the API, which must see it under load too."""


class RateLimit:
    """ASGI middleware: a moving window of a minute for each client, told by its address.

    Not by a key: who makes keys up would get a window for each. Each process of the API counts for itself.
    """

    def __init__(self, app: ASGIApp, per_minute: int) -> None:
        self._app = app
        self._item = RateLimitItemPerMinute(per_minute)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it with the time after which the next one passes."""
        if scope["type"] != "http" or scope["path"] in UNLIMITED:
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        client = request.client.host if request.client else ""
        if self._limiter.hit(self._item, client):
            await self._app(scope, receive, send)
            return
        wait = max(1, math.ceil(self._limiter.get_window_stats(self._item, client).reset_time - time.time()))
        answer = problem(
            request,
            429,
            f"more than {self._item.amount} requests within a minute: ask again in {wait} s",
            {"Retry-After": str(wait)},
        )
        await answer(scope, receive, send)

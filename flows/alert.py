"""Calls a person: on standard error, and by a webhook where one is set."""

import sys

import httpx

SECONDS = 10.0
"""Longest wait for the webhook."""


def alert(text: str, url: str) -> None:
    """Tell ``text``; a webhook that does not take it is told of as well, and stops nothing.

    Args:
        text: what happened and what to do.
        url: where a JSON object with the key ``text`` is posted to, as chat systems take it; empty for none.
    """
    print(f"ALERT: {text}", file=sys.stderr, flush=True)
    if not url:
        return
    try:
        httpx.post(url, json={"text": text}, timeout=SECONDS).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        # The address may hold a secret: only what failed is told.
        print(f"ALERT: the webhook did not take this: {type(error).__name__}", file=sys.stderr, flush=True)

"""Starts the API where no package but the named ones can be imported, and prints an answer; run by a test."""

import asyncio
import json
import sys
from importlib.metadata import packages_distributions

ALLOWED = set(sys.argv[1:])

OTHER_ROOMS = {"models", "flows", "deploy"}
"""What the image does not copy."""


class Absent:
    """Finds nothing that comes from another package."""

    of = packages_distributions()

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.split(".")[0] in OTHER_ROOMS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        packages = {each.lower().replace("_", "-") for each in self.of.get(name.split(".")[0], [])}
        if packages and not packages & ALLOWED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Absent())

import httpx  # noqa: E402

from feature_repo.settings import FeatureSettings  # noqa: E402
from feature_repo.store import open_store, register  # noqa: E402
from serving.api import create_app  # noqa: E402


async def main() -> None:
    app = create_app()
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://api") as client,
    ):
        answer = await client.get("/users/u1/features")
        print(json.dumps([answer.status_code, answer.json()]))  # noqa: T201


register(open_store(FeatureSettings()), FeatureSettings().lake)
asyncio.run(main())

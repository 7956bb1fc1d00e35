"""Packed features in Redis Cluster: each view in many hashes, which the cluster spreads over its servers."""

import itertools
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Literal

from feast import RepoConfig
from redis import exceptions
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.retry import Retry
from typing_extensions import override

from feature_repo.packed.database import MARK, PackedConfig
from feature_repo.packed.redis import (
    ROWS_IN_SCRIPT,
    SWAP,
    TIMEOUT_SECONDS,
    WRITE,
    PackedRedisOnlineStore,
)
from feature_repo.packed.store import SCHEMA

BUCKETS = 64
"""Hashes of a view: enough for some ten servers, few enough that a read of a hundred entities is not as many
commands, each of which costs the client some 50 microseconds. With another number what is stored would not
be found again."""


class PackedRedisClusterOnlineStoreConfig(PackedConfig):
    """Packed features in Redis Cluster."""

    type: Literal["feature_repo.packed.redis_cluster.PackedRedisClusterOnlineStore"] = (
        "feature_repo.packed.redis_cluster.PackedRedisClusterOnlineStore"
    )
    """Class of the store."""

    url: str = "redis+cluster://127.0.0.1:6379"
    """One server of the cluster, which knows the others: ``redis+cluster://`` or ``rediss+cluster://``."""


class PackedRedisClusterOnlineStore(PackedRedisOnlineStore):
    """A Redis Cluster; its client is safe for threads.

    Every bucket has the view's mark, and one command reads it with the bucket's values, as of one moment. A
    view is whole where all buckets say so, of one materialization: a server that came back empty is noticed.
    """

    @override
    def _client(self, config: RepoConfig) -> Any:
        if self._connected is None:
            self._connected = RedisCluster.from_url(
                config.online_store.url.replace("+cluster", "", 1),
                socket_timeout=TIMEOUT_SECONDS,
                socket_connect_timeout=TIMEOUT_SECONDS,
                retry=Retry(NoBackoff(), 1),
            )
        return self._connected

    @override
    def passes(self, error: Exception) -> bool:
        # While a replica takes over, or slots move, the cluster says that it does not know who has them.
        return super().passes(error) or isinstance(
            error,
            exceptions.ClusterError
            | exceptions.RedisClusterException
            | exceptions.AskError
            | exceptions.TryAgainError,
        )

    @override
    def epoch(self, config: RepoConfig) -> str:
        """Other servers have the slots, or one of them restarted."""
        told = self._client(config).info(target_nodes=RedisCluster.PRIMARIES)
        servers = [told] if "run_id" in told else told.values()
        return " ".join(sorted(f"{one['run_id']} {one['master_replid']}" for one in servers))

    @override
    def read(self, config: RepoConfig, view: str, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        wanted = _by_bucket(view, (key for key in keys if key != MARK))
        wanted = wanted or {bucket: [] for bucket in _buckets(view)}
        client = self._client(config)
        if len(wanted) == 1:
            answers = [client.hmget(bucket, [MARK, *some]) for bucket, some in wanted.items()]
        else:
            with client.pipeline() as pipeline:
                for bucket, some in wanted.items():
                    pipeline.hmget(bucket, [MARK, *some])
                answers = pipeline.execute()
        found: dict[bytes, bytes | None] = {MARK: _mark({mark for mark, *_ in answers})}
        for some, (_, *values) in zip(wanted.values(), answers, strict=True):
            found.update(zip(some, values, strict=True))
        return [found[key] for key in keys]

    @override
    def write(self, config: RepoConfig, view: str, values: Mapping[bytes, bytes]) -> int:
        # Other servers may be faster: the schema is there before what names it.
        schemas = {key: value for key, value in values.items() if key.startswith(SCHEMA)}
        written = 0
        for rows in (schemas, {key: value for key, value in values.items() if key not in schemas}):
            with self._client(config).pipeline() as pipeline:
                for bucket, keys in _by_bucket(view, rows).items():
                    for start in range(0, len(keys), ROWS_IN_SCRIPT):
                        some = keys[start : start + ROWS_IN_SCRIPT]
                        pipeline.execute_command(
                            "EVAL", WRITE, 1, bucket, *(part for key in some for part in (key, rows[key]))
                        )
                written += sum(pipeline.execute())
        return written

    @override
    def swap(self, config: RepoConfig, view: str, key: bytes, old: bytes | None, new: bytes) -> bool:
        """Replace a mark in all buckets; where they do not have the same one, there is none."""
        if old is None and self.read(config, view, [key]) != [None]:
            return False
        with self._client(config).pipeline() as pipeline:
            for bucket in _buckets(view):
                if old is None:
                    pipeline.hset(bucket, key, new)
                else:
                    pipeline.execute_command("EVAL", SWAP, 1, bucket, key, old, new)
            return all(pipeline.execute()) or old is None

    @override
    def drop(self, config: RepoConfig, views: Sequence[str]) -> None:
        with self._client(config).pipeline() as pipeline:
            for view in views:
                for bucket in _buckets(view):
                    pipeline.unlink(bucket)
            pipeline.execute()


@cache
def _tags() -> Sequence[int]:
    """A hash tag for each bucket; their slots lie evenly, since each server has a range of slots."""
    found: dict[int, int] = {}
    tags = itertools.count()
    while len(found) < BUCKETS:
        tag = next(tags)
        found.setdefault(key_slot(b"%d" % tag) * BUCKETS // REDIS_CLUSTER_HASH_SLOTS, tag)
    return [found[bucket] for bucket in range(BUCKETS)]


def _buckets(view: str) -> list[str]:
    return [f"{{{tag}}}{view}" for tag in _tags()]


def _by_bucket(view: str, keys: Iterable[bytes]) -> dict[str, list[bytes]]:
    found, tags = defaultdict(list), _tags()
    for key in keys:
        found[f"{{{tags[zlib.crc32(key) % BUCKETS]}}}{view}"].append(key)
    return found


def _mark(marks: Collection[bytes | None]) -> bytes | None:
    """The mark of a view by those of its buckets: one that is being filled makes the view so."""
    known = [mark for mark in marks if mark is not None]
    one_identity = len({mark.partition(b":")[2] for mark in known}) == 1
    return min(known) if one_identity and len(known) == len(marks) else None

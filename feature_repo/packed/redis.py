"""Packed features in Redis: a hash per view, written by a script that compares times where the values are."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Literal
from urllib.parse import urlsplit

import redis
from feast import RepoConfig
from redis.backoff import NoBackoff
from redis.retry import Retry
from typing_extensions import override

from feature_repo.packed.database import PackedConfig
from feature_repo.packed.store import PackedOnlineStore

ROWS_IN_SCRIPT = 250
"""Rows of one script, during which Redis answers nobody: less than a millisecond; more cost more each."""

TIMEOUT_SECONDS = 5.0
"""A Redis that says nothing for so long is taken as away."""

WRITE = """
local keys, changed = {}, {}
for at = 1, #ARGV, 2 do
  keys[#keys + 1] = ARGV[at]
end
local old = redis.call('HMGET', KEYS[1], unpack(keys))
for at = 1, #keys do
  local new = ARGV[2 * at]
  local newer = not old[at]
  if not newer and old[at] ~= new then
    -- Numbers, because Lua compares strings by the server's locale.
    local o1, o2, o3, o4 = struct.unpack('>I4I4I4I4', old[at])
    local n1, n2, n3, n4 = struct.unpack('>I4I4I4I4', new)
    if o1 ~= n1 then newer = n1 > o1
    elseif o2 ~= n2 then newer = n2 > o2
    elseif o3 ~= n3 then newer = n3 > o3
    else newer = n4 >= o4 end
  end
  if newer then
    changed[#changed + 1] = keys[at]
    changed[#changed + 1] = new
  end
end
if #changed > 0 then
  redis.call('HSET', KEYS[1], unpack(changed))
end
return #changed / 2
"""
"""Sets the fields that are new, or differ and have no older stamp (the first 16 bytes)."""

SWAP = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""


class PackedRedisOnlineStoreConfig(PackedConfig):
    """Packed features in Redis."""

    type: Literal["feature_repo.packed.redis.PackedRedisOnlineStore"] = (
        "feature_repo.packed.redis.PackedRedisOnlineStore"
    )
    """Class of the store."""

    url: str = "redis://127.0.0.1:6379"
    """Where Redis is: ``redis://``, ``rediss://`` or ``unix://``."""


class PackedRedisOnlineStore(PackedOnlineStore):
    """A Redis server; its client is safe for threads."""

    def __init__(self) -> None:
        super().__init__()
        self._connected: Any = None

    def _client(self, config: RepoConfig) -> Any:
        if self._connected is None:
            # One more try, for a connection that the server has closed; writers try again for longer.
            self._connected = redis.Redis.from_url(
                config.online_store.url,
                socket_timeout=TIMEOUT_SECONDS,
                socket_connect_timeout=TIMEOUT_SECONDS,
                retry=Retry(NoBackoff(), 1),
            )
        return self._connected

    @override
    def place(self, config: RepoConfig) -> str:
        place = urlsplit(config.online_store.url)
        return f"{place.scheme}://{place.hostname or ''}:{place.port or 6379}{place.path}"

    @override
    def passes(self, error: Exception) -> bool:
        # BusyLoadingError, for a server that reads its data after a start, is a ConnectionError.
        return isinstance(error, redis.ConnectionError | redis.TimeoutError | redis.ReadOnlyError)

    @override
    def epoch(self, config: RepoConfig) -> str:
        """A server that restarted, or was replaced, may have come back without its last writes."""
        client = self._client(config)
        return f"{client.info('server')['run_id']} {client.info('replication')['master_replid']}"

    @override
    def read(self, config: RepoConfig, view: str, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        found: list[bytes | None] = self._client(config).hmget(view, keys)
        return found

    @override
    def write(self, config: RepoConfig, view: str, values: Mapping[bytes, bytes]) -> int:
        flat = list(chain.from_iterable(values.items()))
        # Scripts go as text and all at once: there is one answer to wait for, and none that Redis lacks one.
        with self._client(config).pipeline(transaction=False) as pipeline:
            for start in range(0, len(flat), 2 * ROWS_IN_SCRIPT):
                pipeline.eval(WRITE, 1, view, *flat[start : start + 2 * ROWS_IN_SCRIPT])
            return sum(pipeline.execute())

    @override
    def swap(self, config: RepoConfig, view: str, key: bytes, old: bytes | None, new: bytes) -> bool:
        client = self._client(config)
        if old is None:
            return bool(client.hsetnx(view, key, new))
        return bool(client.eval(SWAP, 1, view, key, old, new))

    @override
    def drop(self, config: RepoConfig, views: Sequence[str]) -> None:
        for view in views:
            self._client(config).unlink(view)

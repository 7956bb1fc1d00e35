"""Feast's registry in a file that is whole at any time: Feast itself writes over the old one in place."""

import uuid
from datetime import UTC, datetime

from feast.infra.registry.file import FileRegistryStore
from feast.protos.feast.core.Registry_pb2 import Registry
from typing_extensions import override

from feature_repo import durable


class WholeFileRegistryStore(FileRegistryStore):
    """A registry file of which a reader, a backup or a kill sees the old content or the new one."""

    @override
    def _write_registry(self, registry_proto: Registry) -> None:
        registry_proto.version_id = str(uuid.uuid4())
        registry_proto.last_updated.FromDatetime(datetime.now(UTC))
        with durable.writing(self._filepath) as file:
            file.write(registry_proto.SerializeToString())

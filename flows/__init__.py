"""The only floor that knows the other rooms: Metaflow flows which compose them, one file per flow.

Metaflow reads its configuration when it is imported, so importing this package first is what keeps every run
under ``RENTALS_HOME`` and every tool's usage reporting off.
"""

import contextlib
import getpass
import os

from flows.settings import Home

_home, _user = Home().home, getpass.getuser()
# Metaflow's own default of 16 tasks at a time would share the cores, and the memory, of a small machine.
_cores = str(len(os.sched_getaffinity(0)))
for _name, _value in {
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "METAFLOW_CLIENT_CACHE_PATH": str(_home / "metaflow" / "cache"),
    # Unset, cards would go below the working folder; set to anything, they go below the datastore.
    "METAFLOW_CARD_LOCALROOT": str(_home / "metaflow"),
    "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(_home / "metaflow"),
    "METAFLOW_DEFAULT_DATASTORE": "local",
    "METAFLOW_DEFAULT_METADATA": "local",
    "METAFLOW_RUN_MAX_WORKERS": _cores,
    "METAFLOW_RESUME_MAX_WORKERS": _cores,
    # Unset, its client of S3 keeps what it fetches below the working folder.
    "METAFLOW_TEMPDIR": str(_home / "tmp"),
    "METAFLOW_HOME": str(_home / "metaflow" / "config"),
    # Metaflow refuses to run for root, who is the only user inside many containers.
    "METAFLOW_USER": _user if _user != "root" else "rentals",
    "TMPDIR": str(_home / "tmp"),
}.items():
    os.environ.setdefault(_name, _value)
with contextlib.suppress(OSError):  # A home that cannot be written is told by whatever needs it first.
    os.makedirs(os.environ["TMPDIR"], exist_ok=True)  # noqa: PTH103

"""Feast's own user interface on our registry: ``python -m feature_repo.feast_ui``."""

import socket
import sys

from feature_repo.settings import FeatureSettings
from feature_repo.store import open_store, register

HOST = "127.0.0.1"
"""Feast's default is every interface, and its interface can write: it asks nobody who they are."""


def main() -> None:
    """Register the definitions and serve the interface until interrupted."""
    settings = FeatureSettings()
    port = _free(settings.feast_ui_port)
    store = open_store(settings)
    register(store, settings.lake)
    sys.stdout.write(f"Feast's interface: http://{HOST}:{port}/p/{store.project}\n")
    sys.stdout.flush()
    store.serve_ui(host=HOST, port=port)


def _free(port: int) -> int:
    """Return ``port``, or a free one for 0; exit if another process has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise SystemExit(
                f"port {port} is taken ({error.strerror}): set RENTALS_FEAST_UI_PORT to another, or to 0"
            ) from error
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()

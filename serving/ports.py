"""Ports on 127.0.0.1 for the components of the local runtime."""

import random
import socket

HOST = "127.0.0.1"
FREE_PORTS = range(20_000, 32_000)
"""Below the range from which Linux takes ports of outgoing connections, so that none steals a port between
the moment it is found free and the moment its component listens."""


class PortTakenError(RuntimeError):
    """A port which a setting names belongs to another process."""


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket() as server:
        # As servers do: connections of a dead predecessor that linger do not count.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((HOST, port))
            server.listen()
        except OSError:
            return False
    return True


def find_free(taken: set[int]) -> int:
    """Return a free port which is not in ``taken``, and add it there.

    Raises:
        PortTakenError: no port of ``FREE_PORTS`` is free.
    """
    for port in random.sample(FREE_PORTS, len(FREE_PORTS)):
        if port not in taken and is_free(port):
            taken.add(port)
            return port
    raise PortTakenError(
        f"no port from {FREE_PORTS.start} to {FREE_PORTS.stop - 1} is free: end other servers"
    )


def claim(port: int, setting: str, taken: set[int]) -> int:
    """Return the port a setting asks for, or a free one where the setting is 0.

    Raises:
        PortTakenError: the port is in use or in ``taken``.
    """
    if not port:
        return find_free(taken)
    if port in taken or not is_free(port):
        raise PortTakenError(f"port {port} is taken: set {setting} to another port, or to 0 for a free one")
    taken.add(port)
    return port

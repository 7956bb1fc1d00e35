import socket

import pytest

from serving.ports import HOST, PortTakenError, claim, find_free, is_free


def test_a_free_port_is_found_and_not_given_twice() -> None:
    taken: set[int] = set()

    ports = [find_free(taken) for _ in range(20)]

    assert len(set(ports)) == 20 and taken == set(ports)
    assert all(map(is_free, ports))


def test_a_taken_port_is_told_with_its_setting() -> None:
    with socket.socket() as server:
        server.bind((HOST, 0))
        server.listen()
        port = server.getsockname()[1]

        with pytest.raises(PortTakenError, match=f"port {port} is taken: set RENTALS_API_PORT"):
            claim(port, "RENTALS_API_PORT", set())


def test_the_port_that_was_asked_for_is_claimed() -> None:
    port = find_free(set())
    taken: set[int] = set()

    assert claim(port, "RENTALS_API_PORT", taken) == port
    assert taken == {port}


def test_one_port_is_not_claimed_for_two_servers() -> None:
    port = find_free(set())

    with pytest.raises(PortTakenError, match="RENTALS_API_PORT"):
        claim(port, "RENTALS_API_PORT", {port})

"""How the control room ends: soon, in order, and with nothing left behind."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.control.room import API, CHECKOUT, END_SECONDS, terminable
from serving.ports import HOST
from serving.processes import end_group

PATIENCE = 60
"""Seconds until something that must happen counts as not happening."""

POST = (
    "POST /pause HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
)


def test_another_ctrl_c_does_not_keep_processes_from_their_end() -> None:
    before, ended = signal.getsignal(signal.SIGINT), []
    with terminable() as stack:
        stack.callback(ended.append, "what was started")
        stack.callback(signal.raise_signal, signal.SIGTERM)
        stack.callback(signal.raise_signal, signal.SIGINT)
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGTERM)
            ended.append("what the block began")
    assert ended == ["what the block began", "what was started"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_ctrl_c_while_the_room_ends_by_itself_does_not_either() -> None:
    ended = []
    with pytest.raises(RuntimeError, match="by itself"), terminable() as stack:
        stack.callback(ended.append, "what was started")
        stack.callback(signal.raise_signal, signal.SIGINT)
        raise RuntimeError("it ended by itself")
    assert ended == ["what was started"]


@pytest.mark.parametrize("polite", ["default_int_handler", "SIG_IGN"])
def test_a_process_ends_with_all_that_it_has_started(polite: str) -> None:
    program = (
        "import signal, subprocess, sys\n"
        f"signal.signal(signal.SIGTERM, signal.{polite})\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal, time; '\n"
        " 'signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(999)'])\n"
        "child.wait()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    end_group(process, 0.5)
    assert process.returncode is not None
    # The pipe ends with the last process that could write to it.
    assert process.stdout.read() == b""


@pytest.mark.slow
def test_a_request_in_flight_does_not_keep_the_api_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RENTALS_HOME", str(tmp_path))
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    with (tmp_path / "log").open("wb") as log:
        api = subprocess.Popen(
            [sys.executable, "-m", *API, "--port", str(port)],
            cwd=CHECKOUT,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while "running on" not in (tmp_path / "log").read_text():
            assert api.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        with socket.create_connection((HOST, port)) as connection:
            connection.sendall(POST.encode())
            time.sleep(0.5)
            api.send_signal(signal.SIGTERM)
            api.wait(END_SECONDS / 2)
    finally:
        end_group(api, 0)
    assert "Application shutdown complete" in (tmp_path / "log").read_text()

"""Processes of the local runtime, found by a mark in their environment, and those that hold a lock."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

MARK = "RENTALS_RUNTIME"
"""Variable which every process of a runtime inherits; its value is the runtime's home."""

POLL_SECONDS = 0.05
"""Time between two looks at processes that are ending."""


def mark(home: Path) -> dict[str, str]:
    """Variables which mark a process as one of the runtime of ``home``."""
    return {MARK: str(home.resolve())}


def find_marked(home: Path) -> set[int]:
    """Ids of the living processes of the runtime of ``home``."""
    wanted = f"{MARK}={home.resolve()}".encode()
    found = set()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            # A process that has ended and waits for its parent has no environment left.
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.add(int(folder.name))
        except OSError:
            continue
    return found


def is_locked(path: Path) -> bool:
    """Whether a process holds the file by ``flock``; looking takes no lock, which would be in others' way."""
    try:
        wanted = str(path.stat().st_ino)
    except FileNotFoundError:
        return False
    # Such as "1: FLOCK  ADVISORY  WRITE 10907 fe:00:2147918 0 EOF"; who waits has an arrow in between.
    # The device is left out: on btrfs, and on an overlay of several file systems, stat() tells another one.
    locks = (line.split() for line in Path("/proc/locks").read_text().splitlines())
    return any(one[1] == "FLOCK" and one[5].rpartition(":")[2] == wanted for one in locks)


def end_marked(home: Path, seconds: float) -> None:
    """End every process of the runtime of ``home``, at first politely, after ``seconds`` by force."""
    deadline = time.monotonic() + seconds
    _signal(find_marked(home), signal.SIGTERM)
    while remaining := find_marked(home):
        if time.monotonic() > deadline:
            _signal(remaining, signal.SIGKILL)
        time.sleep(POLL_SECONDS)


def end_group(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """End a process that leads a group, and the group, at first politely, after ``seconds`` by force."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    # What is left of the group goes even if its leader has ended.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _signal(processes: set[int], number: signal.Signals) -> None:
    for process in processes:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            continue

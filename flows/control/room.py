"""Starts the control room: the control API and the page, both on 127.0.0.1, as long as this process runs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx

from flows.settings import CHECKOUT, FlowSettings
from serving.ports import HOST, claim
from serving.processes import end_group

START_SECONDS = 60
"""Longest wait for the API or the page."""

REQUEST_SECONDS = 5
"""How long the API, when it ends, waits for requests in flight before it ends a training: a rollback may take
minutes, and the training would be left behind when the API is killed."""

END_SECONDS = 40
"""Between the polite and the hard end: requests and a training that was started here end meanwhile."""

POLL_SECONDS = 0.2
"""Time between two looks at both."""

API = (
    *("uvicorn", "flows.control.api:create_app", "--factory", "--host", HOST, "--no-access-log"),
    *("--timeout-graceful-shutdown", str(REQUEST_SECONDS)),
)
"""The module that serves the control API, with its arguments."""

PAGE = CHECKOUT / "monitoring" / "control_room" / "page.py"

PAGE_OPTIONS = {
    "server.headless": "true",
    "server.address": HOST,
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "global.developmentMode": "false",
}
"""Of Streamlit: it opens no browser, reports nothing to anybody, and shows people no stack trace."""


class ControlRoomError(RuntimeError):
    """The control room does not start, or ended by itself; the message names the log."""


def open_room(settings: FlowSettings | None = None) -> None:
    """Serve both until Ctrl-C or SIGTERM; then neither is left, nor a training that was started here.

    Raises:
        ControlRoomError: one of them does not start, or ended by itself.
        PortTakenError: a port that a setting names is in use.
    """
    settings, taken = settings or FlowSettings(), set[int]()
    api_port = claim(settings.control_port, "RENTALS_CONTROL_PORT", taken)
    page_port = claim(settings.control_room_port, "RENTALS_CONTROL_ROOM_PORT", taken)
    api_url, page_url = f"http://{HOST}:{api_port}", f"http://{HOST}:{page_port}"
    options = [f"--{name}={value}" for name, value in PAGE_OPTIONS.items()]
    logs = settings.home / "logs"
    with terminable() as stack:
        api = stack.enter_context(
            _process(
                [*API, "--port", str(api_port)],
                logs / "control-api.log",
                {"RENTALS_HOME": str(settings.home)},
            )
        )
        page = stack.enter_context(
            _process(
                ["streamlit", "run", str(PAGE), f"--server.port={page_port}", *options],
                logs / "control-room.log",
                {"RENTALS_CONTROL_URL": api_url},
            )
        )
        _wait(f"{api_url}/openapi.json", api, logs / "control-api.log")
        _wait(f"{page_url}/_stcore/health", page, logs / "control-room.log")
        print(f"control room  {page_url}\nits API       {api_url}\nCtrl-C ends both", flush=True)
        while api.poll() is None and page.poll() is None:
            time.sleep(POLL_SECONDS)
        name = "control-room" if api.poll() is None else "control-api"
        raise ControlRoomError(f"it ended by itself; see {logs / name}.log")


@contextmanager
def _process(
    module: Sequence[str], log: Path, variables: Mapping[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a Python module as a process of a group of its own, which ends with the block."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *module],
            cwd=CHECKOUT,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C of the terminal reaches this process alone, which ends them in order.
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end_group(process, END_SECONDS)


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            if httpx.get(url, trust_env=False).is_success:
                return
        time.sleep(POLL_SECONDS)
    raise ControlRoomError(f"it does not start; see {log}")


@contextmanager
def terminable() -> Iterator[ExitStack]:
    """Let Ctrl-C and SIGTERM end the block quietly, also where a shell has told to ignore the first.

    What is entered into the stack ends with the block, and another Ctrl-C does not keep it from that.
    """

    def ignore() -> None:
        for number in former:
            signal.signal(number, signal.SIG_IGN)

    def end(number: int, _: object) -> None:
        ignore()
        raise KeyboardInterrupt

    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in former:
        signal.signal(number, end)
    try:
        with ExitStack() as stack:
            try:
                yield stack
            finally:
                ignore()
    except KeyboardInterrupt:
        print("\nthe control room is closed", flush=True)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)

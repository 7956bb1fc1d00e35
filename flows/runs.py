"""Runs of flows: how one starts the next, here by Metaflow's Runner, and the card that is left to look at."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from flows.settings import FlowSettings

if TYPE_CHECKING:
    from metaflow import Runner

FLOWS = Path(__file__).resolve().parent


GRACE_SECONDS = 5
"""What the processes of an interrupted run have, to end by themselves."""


class FlowFailedError(RuntimeError):
    """A flow did not finish; the message is that of the step which failed."""


def start(flow: str, **parameters: str | int) -> Any:
    """Run ``flows/<flow>.py`` to its end and return the Metaflow run, whose ``data`` holds its results.

    Raises:
        FlowFailedError: a step failed.
    """
    from metaflow import Runner

    with Runner(str(FLOWS / f"{flow}.py"), pylint=False, quiet=True) as runner, _not_left(runner):
        try:
            executing = runner.run(**parameters)
        except (subprocess.CalledProcessError, TypeError) as error:
            raise FlowFailedError(f"flows/{flow}.py did not start with {parameters}: {error}") from error
        run = executing.run
    if executing.status != "successful":
        raise FlowFailedError(
            f"flows/{flow}.py failed: {_cause(run)}; `resume` continues it where it stopped"
        )
    return run


@contextlib.contextmanager
def _not_left(runner: "Runner") -> Iterator[None]:
    """End all processes of a run that is interrupted: Metaflow ends the steps, but not what these started.

    What serves has a session of its own, and goes on.
    """
    # Metaflow's own handler would take the interruption for a step's failure.
    with contextlib.suppress(ValueError):  # Only the main thread has handlers.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        processes = []
        for number in runner.spm.commands:
            with contextlib.suppress(psutil.NoSuchProcess):
                flow = psutil.Process(number)
                processes += [flow, *flow.children(recursive=True)]
        ours = []
        for one in processes:
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                if os.getsid(one.pid) == os.getsid(0):
                    one.send_signal(signal.SIGINT)
                    ours.append(one)
        _, left = psutil.wait_procs(ours, GRACE_SECONDS)
        for one in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        raise


def save_card(run: Any, step: str) -> str:
    """Write the card of a run's step as a page that opens without Metaflow, and return where it is.

    By Metaflow's command: its Python client looks for local cards in another folder than the one they are
    written to.
    """
    flow, number = run.pathspec.split("/")
    path = FlowSettings().home / "cards" / f"{flow}-{number}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    file = FLOWS / f"{flow.removesuffix('Flow').lower()}.py"
    saved = subprocess.run(
        [sys.executable, str(file), "--quiet", "--no-pylint", "card", "get", f"{number}/{step}", str(path)],
        check=False,
        stdout=subprocess.DEVNULL,
    )
    return str(path) if saved.returncode == 0 else "(could not be drawn)"


def _cause(run: Any) -> str:
    """The message of the exception that ended the run."""
    for step in run or ():
        for task in step:
            if task.exception is not None:
                return str(task.exception.exception or task.exception)
    return "a step was killed, or none began"

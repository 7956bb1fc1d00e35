"""How one flow starts the next: here by Metaflow's Runner, as a process of its own."""

from pathlib import Path
from typing import Any

FLOWS = Path(__file__).resolve().parent


class FlowFailedError(RuntimeError):
    """A flow did not finish; the message is that of the step which failed."""


def start(flow: str, **parameters: str | int) -> Any:
    """Run ``flows/<flow>.py`` to its end and return the Metaflow run, whose ``data`` holds its results.

    Raises:
        FlowFailedError: a step failed.
    """
    from metaflow import Runner

    arguments = {name: str(value) for name, value in parameters.items()}
    with Runner(str(FLOWS / f"{flow}.py"), pylint=False, quiet=True) as runner:
        executing = runner.run(**arguments)
        run = executing.run
    if executing.status != "successful":
        raise FlowFailedError(
            f"flows/{flow}.py failed: {_cause(run)}; `resume` continues it where it stopped"
        )
    return run


def _cause(run: Any) -> str:
    """The message of the exception that ended the run."""
    for step in run or ():
        for task in step:
            if task.exception is not None:
                return str(task.exception.exception or task.exception)
    return "before its first step ended"

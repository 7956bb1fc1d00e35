"""A training that a person starts from the control room: a process of its own, one at a time."""

import os
import subprocess
import sys
import threading

from flows.control.errors import RefusedError
from flows.control.training_state import training_state
from flows.settings import CHECKOUT, FlowSettings
from serving.processes import end_group

END_SECONDS = 15
"""Between the polite and the hard end of a training: a rollout in it takes its canary back meanwhile."""


class RetrainingJob:
    """Starts at most one process; ``end`` ends it with all that it has started."""

    def __init__(self, settings: FlowSettings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def start(self, why: str, roll_out: bool) -> None:
        """Start a training if nothing speaks against it.

        Args:
            why: a person's reason; it is kept with the training.
            roll_out: give the version that the gate lets through its traffic step by step.

        Raises:
            RefusedError: the loop's brake is on, another training runs, or a version waits for its rollout.
        """
        with self._lock:
            state = training_state(self._settings)
            against = "a training is starting" if self._runs() else state.objection
            if against is None and state.waiting is not None and not roll_out:
                against = f"version {state.waiting} waits for its rollout: roll it out with this"
            if against is not None:
                raise RefusedError(f"no training was started: {against}")
            command = [sys.executable, "-m", "flows", "retrain", f"--why={why}"]
            log = self._settings.home / "logs" / "retraining.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    [*command, *(["--rollout"] if roll_out else [])],
                    cwd=CHECKOUT,
                    env={**os.environ, "RENTALS_HOME": str(self._settings.home)},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )

    def end(self) -> None:
        """End the training that was started here, if it still runs."""
        with self._lock:
            if self._process is not None:
                end_group(self._process, END_SECONDS)

    def _runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

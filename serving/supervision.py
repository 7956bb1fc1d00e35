"""supervisord: runs every component as a program of its own, restarts it when it dies, keeps its log."""

import contextlib
import http.client
import json
import os
import secrets
import shlex
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.files import replace_json, replace_text
from serving.ports import HOST, find_free
from serving.processes import end_marked, mark
from serving.settings import CHECKOUT, ServingSettings

POLL_SECONDS = 0.05
"""Time between two looks at supervisord while it starts or ends."""

START_RETRIES = 5
"""Failed starts in a row before supervisord gives a program up; it waits a second longer each time."""

LOG_BYTES = 10_000_000
"""Size at which a component's log is turned over; one old log is kept."""

PRIVATE = 0o600
"""The configuration holds supervisord's password."""

DOWN_STATES = {"STOPPED", "EXITED", "FATAL"}
"""States which a program does not leave by itself."""


class SupervisionError(RuntimeError):
    """supervisord does not start or does not answer."""


@dataclass(frozen=True)
class Program:
    """A component: its command line and the variables it needs beside the inherited ones."""

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    directory: Path = CHECKOUT
    """Working directory."""


@dataclass(frozen=True)
class ProcessState:
    """What supervisord knows of a component."""

    name: str
    state: str
    pid: int | None
    started_at: int
    """When it was started last, in seconds since 1970; 0 for never."""


class _Transport(xmlrpc.client.Transport):
    """Calls end after a time, so that a supervisord which hangs does not hang its caller."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = super().make_connection(host)
        connection.timeout = self._seconds
        return connection


class Supervisor:
    """The supervisord of one home, controlled by XML-RPC on 127.0.0.1."""

    def __init__(self, settings: ServingSettings) -> None:
        self._settings = settings
        self._configuration = settings.run / "supervisord.conf"
        self._access = settings.run / "supervisor.json"

    def is_alive(self) -> bool:
        """Whether supervisord answers."""
        try:
            return bool(self._rpc().getState()["statename"] == "RUNNING")
        except (OSError, xmlrpc.client.Error, http.client.HTTPException):
            return False

    def start(self) -> None:
        """Start supervisord without any program; ``shutdown`` ends what a dead one has left behind.

        Raises:
            SupervisionError: it does not answer in time.
        """
        self._settings.logs.mkdir(parents=True, exist_ok=True)
        access = {"port": find_free(set()), "password": secrets.token_urlsafe(24)}
        replace_json(self._access, access, PRIVATE)
        self._write({})
        started = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", self._configuration],
            env={**os.environ, **mark(self._settings.home)},
            capture_output=True,
            text=True,
            timeout=self._settings.component_start_seconds,
        )
        deadline = time.monotonic() + self._settings.component_start_seconds
        while not self.is_alive():
            if started.returncode or time.monotonic() > deadline:
                log = self._settings.logs / "supervisord.log"
                raise SupervisionError(f"supervisord does not start; see {log}: {started.stderr.strip()}")
            time.sleep(POLL_SECONDS)

    def reconcile(self, programs: Mapping[str, Program]) -> None:
        """Make ``programs`` the running ones: start new, restart changed and dead, stop removed ones."""
        self._write(programs)
        with self._answering() as rpc:
            added, changed, removed = rpc.reloadConfig()[0]
            for name in [*removed, *changed]:
                rpc.stopProcessGroup(name)
                rpc.removeProcessGroup(name)
            for name in [*changed, *added]:
                rpc.addProcessGroup(name)
        for name, process in self.processes().items():
            if process.state in DOWN_STATES:
                # It may have come up by itself since the look at it.
                with contextlib.suppress(xmlrpc.client.Fault):
                    self._rpc().startProcess(name, False)

    def processes(self) -> dict[str, ProcessState]:
        """Components by name."""
        with self._answering() as rpc:
            entries = rpc.getAllProcessInfo()
        return {
            entry["name"]: ProcessState(
                entry["name"], entry["statename"], entry["pid"] or None, entry["start"]
            )
            for entry in entries
        }

    def shutdown(self) -> None:
        """End supervisord and every process of this home."""
        if self.is_alive():
            with contextlib.suppress(OSError, xmlrpc.client.Error, http.client.HTTPException):
                self._rpc().shutdown()
        # Programs end one after the other, each politely or by force after ``stop_seconds``.
        end_marked(self._settings.home, 2 * self._settings.stop_seconds)
        self._access.unlink(missing_ok=True)
        self._configuration.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _answering(self) -> Iterator[Any]:
        try:
            yield self._rpc()
        except (OSError, xmlrpc.client.Error, http.client.HTTPException) as error:
            remedy = "run the command again, or `python -m serving down` before it"
            raise SupervisionError(f"supervisord does not answer ({error}): {remedy}") from error

    def _rpc(self) -> Any:
        if not self._access.exists():
            raise ConnectionRefusedError(f"no supervisord was started for {self._settings.home}")
        access = json.loads(self._access.read_text())
        address = f"http://rentals:{access['password']}@{HOST}:{access['port']}/RPC2"
        # Stopping a program takes up to ``stop_seconds``, and the call lasts as long.
        transport = _Transport(self._settings.stop_seconds + self._settings.component_start_seconds)
        return xmlrpc.client.ServerProxy(address, transport=transport).supervisor

    def _write(self, programs: Mapping[str, Program]) -> None:
        access = json.loads(self._access.read_text())
        sections: dict[str, dict[str, Any]] = {
            "supervisord": {
                "logfile": self._settings.logs.absolute() / "supervisord.log",
                "pidfile": self._settings.run.absolute() / "supervisord.pid",
                "childlogdir": self._settings.logs.absolute(),
            },
            "inet_http_server": {
                "port": f"{HOST}:{access['port']}",
                "username": "rentals",
                "password": access["password"],
            },
            "rpcinterface:supervisor": {
                "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
            },
        }
        for name, program in programs.items():
            sections[f"program:{name}"] = {
                "command": shlex.join(program.command),
                "environment": ",".join(f'{key}="{value}"' for key, value in program.environment.items()),
                "directory": program.directory,
                "autorestart": "true",
                "startretries": START_RETRIES,
                "stopasgroup": "true",
                "killasgroup": "true",
                "stopwaitsecs": self._settings.stop_seconds,
                "redirect_stderr": "true",
                "stdout_logfile": self._settings.logs.absolute() / f"{name}.log",
                "stdout_logfile_maxbytes": LOG_BYTES,
                "stdout_logfile_backups": 1,
            }
        lines = []
        for section, options in sections.items():
            lines.append(f"[{section}]")
            # A percent sign would begin an expansion.
            lines += [f"{key} = {str(value).replace('%', '%%')}" for key, value in options.items()]
        replace_text(self._configuration, "\n".join(lines) + "\n", PRIVATE)

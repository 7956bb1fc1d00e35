"""Command line of serving: ``python -m serving up MANIFEST | down | status | …``."""

import argparse
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from pydantic_settings import BaseSettings

from serving import api_keys, core2, manifest, prometheus, runtime
from serving.backend import ChangedByOthersError, NotAppliedError
from serving.components import StateError
from serving.experiment import ExperimentError, report
from serving.feedback_server import FeedbackInstallationError
from serving.gateway import GatewayError
from serving.kubernetes import ClusterError
from serving.ports import PortTakenError
from serving.rollback import RollbackError, rollback
from serving.rollout import RolloutError, rollout
from serving.rollout_database import RolloutDatabaseError
from serving.setting_faults import setting_faults
from serving.settings import ClusterSettings, DecisionThresholds, ServingSettings
from serving.status import status
from serving.supervision import SupervisionError
from serving.triton_server import TritonInstallationError

EXPECTED = (
    ChangedByOthersError,
    ClusterError,
    ExperimentError,
    FeedbackInstallationError,
    NotAppliedError,
    manifest.ManifestError,
    runtime.RuntimeFailure,
    GatewayError,
    PortTakenError,
    prometheus.PrometheusInstallationError,
    RollbackError,
    RolloutDatabaseError,
    RolloutError,
    StateError,
    SupervisionError,
    TritonInstallationError,
)
"""Errors whose message tells a person what to do, so that a traceback would only hide it."""


SETTINGS: tuple[type[BaseSettings], ...] = (ServingSettings, DecisionThresholds, ClusterSettings)

TAKEN_BACK = 2
"""Exit status of a rollout that ended with the champion."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="serve what a SeldonDeployment manifest says")
    up.add_argument("manifest", type=Path)
    commands.add_parser("down", help="stop everything that was started")
    commands.add_parser("status", help="show predictors, weights, health and counters as JSON")
    roll = commands.add_parser("rollout", help="promote a version or take it back; status 2: taken back")
    roll.add_argument("--version", required=True, help="its model repository is below home/models")
    roll.add_argument("--model", help="name of the model; RENTALS_MODEL_NAME by default")
    roll.add_argument("--steps", type=_steps, help="such as 5,25,100; RENTALS_ROLLOUT_STEPS by default")
    roll.add_argument("--again", action="store_true", help="try a version that was rolled back before")
    back = commands.add_parser("rollback", help="take the canary, or the last promotion, back by hand")
    back.add_argument("--why", required=True, help="the reason; it is written into the log of decisions")
    test = commands.add_parser("experiment", help="the predictors of the manifest beside each other, as JSON")
    test.add_argument("--since", type=_time, required=True, help="such as 2026-05-01T12:00, in UTC")
    other = commands.add_parser("core2", help="the same for Seldon Core 2: Server, Models and Experiments")
    other.add_argument("manifest", type=Path)
    commands.add_parser("prometheus", help="run Prometheus on what is served, until interrupted")
    commands.add_parser("key", help="make a key for the API's writing routes, which then ask for one")
    options = parser.parse_args(arguments)
    if faults := [fault for kind in SETTINGS for fault in setting_faults(kind)]:
        return _fail("; ".join(faults))
    settings = ServingSettings()
    try:
        return _run(options, settings)
    except EXPECTED as error:
        return _fail(str(error))
    except OSError as error:
        remedy = "set RENTALS_HOME to a folder that can be written and has room"
        return _fail(f"{error.filename or settings.home}: {error.strerror or error}: {remedy}")
    except KeyboardInterrupt:
        return _fail("interrupted: `python -m serving down` stops what was started")


def _run(options: argparse.Namespace, settings: ServingSettings) -> int:
    if options.command == "up":
        state = runtime.apply(manifest.load(options.manifest), settings)
        sys.stdout.write(f"API      {state.api_url}\ngateway  {state.gateway_url}\n")
    elif options.command == "down":
        runtime.down(settings)
    elif options.command == "rollout":
        if options.model:
            settings = settings.model_copy(update={"model_name": options.model})
        outcome = rollout(options.version, settings, options.steps, again=options.again)
        sys.stdout.write(json.dumps(asdict(outcome), indent=2) + "\n")
        return 0 if outcome.promoted else TAKEN_BACK
    elif options.command == "rollback":
        done = rollback(settings, options.why)
        sys.stdout.write(f"{done.predictor} was taken back; {done.champion} answers all users\n")
    elif options.command == "key":
        sys.stdout.write(f"{api_keys.create(settings.api_keys)}\n")
    elif options.command == "prometheus":
        prometheus.run(settings)
    elif options.command == "core2":
        sys.stdout.write(core2.dump(manifest.load(options.manifest), settings))
    elif options.command == "experiment":
        reports = [asdict(one) for one in report(settings, options.since)]
        sys.stdout.write(json.dumps(reports, indent=2) + "\n")
    else:
        sys.stdout.write(json.dumps(asdict(status(settings)), indent=2) + "\n")
    return 0


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _steps(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _fail(message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())

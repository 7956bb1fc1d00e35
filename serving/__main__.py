"""Command line of the local runtime: ``python -m serving up MANIFEST | down | status``."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from serving import manifest, runtime
from serving.gateway import GatewayError
from serving.ports import PortTakenError
from serving.settings import ServingSettings
from serving.status import status
from serving.supervision import SupervisionError
from serving.triton_server import TritonInstallationError

EXPECTED = (
    manifest.ManifestError,
    runtime.RuntimeFailure,
    GatewayError,
    PortTakenError,
    SupervisionError,
    TritonInstallationError,
)
"""Errors whose message tells a person what to do, so that a traceback would only hide it."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="serve what a SeldonDeployment manifest says")
    up.add_argument("manifest", type=Path)
    commands.add_parser("down", help="stop everything that was started")
    commands.add_parser("status", help="show predictors, weights, health and counters as JSON")
    options = parser.parse_args(arguments)
    settings = ServingSettings()
    try:
        if options.command == "up":
            state = runtime.apply(manifest.load(options.manifest), settings)
            sys.stdout.write(f"API      {state.api_url}\ngateway  {state.gateway_url}\n")
        elif options.command == "down":
            runtime.down(settings)
        else:
            sys.stdout.write(json.dumps(asdict(status(settings)), indent=2) + "\n")
    except EXPECTED as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

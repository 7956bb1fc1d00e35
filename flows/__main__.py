"""`python -m flows demo [--data FILE]` and `python -m flows up [--version N]`."""

import argparse
import sys

from flows.events import FlowFailedError


def main() -> int:
    """Run a command; an error that a person can mend is a line, not a stack trace."""
    parser = argparse.ArgumentParser(prog="python -m flows", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="ratings to a canary and back, end to end")
    demo.add_argument("--data", default="", help="path of the source's file; empty for the generator")
    up = commands.add_parser("up", help="serve a version with all the traffic, without training")
    up.add_argument("--version", type=int, help="registered version; the last champion without it")
    arguments = parser.parse_args()
    try:
        if arguments.command == "demo":
            from flows.demo import demo as run_demo

            run_demo(arguments.data)
        else:
            _up(arguments.version)
    except _mendable() as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    return 0


def _up(version: int | None) -> None:
    from flows.deployment import serve
    from models.registry import Registry

    version = version or Registry().champion().version
    state = serve(version)
    print(f"version {version} answers at {state.api_url}, Envoy at {state.gateway_url}; `make down` stops it")


def _mendable() -> tuple[type[Exception], ...]:
    """The errors whose message names the remedy."""
    from feature_repo.lake import LakeError
    from feature_repo.readers import SourceError
    from models.registry import RegistryError
    from monitoring.expectations import MostlyBadError
    from serving.manifest import ManifestError
    from serving.ports import PortTakenError
    from serving.runtime import RuntimeFailure

    return (
        FlowFailedError,
        LakeError,
        ManifestError,
        MostlyBadError,
        PortTakenError,
        RegistryError,
        RuntimeFailure,
        SourceError,
    )


if __name__ == "__main__":
    sys.exit(main())

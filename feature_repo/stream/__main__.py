"""`python -m feature_repo.stream`: events into features and the lake, until Ctrl-C or SIGTERM."""

import signal
import sys
import threading

from feature_repo.settings import FeatureSettings


def main() -> int:
    """Run the stream and return its exit status."""
    from feature_repo.spark import session
    from feature_repo.stream.run import run

    settings, stop = FeatureSettings(), threading.Event()
    try:
        # PySpark takes SIGINT for itself when it starts, so ours comes after.
        session(settings)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        run(settings, stop, _say)
    except Exception as error:
        # The errors that our own room raises name their remedy; any other one is a fault of the code.
        if type(error).__module__.split(".")[0] != "feature_repo":
            raise
        print(f"\nerror: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())

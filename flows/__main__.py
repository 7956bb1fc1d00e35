"""The commands behind make, such as `python -m flows demo`; an error is one line."""

import argparse
import signal
import sys
import traceback
from pathlib import Path

from flows.settings import ROOMS, FlowSettings
from flows.settings_file import wrong_values

CANNOT_TELL = 2
"""Exit status of `skew` when nothing could be compared: 1 says that there is a skew."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


def main() -> int:
    """Run a command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m flows", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="ratings to a canary and back, end to end")
    demo.add_argument("--data", default="", help="path of the source's file; empty for the generator")
    run = commands.add_parser("run", help="one flow, such as: run train until=2016-01-01")
    run.add_argument("flow", choices=("features", "train", "refresh", "search", "precompute", "monitor"))
    run.add_argument("parameters", nargs="*", type=_parameter, metavar="NAME=VALUE")
    deploy = commands.add_parser("deploy", help="every flow to Argo Workflows (docs/argo.md)")
    deploy.add_argument("--dry-run", action="store_true", help="only write what would be sent")
    up = commands.add_parser("up", help="serve a version with all the traffic, without training")
    up.add_argument("--version", type=int, help="registered version; the last champion without it")
    first = commands.add_parser("first", help="prepare the version with which a cluster begins")
    first.add_argument("--version", type=int, required=True, help="registered version")
    skew = commands.add_parser("skew", help="served features beside recomputed ones; 1: skew, 2: cannot tell")
    skew.add_argument("--since", default="", help="requests before this time (YYYY-MM-DDTHH:MM) are left out")
    bench = commands.add_parser("bench-model", help="the recommender on a split in time, beside its rivals")
    bench.add_argument("--data", default="", help="path of the source's file; empty for the generator")
    bench.add_argument("--split", default="", help="first day of the test (YYYY-MM-DD)")
    served = commands.add_parser("bench-serving", help="serving under load; train and serve in RENTALS_HOME")
    served.add_argument("--data", default="", help="path of the source's file; empty for the generator")
    loop = commands.add_parser("bench-loop", help="from an event to the promoted model, in RENTALS_HOME")
    loop.add_argument("--data", default="", help="path of the source's file; empty for the generator")
    years = commands.add_parser("replay", help="policies of retraining on the same months of a source")
    years.add_argument("--data", default="", help="path of the source's file; empty for the generator")
    years.add_argument("--months", type=int, default=24, help="the last whole months of the source")
    brake = commands.add_parser("retraining", help="the trainings that alarms started; stop them")
    brake.add_argument("--stop", metavar="WHY", default="", help="let nothing train until --go")
    brake.add_argument("--go", action="store_true", help="take a stop back, and forgive what brought nothing")
    again = commands.add_parser("retrain", help="train now, if nothing speaks against it")
    again.add_argument("--why", required=True, help="the reason; it is kept with the training")
    again.add_argument("--rollout", action="store_true", help="roll out what the gate lets through")
    back = commands.add_parser("rollback", help="take the canary, or the last promotion, back by hand")
    back.add_argument("--why", required=True, help="the reason; it is written into the log of decisions")
    commands.add_parser("control-room", help="the page on which people watch and act, until Ctrl-C")
    bad = commands.add_parser("quarantine", help="validate quarantined rows again; land what is good now")
    bad.add_argument("--table", default="", help="users, rentals or ratings; all of them without it")
    bad.add_argument("--export", metavar="FILE", default="", help="write a table's rows as CSV, to be mended")
    bad.add_argument("--repaired", metavar="FILE", default="", help="take the mended rows of an export")
    saved = commands.add_parser("backup", help="all that the home holds as a new folder, while it is in use")
    saved.add_argument("--to", type=Path, required=True, help="folder that gets it, on another disk")
    restored = commands.add_parser("restore", help="bring a backup into the home")
    restored.add_argument("--from", dest="folder", type=Path, required=True, help="what backup has printed")
    restored.add_argument("--replace", action="store_true", help="set aside what the home holds")
    doctor = commands.add_parser("doctor", help="check each connection, version and permission; 1: one fails")
    doctor.add_argument("--settings", metavar="FILE", default="", help="take the settings of a file as well")
    commands.add_parser("data-docs", help="check the prediction log too, and say where the data docs are")
    arguments = parser.parse_args()
    # The doctor tells of them among other things, and goes on.
    if arguments.command != "doctor" and (wrong := list(wrong_values())):
        print(f"error: {'; '.join(wrong)}", file=sys.stderr)
        return CANNOT_TELL if arguments.command == "skew" else 1
    # What is ended politely ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    try:
        if arguments.command == "demo":
            from flows.demo import demo as run_demo

            run_demo(arguments.data)
        elif arguments.command == "run":
            from flows.runs import start

            # Said by the flow too, but Metaflow's own lines come after it.
            print(f"\n{start(arguments.flow, **dict(arguments.parameters)).data.conclusion}")
        elif arguments.command == "deploy":
            _deploy(arguments.dry_run)
        elif arguments.command == "bench-model":
            from flows.model_benchmark import SPLIT, benchmark
            from flows.parameters import day

            benchmark(arguments.data, day(arguments.split, "split") or SPLIT)
        elif arguments.command == "bench-serving":
            from flows.serving_benchmark import benchmark as measure_serving

            measure_serving(arguments.data)
        elif arguments.command == "bench-loop":
            from flows.loop_benchmark import benchmark as measure_loop

            measure_loop(arguments.data)
        elif arguments.command == "replay":
            _replay(arguments.data, arguments.months)
        elif arguments.command == "retraining":
            _retraining(arguments.stop, arguments.go)
        elif arguments.command == "retrain":
            _retrain(arguments.why, arguments.rollout)
        elif arguments.command == "rollback":
            from flows.deployment import roll_back

            done, registry = roll_back(arguments.why)
            print(f"{done.predictor} was taken back; {done.champion} answers all users; {registry}")
        elif arguments.command == "control-room":
            from flows.control.room import open_room

            open_room()
        elif arguments.command == "quarantine":
            _quarantine(arguments.table, arguments.export, arguments.repaired)
        elif arguments.command == "backup":
            from flows.backup.make import make

            print(f"backup: {make(FlowSettings().home, arguments.to.absolute())}")
        elif arguments.command == "restore":
            _restore(arguments.folder.absolute(), arguments.replace)
        elif arguments.command == "data-docs":
            from flows.log_quality import run as check_log
            from monitoring.settings import MonitoringSettings

            print(f"data docs: {check_log(MonitoringSettings()).as_uri()}")
        elif arguments.command == "first":
            from flows.deployment import begin_with

            predictor = begin_with(arguments.version)
            print(f"{predictor} is the champion: `make deploy-serving VERSION={arguments.version}` serves it")
        elif arguments.command == "doctor":
            from flows.doctor.command import run as examine

            return 0 if examine(arguments.settings) else 1
        elif arguments.command == "skew":
            return _skew(arguments.since)
        else:
            _up(arguments.version)
    except KeyboardInterrupt:
        print("\ninterrupted: the same command goes on with what is there", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        sys.stdout.flush()
        # The errors that our own rooms raise name their remedy; any other one is a fault of the code.
        if type(error).__module__.split(".")[0] not in ROOMS:
            traceback.print_exc()
        print(f"\nerror: {error}", file=sys.stderr)
        return CANNOT_TELL if arguments.command == "skew" else 1
    return 0


def _parameter(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _deploy(dry_run: bool) -> None:
    from flows import argo

    if dry_run:
        folder = argo.dry_run()
        print(f"{len(list(folder.iterdir()))} resources are in {folder}; nothing was deployed")
    else:
        argo.deploy()


def _quarantine(table: str, export: str, repaired: str) -> None:
    from feature_repo.settings import FeatureSettings
    from flows import quarantine_replay
    from flows.parameters import ParameterError, one_of

    settings = FeatureSettings()
    if table:
        one_of(table, "table", *quarantine_replay.REPAIRABLE)
    elif export or repaired:
        raise ParameterError("--table is missing: say of which table the file is")
    if export:
        print(f"{quarantine_replay.export(settings, table, Path(export)):,} rows in {export}")
        return
    for name in [table] if table else quarantine_replay.REPAIRABLE:
        print(quarantine_replay.replay(settings, name, Path(repaired) if repaired else None))
    print("`make features` brings what has landed into the features")


def _restore(folder: Path, replace: bool) -> None:
    from feature_repo.settings import FeatureSettings
    from flows.backup.restore import restore

    settings = FeatureSettings()
    about, aside = restore(folder, settings, replace)
    print(f"{settings.home} is as it was at {about.made_at}; `make up` serves its champion")
    if aside:
        print(f"what it held before is in {aside}")


def _retrain(why: str, roll_out: bool) -> None:
    from flows import retraining
    from flows.control.training_state import until

    print(retraining.retrain(f"by hand: {why}", until(FlowSettings()), roll_out).conclusion, flush=True)


def _retraining(stop: str, go: bool) -> None:
    from flows import retraining
    from flows.brake import stopped
    from flows.retraining_log import log_of

    settings = FlowSettings()
    if stop:
        retraining.stop(settings, stop)
    if go:
        retraining.go(settings)
    for one in log_of(settings).read():
        ended = f"{one.outcome}, version {one.version}" if one.version else one.outcome
        print(f"{one.began_at:%Y-%m-%d %H:%M}  until {one.until:%Y-%m-%d}  {ended}: {one.reason}")
    if (why := stopped(settings)) is not None:
        print(f"stopped: {why}")


def _replay(data: str, months: int) -> None:
    from flows.runs import save_card, start

    run = start("replay", data=data, months=months)
    print(f"\n{run.data.conclusion}\ncard: {save_card(run, 'compare')}")


def _skew(since: str) -> int:
    from flows.parameters import moment
    from flows.skew import run

    return run(moment(since, "since"))


def _up(version: int | None) -> None:
    from flows.deployment import serve
    from models.registry import Registry

    version = version or Registry().champion().version
    state = serve(version)
    print(f"version {version} answers at {state.api_url}, Envoy at {state.gateway_url}; `make down` stops it")


if __name__ == "__main__":
    sys.exit(main())

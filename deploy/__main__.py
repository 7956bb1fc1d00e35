"""Manifests of a cluster, and the system at scale: ``python -m deploy render | check | scale``."""

import argparse
import sys
from collections.abc import Iterator

from deploy import rules, schemas
from deploy.rendering import KUBERNETES, Document, RenderingError, overlays, render, write
from flows import settings_file
from serving.manifest import ManifestError
from serving.settings import ServingSettings


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, purpose in (
        ("render", "write the checked manifests below home/manifests"),
        ("check", "say what is wrong with them"),
    ):
        command = commands.add_parser(name, help=purpose)
        command.add_argument("--overlay", action="append", choices=overlays(), help="all by default")
        command.add_argument("--version", default="1", help="of the model that serves first")
        command.add_argument("--registry", default="registry.example.com/rentals", help="of our images")
        command.add_argument("--tag", default="0.1.0", help="of our images")
    commands.add_parser("scale", help="print what each part takes at RENTALS_SCALE_USERS users and so on")
    options = parser.parse_args(arguments)
    if options.command == "scale":
        return _scale()
    try:
        return _run(options)
    except (RenderingError, ManifestError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _run(options: argparse.Namespace) -> int:
    found = 0
    for overlay in options.overlay or overlays():
        folder = KUBERNETES / "overlays" / overlay
        faults, documents = list(settings_file.faults(folder / "settings.env")), []
        if not faults:
            documents = render(folder, options.version, options.registry, options.tag)
            faults = list(faults_of(documents))
        found += len(faults)
        for fault in faults:
            sys.stderr.write(f"{overlay}: {fault}\n")
        if options.command == "render" and not faults:
            for path in write(documents, ServingSettings().home / "manifests" / overlay):
                sys.stdout.write(f"{path}\n")
        elif not faults:
            sys.stdout.write(f"{overlay}: {len(documents)} objects, no fault\n")
    return int(found > 0)


def _scale() -> int:
    from deploy.scale.report import lines

    for line in lines():
        sys.stdout.write(f"{line}\n")
    return 0


def faults_of(documents: list[Document]) -> Iterator[str]:
    """Give all faults of rendered objects; what each is by itself first, as the rules need whole ones."""
    alone = [
        f"{one.get('kind', 'an object')}/{(one.get('metadata') or {}).get('name', '?')}: {fault}"
        for one in documents
        for fault in schemas.faults(one)
    ]
    yield from alone or rules.faults(documents)


if __name__ == "__main__":
    raise SystemExit(main())

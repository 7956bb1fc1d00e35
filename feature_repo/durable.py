"""Files that appear whole, and that survive a loss of power once they have appeared."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def writing(target: Path) -> Iterator[BinaryIO]:
    """Yield a file that becomes ``target`` when the block ends without error; an old one is replaced.

    Until then it has a name with a dot in front, which no reader of ours or of Spark's looks at.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

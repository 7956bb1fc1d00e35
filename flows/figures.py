"""The form in which benchmarks write what they measured."""

from typing import Any


def figure(value: Any, unit: str, how: str) -> dict[str, Any]:
    """Return an entry of a benchmark's file that has nothing to be compared with.

    Args:
        value: what was measured.
        unit: its unit.
        how: what exactly, and on what.
    """
    return {"value": value, "unit": unit, "baseline": None, "ratio": None, "how": how}

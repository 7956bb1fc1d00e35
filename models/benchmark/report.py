"""The benchmark's table for people."""

from collections.abc import Mapping
from typing import Any


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return one row a model: each figure with its 95 % interval, seconds and peak memory."""
    names = list(dict.fromkeys(name for result in results.values() for name in result.get("figures", {})))
    rows = [["model", *names, "fit s", "predict s", "peak MB"]]
    notes = []
    for model, result in results.items():
        if "failure" in result:
            rows.append([model, *["–"] * (len(names) + 3)])
            notes.append(f"{model} failed: {result['failure']}")
            continue
        figures = [result["figures"][name] for name in names]
        rows.append(
            [
                model,
                *(f"{part['value']:.4f} [{part['low']:.4f}, {part['high']:.4f}]" for part in figures),
                f"{result['fit_seconds']:.1f}",
                f"{result['predict_seconds']:.1f}",
                f"{result['peak_megabytes']:.0f}",
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:], *notes]) + "\n"

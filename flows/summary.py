"""The demo's figures, as data and as a page of text."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Summary:
    """What the demo measured: the content of ``demo.json``."""

    stages: list[dict[str, Any]] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    recommendation: dict[str, Any] = field(default_factory=dict)
    drift: dict[str, Any] = field(default_factory=dict)
    canary: dict[str, Any] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[dict[str, Any]]:
        """Time a stage; the block fills in its figures."""
        print(f"\n==> {name}", flush=True)
        entry: dict[str, Any] = {"name": name, "seconds": 0.0}
        began = time.monotonic()
        yield entry
        entry["seconds"] = round(time.monotonic() - began, 1)
        self.stages.append(entry)

    def steps_of(self, run: Any, names: dict[str, str], **figures: dict[str, Any]) -> None:
        """Add the steps of a finished flow as stages, each with its own time."""
        for step, name in names.items():
            task = run[step].task
            seconds = (task.finished_at - task.created_at).total_seconds()
            self.stages.append({"name": name, "seconds": round(seconds, 1), **figures.get(step, {})})


def print_summary(summary: Summary, path: Path) -> None:
    """Print what the demo measured; ``path`` is where the same lies as JSON."""
    print("\n" + "\n\n".join([_stages(summary), _model(summary), _recommendation(summary), _loop(summary)]))
    print("\nOpen:")
    for name, url in summary.urls.items():
        print(f"  {name:22} {url}")
    print(f"  {'all figures as JSON':22} {path}")
    print("\nIt is still serving: `make status` shows it, `make down` stops it.")


def _stages(summary: Summary) -> str:
    lines = [f"{'stage':66} {'seconds':>7}"]
    for stage in summary.stages:
        lines.append(f"{stage['name']:66} {stage['seconds']:7.1f}")
        figures = {name: value for name, value in stage.items() if name not in ("name", "seconds")}
        lines += [
            f"    {name}: {_text(value)}" for name, value in figures.items() if value not in ({}, [], ())
        ]
    lines.append(f"{'from the command to here, starting of processes included':66} {summary.seconds:7.1f}")
    data = summary.data
    lines.append(
        f"\n{data['dataset']}: {data['ratings']:,} ratings by {data['users']:,} users of {data['rentals']:,} "
        f"rentals, {data['first']} to {data['last']}; {data['quarantined']:,} rows in quarantine"
    )
    return "\n".join(lines)


def _model(summary: Summary) -> str:
    model, rivals = summary.model, summary.model["baselines"]

    def against(suffix: str) -> str:
        return ", ".join(
            f"{name.removesuffix(suffix).replace('_', ' ')} {value:.4f}"
            for name, value in rivals.items()
            if name.endswith(suffix)
        )

    return (
        f"The first model, version {model['version']}, on its last {model['test_events']:,} ratings:\n"
        f"  RMSE (1..5) {model['rmse']:.4f}   baselines: {against('_rmse')}\n"
        f"  NDCG@10     {model['ndcg_at_10']:.4f}   baselines: {against('_ndcg_at_10')}\n"
        f"  ONNX within {model['onnx_max_abs_diff']:.1e} of PyTorch"
    )


def _recommendation(summary: Summary) -> str:
    found = summary.recommendation
    features = found["features"]
    lines = [
        f"Ten rentals for user {found['user_id']}, who rented {features['user_rentals_all'] or 0:.0f} times "
        f"before, most often {features['user_favourite_category'] or 'nothing known'}"
        + (f", and asks for: {found['purpose']}" if found["purpose"] else "")
        + f" (model version {found['model_version']}):"
    ]
    for rank, rental in enumerate(found["rentals"], start=1):
        lines.append(
            f"  {rank:2}. rental {rental['rental_id']:10} {rental.get('category') or '':14}"
            f" predicted rating {rental['predicted_rating']:.2f}"
        )
    return "\n".join(lines)


def _loop(summary: Summary) -> str:
    drift, canary = summary.drift, summary.canary
    measured = canary["measured_share"]
    return "\n".join(
        [
            f"Drift: {', '.join(drift['features']) if drift['detected'] else 'none'}",
            f"Gate for the retrained model: {drift['gate']}",
            f"Canary: asked for {canary['requested_share']:.0%}, measured at Envoy "
            + (f"{measured:.1%}" if measured is not None else "nothing")
            + f"; promoted version {canary['promoted_version']}, "
            f"rolled back version {canary['rolled_back_version']}",
            f"Requests while weights changed: {canary['requests']:,}, failed: {canary['failed_requests']}",
            "Answered by a second predictor because the first one failed: "
            f"{canary['retried_while_good']} beside the good canary, "
            f"{canary['retried_while_damaged']} beside the damaged one",
        ]
    )


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(_text(inner) for inner in value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)

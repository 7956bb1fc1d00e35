"""The whole path in one go: ratings become features, a model, recommendations, and a canary that decides."""

import json
import shutil
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from feature_repo import lake, readers, store
from feature_repo.settings import FeatureSettings
from flows import deployment
from flows.ingest import ingest
from flows.parameters import BASELINES
from flows.retraining_log import log_of
from flows.runs import save_card, start
from flows.settings import FlowSettings
from flows.story import Story, story_of
from flows.summary import Summary, print_summary
from flows.traffic import replaying

CANARY_SHARE = 10
"""Percent of the traffic that a retrained model gets before it is trusted."""


class DemoError(RuntimeError):
    """The story cannot be told with this data; the message says why."""


def demo(data: str) -> Summary:
    """Run the demo on the dataset behind ``data`` and write ``demo.json``.

    Raises:
        SourceError, LakeError: the data cannot be read or there is no room; nothing was changed.
        FlowFailedError: a flow failed; what was written before it stays.
        DemoError: the gate refused the first model.
    """
    home, began = FlowSettings().home, time.monotonic()
    lake.check_room(home)
    story = story_of(data)
    _begin(home, readers.dataset_of(data))
    summary = Summary()
    _features(summary, "history", data, "", f"{story.first:%Y-%m-%d}")
    first = _train(summary, story)
    api_url = _serve(summary, first)
    _recommend(summary, api_url, story)
    _features(summary, "next period", data, f"{story.first:%Y-%m-%d}", f"{story.second:%Y-%m-%d}")
    retrained = _drift(summary, story)
    with summary.stage("arrival of the canary's period"):
        ingest(data, story.second, None, FeatureSettings())
    _canary(summary, api_url, story, first, retrained)
    _count(summary)
    summary.seconds = round(time.monotonic() - began, 1)
    path = home / "demo.json"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(vars(summary), indent=2, allow_nan=False))
    temporary.replace(path)
    print_summary(summary, path)
    return summary


def _begin(home: Path, dataset: str) -> None:
    """Stop what runs, forget what is online, and set another dataset's lake aside."""
    from serving import runtime
    from serving.settings import ServingSettings

    runtime.down(ServingSettings())
    (home / "demo.json").unlink(missing_ok=True)
    # The story starts in the past: what later periods brought online must not be known yet, nor what they
    # had trained.
    store.empty(FeatureSettings())
    log_of(FlowSettings()).clear()
    held = lake.dataset_of(home / "lake")
    if held not in ("", dataset):
        aside = home / "archive" / f"{held}-{datetime.now(UTC):%Y%m%dT%H%M%S}"
        aside.mkdir(parents=True)
        shutil.move(home / "lake", aside)
        print(f"the lake of {held!r} was set aside in {aside}")


def _features(summary: Summary, what: str, data: str, since: str, until: str) -> None:
    print(f"\n==> {what}: ingest, validate, features, materialize", flush=True)
    run = start("features", data=data, since=since, until=until)
    landed = run.data.ingested
    summary.steps_of(
        run,
        {
            "start": f"ingest and validate the {what}",
            "compute": f"features of the {what} (Spark)",
            "materialize": f"features of the {what} online (Feast)",
        },
        start=vars(landed),
        compute={"feature_rows": run.data.rows},
        materialize={"as_of": until},
    )


def _train(summary: Summary, story: Story) -> int:
    with summary.stage("train, export, register (Metaflow, Lightning, ONNX, MLflow)") as entry:
        # A champion of an earlier demo has learnt from what is still to come in this one.
        run = start(
            "train",
            until=f"{story.first:%Y-%m-%d}",
            reason="first model of the demo",
            against=BASELINES,
        )
        evaluation, decision, version = run.data.evaluation, run.data.gated.decision, run.data.version
        if version is None:
            raise DemoError(f"nothing can be served: the first model did not pass the gate, {decision}")
        summary.model = {
            "rmse": evaluation.rmse,
            "rmse_interval": evaluation.rmse_interval,
            "ndcg_at_10": evaluation.ndcg_at_10,
            "ndcg_at_10_interval": evaluation.ndcg_at_10_interval,
            "baselines": evaluation.baselines,
            "onnx_max_abs_diff": decision.onnx_max_abs_diff,
            "version": version,
            "gate": decision.to_dict(),
            "events": run.data.events,
            "test_events": evaluation.events,
        }
        entry |= {
            name: summary.model[name] for name in ("version", "rmse", "ndcg_at_10", "onnx_max_abs_diff")
        }
        entry["gate"] = str(decision)
        summary.urls["training card"] = save_card(run, "evaluate")
    return version


def _serve(summary: Summary, version: int) -> str:
    with summary.stage("serve (Triton and Envoy, as the manifest says)") as entry:
        state = deployment.serve(version)
        entry["champion"] = f"v{version}"
    summary.urls |= {
        "recommendations API": state.api_url,
        "gateway (Envoy)": state.gateway_url,
        "manifest": str(FlowSettings().home / "run" / "manifest.yaml"),
    }
    return state.api_url


def _recommend(summary: Summary, api_url: str, story: Story) -> None:
    from serving.client import RecommenderClient

    with summary.stage("recommend (API, Feast online, model through Envoy)") as entry:
        ratings = lake.read(FeatureSettings().lake, "ratings", story.first)
        # The person who rented most has the clearest taste to compare the answer with.
        user_id = ratings["user_id"].value_counts(sort=True).index[0]
        theirs = ratings[ratings["user_id"] == user_id].sort_values("event_timestamp")
        purpose = theirs["purpose"].dropna().iloc[-1] if theirs["purpose"].notna().any() else None
        with RecommenderClient(api_url) as client:
            answer = client.recommendations(user_id, k=10, purpose=purpose)
            features = client.features(user_id)
        summary.recommendation = {
            "user_id": user_id,
            "purpose": purpose,
            "model_version": answer.model_version,
            "features": features,
            "rentals": [item.model_dump() for item in answer.items],
        }
        entry |= {"user_id": user_id, "rentals": len(answer.items)}


def _drift(summary: Summary, story: Story) -> int | None:
    """Monitor and train again; None where the gate refused what was trained."""
    with summary.stage("drift: monitor, and retrain where something moved") as entry:
        run = start("monitor", until=f"{story.second:%Y-%m-%d}")
        report, version, gate = run.data.report, run.data.new_version, run.data.gate
        summary.drift = {
            "detected": bool(report.drifted),
            "features": report.drifted,
            "report": report.to_dict(),
        }
        entry["features"] = report.drifted
        if not run.data.reasons:
            print("there is no alarm: the canary shows a training by hand instead")
            trained = start("train", until=f"{story.second:%Y-%m-%d}", reason="canary of the demo").data
            version, gate = trained.version, str(trained.gated.decision)
        entry |= {"retrained_version": version, "gate": gate}
        summary.drift["gate"] = gate
        summary.urls["drift card"] = save_card(run, "start")
    return version


def _canary(summary: Summary, api_url: str, story: Story, champion: int, retrained: int | None) -> None:
    events = lake.read(FeatureSettings().lake, "ratings")
    people = events[events["event_timestamp"] >= story.second]
    promoted = None
    with replaying(api_url, people) as traffic:
        if retrained is not None:
            with summary.stage(
                f"canary: version {retrained} gets {CANARY_SHARE} %, then all or nothing"
            ) as entry:
                promoted = _roll_out(retrained, entry, summary, "rollout card")
        retried = traffic.retried
        serving = retrained if retrained and promoted and promoted.promoted else champion
        summary.urls["model card"] = _model_card(serving)
        broken = _register_damaged(serving)
        with summary.stage(f"canary: version {broken} is damaged on purpose") as entry:
            rolled_back = _roll_out(broken, entry, summary, "rollback card")
    summary.canary = {
        "requested_share": CANARY_SHARE / 100,
        "measured_share": promoted.measured_share if promoted else None,
        "promoted_version": serving if serving != champion else None,
        "promotion_reasons": promoted.reasons if promoted else [summary.drift["gate"]],
        "rolled_back_version": None if rolled_back.promoted else broken,
        "rollback_reasons": rolled_back.reasons,
        "requests": traffic.requests,
        "failed_requests": traffic.failed,
        "failures": traffic.errors[:5],
        "retried_while_good": retried,
        "retried_while_damaged": traffic.retried - retried,
        "answers_by_version": dict(traffic.by_version),
    }


def _roll_out(version: int, entry: dict[str, Any], summary: Summary, card: str) -> Any:
    run = start("rollout", version=version, steps=f"{CANARY_SHARE},100")
    summary.urls[card] = save_card(run, "start")
    outcome = run.data.outcome
    entry |= {
        "promoted": outcome.promoted,
        "measured_share": outcome.measured_share,
        "reasons": outcome.reasons,
    }
    return outcome


def _model_card(version: int) -> str:
    """Put the card where it opens without MLflow, and return where it is."""
    from models import card
    from models.registry import Registry

    path = FlowSettings().home / "cards" / f"model-card-v{version}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(Registry().get(version).artifact(f"{card.FOLDER}/{card.HTML}"), path)
    return str(path)


def _register_damaged(version: int) -> int:
    """Register a copy of ``version`` with damaged weights, past the gate that would have refused it.

    Its card says so: without one the rollout would not even begin.
    """
    from models.card import approval
    from models.registry import Registry
    from models.sabotage import corrupt

    registry = Registry()
    good, card = registry.get(version), registry.card(version)
    warning = (
        f"version {version} whose weights the demo overwrote with NaN; the figures are of version {version}"
    )
    gate = replace(card.gate, passed=False, reasons=(f"it went around the gate: {warning}",))
    approved = (approval("registered", "the demo, around the gate", (warning,)),)
    with tempfile.TemporaryDirectory() as folder:
        path = corrupt(good.path, Path(folder) / "model.onnx")
        lineage = {"reason": f"version {version}, damaged by the demo", "dataset": good.lineage["dataset"]}
        return registry.register(
            path,
            None,
            lineage,
            card=replace(card, lineage=lineage, gate=gate, approvals=approved, warnings=(warning,)),
        )


def _count(summary: Summary) -> None:
    from monitoring import quarantine

    folder = FeatureSettings().lake
    ratings = lake.read(folder, "ratings")
    summary.data = {
        "dataset": lake.dataset_of(folder),
        "ratings": len(ratings),
        "users": int(ratings["user_id"].nunique()),
        "rentals": int(ratings["rental_id"].nunique()),
        "quarantined": sum(quarantine.count(folder / "quarantine").values()),
        "first": f"{ratings['event_timestamp'].min():%Y-%m-%d}",
        "last": f"{ratings['event_timestamp'].max():%Y-%m-%d}",
    }

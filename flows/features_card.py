"""What people see of a features run: whether the data is as it must be."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.feature_quality import FeatureQuality
    from flows.ingest import Ingested
    from monitoring.batch_quality import BatchFigures

BATCHES_SHOWN = 12
"""Batches in the table: a year of months."""


def features_card(
    quality: "FeatureQuality",
    ingested: "Ingested | None",
    batches: "Sequence[tuple[BatchFigures, list[str]]]",
) -> list[Any]:
    """Show the verdict on the features, what became of the batch, and the batches before it."""
    from metaflow.cards import Markdown, Table

    failures, features = quality.failures, sum(len(one.result["results"]) for one in quality.judgements)
    verdict = (
        f"**{len(failures)} of {features} expectations do not hold: nothing went online.** What is online is "
        "still as it was."
        if failures
        else f"**All {features} expectations of the features hold**: they may go online."
    )
    return [
        Markdown(f"# Data and features as of {quality.as_of:%Y-%m-%d}"),
        Markdown(verdict),
        *[Markdown(f"- {failure}") for failure in failures],
        Table(
            headers=["feature table", "rows", "of these new", "expectations", "do not hold"],
            data=[
                [
                    one.table,
                    f"{one.profile.rows:,}",
                    f"{one.profile.rows_lately:,}",
                    str(len(one.result["results"])),
                    str(len(one.failures)),
                ]
                for one in quality.judgements
            ],
        ),
        Markdown(f"Each expectation and what was found: {quality.data_docs}"),
        Markdown("## The batch that arrived"),
        *_batch(ingested),
        Markdown("## The batches so far, the last one first"),
        Markdown(
            "A batch is told where its source has other fields than before, where the ratings a day are far "
            "from the median of the batches before it, and where its newest rating is old."
        ),
        Table(
            headers=["newest rating", "ratings", "a day", "bad rows", "what is unusual"],
            data=[
                [
                    f"{one.newest:%Y-%m-%d}" if one.newest else "none",
                    f"{one.rows['ratings']:,}",
                    f"{one.ratings_a_day:,.1f}",
                    f"{sum(one.bad.values()):,}",
                    "; ".join(findings) or "nothing",
                ]
                for one, findings in batches
            ],
        ),
    ]


def _batch(ingested: "Ingested | None") -> list[Any]:
    from metaflow.cards import Markdown, Table

    if ingested is None:
        return [Markdown("No batch: the features of what the lake holds were computed.")]
    tables = list(ingested.rows) + [name for name in ingested.quarantined if name not in ingested.rows]
    told = [
        *ingested.findings,
        *(
            f"{count:,} values emptied, their rows kept: not '{name}'"
            for name, count in ingested.blanked.items()
        ),
    ]
    return [
        Table(
            headers=["table", "landed", "were there already", "in quarantine, with the reason"],
            data=[
                [
                    table,
                    f"{ingested.rows.get(table, 0):,}",
                    f"{ingested.repeated.get(table, 0):,}",
                    f"{ingested.quarantined.get(table, 0):,}",
                ]
                for table in tables
            ],
        ),
        *[Markdown(f"- {one}") for one in told],
        Markdown("`make replay-quarantine` validates what is in quarantine again, after a fix."),
    ]

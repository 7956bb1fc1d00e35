"""A user's recent rentals and a request's contexts: read alike by the network and by the served graph."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.columns import Context
from models.encoding import RECENT_RENTALS, recent_ids
from models.export import export_all
from models.load import load
from models.parity import parity
from models.settings import Hyperparameters
from models.train import fit

PARITY = 1e-5


@pytest.fixture(scope="module")
def frames(small_market):
    """Events and a catalogue with lists, sizes and counts, some of them missing, odd or long."""
    draw = np.random.default_rng(1)
    rentals = small_market.latest["rental_id"].tolist()

    def with_inputs(frame: pd.DataFrame) -> pd.DataFrame:
        lists = [json.dumps(draw.choice(rentals, draw.integers(0, 13)).tolist()) for _ in range(len(frame))]
        lists[:4] = [None, "[]", '["never seen","' + rentals[0] + '"]', json.dumps(['a"b', "ü", ",", "["])]
        counts = [json.dumps({"12": int(draw.integers(1, 9)), "20": 1}) for _ in range(len(frame))]
        counts[:2] = [None, "{}"]
        return frame.assign(
            user_recent_rentals=lists,
            size=draw.choice(np.array(["12", "14", "20", None, "huge"], object), len(frame)),
            rental_size_counts=counts,
        )

    return with_inputs(small_market.train), with_inputs(small_market.latest)


@pytest.fixture(scope="module")
def trained(frames, columns):
    events, catalogue = frames
    wider = replace(
        columns,
        context=(*columns.context, Context("size", "rental_size_counts", 4.0)),
        recent_rentals="user_recent_rentals",
    )
    start = catalogue.assign(snapshot_at=events["event_timestamp"].min())
    return fit(
        events, start, wider, Hyperparameters(epochs=2, ranking_dimension=8, ranking_weight_decay=0.05)
    )


@pytest.fixture(scope="module")
def graphs(trained, frames, tmp_path_factory):
    return export_all(trained, frames[1], tmp_path_factory.mktemp("recent"), k=20)


def test_the_graph_reads_lists_sizes_and_counts_as_the_network_does(trained, frames, graphs):
    assert parity(trained, frames[1], graphs, frames[0].head(500)) < PARITY


def test_a_batch_of_nobody_with_a_past_is_answered(trained, frames, graphs):
    nobody = frames[0].head(3).assign(user_recent_rentals="", size="")
    assert parity(trained, frames[1], graphs, nobody) < PARITY


def test_what_was_rented_changes_the_answer(graphs):
    model = load(graphs)
    first = model.recommend({"user_id": "somebody", "user_recent_rentals": '["r1"]'}, 20)
    other = model.recommend({"user_id": "somebody", "user_recent_rentals": '["r2","r3"]'}, 20)
    assert [item.score for item in first] != [item.score for item in other]


def test_sizes_of_a_class_are_answered_alike_and_others_not(graphs):
    model = load(graphs)
    small, same, large = (
        [item.score for item in model.recommend({"user_id": "somebody", "size": size}, 20)]
        for size in ("12", "14", "20")
    )
    assert small == same != large


@given(
    st.lists(st.text(st.characters(exclude_characters='"\\', exclude_categories=["Cs", "Cc"]), min_size=1))
)
def test_ids_are_those_of_the_json_array(ids):
    text = json.dumps(ids, ensure_ascii=False, separators=(",", ":"))
    assert recent_ids(text) == ids[:RECENT_RENTALS]


@pytest.mark.parametrize("missing", [None, np.nan, "", "[]"])
def test_what_is_missing_is_no_rental(missing):
    assert recent_ids(missing) == []

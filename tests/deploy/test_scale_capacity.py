from pathlib import Path

import onnx
import pandas as pd
import pytest

from deploy.__main__ import main
from deploy.scale import costs, report
from deploy.scale.capacity import GraphBytes
from deploy.scale.settings import Measured, Prices, Target
from models.columns import Columns
from models.encoding import Encoding, numbers
from models.export import export
from models.recommender import Recommender
from models.settings import Hyperparameters

COLUMNS = Columns(
    ("user_age",),
    ("user_segment",),
    ("rental_price",),
    ("rental_category", "rental_area"),
    recent_rentals="user_recent_rentals",
)


def exported(folder: Path, rentals: int, users: int) -> tuple[int, int]:
    """Bytes of the constants, less texts, of a graph with so many of both; subjects of its reasons."""
    rows = max(rentals, users)
    events = pd.DataFrame(
        {
            "user_id": [f"u{n % users}" for n in range(2 * rows)],
            "rental_id": [f"r{n % rentals}" for n in range(2 * rows)],
            "user_age": 30.0,
            "user_segment": "tall",
            "user_recent_rentals": '["r0"]',
            "purpose": "work",
            "rental_price": 50.0,
            "rental_category": "gown",
            "rental_area": "north",
            "rating": 4.0,
            "event_timestamp": pd.Timestamp("2024-01-01", tz="UTC"),
        }
    )
    catalogue = events.drop_duplicates("rental_id").assign(snapshot_at=pd.Timestamp("2024-01-01", tz="UTC"))
    parameters = Hyperparameters(minimum_user_events=1)
    encoding = Encoding.fit(events, COLUMNS, 1, None)
    of_users, of_rentals = (
        numbers(events, names) for names in (COLUMNS.user_numeric, COLUMNS.rental_numeric)
    )
    model = Recommender(encoding, of_users, of_rentals, 4.0, parameters).eval()
    graph = onnx.load(export(model, catalogue, folder / "model.onnx", others=events)).graph
    constants = [one for one in graph.initializer if one.data_type != onnx.TensorProto.STRING]
    arrays = {one.name: onnx.numpy_helper.to_array(one) for one in constants}
    return sum(array.nbytes for array in arrays.values()), arrays["_common_amounts"].shape[1]


def test_a_rental_and_a_user_add_what_an_exported_graph_gains_by_them(tmp_path: Path) -> None:
    few, subjects = exported(tmp_path, 20, 30)
    more_rentals, more_users = exported(tmp_path, 50, 30)[0], exported(tmp_path, 20, 80)[0]
    each = GraphBytes.of(Hyperparameters(), Measured(lifts=0, subjects=subjects))
    assert (more_rentals - few) / 30 == each.rental
    assert (more_users - few) / 50 == each.user


def test_the_graph_of_ten_times_as_many_is_ten_times_as_large() -> None:
    each = GraphBytes(rental=3, user=5)
    assert each.total(10 * 7, 10 * 11) == 10 * each.total(7, 11) == 10 * (21 + 55)


def test_costs_follow_the_prices_and_an_idle_machine_is_paid_too() -> None:
    def bill(prices: Prices, utilization: float = 0.5) -> dict[str, float]:
        amounts = costs.of_a_million(Target(), Measured(), prices, utilization)
        return {one.part: one.value for one in amounts}

    usual, free = bill(Prices()), bill(Prices(core_hour=0, memory_gigabyte_hour=0, storage_gigabyte_month=0))
    assert all(value > 0 for value in usual.values())
    assert [part for part, value in free.items() if value] == ["… its files as they are"]
    assert bill(Prices(), 0.25)["ANN search"] == pytest.approx(2 * usual["ANN search"])
    assert bill(Prices(log_days=60))["prediction log"] == pytest.approx(2 * usual["prediction log"])
    # A core works 2 / 452.9 s for an answer; twice that for the busiest second, twice for half full cores.
    assert usual["API, Envoy, Triton"] == pytest.approx(1e6 * 2 / 452.9 / 3600 * 4 * 0.04)


def test_every_table_is_printed_for_the_size_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RENTALS_SCALE_USERS", "20000")
    monkeypatch.setenv("RENTALS_SCALE_RENTALS", "60000")
    for name in ("WAITING_REQUESTS", "LOOKUPS"):
        monkeypatch.setattr(report, name, 2_000)
    for name in ("ROLLOUTS", "EQUAL_ROLLOUTS"):
        monkeypatch.setattr(report, name, 5)
    assert main(["scale"]) == 0
    printed = capsys.readouterr().out
    assert "50,000 of 60,000 rentals" in printed
    assert f"{2**31 / (1056 * 60_000 + 304 * 20_000) * 60_000:,.0f}" in printed
    assert printed.count("inf") >= 4
    assert "nan" not in printed

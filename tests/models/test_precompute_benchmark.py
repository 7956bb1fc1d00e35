from models.precompute_benchmark import benchmark


def test_the_figures_say_what_was_compared():
    found = benchmark(users=64, rentals=50, threads=1)
    assert found["ratio"] > 0 and found["unit"] == "s"
    assert "64 users x 50 rentals" in found["how"]
    assert {"value", "unit", "baseline", "ratio", "how"} <= set(found)

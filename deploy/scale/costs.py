"""What a million answers cost."""

from deploy.scale.capacity import DAY_SECONDS, FAISS_CORE_SECONDS, Amount, store
from deploy.scale.settings import Measured, Prices, Target


def of_a_million(target: Target, measured: Measured, prices: Prices, utilization: float) -> list[Amount]:
    """Cost of a million answers by what they need.

    Args:
        target: of whose busiest second there are machines, and whose mean load they get.
        measured: what an answer takes.
        prices: what that costs.
        utilization: how full the cores are in the busiest second, without a reserve for what fails.
    """
    a_month = target.requests_per_second * target.mean_load * DAY_SECONDS * 30 / 1e6
    busiest = 1 / target.mean_load / utilization
    core_second = prices.core_hour / 3600
    memory = store(target, measured, prices)[1].value * prices.memory_gigabyte_hour * 24 * 30
    row = measured.log_row_bytes / 1e9 * 1e6
    files = target.requests_per_second / measured.answers_per_second * measured.log_files_per_second
    writes = files / (target.requests_per_second * target.mean_load)
    return [
        Amount(
            "API, Envoy, Triton",
            1e6 * measured.answer_cores / measured.answers_per_second * busiest * core_second,
            "",
            f"cores for the busiest second, {utilization:.0%} full",
        ),
        Amount("ANN search", 1e6 * FAISS_CORE_SECONDS * busiest * core_second, "", "the same"),
        Amount("online store", memory / a_month, "", f"{prices.memory_copies} copies in memory"),
        Amount(
            "prediction log",
            row * prices.storage_gigabyte_month * prices.log_days / 30,
            "",
            f"kept {prices.log_days:g} days",
        ),
        Amount("… its files as they are", writes * prices.million_writes, "", "one write a file"),
    ]

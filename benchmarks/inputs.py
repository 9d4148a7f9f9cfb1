"""What the benchmarks run on: simulated files and fitted models, made once and kept under build/benchmarks/."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

# A customer who pays twice a day has about 60 transactions in the 30 days of the longest window.
DAYS = 30
TRANSACTIONS_PER_CUSTOMER_PER_DAY = 2.0
# Refunds and transfers are no transactions of the handbook's format: there, 8,300 customers come to 504,000.
CUSTOMERS_PER_TRANSACTION = 8_300 / 500_000
CUSTOMERS_PER_MERCHANT = 4
SEED = 1
LABEL_DELAY_DAYS = 7.0

CACHE = Path(__file__).resolve().parent.parent / "build" / "benchmarks"


@dataclass(frozen=True)
class Input:
    """A file of transactions, and what it is replayed with."""

    name: str
    file: str
    mapping: str
    feature_set: str
    policy: str


def simulated(file_format: str, transactions: int, days: int = DAYS) -> Path:
    """A simulated file of at least so many transactions over so many days; made unless it is there."""
    from fraud.simulator.options import MERCHANTS_MINIMUM, SimulationOptions
    from fraud.simulator.writing import write_simulation

    ending = "jsonl" if file_format == "native" else "parquet"
    length = "" if days == DAYS else f"-{days}days"
    file = CACHE / f"{file_format}-{transactions}{length}-seed{SEED}.{ending}"
    if not file.exists():
        customers = math.ceil(transactions * CUSTOMERS_PER_TRANSACTION * DAYS / days)
        options = SimulationOptions(
            seed=SEED,
            days=days,
            customers=customers,
            merchants=max(MERCHANTS_MINIMUM, math.ceil(customers / CUSTOMERS_PER_MERCHANT)),
            transactions_per_customer_per_day=TRANSACTIONS_PER_CUSTOMER_PER_DAY,
        )
        CACHE.mkdir(parents=True, exist_ok=True)
        write_simulation(options, file, file_format=file_format)
    return file


def fitted(source: Input) -> Path:
    """A folder with boosted trees (100 of them) for this input; fitted unless one that still fits is there.

    They learn from the third week of the file and are judged by the day after it: how good they are is not measured
    here, and what a score costs does not depend on it.
    """
    from fraud.features import feature_set
    from fraud.scoring.manifest import ModelRefusedError
    from fraud.scoring.model import load_model
    from training.cli import FitRequest, fit_and_write

    features = feature_set(source.feature_set)
    key = hashlib.sha256(f"{Path(source.file).resolve()} {features.schema_hash}".encode()).hexdigest()[:12]
    folder = CACHE / f"model-{source.feature_set}-{key}"
    try:
        load_model(folder, features.name, features.schema_hash)
    except ModelRefusedError:
        day_ms = 86_400_000
        start_ms = first_timestamp_ms(source) // day_ms * day_ms
        request = FitRequest(
            paths=(Path(source.file),),
            mapping_name=source.mapping,
            feature_set_name=source.feature_set,
            label_delay_days=LABEL_DELAY_DAYS,
            period_from_ms=start_ms + 14 * day_ms,
            period_to_ms=start_ms + 22 * day_ms,
            validation_to_ms=start_ms + 23 * day_ms,
            model_kind="boosting",
            seed=SEED,
            folder=folder,
        )
        fit_and_write(request, datetime.now(UTC).isoformat(timespec="seconds"))  # noqa: TID251
    return folder


def first_timestamp_ms(source: Input) -> int:
    """The time of the first record that can be read, UTC milliseconds."""
    from fraud.sources.mapping import load_mapping
    from fraud.sources.reader import read_records
    from fraud.sources.records import SourceRecord
    from fraud.transaction import timestamp_to_ms

    for record in read_records([Path(source.file)], load_mapping(source.mapping)):
        if isinstance(record, SourceRecord):
            return timestamp_to_ms(record.message.timestamp)
    raise ValueError(f"{source.file} holds no transaction")

"""Transactions as columns to explore: read as the service reads them, with tokens in place of clear identifiers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fraud.admission import Admission
from fraud.bootstrap import token_maker
from fraud.money import CURRENCY_EXPONENTS, load_rates
from fraud.settings import load_settings
from fraud.sources import load_mapping
from fraud.sources.reader import read_records
from fraud.sources.records import GroundTruth, Record, RejectedRecord, SourceRecord
from fraud.transaction import InvalidTransactionError, Transaction
from training.dataset import DatasetError
from training.dataset_file import dataset_origin
from training.notebook.listing import Listing
from training.notebook.source import Source

# What to look at first; the rest of a transaction is names and numbers that only features make sense of.
DESCRIBED_FIELDS = (
    "auth_result",
    "entry_mode",
    "is_recurring",
    "card_id",
    "merchant_id",
    "merchant_category",
    "terminal_id",
    "counterparty_id",
    "channel",
    "country",
    "city",
    "latitude",
    "device_id",
    "ip_address",
)
_TIME = pa.timestamp("ms", tz="UTC")
_TEXTS = (
    "transaction_id",
    "user_id",
    "currency",
    "event_type",
    "auth_result",
    "entry_mode",
    "card_id",
    "merchant_id",
    "merchant_category",
    "terminal_id",
    "counterparty_id",
    "channel",
    "country",
    "city",
    "device_id",
    "ip_address",
)
_SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in _TEXTS),
        pa.field("is_recurring", pa.bool_()),
        pa.field("latitude", pa.float64()),
        pa.field("longitude", pa.float64()),
        pa.field("timestamp", _TIME),
        pa.field("base_amount", pa.float64()),
        pa.field("is_fraud", pa.bool_()),
        pa.field("label_source", pa.string()),
        pa.field("label_known_at", _TIME),
        pa.field("scenario", pa.string()),
    ]
)


@dataclass(frozen=True)
class Explored:
    """The authorisations of a source in the order of its files, and how many records were something else.

    `table` has the fields of a transaction, `base_amount` in whole units of `base_currency`, and what the file says of
    it: `is_fraud` (null: no label), `label_source`, `label_known_at`, `scenario`. A dataset has fewer fields; the
    others are null.
    """

    table: pa.Table
    base_currency: str
    others: int
    rejected: int
    first_rejected: str

    def values(self, name: str) -> npt.NDArray[Any]:
        """A column as [rows]: float64 with NaN as missing for numbers and booleans, int64 for times (ms, -1 missing),
        else object with None.
        """
        column = self.table[name]
        if pa.types.is_timestamp(column.type):
            return np.asarray(column.cast(pa.int64()).fill_null(-1).to_numpy())
        if pa.types.is_string(column.type):
            return np.asarray(column.to_numpy(zero_copy_only=False))
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
        return np.asarray(column.cast(pa.float64()).fill_null(float("nan")).to_numpy())

    @property
    def is_labelled(self) -> bool:
        """Whether there is a label at all."""
        return bool(self.table["is_fraud"].null_count < len(self.table))

    def summary(self) -> Listing:
        """What there is: how much, of whom, from when to when."""
        table = self.table
        first, last = pc.min_max(table["timestamp"]).values()
        frauds = pc.sum(table["is_fraud"]).as_py() or 0
        amount = pc.sum(table["base_amount"]).as_py()
        lost = float(self.values("base_amount")[self.values("is_fraud") == 1].sum())
        return Listing(
            ("what", "value"),
            [
                ("payments", f"{len(table):,}"),
                ("refunds and reversals", f"{self.others:,}"),
                ("refused records", f"{self.rejected:,}" + (f", first {self.first_rejected}" if self.rejected else "")),
                ("from", f"{first.as_py():%Y-%m-%d %H:%M} UTC"),
                ("to", f"{last.as_py():%Y-%m-%d %H:%M} UTC"),
                ("customers", f"{pc.count_distinct(table['user_id']).as_py():,}"),
                ("merchants", f"{pc.count_distinct(table['merchant_id']).as_py():,}"),
                ("volume", f"{amount:,.0f} {self.base_currency}"),
                ("without a label", f"{table['is_fraud'].null_count:,}"),
                ("frauds", f"{frauds:,}, {frauds / len(table):.2%} of all, {lost:,.0f} {self.base_currency}"),
            ],
        )

    def missing_fields(self) -> Listing:
        """How often each field is missing, and how many different values it has."""
        return Listing(
            ("field", "missing", "different values"),
            [
                (
                    name,
                    f"{self.table[name].null_count / len(self.table):.1%}",
                    f"{pc.count_distinct(self.table[name]).as_py():,}",
                )
                for name in DESCRIBED_FIELDS
            ],
        )


def explored(source: Source) -> Explored:
    """Read all of a source. Raises `SourceError` for what cannot be read, `DatasetError` where there is no payment."""
    if source.dataset is not None:
        return _of_dataset(source)
    settings = load_settings()
    mapping = load_mapping(source.mapping_name)
    admission = Admission(
        load_rates(settings.rates_file, settings.base_currency),
        token_maker(settings),
        settings.tokenised_fields,
        accepts_zero_amounts=mapping.accepts_zero_amounts,
    )
    rows: list[tuple[Any, ...]] = []
    others = rejected = 0
    first_rejected = ""
    minor_units = 10 ** CURRENCY_EXPONENTS[settings.base_currency]
    for record in read_records(source.paths, mapping):
        transaction = _admitted(record, admission)
        if isinstance(transaction, str):
            rejected += 1
            first_rejected = first_rejected or transaction
        elif transaction.event_type == "authorisation" and isinstance(record, SourceRecord):
            rows.append(tuple(_row(transaction, record.label, minor_units, source.label_delay_days)))
        else:
            others += 1
    if not rows:
        raise DatasetError(
            "there is no payment in the files" + (f"; first refused: {first_rejected}" if rejected else "")
        )
    columns = [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), _SCHEMA, strict=True)]
    table = pa.Table.from_arrays(columns, schema=_SCHEMA)
    return Explored(table, settings.base_currency, others, rejected, first_rejected)


def _admitted(record: Record, admission: Admission) -> Transaction | str:
    """The transaction, or where and why it was refused."""
    if isinstance(record, RejectedRecord):
        return f"{record.file}:{record.line}: {record.field} {record.reason}"
    try:
        return admission.admit(record.message)
    except InvalidTransactionError as error:
        return f"{record.file}:{record.line}: {error}"


def _row(
    transaction: Transaction, truth: GroundTruth | None, minor_units: int, label_delay_days: float
) -> Iterator[Any]:
    yield from (getattr(transaction, name) for name in _TEXTS)
    yield transaction.is_recurring
    yield transaction.latitude
    yield transaction.longitude
    yield transaction.timestamp_ms
    yield transaction.base_amount_minor / minor_units
    if truth is None or truth.label is None:
        yield from (None, None, None, None if truth is None else truth.scenario)
        return
    known_at_ms = truth.known_at_ms
    if known_at_ms is None:
        known_at_ms = transaction.timestamp_ms + round(label_delay_days * 86_400_000)
    yield from (truth.label == "fraud", truth.source, known_at_ms, truth.scenario)


def _of_dataset(source: Source) -> Explored:
    path = source.paths[0]
    origin = dataset_origin(path)
    assert origin is not None  # noqa: S101 the caller has looked
    names: Sequence[str] = ("transaction_id", "user_id", "merchant_id", "terminal_id", "timestamp", "is_fraud")
    table = pq.read_table(path, columns=[*names, "base_amount_minor", "label_known_at", "fraud_scenario"])
    known = {name: table[name] for name in names}
    known["base_amount"] = pc.divide(table["base_amount_minor"].cast(pa.float64()), 10.0**origin.base_exponent)
    known["label_known_at"], known["scenario"] = table["label_known_at"], table["fraud_scenario"]
    columns = [known.get(field.name, pa.nulls(len(table), field.type)) for field in _SCHEMA]
    return Explored(pa.Table.from_arrays(columns, schema=_SCHEMA), origin.base_currency, 0, 0, "")

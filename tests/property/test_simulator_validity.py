"""Whatever the options, every record is one that the service accepts."""

from __future__ import annotations

from datetime import date, timedelta

import msgspec
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud.simulator import SCENARIOS, SimulationOptions, simulate
from fraud.simulator.places import CURRENCIES, CURRENCY_EXPONENTS
from fraud.simulator.writing import json_lines
from fraud.transaction import TransactionMessage, check_texts, check_timestamp, message_columns, timestamp_to_ms

OPTIONS = st.builds(
    SimulationOptions,
    seed=st.integers(0, 2**63 - 1),
    days=st.integers(1, 6),
    start=st.dates(date(1990, 1, 1), date(2089, 12, 1)),
    customers=st.integers(20, 120),
    merchants=st.integers(100, 160),
    terminals_per_merchant=st.integers(1, 3),
    transactions_per_customer_per_day=st.floats(0.1, 4.0),
    fraud_rate=st.floats(0.0, 0.5),
    scenario_shares=st.dictionaries(st.sampled_from(SCENARIOS), st.floats(0.01, 1.0), min_size=1),
    travel_rate=st.floats(0.0, 0.5),
    unreported_share=st.floats(0.0, 1.0),
    dispute_rate=st.floats(0.0, 0.1),
    label_delay_factor=st.floats(0.0, 3.0),
)


@given(OPTIONS)
@settings(max_examples=25, deadline=None)
def test_every_record_is_valid_unique_and_in_time_order(options: SimulationOptions) -> None:
    table = pa.concat_tables(simulate(options))
    decoder = msgspec.json.Decoder(TransactionMessage)
    messages = [decoder.decode(line) for line in json_lines(table).splitlines()]
    times = [timestamp_to_ms(message.timestamp) for message in messages]
    first = (
        timestamp_to_ms(msgspec.convert(f"{options.start}T00:00:00Z", type(messages[0].timestamp))) if messages else 0
    )
    assert times == sorted(times)
    assert all(first <= time < first + timedelta(days=options.days) / timedelta(milliseconds=1) for time in times)
    seen: set[str] = set()
    for message, time in zip(messages, times, strict=True):
        check_texts(message_columns([message]))
        check_timestamp(time)
        assert isinstance(message.amount, float)
        assert message.amount > 0
        assert round(message.amount, int(CURRENCY_EXPONENTS[CURRENCIES.index(message.currency)])) == message.amount
        assert (message.original_transaction_id is None) == (message.event_type == "authorisation")
        assert message.original_transaction_id is None or message.original_transaction_id in seen
        assert message.merchant_id is None or message.card_id is not None
        assert (message.merchant_id is None) != (message.counterparty_id is None)
        seen.add(message.transaction_id)
    assert len(seen) == len(messages)


@given(OPTIONS)
@settings(max_examples=15, deadline=None)
def test_every_label_is_known_after_its_transaction_and_has_a_source(options: SimulationOptions) -> None:
    for row in pa.concat_tables(simulate(options)).to_pylist():
        assert (row["label_source"] is None) == (row["label_known_at"] is None)
        assert row["label_known_at"] is None or row["label_known_at"] >= row["timestamp"]
        assert row["label"] == "legitimate" or row["label_source"] is not None
        assert row["scenario"] is None or row["event_type"] == "authorisation"
        assert row["scenario"] is None or options.scenario_shares.get(row["scenario"], 0) > 0

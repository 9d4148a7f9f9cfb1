"""Amounts of sources whose mapping rounds them are those that Python's exact rounding makes of each."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from fraud.sources.mapping import load_mapping
from fraud.sources.reader import read_records
from fraud.sources.records import SourceRecord

AMOUNTS = st.one_of(
    st.integers(-(10**6), 10**13).map(lambda cents: cents / 100),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from((1071.1499999999999, 0.125, 0.375, 2.675, -0.0, 2.0**53 / 100, 1e300)),
)


@given(st.lists(AMOUNTS, min_size=1, max_size=5))
def test_amounts_of_a_file_are_rounded_exactly(amounts: list[float]) -> None:
    rows = {
        "TRANSACTION_ID": list(range(len(amounts))),
        "TX_DATETIME": [datetime(2018, 4, 1)] * len(amounts),  # noqa: DTZ001 the data of the book names no zone
        "CUSTOMER_ID": ["1"] * len(amounts),
        "TERMINAL_ID": ["1"] * len(amounts),
        "TX_AMOUNT": amounts,
    }
    with TemporaryDirectory() as folder:
        path = Path(folder) / "payments.parquet"
        pq.write_table(pa.table(rows), path)
        records = list(read_records([path], load_mapping("handbook")))
    read = [repr(record.message.amount) for record in records if isinstance(record, SourceRecord)]
    assert read == [repr(round(amount, 2)) for amount in amounts]

"""A line of the log says which transaction it is about, and never a card number."""

from __future__ import annotations

import json
import logging
from typing import Any

from fraud.live.logs import JsonLines

CARD = "4929 1234 1234 1234"


def line_of(message: str, *arguments: Any, extra: dict[str, str] | None = None, error: Exception | None = None) -> Any:
    logger = logging.Logger("fraud.somewhere")
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    record = logger.makeRecord(logger.name, logging.ERROR, "", 0, message, arguments, exc_info, extra=extra)
    record.created = 1_772_452_800.25
    return json.loads(JsonLines().format(record))


def test_a_line_has_time_level_logger_message_and_transaction() -> None:
    assert line_of("%d tried", 3, extra={"transaction_id": "t1", "place": "transactions/0/7"}) == {
        "time": "2026-03-02T12:00:00.250Z",
        "level": "error",
        "logger": "fraud.somewhere",
        "message": "3 tried",
        "transaction_id": "t1",
        "place": "transactions/0/7",
    }


def test_card_numbers_are_masked_wherever_they_stand() -> None:
    line = line_of(
        f"refused {CARD}", extra={"transaction_id": CARD.replace(" ", "-")}, error=ValueError(f"no such key: {CARD}")
    )
    assert line["message"] == "refused 4929 12** **** 1234"
    assert line["transaction_id"] == "4929-12**-****-1234"
    assert "ValueError: no such key: 4929 12** **** 1234" in line["error"]


def test_addresses_of_servers_and_offsets_stay_readable() -> None:
    text = "127.0.0.1:9092 does not answer at offset 12345678901"
    assert line_of(text)["message"] == text

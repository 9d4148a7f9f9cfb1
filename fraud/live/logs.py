"""Logs as JSON lines: when, how severe, who, what, and which transaction.

Whoever logs passes identities, never card data; what an exception quotes nevertheless is masked.
"""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime

import msgspec

from fraud.sources.records import masked_numbers

# They log each rebalance step, fetch and retry at lower levels.
_TALKATIVE = ("aiokafka", "botocore", "aiobotocore", "faust", "mode", "asyncio", "kafka")


# What `extra` may say of a record: the transaction, and where its message stands, as `fraud dead-letters` names it.
EXTRAS = ("transaction_id", "place")


class JsonLines(logging.Formatter):
    """A record as one line of JSON, with those of `EXTRAS` that it was given."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": masked_numbers(record.getMessage()),
        }
        line |= {name: masked_numbers(str(record.__dict__[name])) for name in EXTRAS if name in record.__dict__}
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = masked_numbers("".join(traceback.format_exception(record.exc_info[1])))
        return msgspec.json.encode(line).decode()


def configure_logs(level: str) -> None:
    """Log to standard error from `level` on; libraries from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)

"""What comes out of the service, readable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from fraud.live.brokers import check_brokers
from fraud.live.kafka import connection
from fraud.money import CURRENCY_EXPONENTS
from fraud.settings import Settings


@dataclass(frozen=True)
class TailFilter:
    """What to show; None for everything."""

    user_id: str | None
    action: str | None

    def takes(self, decision: dict[str, Any]) -> bool:
        """Whether a decision is to be shown."""
        return self.user_id in (None, decision["user_id"]) and self.action in (None, decision["action"])


def readable_line(message: dict[str, Any]) -> str:
    """When, what, who, how much, and why, in one line."""
    decision = message["decision"]
    exponent = CURRENCY_EXPONENTS[decision["currency"]]
    amount = f"{decision['amount_minor'] / 10**exponent:,.{exponent}f} {decision['currency']}"
    score = "no score" if decision["score"] is None else f"{decision['score']:.6f}"
    reasons = ", ".join(decision["reason_codes"]) or "-"
    marks = [name for name in ("late",) if decision[name]] + decision["degraded"]
    if message.get("stale"):
        marks.append("stale")
    beside = f"  [{', '.join(marks)}]" if marks else ""
    return (
        f"{decision['timestamp']}  {decision['action']:<9}  {score}  {amount:>16}  {decision['user_id']}  "
        f"{decision['transaction_id']}  {reasons}{beside}"
    )


async def tail(
    settings: Settings,
    topic: str,
    only: TailFilter,
    show: Callable[[str], None],
    from_start: bool,
    limit: int | None,
    as_json: bool,
) -> None:
    """Show messages of `topic` until `limit` were shown, or for ever. Raises `BrokersUnreachableError`."""
    to = connection(settings)
    await check_brokers(to)
    consumer = to.consumer(topic, from_start=from_start)
    await consumer.start()
    shown = 0
    try:
        async for record in consumer:
            message = msgspec.json.decode(record.value)
            if only.takes(message["decision"]):
                show(record.value.decode() if as_json else readable_line(message))
                shown += 1
                if shown == limit:
                    return
    finally:
        await consumer.stop()

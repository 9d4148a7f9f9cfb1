"""What the fifth notebook says: one alert, from what its customer did before to why the service acted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud.decision import ACTIONS, content_sha256
from fraud.features import feature_set
from fraud.live.profile import KnownCustomer
from fraud.money import CURRENCY_EXPONENTS
from fraud.rules.policy import Policy
from fraud.scoring.model import Model
from fraud.transaction import timestamp_to_ms, timestamp_to_text
from training.dataset import DatasetError, FloatArray
from training.notebook.listing import Listing
from training.notebook.transactions import Explored

# What ties a payment to others that are not its customer's.
SHARED_THINGS = ("merchant_id", "terminal_id", "device_id", "ip_address", "counterparty_id", "card_id")


class _Message(msgspec.Struct):
    decision: msgspec.Raw
    hash: str


@dataclass(frozen=True)
class Alert:
    """A decision as the topics carry it; `is_unchanged` says whether its bytes still have the hash beside them."""

    decision: dict[str, Any]
    is_unchanged: bool

    @property
    def timestamp_ms(self) -> int:
        """When the payment was made, UTC milliseconds."""
        return timestamp_to_ms(datetime.fromisoformat(self.decision["timestamp"]))

    @property
    def amount(self) -> str:
        """The amount in its own currency."""
        currency = self.decision["currency"]
        exponent = CURRENCY_EXPONENTS[currency]
        return f"{self.decision['amount_minor'] / 10**exponent:,.{exponent}f} {currency}"


@dataclass(frozen=True)
class Event:
    """A payment in a customer's history. `is_fraud` is None while nobody has said so, or nobody can know here."""

    timestamp_ms: int
    transaction_id: str
    amount: float
    currency: str
    merchant_id: str | None
    place: str
    is_fraud: bool | None


def read_alerts(path: Path) -> list[Alert]:
    """Alerts of `alerts.jsonl` of a replay, or of `fraud tail alerts --json`; the most severe and surest first.

    Raises `DatasetError` naming the line that is not one.
    """
    alerts = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            message = msgspec.json.decode(line, type=_Message)
            decision = msgspec.json.decode(message.decision)
        except msgspec.DecodeError as error:
            raise DatasetError(f"{path}:{number}: is not an alert: {error}") from error
        alerts.append(Alert(decision, content_sha256(bytes(message.decision)) == message.hash))
    return sorted(
        alerts,
        key=lambda alert: (-ACTIONS.index(alert.decision["action"]), -(alert.decision["score"] or 0.0)),
    )


def alerts_listing(alerts: Sequence[Alert]) -> Listing:
    """What happened, how much, and why, a line each."""
    return Listing(
        ("number", "when (UTC)", "customer", "amount", "action", "score", "reasons"),
        [
            (
                str(number),
                alert.decision["timestamp"][:16].replace("T", " "),
                alert.decision["user_id"],
                alert.amount,
                alert.decision["action"],
                "" if alert.decision["score"] is None else f"{alert.decision['score']:.4f}",
                ", ".join(alert.decision["reason_codes"]),
            )
            for number, alert in enumerate(alerts)
        ],
    )


def decision_listing(alert: Alert) -> Listing:
    """What was decided, by which versions."""
    decision = alert.decision
    versions = {
        name: version and f"{version['name']}, {version['hash'][:12]}" for name, version in decision["versions"].items()
    }
    return Listing(
        ("what", "value"),
        [
            ("payment", decision["transaction_id"]),
            ("customer", decision["user_id"]),
            ("when", decision["timestamp"]),
            ("amount", alert.amount),
            ("action", decision["action"]),
            ("told", ", ".join(decision["notifications"]) or "nobody"),
            ("score", "no model" if decision["score"] is None else f"{decision['score']:.6f}"),
            ("late", "yes" if decision["late"] else "no"),
            ("what was away", ", ".join(decision["degraded"]) or "nothing"),
            *((name.replace("_", " "), version or "none") for name, version in versions.items()),
            ("bytes", "have the hash beside them" if alert.is_unchanged else "were changed: do not trust this alert"),
        ],
    )


def rules_listing(alert: Alert, policy: Policy) -> Listing:
    """The rules that were true, and the values that they read; descriptions are of the active policy."""
    descriptions = {rule.id: rule.description for rule in policy.rules}
    rows = [
        (
            hit["rule_id"],
            hit["action"],
            descriptions.get(hit["rule_id"], "not in the active policy any more"),
            ", ".join(f"{name} = {_value(value)}" for name, value in hit["values"].items()),
        )
        for hit in alert.decision["rule_hits"]
    ]
    return Listing(
        ("rule", "action", "description", "values that it read"), rows or [("none", "", "the score alone decided", "")]
    )


def _value(value: object) -> str:
    if value is None:
        return "missing"
    return f"{value:,.6g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Explanation:
    """The exact contributions of every feature to one score, in `unit`, from `base_value` on; largest first.

    `score` is what they add up to, as a probability rounded as the service rounds.
    """

    contributions: Sequence[tuple[str, float, object]]
    base_value: float
    unit: str
    score: float


def explanation(alert: Alert, model: Model) -> Explanation:
    """Made again from the features that the decision holds; nothing else is needed.

    Raises `DatasetError` for an alert of another model.
    """
    version = alert.decision["versions"]["model"]
    if version is None or version["hash"] != model.content_hash:
        made_by = "no model" if version is None else f"{version['name']}, {version['hash'][:12]}"
        raise DatasetError(f"the alert was scored by {made_by}, not by {model.name}, {model.content_hash[:12]}")
    values = alert.decision["features"]
    row: FloatArray = np.array(
        [[np.nan if values[name] is None else float(values[name]) for name in model.feature_names]]
    )
    contributions = model.explain(row)[0]
    order = np.argsort(-np.abs(contributions), kind="stable").tolist()
    return Explanation(
        [
            (model.feature_names[place], float(contributions[place]), values[model.feature_names[place]])
            for place in order
        ],
        model.base_value,
        model.raw_unit.replace("_", " "),
        float(model.score(row)[0]),
    )


def reasons_listing(found: Explanation, feature_set_name: str, shown: int = 10) -> Listing:
    """The features that moved the score most, with what they mean."""
    meanings = {row.name: row.meaning for row in feature_set(feature_set_name).rows}
    return Listing(
        ("feature", "value", "contribution", "meaning"),
        [
            (name, _value(value), f"{moved:+.3f}", meanings.get(name, ""))
            for name, moved, value in found.contributions[:shown]
        ],
    )


def payment_of(explored: Explored, alert: Alert) -> dict[str, Any]:
    """The payment behind an alert. Raises `DatasetError` if it is not there."""
    found = explored.table.filter(
        pc.and_(
            pc.equal(explored.table["user_id"], alert.decision["user_id"]),
            pc.equal(explored.table["transaction_id"], alert.decision["transaction_id"]),
        )
    )
    if not len(found):
        raise DatasetError(f"the payment {alert.decision['transaction_id']} is not among the transactions")
    payment: dict[str, Any] = found.slice(0, 1).to_pylist()[0]
    return payment


def history_of(explored: Explored, user_id: str) -> list[Event]:
    """All payments of a customer, in the order of the files."""
    rows = explored.table.filter(pc.equal(explored.table["user_id"], user_id)).to_pylist()
    return [
        Event(
            timestamp_ms=timestamp_to_ms(row["timestamp"]),
            transaction_id=row["transaction_id"],
            amount=row["base_amount"],
            currency=explored.base_currency,
            merchant_id=row["merchant_id"] or row["counterparty_id"],
            place=", ".join(filter(None, (row["channel"], row["city"] or row["country"]))),
            is_fraud=row["is_fraud"],
        )
        for row in rows
    ]


def history_of_profile(path: Path) -> list[Event]:
    """The payments that `fraud profile USER --json` wrote. Raises `DatasetError` for another file."""
    try:
        customer = msgspec.json.decode(path.read_bytes(), type=KnownCustomer)
    except msgspec.DecodeError as error:
        raise DatasetError(f"{path}: is not what fraud profile --json writes: {error}") from error
    return [
        Event(
            timestamp_ms=timestamp_to_ms(datetime.fromisoformat(one.timestamp)),
            transaction_id=one.transaction_id,
            amount=one.amount_minor / 10 ** CURRENCY_EXPONENTS[one.currency],
            currency=one.currency,
            merchant_id=one.merchant_id,
            place=", ".join(filter(None, (one.action, *one.reasons))),
            is_fraud=None,
        )
        for one in customer.transactions
        if one.event_type == "authorisation"
    ]


def history_listing(history: Sequence[Event], alert: Alert, shown: int = 12) -> Listing:
    """The last payments up to the alert, newest first."""
    before = [event for event in history if event.timestamp_ms <= alert.timestamp_ms]
    return Listing(
        ("when (UTC)", "amount", "merchant or payee", "where or why", "", "in the end"),
        [
            (
                timestamp_to_text(event.timestamp_ms)[:16].replace("T", " "),
                f"{event.amount:,.2f} {event.currency}",
                event.merchant_id or "",
                event.place,
                "this alert" if event.transaction_id == alert.decision["transaction_id"] else "",
                {True: "fraud", False: "legitimate", None: ""}[event.is_fraud],
            )
            for event in sorted(before, key=lambda event: -event.timestamp_ms)[:shown]
        ],
    )


def shared_things(explored: Explored, payment: Mapping[str, Any], known_by_ms: int) -> Listing:
    """Who else was at the same merchant, device and so on before, and how much of it was known as fraud by then."""
    times, known_at_ms = explored.values("timestamp"), explored.values("label_known_at")
    earlier = times < timestamp_to_ms(payment["timestamp"])
    known = (explored.values("is_fraud") == 1) & (known_at_ms >= 0) & (known_at_ms <= known_by_ms)
    rows = []
    for name in SHARED_THINGS:
        value = payment[name]
        if value is None:
            continue
        same = np.asarray(pc.equal(explored.table[name], pa.scalar(value)).fill_null(False)) & earlier  # noqa: FBT003
        customers = len(np.unique(explored.values("user_id")[same])) if same.any() else 0
        rows.append((name, str(value), f"{int(same.sum()):,}", f"{customers:,}", f"{int((same & known).sum()):,}"))
    return Listing(("what", "which", "payments before", "customers", "frauds known then"), rows)

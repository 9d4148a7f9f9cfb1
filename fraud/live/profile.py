"""What the service knows of one customer: read from the tables, folded as a worker does, and made readable."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

import msgspec

from fraud.bootstrap import Artefacts, state_limits
from fraud.features.customer_record import amounts_of, details_of
from fraud.features.customer_state import CustomerState
from fraud.features.snapshot import SnapshotRefusedError, decode_customer
from fraud.live.dynamodb_client import dynamodb_client
from fraud.money import CURRENCY_EXPONENTS
from fraud.ports import HistoryRecord, StoredDecision
from fraud.settings import Settings
from fraud.stores.customers import Snapshot, fold
from fraud.stores.dynamodb import DynamoCustomerTables
from fraud.transaction import timestamp_to_text
from fraud.typical import typical_decision


class KnownTransaction(msgspec.Struct, frozen=True):
    """One event of history; `action`, `score` and `reasons` are of its decision, if there is one."""

    timestamp: str
    transaction_id: str
    event_type: str
    amount_minor: int
    currency: str
    merchant_id: str | None
    late: bool
    action: str | None
    score: float | None
    reasons: list[str]


class KnownCustomer(msgspec.Struct, frozen=True):
    """A customer. Amounts are in base minor units; habits have the most recently used last; what is tokenised is a
    token here, too. Of all `events`, `snapshot_events` are in the stored snapshot, the others in history alone.
    """

    user_id: str
    events: int
    snapshot_events: int
    first_seen: str
    newest: str
    payments: int
    amount_mean: float | None
    amount_maximum: int
    base_currency: str
    home_country: str | None
    usual_hours: dict[int, int]
    habits: dict[str, list[str]]
    transactions: list[KnownTransaction]


class _Decided(msgspec.Struct):
    action: str
    score: float | None
    reason_codes: list[str]


_decode_decided = msgspec.json.Decoder(_Decided).decode


async def known_customer(
    settings: Settings, artefacts: Artefacts, user_id: str, transactions_shown: int
) -> KnownCustomer | None:
    """The customer whom the tables know as `user_id`, with the last transactions; None if there is none.

    Raises `StoreUnavailableError`.
    """
    plan = artefacts.feature_set.plan(state_limits(settings))
    async with dynamodb_client(settings) as client:
        tables = DynamoCustomerTables(
            client,
            settings.table_prefix,
            typical_decision=await typical_decision(settings, artefacts),
            retention_days=settings.history_retention_days,
        )
        snapshot = (await tables.read_snapshots((user_id,))).get(user_id)
        records = sorted(await tables.read_events(user_id, None), key=attrgetter("sequence"))
        last = [record.stored.transaction for record in records[-transactions_shown:]]
        stored = await tables.read_decisions([(user_id, one.timestamp_ms, one.transaction_id) for one in last])
    state = None
    if snapshot is not None:
        try:
            state = decode_customer(snapshot.content, plan)
        except SnapshotRefusedError:
            # Of another version: a worker begins with history, too.
            snapshot = None
    state = fold(state, records, plan)
    if state is None:
        return None
    found = [one for one in stored if one is not None]
    return _described(user_id, state, snapshot, records, found, artefacts.rates.base_currency)


def _described(
    user_id: str,
    state: CustomerState,
    snapshot: Snapshot | None,
    records: Sequence[HistoryRecord],
    last: Sequence[StoredDecision],
    base_currency: str,
) -> KnownCustomer:
    amounts, details = amounts_of(state), details_of(state)
    habits: dict[str, list[str]] = {}
    hours: dict[int, int] = {}
    if details is not None:
        habits = {
            "merchants": details.merchants.known,
            "categories": details.categories.known,
            "countries": details.countries.known,
            "devices": details.devices.known,
            "cards": details.cards.known,
            "counterparties": details.counterparties.known,
        }
        hours = {hour: count for hour, count in enumerate(details.hour_counts) if count}
    first_ms = state.first_seen_ms or (records[0].stored.transaction.timestamp_ms if records else state.newest_ms)
    return KnownCustomer(
        user_id=user_id,
        events=state.sequence,
        snapshot_events=0 if snapshot is None else snapshot.sequence,
        first_seen=timestamp_to_text(first_ms),
        newest=timestamp_to_text(state.newest_ms),
        payments=amounts.count,
        amount_mean=amounts.total / amounts.count if amounts.count else None,
        amount_maximum=amounts.maximum,
        base_currency=base_currency,
        home_country=None if details is None else details.home_country,
        usual_hours=hours,
        habits=habits,
        transactions=[_transaction(one) for one in last],
    )


def _transaction(stored: StoredDecision) -> KnownTransaction:
    transaction = stored.transaction
    decided = _decode_decided(stored.canonical) if stored.canonical else _Decided("", None, [])
    return KnownTransaction(
        timestamp_to_text(transaction.timestamp_ms),
        transaction.transaction_id,
        transaction.event_type,
        transaction.amount_minor,
        transaction.currency,
        transaction.merchant_id,
        stored.late,
        decided.action or None,
        decided.score,
        decided.reason_codes,
    )


def profile_text(customer: KnownCustomer) -> str:
    """The customer for a terminal."""
    base = customer.base_currency
    mean = "-" if customer.amount_mean is None else _amount(customer.amount_mean, base)
    lines = [
        f"customer       {customer.user_id}",
        f"known          {customer.first_seen} to {customer.newest}",
        f"events         {customer.events:,}, of these {customer.snapshot_events:,} in the stored snapshot",
        f"payments       {customer.payments:,}, mean {mean}, largest {_amount(customer.amount_maximum, base)}",
    ]
    if customer.home_country:
        lines.append(f"home country   {customer.home_country}")
    if customer.usual_hours:
        hours = ", ".join(f"{hour:02}h {count:,}" for hour, count in customer.usual_hours.items())
        lines.append(f"hours (UTC)    {hours}")
    # The most recent first: that is what people ask about.
    lines += [f"{kind:<14} {', '.join(reversed(things))}" for kind, things in customer.habits.items() if things]
    lines.append("last transactions")
    for one in reversed(customer.transactions):
        score = "no score" if one.score is None else f"{one.score:.6f}"
        became = f"{one.action:<9}  {score}" if one.action else one.event_type
        late = "  [late]" if one.late else ""
        amount = _amount(one.amount_minor, one.currency)
        reasons = ", ".join(one.reasons) or "-"
        lines.append(
            f"  {one.timestamp}  {became:<19}  {amount:>16}  {one.merchant_id or '-'}  {one.transaction_id}  "
            f"{reasons}{late}"
        )
    return "\n".join(lines)


def _amount(minor: float, currency: str) -> str:
    exponent = CURRENCY_EXPONENTS[currency]
    return f"{minor / 10**exponent:,.{exponent}f} {currency}"

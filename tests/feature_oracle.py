"""A slow, obvious feature engine: it keeps every event for ever and computes each value from its meaning, from scratch.

It shares no code with the product. What is a definition (windows, buckets, capacities of a customer's memory) is
written out here again, in the simplest way there is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from feature_meanings import (
    EntityView,
    History,
    Value,
    amounts,
    distances,
    handbook,
    novelties,
    recall,
    risks,
    sequences,
    velocity,
)
from oracle_events import ENTITY_FIELDS, Customer, Entity, Event, Limits
from payments import Verdict

from fraud.transaction import Transaction


@dataclass
class Oracle:
    """`process` says what becomes of each transaction; features of the named set with `values_of`."""

    feature_set_name: str
    limits: Limits
    verdicts: dict[str, Verdict]
    customers: dict[str, Customer] = field(default_factory=dict)
    entities: dict[tuple[str, str], Entity] = field(default_factory=dict)
    waiting: list[tuple[int, Transaction, bool]] = field(default_factory=list)

    def process(self, transaction: Transaction) -> tuple[str, bool, dict[str, Value]]:
        """What happens (`decided`, ...), whether it is late, and the values by name."""
        now_ms = transaction.timestamp_ms
        self._learn(now_ms)
        repetition = self._repetition(transaction)
        if repetition is not None:
            return repetition, False, {}
        customer = self._customer(transaction.user_id, now_ms)
        latest_arrival_ms = customer.events[-1].arrival_ms if customer.events else 0
        newest_ms = customer.newest_ms
        event = Event(transaction, max(latest_arrival_ms, newest_ms or 0, now_ms))
        customer.events.append(event)
        if transaction.event_type != "authorisation":
            if transaction.event_type == "reversal":
                self._reverse(customer, event)
            return "warmed or recorded", False, {}
        late = newest_ms is not None and now_ms < newest_ms - self.limits.allowed_lateness_ms
        entities = self._entities(transaction)
        values = self.values_of(transaction, customer, entities)
        if not late:
            known = recall(customer.absorbed, "merchant_id", 64)
            event.merchant_was_new = transaction.merchant_id is not None and transaction.merchant_id not in known
            event.absorbed = True
            for kind, entity in entities.items():
                entity.events.append(event)
                self.entities[kind, getattr(transaction, ENTITY_FIELDS[kind])] = entity
            self._expect_labels(transaction)
        return "decided", late, values

    def _repetition(self, transaction: Transaction) -> str | None:
        customer = self.customers.get(transaction.user_id, Customer())
        is_forgotten = self._is_forgotten(customer.silent_since_ms, transaction.timestamp_ms)
        for event in customer.events:
            same_id = event.transaction.transaction_id == transaction.transaction_id
            if same_id and event.arrival_ms >= customer.events[-1].arrival_ms - self.limits.duplicate_horizon_ms:
                if event.transaction == transaction:
                    return "duplicate"
                # To one who is forgotten by then, an old name is a new one.
                return None if is_forgotten else "transaction_id_reused"
        return None

    def values_of(self, transaction: Transaction, customer: Customer, entities: dict[str, Entity]) -> dict[str, Value]:
        """Every feature of the set."""
        history = History(customer, transaction, self.limits.allowed_lateness_ms)
        places = {
            kind: EntityView(entities.get(kind), transaction, self.limits.allowed_lateness_ms) for kind in ENTITY_FIELDS
        }
        if self.feature_set_name == "handbook":
            return handbook(history, places["terminal"], transaction)
        return {
            **velocity(history, transaction),
            **amounts(history, transaction, places["merchant"]),
            **distances(history, transaction),
            **novelties(history, transaction),
            **sequences(history, transaction),
            **risks(places, transaction),
        }

    def _learn(self, now_ms: int) -> None:
        due = [entry for entry in self.waiting if entry[0] <= now_ms]
        self.waiting = [entry for entry in self.waiting if entry[0] > now_ms]
        for _, transaction, is_fraud in sorted(due, key=lambda entry: entry[0]):
            for kind, name in ENTITY_FIELDS.items():
                key = getattr(transaction, name)
                entity = self.entities.get((kind, key))
                # What an entity did before it was forgotten is no longer its own.
                if entity is None or transaction.timestamp_ms < min(event.ms for event in entity.events):
                    continue
                if is_fraud:
                    entity.fraud_ms.append(transaction.timestamp_ms)
                elif transaction.timestamp_ms in entity.fraud_ms:
                    entity.fraud_ms.remove(transaction.timestamp_ms)

    def _expect_labels(self, transaction: Transaction) -> None:
        verdict = self.verdicts.get(transaction.transaction_id)
        if verdict is not None:
            self.waiting.append((verdict.known_at_ms, transaction, True))
            if verdict.withdrawn_at_ms is not None:
                self.waiting.append((verdict.withdrawn_at_ms, transaction, False))

    def _customer(self, user_id: str, now_ms: int) -> Customer:
        customer = self.customers.get(user_id)
        if customer is None or self._is_forgotten(customer.silent_since_ms, now_ms):
            customer = self.customers[user_id] = Customer()
        return customer

    def _entities(self, transaction: Transaction) -> dict[str, Entity]:
        found = {}
        for kind, name in ENTITY_FIELDS.items():
            key = getattr(transaction, name)
            if key is not None:
                entity = self.entities.get((kind, key))
                if entity is None or self._is_forgotten(entity.newest_ms, transaction.timestamp_ms):
                    # Remembered from its first absorbed transaction on.
                    entity = Entity()
                found[kind] = entity
        return found

    def _is_forgotten(self, newest_ms: int | None, now_ms: int) -> bool:
        return newest_ms is not None and now_ms - newest_ms > self.limits.forget_after_ms

    def _reverse(self, customer: Customer, reversal: Event) -> None:
        for event in customer.events:
            if (
                event.transaction.transaction_id == reversal.transaction.original_transaction_id
                and event.arrival_ms >= reversal.arrival_ms - self.limits.duplicate_horizon_ms
            ):
                event.reversed = True

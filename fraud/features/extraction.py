"""From transactions, in order, to feature values: the one place where state is read and then changed."""

from __future__ import annotations

from operator import attrgetter

from fraud.features.customer_state import CustomerState
from fraud.features.entity_state import EntityState
from fraud.features.moment import Moment
from fraud.features.plan import ENTITY_FIELDS, ENTITY_KINDS, StatePlan
from fraud.features.table import FeatureSet, Value
from fraud.transaction import Transaction

CustomerStates = dict[str, CustomerState]
EntityStates = dict[str, dict[str, EntityState]]


class Extraction:
    """Reads the values of one feature set off loaded states, and absorbs transactions into them.

    `customers` and `entities` hold at least the states that the transactions name; states that do not exist yet are
    made and added. Calls are made in the order of arrival, `values` before `absorb`.
    """

    def __init__(self, feature_set: FeatureSet, plan: StatePlan, base_exponent: int) -> None:
        self.feature_set = feature_set
        self.plan = plan
        self._functions = feature_set.functions(plan)
        self._moment = Moment(base_exponent)
        self._kinds = [entity.kind for entity in plan.entities]
        # Where the features stand that are missing without entity windows.
        self.entity_places = [place for place, row in enumerate(feature_set.rows) if row.entity in ENTITY_KINDS]
        # The last one only makes sure that the result is a tuple, whatever the number of kinds.
        self._identifiers = attrgetter(*(ENTITY_FIELDS[kind] for kind in self._kinds), "transaction_id")

    def customer(self, user_id: str, timestamp_ms: int, customers: CustomerStates) -> CustomerState:
        """The customer's state, a new one if there is none or it is forgotten by then."""
        state = customers.get(user_id)
        if state is None:
            state = customers[user_id] = CustomerState(self.plan)
        elif state.is_forgotten(timestamp_ms, self.plan):
            state = customers[user_id] = CustomerState(self.plan, state.sequence)
        return state

    def entity_keys(self, transaction: Transaction) -> list[tuple[str, str]]:
        """Kind and identifier of each entity that `transaction` names."""
        keys = zip(self._kinds, self._identifiers(transaction), strict=False)
        return [(kind, key) for kind, key in keys if key is not None]

    def entities(self, transaction: Transaction, states: EntityStates, late: bool = False) -> list[EntityState | None]:
        """The states of the entities that `transaction` names, in the order of the plan; None where it names none.

        What was forgotten by then is new: to all that follows, or, if `late`, to this transaction alone.
        """
        found: list[EntityState | None] = []
        add = found.append
        forgotten_ms = transaction.timestamp_ms - self.plan.forget_after_ms
        reached_ms = transaction.timestamp_ms + self.plan.allowed_lateness_ms
        for key, entity_plan in zip(self._identifiers(transaction), self.plan.entities, strict=False):
            if key is None:
                add(None)
                continue
            of_kind = states[entity_plan.kind]
            state = of_kind.get(key)
            if state is None or state.newest_ms < forgotten_ms:
                state = EntityState(key, entity_plan)
                if not late:
                    of_kind[key] = state
            elif state.newest_ms > reached_ms:
                # Its windows reach back into what may be gone already: then it is gone for everybody.
                state.drop_expired(entity_plan)
            add(state)
        return found

    def moment(self, transaction: Transaction, customer: CustomerState, entities: list[EntityState | None]) -> Moment:
        """The transaction against the state before it. The same object is returned each time."""
        if customer.is_late(transaction.timestamp_ms, self.plan):
            customer.drop_expired(self.plan)
        self._moment.fill(transaction, customer, entities, self.plan)
        return self._moment

    def values(self, moment: Moment) -> list[Value]:
        """The feature values in the order of the set."""
        values: list[Value] = []
        for function in self._functions:
            values += function(moment)
        return values

    def is_first_time(self, transaction: Transaction, customer: CustomerState) -> bool:
        """Whether the customer is new to its merchant; False for sets that do not ask."""
        merchant = transaction.merchant_id
        details = customer.details
        return details is not None and merchant is not None and merchant not in details.merchants.codes

    def absorb(
        self, transaction: Transaction, customer: CustomerState, entities: list[EntityState | None], first_time: bool
    ) -> None:
        """Count an authorisation in its customer's and its entities' state."""
        timestamp_ms, amount = transaction.timestamp_ms, transaction.base_amount_minor
        user_id, card_id = transaction.user_id, transaction.card_id
        for state, entity_plan in zip(entities, self.plan.entities, strict=True):
            if state is not None:
                state.absorb(timestamp_ms, amount, user_id, card_id, first_time, entity_plan)
        self.absorb_customer(transaction, customer, entities)

    def absorb_customer(
        self, transaction: Transaction, customer: CustomerState, entities: list[EntityState | None]
    ) -> None:
        """Count an authorisation in its customer's state alone."""
        merchant = device = None
        if self.plan.detailed:
            merchant, device = transaction.merchant_id, transaction.device_id
            # The entity's own string object stands in every row that names it, instead of one copy a transaction.
            for state, entity_plan in zip(entities, self.plan.entities, strict=True):
                if state is not None and entity_plan.kind == "merchant":
                    merchant = state.key
                elif state is not None and entity_plan.kind == "device":
                    device = state.key
        customer.absorb(transaction, merchant, device, self.plan)

    def absorb_entities(
        self,
        transaction: Transaction,
        entities: list[EntityState | None],
        first_time: bool,
        source: str,
        offset: int,
    ) -> None:
        """Count an authorisation in those of its entities that have not counted this offset of `source` yet."""
        for state, entity_plan in zip(entities, self.plan.entities, strict=True):
            if state is None:
                continue
            counted = -1 if state.absorbed_offsets is None else state.absorbed_offsets.get(source, -1)
            if offset > counted:
                state.absorb(
                    transaction.timestamp_ms,
                    transaction.base_amount_minor,
                    transaction.user_id,
                    transaction.card_id,
                    first_time,
                    entity_plan,
                )

    def mark(self, transaction: Transaction, is_fraud: bool, states: EntityStates) -> None:
        """Count, or no longer count, `transaction` as known fraud with each of its entities.

        An entity that was forgotten in between knows nothing of it.
        """
        timestamp_ms = transaction.timestamp_ms
        for key, entity_plan in zip(self._identifiers(transaction), self.plan.entities, strict=False):
            state = None if key is None else states[entity_plan.kind].get(key)
            if state is None or not state.first_seen_ms <= timestamp_ms <= state.newest_ms:
                continue
            if is_fraud:
                state.mark_fraud(timestamp_ms, entity_plan)
            else:
                state.unmark_fraud(timestamp_ms)

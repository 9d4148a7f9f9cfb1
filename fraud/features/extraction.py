"""From transactions, in order, to feature values: the one place where state is read and then changed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import NamedTuple

from fraud.features.customer_state import CustomerState
from fraud.features.entity_state import EntityState
from fraud.features.moment import Moment
from fraud.features.plan import ENTITY_FIELDS, ENTITY_KINDS, EntityPlan, StatePlan
from fraud.features.table import FeatureSet, Value
from fraud.transaction import Transaction

CustomerStates = dict[str, CustomerState]
EntityStates = dict[str, dict[str, EntityState]]
# A transaction that became known as fraud, or no longer is.
Mark = tuple[Transaction, bool]


class Passage(NamedTuple):
    """An authorisation as its entities meet it; `moment` is None where no values are wanted.

    One that is `late` is not counted. `first_time` says whether the customer is new to the merchant. `source` and
    `offset` are where it came from: an entity that has counted that offset does not count it again. `due` became known
    before it.
    """

    transaction: Transaction
    moment: Moment | None
    late: bool
    first_time: bool
    due: Sequence[Mark] = ()
    source: str = ""
    offset: int = 0


class Extraction:
    """Reads the values of one feature set off loaded states, and absorbs transactions into them.

    `customers` and `entities` hold at least the states that the transactions name; states that do not exist yet are
    made and added. Calls are made in the order of arrival.
    """

    def __init__(self, feature_set: FeatureSet, plan: StatePlan, base_exponent: int) -> None:
        self.feature_set = feature_set
        self.plan = plan
        self._minor_units = 10**base_exponent
        self._functions = feature_set.functions(plan)
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
        elif timestamp_ms - state.newest_ms > self.plan.forget_after_ms and state.is_forgotten(timestamp_ms, self.plan):
            state = customers[user_id] = CustomerState(self.plan, state.sequence)
        return state

    def entity_keys(self, transaction: Transaction) -> list[tuple[str, str]]:
        """Kind and identifier of each entity that `transaction` names."""
        keys = zip(self._kinds, self._identifiers(transaction), strict=False)
        return [(kind, key) for kind, key in keys if key is not None]

    def moment(self, transaction: Transaction, customer: CustomerState, *, late: bool) -> Moment:
        """The transaction against the customer's state before it."""
        if late:
            customer.drop_expired(self.plan)
        return Moment(transaction, customer, self.plan, self._minor_units)

    def rows(self, passages: Sequence[Passage], entities: EntityStates) -> list[list[Value]]:
        """The values, in the order of the set, of each passage that has a moment. All are counted by their entities.

        No customer passes twice: customers' states are those before. One function reads all passages before the next
        one does, since code that runs again at once takes two thirds of the time: the processor has it at hand.
        """
        moments = [passage.moment for passage in passages if passage.moment is not None]
        columns: list[list[Sequence[Value]]] = [
            [] if read_by in ENTITY_KINDS else list(map(compute, moments)) for read_by, compute in self._functions
        ]
        for entity_plan in self.plan.entities:
            self._pass(passages, entities[entity_plan.kind], entity_plan, columns)
        return [list(chain.from_iterable(values)) for values in zip(*columns, strict=True)]

    def _pass(
        self,
        passages: Sequence[Passage],
        states: dict[str, EntityState],
        entity_plan: EntityPlan,
        columns: list[list[Sequence[Value]]],
    ) -> None:
        """Let the entities of one kind meet all passages, in order.

        What was forgotten by then is new: to all that follows, or, if late, to this passage alone.
        """
        kind = entity_plan.kind
        identifier = attrgetter(ENTITY_FIELDS[kind])
        reads = [(compute, columns[place].append) for place, (by, compute) in enumerate(self._functions) if by == kind]
        forget_after_ms, allowed_lateness_ms = self.plan.forget_after_ms, self.plan.allowed_lateness_ms
        for transaction, moment, late, first_time, due, source, offset in passages:
            for marked, is_fraud in due:
                self._mark(marked, is_fraud, states, entity_plan)
            key = identifier(transaction)
            state = None if key is None else states.get(key)
            timestamp_ms = transaction.timestamp_ms
            if key is not None and (state is None or state.newest_ms < timestamp_ms - forget_after_ms):
                state = EntityState(key, entity_plan)
                if not late:
                    states[key] = state
            elif state is not None and state.newest_ms > timestamp_ms + allowed_lateness_ms:
                # Its windows reach back into what may be gone already: then it is gone for everybody.
                state.drop_expired(entity_plan)
            if moment is not None:
                moment.entity = state
                for compute, add in reads:
                    add(compute(moment))
            if state is None or late:
                continue
            if state.absorbed_offsets is None or offset > state.absorbed_offsets.get(source, -1):
                state.absorb(
                    timestamp_ms,
                    transaction.base_amount_minor,
                    transaction.user_id,
                    transaction.card_id,
                    first_time,
                    entity_plan,
                )

    def is_first_time(self, transaction: Transaction, customer: CustomerState) -> bool:
        """Whether the customer is new to its merchant; False for sets that do not ask."""
        merchant = transaction.merchant_id
        details = customer.details
        return details is not None and merchant is not None and merchant not in details.merchants.codes

    def absorb(self, transaction: Transaction, customer: CustomerState, entities: EntityStates) -> None:
        """Count an authorisation in its customer's state, after its entities have counted it."""
        merchant, device = transaction.merchant_id, transaction.device_id
        if self.plan.detailed:
            # The entity's own string object stands in every row that names it, instead of one copy a transaction.
            if merchant is not None and (state := entities["merchant"].get(merchant)) is not None:
                merchant = state.key
            if device is not None and (state := entities["device"].get(device)) is not None:
                device = state.key
        customer.absorb(transaction, merchant, device, self.plan)

    def mark(self, marks: Sequence[Mark], states: EntityStates) -> None:
        """Count, or no longer count, transactions as known fraud with each of their entities."""
        for entity_plan in self.plan.entities:
            for marked, is_fraud in marks:
                self._mark(marked, is_fraud, states[entity_plan.kind], entity_plan)

    @staticmethod
    def _mark(transaction: Transaction, is_fraud: bool, states: dict[str, EntityState], plan: EntityPlan) -> None:
        """An entity that was forgotten in between knows nothing of it."""
        key, timestamp_ms = getattr(transaction, ENTITY_FIELDS[plan.kind]), transaction.timestamp_ms
        state = None if key is None else states.get(key)
        if state is None or not state.first_seen_ms <= timestamp_ms <= state.newest_ms:
            return
        if is_fraud:
            state.mark_fraud(timestamp_ms, plan)
        else:
            state.unmark_fraud(timestamp_ms)

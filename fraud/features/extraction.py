"""From transactions, in order, to feature values: the one place where state is read and then changed."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from fraud.features.compiled import Integers, Reals, compiled, integers_at
from fraud.features.customer_state import NO_POSITIONS, CustomerState, absorb_all, positions_of
from fraud.features.customer_words import EVENT_ADDRESS, EVENT_THINGS, MERCHANT, Table, known_entry
from fraud.features.entity_state import EntityState
from fraud.features.moment import Moment
from fraud.features.plan import ENTITY_FIELDS, ENTITY_KINDS, EntityPlan, StatePlan
from fraud.features.profile_values import ProfileField, ProfileValue, profile_rows
from fraud.features.run import Run, bound_windows
from fraud.features.table import MISSING, FeatureSet
from fraud.transaction import Transaction

CustomerStates = dict[str, CustomerState]
EntityStates = dict[str, dict[str, EntityState]]
# A transaction that became known as fraud, or no longer is.
Mark = tuple[Transaction, bool]


class Passage(NamedTuple):
    """An authorisation on its way past its customer and its entities.

    One that is `late` is read and not counted. `customer` is None for one that its customer has counted before: then
    `first_time` says whether it was new to its merchant. `source` and `offset` are where it came from: an entity that
    has counted that offset does not count it again. `due` became known before it.
    """

    transaction: Transaction
    customer: CustomerState | None
    late: bool
    first_time: bool = False
    due: Sequence[Mark] = ()
    source: str = ""
    offset: int = 0


class Passed(NamedTuple):
    """What was read for n passages: feature values, float64 [n, features]; whether the customer is new to the
    merchant; and the profile fields that were asked for. Of a passage without a customer they mean nothing.
    """

    matrix: Reals
    first_times: list[bool]
    profiles: list[list[ProfileValue]]


class Extraction:
    """Reads the values of one feature set off loaded states, and absorbs transactions into them.

    `customers` and `entities` hold at least the states that the transactions name; states that do not exist yet are
    made and added. Calls are made in the order of arrival.
    """

    def __init__(self, feature_set: FeatureSet, plan: StatePlan, base_exponent: int) -> None:
        self.feature_set = feature_set
        self.plan = plan
        self.minor_units = 10**base_exponent
        self._families = feature_set.families(plan)
        self._windows_ms = np.array(plan.customer_windows_ms, np.int64)
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

    def pass_all(
        self, passages: Sequence[Passage], entities: EntityStates, profile_fields: Sequence[ProfileField] = ()
    ) -> Passed:
        """Read customers and entities for each passage of a run, then let them count it. No customer passes twice."""
        profiles: list[list[ProfileValue]] = [[] for _ in passages]
        matrix = np.full((len(passages), len(self.feature_set.names)), MISSING)
        first_times = np.array([passage.first_time for passage in passages], np.int64)
        met = [(number, one, one.customer) for number, one in enumerate(passages) if one.customer is not None]
        numbers = [number for number, _, _ in met]
        transactions, customers = [one.transaction for _, one, _ in met], [customer for _, _, customer in met]
        if met:
            run = self._run(transactions, customers, [one.late for _, one, _ in met])
            matrix[numbers], first_times[numbers] = self._read(run)
            for number, values in zip(numbers, profile_rows(profile_fields, run, customers), strict=True):
                profiles[number] = values
        for entity_plan in self.plan.entities:
            self._pass(passages, first_times, entities[entity_plan.kind], entity_plan, matrix)
        if met:
            absorb_all(run.events, run.positions, customers, transactions, self.plan, self._shared(entities))
        return Passed(matrix, first_times.astype(np.bool_).tolist(), profiles)

    def _run(
        self, transactions: Sequence[Transaction], customers: Sequence[CustomerState], late: Sequence[bool]
    ) -> Run:
        packed = array("q")
        for transaction, customer, is_late in zip(transactions, customers, late, strict=True):
            packed.extend(customer.event(transaction, late=is_late))
        events = np.frombuffer(packed, np.int64).reshape(len(customers), -1)
        starts = np.empty((len(events), len(self._windows_ms) + 1), np.int64)
        bound_windows(events, self._windows_ms, self.plan.customer_retention_ms, starts)
        positions = positions_of(transactions) if self.plan.detailed else NO_POSITIONS
        return Run(events, positions, starts, self.minor_units)

    def _read(self, run: Run) -> tuple[Reals, Integers]:
        """What customers say: float64 [n, features] with gaps where entities do, and 1 for each new merchant."""
        matrix = np.empty((len(run.events), len(self.feature_set.names)))
        for read_by, columns, compute in self._families:
            if read_by not in ENTITY_KINDS:
                compute(run, matrix[:, columns])
        first_times = np.zeros(len(run.events), np.int64)
        if self.plan.detailed:
            _note_first_times(run.events, first_times)
        return matrix, first_times

    @staticmethod
    def _shared(entities: EntityStates) -> Callable[[Table, str], str]:
        """The entity's own string object stands in every state that names it, instead of one copy a transaction."""

        def shared(table: Table, name: str) -> str:
            state = entities["merchant" if table == Table.MERCHANT else "device"].get(name)
            return name if state is None else state.key

        return shared

    def _pass(self, passages, first_times, states, entity_plan, matrix) -> None:
        kind = entity_plan.kind
        identifier = attrgetter(ENTITY_FIELDS[kind])
        reads = [(compute, columns) for by, columns, compute in self._families if by == kind]
        forget_after_ms, allowed_lateness_ms = self.plan.forget_after_ms, self.plan.allowed_lateness_ms
        for row, (transaction, _customer, late, _first, due, source, offset) in enumerate(passages):
            first_time = bool(first_times[row])
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
                state.drop_expired(entity_plan)
            moment = Moment(transaction, self.minor_units)
            moment.entity = state
            for compute, columns in reads:
                matrix[row, columns] = compute(moment)
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


@compiled
def _note_first_times(events: Integers, first_times: Integers) -> None:
    """1 where the customer is new to the merchant that an event names."""
    for number in range(len(events)):
        merchant = events[number, EVENT_THINGS + MERCHANT]
        first_times[number] = merchant and not known_entry(
            integers_at(events[number, EVENT_ADDRESS]), MERCHANT, merchant
        )

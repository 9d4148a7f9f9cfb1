"""From transactions, in order, to feature values: the one place where state is read and then changed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from math import isnan
from operator import attrgetter

import numpy as np

from fraud.features.compiled import Reals
from fraud.features.customer_state import CustomerState
from fraud.features.entity_pass import EntityPass, EntityRun
from fraud.features.entity_run import EntityFamily
from fraud.features.entity_state import EntityState
from fraud.features.moment import Moment
from fraud.features.passage import Mark, Passage
from fraud.features.plan import ENTITY_FIELDS, ENTITY_KINDS, StatePlan
from fraud.features.table import Compute, Feature, FeatureSet, Value
from fraud.transaction import Transaction

CustomerStates = dict[str, CustomerState]
EntityStates = dict[str, dict[str, EntityState]]


class Extraction:
    """Reads the values of one feature set off loaded states, and absorbs transactions into them.

    `customers` and `entities` hold at least the states that the transactions name; states that do not exist yet are
    made and added. Calls are made in the order of arrival.
    """

    def __init__(self, feature_set: FeatureSet, plan: StatePlan, base_exponent: int) -> None:
        self.feature_set = feature_set
        self.plan = plan
        self._minor_units = 10**base_exponent
        self._passes: list[EntityPass] = []
        self._entity_rows: list[Feature] = []
        # What computes the values of each family, or where those of a family of entities stand.
        self._families: list[Compute | slice] = []
        plans = {entity.kind: entity for entity in plan.entities}
        for read_by, rows, function in feature_set.functions(plan):
            if isinstance(function, EntityFamily):
                start = len(self._entity_rows)
                self._passes.append(EntityPass(plans[read_by], plan, function, start))
                self._entity_rows += rows
                self._families.append(slice(start, start + len(rows)))
            else:
                self._families.append(function)
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
        # Customers' values first: their states are those before.
        computed = [None if isinstance(family, slice) else list(map(family, moments)) for family in self._families]
        out = np.empty((len(passages), len(self._entity_rows)))
        run = EntityRun(passages, [passage.first_time for passage in passages])
        for entity_pass in self._passes:
            entity_pass.go(run, entities[entity_pass.kind], out)
        wanted = out[[passage.moment is not None for passage in passages]]
        of_entities = _python_values(wanted, self._entity_rows)
        columns = [
            [values[family] for values in of_entities] if isinstance(family, slice) else values_of_customers
            for family, values_of_customers in zip(self._families, computed, strict=True)
        ]
        return [list(chain.from_iterable(values)) for values in zip(*columns, strict=True)]

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
        if marks:
            for entity_pass in self._passes:
                entity_pass.mark(marks, states[entity_pass.kind])


def _python_values(matrix: Reals, rows: Sequence[Feature]) -> list[list[Value]]:
    """The values of each line as numbers of their rows' kinds; what is missing stays so."""
    integers = [column for column, row in enumerate(rows) if row.kind == "integer"]
    lines: list[list[Value]] = matrix.tolist()
    for values in lines:
        for column in integers:
            if not isnan(values[column]):
                values[column] = int(values[column])
    return lines

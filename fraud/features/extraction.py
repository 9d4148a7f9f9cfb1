"""From transactions, in order, to feature values: the one place where state is read and then changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraud.features.compiled import Integers, Reals, compiled, integers_at
from fraud.features.customer_state import CustomerState, absorb_all
from fraud.features.customer_words import EVENT_ADDRESS, EVENT_LATE, EVENT_THINGS, MERCHANT, known_entry
from fraud.features.entity_pass import EntityPass, EntityRun
from fraud.features.entity_run import EntityFamily
from fraud.features.entity_state import EntityState
from fraud.features.facts import Facts, facts_of
from fraud.features.passage import Mark, Passages
from fraud.features.plan import ENTITY_FIELDS, ENTITY_KINDS, StatePlan
from fraud.features.profile_values import ProfileField, Profiles, read_profiles
from fraud.features.run import Run, bound_windows
from fraud.features.table import MISSING, CustomerFamily, FeatureSet
from fraud.transaction import Transaction

CustomerStates = dict[str, CustomerState]
EntityStates = dict[str, dict[str, EntityState]]


class Passed(NamedTuple):
    """What was read for n passages: feature values, float64 [n, features]; 1 where the customer is new to the merchant,
    else 0, int64 [n]; and the profile fields that were asked for. Of one without a customer the others mean nothing.
    """

    matrix: Reals
    first_times: Integers
    profiles: Profiles


class Extraction:
    """Reads the values of one feature set off loaded states, and absorbs transactions into them.

    `customers` and `entities` hold at least the states that the transactions name; states that do not exist yet are
    made and added. Calls are made in the order of arrival.
    """

    def __init__(self, feature_set: FeatureSet, plan: StatePlan, base_exponent: int) -> None:
        self.feature_set = feature_set
        self.plan = plan
        self.minor_units = 10**base_exponent
        self._customer_families: list[tuple[slice, CustomerFamily]] = []
        self._passes: list[EntityPass] = []
        plans = {entity.kind: entity for entity in plan.entities}
        for read_by, columns, family in feature_set.families(plan):
            if isinstance(family, EntityFamily):
                self._passes.append(EntityPass(plans[read_by], plan, family, columns.start))
            else:
                self._customer_families.append((columns, family))
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
        self,
        passages: Passages,
        entities: EntityStates,
        profile_fields: Sequence[ProfileField] = (),
        *,
        facts: Facts | None = None,
        wanted: bool = True,
    ) -> Passed:
        """Read customers and entities for each passage of a run, then let them count it. No customer passes twice.

        `facts` are those of the passages, if they are known already. Unless what is read is `wanted`, customers are not
        read.
        """
        known = self.facts(passages.transactions) if facts is None else facts
        customers = [customer for customer in passages.customers if customer is not None]
        transactions, late, rows, met = passages.transactions, passages.late, None, known
        if passages.repeated:
            rows = [row for row in range(len(passages)) if row not in passages.repeated]
            transactions, late, met = [transactions[row] for row in rows], [late[row] for row in rows], known.at(rows)
        run = self._run(met, customers, late) if customers else None
        if run is not None and wanted:
            matrix, profiles = self._read(run), read_profiles(profile_fields, run, customers)
        else:
            matrix, profiles = self._unread(len(customers)), Profiles.missing(profile_fields, len(customers))
        first_times = np.zeros(len(customers), np.int64)
        if run is not None and self.plan.detailed:
            _find_first_times(run.events, first_times)
        if rows is not None:
            matrix, first_times, profiles = self._spread(passages, rows, Passed(matrix, first_times, profiles))
        entity_run = EntityRun(passages, known.events, first_times)
        for entity_pass in self._passes:
            entity_pass.go(entity_run, entities[entity_pass.kind], matrix)
        if run is not None:
            absorb_all(met, customers, transactions, self.plan, self._shared(entities))
        return Passed(matrix, first_times, profiles)

    def facts(self, transactions: Sequence[Transaction], identities: NDArray[np.int64] | None = None) -> Facts:
        """What states will be told of these events; `identities`, int64 [n, 2], are their fingerprints."""
        return facts_of(transactions, self.plan, identities)

    def _unread(self, count: int) -> Reals:
        return np.full((count, len(self.feature_set.names)), MISSING)

    def _spread(self, passages: Passages, rows: Sequence[int], read: Passed) -> Passed:
        """What was read of the passages with a customer, those at `rows`, as what was read of all of them."""
        matrix, first_times = self._unread(len(passages)), np.zeros(len(passages), np.int64)
        matrix[rows], first_times[rows] = read.matrix, read.first_times
        first_times[list(passages.repeated)] = list(passages.repeated.values())
        # Of one without a customer any will do.
        places = np.zeros(len(passages), np.int64)
        places[rows] = range(len(rows))
        profiles = read.profiles.at(places.tolist()) if rows else Profiles.missing(read.profiles.fields, len(passages))
        return Passed(matrix, first_times, profiles)

    def _run(self, facts: Facts, customers: Sequence[CustomerState], late: Sequence[int]) -> Run:
        events = facts.events
        events[:, EVENT_ADDRESS] = [customer.words.buffer_info()[0] for customer in customers]
        events[:, EVENT_LATE] = late
        starts = np.empty((len(events), len(self._windows_ms) + 1), np.int64)
        bound_windows(events, self._windows_ms, self.plan.customer_retention_ms, starts)
        return Run(events, facts.positions, starts, self.minor_units)

    def _read(self, run: Run) -> Reals:
        """What customers say: float64 [n, features] with gaps where entities do."""
        # Never a single row: its columns would be another type of array, and all families compiled again for that.
        matrix = np.empty((max(2, len(run.events)), len(self.feature_set.names)))
        for columns, family in self._customer_families:
            family(run, matrix[:, columns])
        return matrix[: len(run.events)]

    @staticmethod
    def _shared(entities: EntityStates) -> Callable[[int, str], str]:
        """The entity's own string object stands in every state that names it, instead of one copy a transaction."""

        def shared(table: int, name: str) -> str:
            state = entities["merchant" if table == MERCHANT else "device"].get(name)
            return name if state is None else state.key

        return shared

    def mark(self, marks: Sequence[Mark], states: EntityStates) -> None:
        """Count, or no longer count, transactions as known fraud with each of their entities."""
        if marks:
            for entity_pass in self._passes:
                entity_pass.mark(marks, states[entity_pass.kind])


@compiled
def _find_first_times(events: Integers, first_times: Integers) -> None:
    """Put 1 where the customer is new to the merchant that an event names, int64 [n]."""
    for number in range(len(events)):
        merchant = events[number, EVENT_THINGS + MERCHANT]
        if merchant and not known_entry(integers_at(events[number, EVENT_ADDRESS]), MERCHANT, merchant):
            first_times[number] = 1

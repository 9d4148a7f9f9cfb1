"""Tokens of two keys: state under former tokens is found, and goes on under those of the present key.

Needed while something is remembered under the key before: for the longest window. What is not seen in that time is new
afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy

import msgspec

from fraud.features.customer_record import rename
from fraud.features.entity_state import EntityState, name_hashes
from fraud.features.extraction import CustomerStates, EntityStates
from fraud.features.plan import ENTITY_FIELDS, StatePlan
from fraud.transaction import Transaction

_TOKEN_FIELDS = ("user_id", *ENTITY_FIELDS.values())


class Rotation:
    """Carries the state that a batch needs over to its present tokens.

    `former` has, by token, the one of the key before; whoever makes tokens fills it.
    """

    def __init__(self, former: dict[str, str], plan: StatePlan) -> None:
        self.former = former
        self._plan = plan

    def before(self, transaction: Transaction) -> Transaction:
        """The transaction as it was made with the key before."""
        former = self.former
        values = {name: getattr(transaction, name) for name in Transaction.__struct_fields__}
        for name in _TOKEN_FIELDS:
            if values[name] is not None:
                values[name] = former.get(values[name], values[name])
        values["attributes"] = {
            name: former.get(value, value) if isinstance(value, str) else value
            for name, value in transaction.attributes.items()
        }
        return msgspec.convert(values, Transaction)

    def customer_ids(self, user_ids: Iterable[str]) -> list[str]:
        """The ids to load: these, and what they were before."""
        present = list(dict.fromkeys(user_ids))
        return present + [self.former[user_id] for user_id in present if user_id in self.former]

    def carry_customers(self, user_ids: Iterable[str], customers: CustomerStates) -> list[str]:
        """Let customers go on from what they were; returns those whose state differs from that of their history."""
        names = {former: token for token, former in self.former.items()}
        changed = []
        for user_id in dict.fromkeys(user_ids):
            state = customers.get(user_id)
            is_new = state is None
            if state is None:
                before = customers.get(self.former.get(user_id, user_id))
                if before is None:
                    continue
                state = customers[user_id] = deepcopy(before)
            if rename(state, names) or is_new:
                changed.append(user_id)
        return changed

    def entity_keys(self, keys: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """The entities to load: these, and what they were before."""
        return [*keys, *((kind, self.former[key]) for kind, key in keys if key in self.former)]

    def carry_entities(self, keys: Sequence[tuple[str, str]], states: EntityStates) -> None:
        """Let entities go on from what they were, with their customers and cards under present tokens."""
        names = name_hashes({former: token for token, former in self.former.items()})
        for kind, key in dict.fromkeys(keys):
            of_kind = states[kind]
            before = of_kind.pop(self.former[key], None) if key in self.former else None
            state = of_kind.get(key)
            if before is not None:
                state = of_kind[key] = self._goes_on(key, before, state)
            if state is not None:
                state.rename(names)

    def _goes_on(self, key: str, before: EntityState, state: EntityState | None) -> EntityState:
        if state is None:
            before.key = key
            return before
        # What was forgotten in between does not come back.
        was_forgotten = before.newest_ms + self._plan.forget_after_ms < state.first_seen_ms
        return state if was_forgotten else state.joined(before)

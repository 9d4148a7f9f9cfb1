"""Functions of an entity's sawtooth windows, for any kind of entity."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fraud.features.moment import Moment
from fraud.features.table import MISSING, Compute, Place, Value

# Numbers of entity, series, head cut and tail cut in a `Moment`.
EntityWindow = tuple[int, int, int, int]
EntityFunction = Callable[[int, int, int, int, Moment], Value]


def over_entity_window(compute: EntityFunction) -> Callable[[Place], Compute]:
    """For functions of an entity window, called with the numbers of entity, series, head cut and tail cut."""

    def build(place: Place) -> Compute:
        return partial(compute, place.entity, place.series, place.head, place.tail)

    return build


def window_count(entity: int, series: int, head: int, tail: int, moment: Moment) -> int:
    """Transactions of the window, the one being decided not included; 0 where there is no entity."""
    state = moment.entities[entity]
    if state is None:
        return 0
    cuts, counts = moment.cuts[entity][series], state.series[series].counts
    return counts[cuts[head] - 1] - counts[cuts[tail] - 1]


def amount_to_mean(entity: int, series: int, head: int, tail: int, moment: Moment) -> float:
    """The amount against the mean of the window."""
    state = moment.entities[entity]
    if state is None:
        return MISSING
    cuts, amounts = moment.cuts[entity][series], state.series[series].amounts
    total = amounts[cuts[head] - 1] - amounts[cuts[tail] - 1]
    return moment.amount * window_count(entity, series, head, tail, moment) / total if total else MISSING


def first_time_share(entity: int, series: int, head: int, tail: int, moment: Moment) -> float:
    """Share of the window's transactions whose customer was new to the entity."""
    count = window_count(entity, series, head, tail, moment)
    state = moment.entities[entity]
    if state is None or not count:
        return MISSING
    cuts, first_times = moment.cuts[entity][series], state.series[series].first_times
    return (first_times[cuts[head] - 1] - first_times[cuts[tail] - 1]) / count

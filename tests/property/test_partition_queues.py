"""Batches side by side: never two of one partition, none left out, and no more of them than is worth it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fraud.live.partition_queues import PartitionQueues, in_order


def queues(batch_size: int, lanes: int, worth_another: int, **waiting: int) -> PartitionQueues[tuple[str, int]]:
    """Queues with so many events waiting of each partition, named `p` and its number."""
    made: PartitionQueues[tuple[str, int]] = PartitionQueues(batch_size, lanes, worth_another)
    for name, events in waiting.items():
        for number in range(events):
            made.add(int(name[1:]), (name, number))
    return made


def test_a_batch_leaves_partitions_for_those_beside_it() -> None:
    waiting = queues(100, 2, 1, p0=3, p1=3, p2=3, p3=3)
    assert waiting.take().keys() == {0, 1}
    assert waiting.take().keys() == {2, 3}
    assert waiting.take() == {}


def test_a_partition_in_hand_waits_until_it_is_given_back() -> None:
    waiting = queues(2, 2, 1, p0=3)
    assert waiting.take() == {0: [("p0", 0), ("p0", 1)]}
    assert waiting.take() == {}
    waiting.give_back([0])
    assert waiting.take() == {0: [("p0", 2)]}
    assert len(waiting) == 0


def test_a_single_event_is_never_waited_with_while_nothing_else_is_done() -> None:
    assert queues(100, 2, 64, p5=1).take() == {5: [("p5", 0)]}


def test_beside_a_batch_in_hand_only_one_that_is_worth_it_is_begun() -> None:
    waiting = queues(100, 2, 4, p0=1)
    waiting.take()
    for number in range(3):
        waiting.add(1, ("p1", number))
    assert waiting.take() == {}
    waiting.add(1, ("p1", 3))
    assert len(waiting.take()[1]) == 4


def test_small_batches_by_setting_are_worth_being_begun_beside_another() -> None:
    waiting = queues(2, 2, 64, p0=2, p1=2)
    assert len(waiting.take()) == len(waiting.take()) == 1


def test_who_waits_longest_is_served_first_and_a_busy_partition_leaves_room() -> None:
    waiting = queues(10, 1, 1, p0=50, p1=2)
    assert {partition: len(events) for partition, events in waiting.take().items()} == {0: 5, 1: 2}
    waiting.give_back([0, 1])
    waiting.add(2, ("p2", 0))
    assert list(waiting.take()) == [0, 2]


@given(
    st.lists(st.tuples(st.sampled_from(["add", "take", "end"]), st.integers(0, 5)), max_size=80),
    st.integers(1, 7),
    st.integers(1, 3),
    st.integers(1, 10),
)
def test_every_event_is_taken_once_in_its_partitions_order(
    steps: list[tuple[str, int]], batch_size: int, lanes: int, worth_another: int
) -> None:
    waiting: PartitionQueues[int] = PartitionQueues(batch_size, lanes, worth_another)
    added: dict[int, list[int]] = {partition: [] for partition in range(6)}
    taken: dict[int, list[int]] = {partition: [] for partition in range(6)}
    in_hand: list[dict[int, list[int]]] = []

    def end() -> None:
        batch = in_hand.pop(0)
        for partition, events in batch.items():
            taken[partition] += events
        waiting.give_back(batch)

    def take() -> None:
        batch = waiting.take() if len(in_hand) < lanes else {}
        assert len(in_order(batch)) <= batch_size
        assert not any(batch.keys() & other.keys() for other in in_hand)
        if batch:
            in_hand.append(batch)

    for number, (step, partition) in enumerate(steps):
        if step == "add":
            waiting.add(partition, number)
            added[partition].append(number)
        elif step == "take":
            take()
        elif in_hand:
            end()
    while in_hand or len(waiting):
        take()
        end()
    assert taken == added

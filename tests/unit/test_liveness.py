"""A worker is live while what has to move does."""

from __future__ import annotations

from fraud.live.liveness import Liveness

BATCH, AGENT = "the same batch of transactions is in hand", "no agent consumes labels"


def test_what_stands_still_for_longer_than_patience_is_named() -> None:
    liveness = Liveness(patience=3)
    for _ in range(3):
        liveness.look({BATCH: 7})
        assert liveness.problem == ""
    liveness.look({BATCH: 7})
    assert liveness.problem == BATCH


def test_what_moves_may_do_so_for_ever() -> None:
    liveness = Liveness(patience=1)
    for number in range(10):
        liveness.look({BATCH: number})
        assert liveness.problem == ""


def test_patience_begins_anew_with_every_look_that_excuses() -> None:
    liveness = Liveness(patience=2)
    for _ in range(5):
        liveness.look({BATCH: 7})
        liveness.look({BATCH: 7})
        liveness.look({})
    assert liveness.problem == ""


def test_what_moves_does_not_hide_what_stands_still() -> None:
    liveness = Liveness(patience=2)
    for number in range(4):
        liveness.look({BATCH: number, AGENT: None})
    assert liveness.problem == AGENT


def test_a_worker_that_moves_again_is_live_again() -> None:
    liveness = Liveness(patience=1)
    liveness.look({BATCH: 7})
    liveness.look({BATCH: 7})
    assert liveness.problem
    liveness.look({BATCH: 8})
    assert liveness.problem == ""

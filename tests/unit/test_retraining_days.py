"""On a given day the scheduled job learns and judges the same, whenever it runs, and never on what was not known."""

from __future__ import annotations

import pytest

from fraud.scoring.registry import Registry
from training.dataset import DatasetError
from training.metrics.judged import DAY_MS
from training.registry import Author, Subject, archived, shadowed
from training.retraining import retraining_periods, shadowed_alone

ANN = Author("Ann", "2026-03-01T12:00:00Z", "because")
HOUR_MS = DAY_MS // 24


def periods(as_of_ms: float, **changed):
    asked = {
        "maturity_days": 30.0,
        "judged_days": 14.0,
        "train_days": None,
        "first_row_ms": 0,
        "champion_learned_until_ms": 20 * DAY_MS,
    }
    return retraining_periods(round(as_of_ms), **(asked | changed))


def test_the_last_mature_days_are_judged_and_everything_before_is_learned_from():
    found = periods(100.5 * DAY_MS)
    assert (found.train_from_ms, found.train_to_ms, found.validate_to_ms) == (0, 56 * DAY_MS, 70 * DAY_MS)


@pytest.mark.parametrize("hour", [0, 1, 23])
def test_every_run_of_a_day_does_the_same(hour):
    assert periods(100 * DAY_MS + hour * HOUR_MS) == periods(100 * DAY_MS)


def test_the_champion_is_not_judged_on_what_it_has_learned():
    found = periods(100 * DAY_MS, champion_learned_until_ms=62 * DAY_MS + HOUR_MS)
    assert (found.train_to_ms, found.validate_to_ms) == (63 * DAY_MS, 70 * DAY_MS)


def test_before_a_day_is_mature_it_says_when_one_will_be():
    with pytest.raises(DatasetError, match=r"no day is mature .* 1970-03-12.* at 1970-04-12T00:00:00"):
        periods(100 * DAY_MS, champion_learned_until_ms=70 * DAY_MS)
    assert periods(101 * DAY_MS, champion_learned_until_ms=70 * DAY_MS).validate_to_ms == 71 * DAY_MS


def test_a_window_of_training_slides():
    assert periods(100 * DAY_MS, train_days=20.0).train_from_ms == 36 * DAY_MS
    assert periods(100 * DAY_MS, train_days=20.0, first_row_ms=40 * DAY_MS).train_from_ms == 40 * DAY_MS


def test_a_new_model_takes_the_place_of_the_retrained_one_before_and_of_nobody_else():
    registry = Registry()
    for name in ("retrained-a", "by_hand"):
        registry = shadowed(registry, Subject(name, "0" * 64), ANN)
    registry = archived(registry, Subject("retrained-0", "0" * 64), ANN)
    after = shadowed_alone(registry, Subject("retrained-b", "1" * 64, "e" * 64), ANN)
    states = {name: change.state for name, change in after.standing.items()}
    assert states == {
        "retrained-a": "archived",
        "by_hand": "shadow",
        "retrained-0": "archived",
        "retrained-b": "shadow",
    }
    assert shadowed_alone(after, Subject("retrained-b", "1" * 64, "e" * 64), ANN) == after

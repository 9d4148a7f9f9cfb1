"""What the scheduled retraining does on a day: the same in every run of that day, so that a killed one goes on."""

from __future__ import annotations

import hashlib

import msgspec

from fraud.scoring.registry import Registry
from fraud.transaction import timestamp_to_text
from training.configuration import FitConfiguration
from training.dataset import DatasetError, data_hash
from training.fitting import FitPeriods, training_rows, validation_rows
from training.labelled_rows import LabelledRows
from training.metrics.judged import DAY_MS
from training.registry import Author, Subject, archived, shadowed

# What such models are called: those of earlier days leave the shadow when a new one comes.
NAME_PREFIX = "retrained-"
# So much of a hash keeps two models of one day apart.
_NAME_DIGITS = 8


def retraining_periods(
    as_of_ms: int,
    *,
    maturity_days: float,
    judged_days: float,
    train_days: float | None,
    first_row_ms: int,
    champion_learned_until_ms: int,
) -> FitPeriods:
    """Learn from what was known when the judged days began, judge on the last days whose labels are mature.

    Every end is midnight UTC. The judged days begin after the champion's training, or it would be compared on what it
    has learned. Raises `DatasetError` while there is no such day.
    """
    judge_to_ms = _midnight(as_of_ms - round(maturity_days * DAY_MS))
    judge_from_ms = _midnight_or_later(max(judge_to_ms - round(judged_days * DAY_MS), champion_learned_until_ms))
    if judge_to_ms - judge_from_ms < DAY_MS:
        ready_ms = judge_from_ms + DAY_MS + round(maturity_days * DAY_MS)
        raise DatasetError(
            f"no day is mature since the champion's training ended on "
            f"{timestamp_to_text(champion_learned_until_ms)[:10]}: with labels that take {maturity_days:g} days the "
            f"first one is at {timestamp_to_text(ready_ms)}"
        )
    from_ms = first_row_ms if train_days is None else judge_from_ms - round(train_days * DAY_MS)
    return FitPeriods(max(from_ms, first_row_ms), judge_from_ms, judge_to_ms, maturity_days)


def retrained_name(rows: LabelledRows, configuration: FitConfiguration, periods: FitPeriods) -> str:
    """The model's name: the day, and a hash of everything that makes it what it is. Raises `DatasetError`."""
    content = data_hash((training_rows(rows, periods), validation_rows(rows, periods)))
    told = msgspec.json.encode((content, configuration, periods), order="sorted")
    day = timestamp_to_text(periods.validate_to_ms)[:10]
    return f"{NAME_PREFIX}{day}-{hashlib.sha256(told).hexdigest()[:_NAME_DIGITS]}"


def shadowed_alone(registry: Registry, subject: Subject, author: Author) -> Registry:
    """The model scores in shadow; those that retraining put there before are archived. Raises `RegistryError`."""
    after = shadowed(registry, subject, author)
    for change in registry.shadows:
        if change.model.startswith(NAME_PREFIX) and change.model != subject.model:
            after = archived(after, Subject(change.model, change.content_hash, change.evaluation_hash), author)
    return after


def _midnight(moment_ms: int) -> int:
    return moment_ms // DAY_MS * DAY_MS


def _midnight_or_later(moment_ms: int) -> int:
    return -(-moment_ms // DAY_MS) * DAY_MS

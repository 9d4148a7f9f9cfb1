"""Gates before a model may decide: each a question about one evaluation, with its answer in words."""

from __future__ import annotations

import msgspec

from training.evaluation import METRICS
from training.metrics.bootstrap import Interval

# What may not be worse than the champion: the ranking as a whole, and the cards that a team looks at each day.
GUARDED_METRICS = ("average_precision", "card_precision_100")
# Fewer frauds make intervals so wide that a model that finds none of them would pass.
LEAST_FRAUDS = 30
# A quarter more alerts is a quarter more work for people who plan by the week; a quarter fewer is what a model that
# has gone blind looks like.
MOST_ALERT_CHANGE = 0.25
# A batch of 1,024 rows then takes a tenth of a second, which is what a decision may take in all.
MOST_MICROSECONDS_A_ROW = 100.0


class Alerts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Alerts that the policy raises over `days` days with the scores of either model.

    `unread_names`: what conditions read and the rows do not hold. There it is missing, for both models alike.
    """

    champion: float
    candidate: float
    days: int
    unread_names: tuple[str, ...] = ()


class Gate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question that a model has passed or failed, and the figures that say so."""

    name: str
    passed: bool
    told: str


def evidence_gate(frauds: int) -> Gate:
    """Enough frauds were judged that the intervals say something."""
    return Gate("evidence", frauds >= LEAST_FRAUDS, f"{frauds:,} frauds judged, at least {LEAST_FRAUDS} are needed")


def metric_gates(differences: dict[str, Interval]) -> list[Gate]:
    """The model is not worse than the champion: no paired interval of a guarded metric lies wholly below zero."""
    found = []
    for metric in GUARDED_METRICS:
        of_metric = differences[metric]
        if of_metric.value is None or of_metric.high is None or of_metric.low is None:
            found.append(Gate(metric, passed=False, told=f"{METRICS[metric]} has no value in this period"))
            continue
        interval = f"{of_metric.value:+.3f} [{of_metric.low:+.3f}, {of_metric.high:+.3f}]"
        found.append(Gate(metric, of_metric.high >= 0, f"{METRICS[metric]} against the champion's: {interval}"))
    return found


def alert_gate(alerts: Alerts) -> Gate:
    """The policy raises about as many alerts as with the champion."""
    told = (
        f"{alerts.candidate / alerts.days:,.1f} alerts a day at the active policy, "
        f"{alerts.champion / alerts.days:,.1f} with the champion"
    )
    if not alerts.champion:
        return Gate("alerts", not alerts.candidate, told)
    change = alerts.candidate / alerts.champion - 1
    return Gate(
        "alerts", abs(change) <= MOST_ALERT_CHANGE, f"{told}: {change:+.1%}, at most {MOST_ALERT_CHANGE:.0%} either way"
    )


def parity_gate(problem: str) -> Gate:
    """A row's score has the same bits in every batch, and contributions add up to it. `problem` says what does not."""
    return Gate("parity", not problem, problem or "the same bits in every size of batch; contributions add up")


def speed_gate(microseconds_a_row: float) -> Gate:
    """A batch is scored within its share of a decision's time."""
    return Gate(
        "speed",
        microseconds_a_row <= MOST_MICROSECONDS_A_ROW,
        f"{microseconds_a_row:.1f} microseconds a row, at most {MOST_MICROSECONDS_A_ROW:.0f}",
    )

"""A model judged against the champion: everything that the gates, the card and the registry rest on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec
import numpy as np

from fraud.rules.policy import Policy
from fraud.rules.values import Kind
from fraud.scoring.manifest import ModelRefusedError
from fraud.scoring.model import Model, check_contributions
from fraud.transaction import timestamp_to_ms, timestamp_to_text
from training.alert_volume import alert_count, policy_columns, unread_names
from training.dataset import DatasetError, FloatArray
from training.evaluation import Evaluation, EvaluationOptions, JudgedPeriod, evaluate
from training.exact_scores import unrounded_scores
from training.gates import Alerts, Gate, alert_gate, evidence_gate, metric_gates, parity_gate, speed_gate
from training.labelled_rows import LabelledRows
from training.metrics.bootstrap import Interval
from training.metrics.judged import DAY_MS
from training.metrics.segments import Segment

EVALUATION_VERSION = 1
# Alone, an odd number, and what a worker takes at once: where a vectorised sum may round differently.
_PARITY_BATCHES = (1, 7, 256)
# As many single rows as take a second with the slowest model that the speed gate lets through.
_PARITY_ROWS = 1_024
_CONTRIBUTION_ROWS = 64
_SPEED_ROWS = 1_024
# The fastest of some: on a shared machine the others tell about the neighbours.
_SPEED_REPEATS = 5


class Judged(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model or policy that a comparison rests on: its name (a model's is that of its folder) and content hash."""

    name: str
    content_hash: str


class AgainstChampion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file `evaluation-*.json` beside a model. Times are RFC 3339 in UTC, `period_to` is exclusive.

    `differences` are paired, candidate less champion. `segments` are the candidate's. Labels are as known at
    `known_by`. `judged_at` orders evaluations of one model.
    """

    candidate: Judged
    champion: Judged
    policy: Judged
    judged_at: str
    known_by: str
    period_from: str
    period_to: str
    removed_days: float | None
    rows: int
    frauds: int
    customers: int
    metrics: dict[str, Interval]
    champion_metrics: dict[str, Interval]
    differences: dict[str, Interval]
    segments: tuple[Segment, ...]
    alerts: Alerts
    gates: tuple[Gate, ...]
    evaluation_version: int = EVALUATION_VERSION

    @property
    def failed(self) -> tuple[Gate, ...]:
        """The gates that the model did not pass."""
        return tuple(gate for gate in self.gates if not gate.passed)


@dataclass(frozen=True)
class Contest:
    """Two models that take the same features, the policy that both serve, and what its conditions may read."""

    candidate_name: str
    candidate: Model
    champion_name: str
    champion: Model
    policy: Policy
    kinds: Mapping[str, Kind]


@dataclass(frozen=True)
class ContestPeriod:
    """What is judged, UTC milliseconds: payments of [from_ms, to_ms) by labels as known at `known_by_ms`.

    `removed_days`: customers are left out for frauds from so many days before the period on; None for nobody.
    """

    from_ms: int
    to_ms: int
    known_by_ms: int
    removed_days: float | None


def against_champion(
    rows: LabelledRows,
    contest: Contest,
    period: ContestPeriod,
    options: EvaluationOptions,
    clock: Callable[[], float],
    judged_at: str,
) -> AgainstChampion:
    """Judge the candidate of `contest` on `rows`, whose labels are as known at the end.

    `clock` gives seconds, for the speed gate; `judged_at` is RFC 3339. Raises `DatasetError` where a model has learned
    from the period or the period has one class alone, `ModelRefusedError` where a model cannot score.
    """
    _refuse_learned(contest, period.from_ms)
    compromised_from_ms = None if period.removed_days is None else period.from_ms - round(period.removed_days * DAY_MS)
    positions = rows.test_positions(period.from_ms, period.to_ms, compromised_from_ms=compromised_from_ms)
    judged = rows.judged(positions)
    if not judged.has_both_classes:
        raise DatasetError(
            f"of {len(judged)} rows with a known outcome in the period {int(judged.labels.sum())} are fraud: "
            "nothing can be judged"
        )
    matrix = rows.matrix[positions]
    both = {"candidate": contest.candidate, "champion": contest.champion}
    scores = {name: unrounded_scores(model, matrix) for name, model in both.items()}
    found = evaluate([JudgedPeriod(period.from_ms, judged, scores)], replace(options, baselines=("champion",)))
    alerts = _alerts(rows, contest, period)
    differences = found.comparisons[0].differences
    gates = (
        evidence_gate(found.frauds),
        *metric_gates(differences),
        alert_gate(alerts),
        parity_gate(parity_problem(contest.candidate, matrix[:_PARITY_ROWS])),
        speed_gate(microseconds_a_row(contest.candidate, matrix, clock)),
    )
    return _told(contest, period, found, differences, alerts, gates, judged_at)


def _told(
    contest: Contest,
    period: ContestPeriod,
    found: Evaluation,
    differences: dict[str, Interval],
    alerts: Alerts,
    gates: tuple[Gate, ...],
    judged_at: str,
) -> AgainstChampion:
    candidate = found.model("candidate")
    return AgainstChampion(
        candidate=Judged(contest.candidate_name, contest.candidate.content_hash),
        champion=Judged(contest.champion_name, contest.champion.content_hash),
        policy=Judged(contest.policy.name, contest.policy.content_hash),
        judged_at=judged_at,
        known_by=timestamp_to_text(period.known_by_ms),
        period_from=timestamp_to_text(period.from_ms),
        period_to=timestamp_to_text(period.to_ms),
        removed_days=period.removed_days,
        rows=found.rows,
        frauds=found.frauds,
        customers=found.customers,
        metrics=candidate.metrics,
        champion_metrics=found.model("champion").metrics,
        differences=differences,
        segments=tuple(candidate.segments),
        alerts=alerts,
        gates=gates,
    )


def _refuse_learned(contest: Contest, from_ms: int) -> None:
    for name, model in ((contest.candidate_name, contest.candidate), (contest.champion_name, contest.champion)):
        refuse_learned(name, model, from_ms)


def refuse_learned(name: str, model: Model, from_ms: int) -> None:
    """Raise `DatasetError` if the model has learned from what came at or after `from_ms`."""
    learned_until = model.manifest.training.period_to
    if timestamp_to_ms(datetime.fromisoformat(learned_until)) > from_ms:
        raise DatasetError(
            f"the model {name} has learned until {learned_until} and cannot be judged on what came before. "
            "Set --from to that time or later"
        )


def _alerts(rows: LabelledRows, contest: Contest, period: ContestPeriod) -> Alerts:
    """Over every payment of the period, whatever is known of its outcome: each of them is decided."""
    policy, times = contest.policy, rows.timestamps_ms
    positions = np.flatnonzero((times >= period.from_ms) & (times < period.to_ms))
    columns = policy_columns(policy, rows, positions, contest.kinds)
    matrix = rows.matrix[positions]
    return Alerts(
        champion=alert_count(policy, columns, contest.champion.score(matrix)),
        candidate=alert_count(policy, columns, contest.candidate.score(matrix)),
        days=int(np.ptp(times[positions] // DAY_MS)) + 1,
        unread_names=unread_names(policy, rows),
    )


def parity_problem(model: Model, matrix: FloatArray) -> str:
    """What keeps the model from scoring the same online, in replay and in training; empty if nothing does.

    `matrix` is float64 [rows, features], NaN is missing.
    """
    whole = model.score(matrix)
    for size in _PARITY_BATCHES:
        parts = [model.score(matrix[start : start + size]) for start in range(0, len(matrix), size)]
        differing = int((np.concatenate(parts).view(np.int64) != whole.view(np.int64)).sum())
        if differing:
            return f"{differing:,} of {len(matrix):,} scores differ when rows are scored {size} at a time"
    try:
        check_contributions(model, matrix[:_CONTRIBUTION_ROWS])
    except ModelRefusedError as error:
        return str(error)
    return ""


def microseconds_a_row(model: Model, matrix: FloatArray, clock: Callable[[], float]) -> float:
    """How long a row takes in a batch of 1,024; `clock` gives seconds."""
    batch = np.resize(matrix, (_SPEED_ROWS, matrix.shape[1]))
    seconds = []
    for _ in range(_SPEED_REPEATS):
        started = clock()
        model.score(batch)
        seconds.append(clock() - started)
    return min(seconds) / _SPEED_ROWS * 1e6

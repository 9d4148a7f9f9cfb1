"""What was blocked has no outcome; with a control group its estimates are those of a world without blocks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from learning_rows import DAY_MS, START_MS, origin

from fraud.decision import ACTIONS
from fraud.features import feature_set
from fraud.ports import Origin, StoredDecision
from fraud.rules.policy import parse_policy
from fraud.transaction import Label, Transaction
from training.building import rows_of_blocks
from training.commands.judging import unknowable
from training.evaluation import EvaluationOptions, JudgedPeriod, evaluate
from training.history_dataset import DecidedHistory, known_rows
from training.labelled_rows import UNKNOWN, LabelledRows
from training.metrics.cards import CardRanking
from training.metrics.cost import CostModel
from training.metrics.judged import JudgedRows

FEATURES = feature_set("handbook")
COUNT = 4_000
KNOWN_BY_MS = START_MS + 100 * DAY_MS
POLICY = "policy: test\nversion: 1\nscore_thresholds: {block: 0.7}\n"
COST = CostModel(review_threshold=0.6)


class World:
    """Payments of ten days with an outcome each, the score that decided, and another model's score as first feature."""

    def __init__(self) -> None:
        generator = np.random.default_rng(11)
        risk = generator.beta(0.6, 3.0, COUNT)
        self.fraud = generator.random(COUNT) < risk**1.5
        self.deciding = np.clip(risk + generator.normal(0, 0.15, COUNT), 0, 1)
        self.other = np.clip(risk + generator.normal(0, 0.2, COUNT), 0, 1)
        self.amounts_minor = generator.integers(100, 50_000, COUNT)
        self.times_ms = START_MS + np.sort(generator.integers(0, 10 * DAY_MS, COUNT))

    def transaction(self, row: int) -> Transaction:
        return Transaction(
            transaction_id=f"t{row}",
            user_id=f"u{row}",
            timestamp_ms=int(self.times_ms[row]),
            amount_minor=int(self.amounts_minor[row]),
            currency="EUR",
            base_amount_minor=int(self.amounts_minor[row]),
        )

    def history(self, control: str) -> LabelledRows:
        """What history holds when this policy has decided: a blocked payment was never reported as fraud."""
        policy = parse_policy(POLICY + control, "policy.yaml", {})
        evaluation = policy.evaluate({"score": self.deciding}, COUNT)
        evaluation = policy.with_draws(evaluation, [(f"u{row}", f"t{row}") for row in range(COUNT)])
        found = DecidedHistory(FEATURES, -np.inf, np.inf)
        labels = {}
        for row in range(COUNT):
            action = ACTIONS[evaluation.action_codes[row]]
            transaction = self.transaction(row)
            found.add(self._stored(transaction, row, action, evaluation.drawn.get(row, 1.0)), {})
            if self.fraud[row] and action != "block":
                known_at_ms = transaction.timestamp_ms + 5 * DAY_MS
                label = Label(f"l{row}", f"t{row}", f"u{row}", "fraud", "chargeback", known_at_ms)
                labels[f"u{row}", f"t{row}"] = [label]
        known = known_rows(found.in_order(), labels, known_by_ms=KNOWN_BY_MS, maturity_days=30)
        return rows_of_blocks(msgspec.structs.replace(origin(FEATURES.names), source="history"), known.blocks())

    def _stored(self, transaction: Transaction, row: int, action: str, probability: float) -> StoredDecision:
        content = {
            "action": action,
            "assignment_probability": probability,
            "degraded": [],
            "features": dict.fromkeys(FEATURES.names, 0.0) | {FEATURES.names[0]: self.other[row]},
            "versions": {"feature_set": {"hash": FEATURES.schema_hash}},
        }
        return StoredDecision(transaction, Origin("a:0", row, row), json.dumps(content).encode(), "", False, False)

    def truth(self) -> LabelledRows:
        """The same payments had none been blocked."""
        rows = self.history("")
        return replace(rows, labels=self.fraud.astype(np.int8), weights=np.ones(COUNT))


WORLD = World()


def control(number: int, share: float = 0.25) -> str:
    return f"control_group: {{share: {share}, key: 0123456789abcdef-{number}}}\n"


def judged(rows: LabelledRows) -> tuple[JudgedRows, np.ndarray]:
    positions = rows.test_positions(START_MS, KNOWN_BY_MS, compromised_from_ms=None)
    return rows.judged(positions), rows.matrix[positions, 0]


def estimates(rows: LabelledRows) -> dict[str, float]:
    """Everything that an evaluation says of the other model, by name."""
    of_rows, scores = judged(rows)
    options = EvaluationOptions(100, COST, None, 0, draws=1)
    (model,) = evaluate([JudgedPeriod(START_MS, of_rows, {"other": scores})], options).models
    assert model.workload is not None
    return {
        **{name: interval.value or 0.0 for name, interval in model.metrics.items()},
        "fraud money": model.money.fraud_minor / 1e6,
        "money prevented": model.money.prevented_minor / 1e6,
        "net saving": model.money.net_minor / 1e6,
        "reviews a day": model.workload.mean,
    }


def over_draws(number: int) -> dict[str, np.ndarray]:
    runs = [estimates(WORLD.history(control(seed))) for seed in range(number)]
    return {name: np.array([run[name] for run in runs]) for name in runs[0]}


def test_weighted_estimates_are_unbiased_where_naive_ones_are_not() -> None:
    truth, naive, weighted = estimates(WORLD.truth()), estimates(WORLD.history("")), over_draws(30)
    # A ratio of two unbiased sums is off by the inverse of the number of rows; recall at one false positive in a
    # thousand stands on the three highest of them, and card precision is said to be approximate.
    inexact = {"recall_at_0.1_percent_false_positives", "card_precision_100"}
    for name in truth.keys() - inexact:
        error = weighted[name].std(ddof=1) / np.sqrt(len(weighted[name]))
        assert abs(weighted[name].mean() - truth[name]) < 4 * error, name
        assert abs(naive[name] - truth[name]) > 4 * error, name


def test_without_a_control_group_the_report_says_what_it_cannot_know() -> None:
    rows = WORLD.history("")
    blocked = int((WORLD.deciding >= 0.7).sum())
    told = " ".join(unknowable(rows))
    assert f"{blocked:,} payments were blocked" in told
    assert "No control group was drawn" in told
    assert "is not known" in told
    of_rows, _ = judged(rows)
    assert len(of_rows) == COUNT - blocked


def test_with_a_control_group_the_report_says_who_stands_for_whom() -> None:
    rows = WORLD.history(control(0))
    told = " ".join(unknowable(rows))
    assert f"{int((rows.weights > 1).sum()):,} others were let through by a control group" in told
    assert "up to 4.0 payments each" in told


def test_what_was_blocked_is_in_the_dataset_and_never_learned_as_legitimate() -> None:
    rows = WORLD.history(control(0))
    assert len(rows) == COUNT
    assert rows.prevented.sum() == (rows.weights == 0).sum() > 0
    assert (rows.labels_known_by(KNOWN_BY_MS, 30)[rows.prevented] == UNKNOWN).all()
    learned = rows.learnable(START_MS, KNOWN_BY_MS, known_by_ms=KNOWN_BY_MS, maturity_days=30)
    assert learned.row_count == COUNT - rows.prevented.sum()


def stored_and_labelled(blocked: bool, probability: float, labels: Sequence[Label]) -> tuple[int, float]:
    found = DecidedHistory(FEATURES, -np.inf, np.inf)
    found.add(WORLD._stored(WORLD.transaction(0), 0, "block" if blocked else "allow", probability), {})
    known = known_rows(found.rows, {("u0", "t0"): labels}, known_by_ms=KNOWN_BY_MS, maturity_days=30)
    return int(known.labels[0]), float(known.weights[0])


@pytest.mark.parametrize(
    ("blocked", "probability", "is_labelled", "expected"),
    [
        (False, 1.0, False, (0, 1.0)),
        (False, 1.0, True, (1, 1.0)),
        (False, 0.25, False, (0, 4.0)),
        (False, 0.25, True, (1, 4.0)),
        (True, 0.75, False, (UNKNOWN, 0.0)),
        # Somebody found out about one that others stand for already: to learn from, not to judge by.
        (True, 0.75, True, (1, 0.0)),
        (True, 1.0, False, (UNKNOWN, 0.0)),
        (True, 1.0, True, (1, 1.0)),
    ],
)
def test_how_many_payments_an_outcome_stands_for(
    blocked: bool, probability: float, is_labelled: bool, expected: tuple[int, float]
) -> None:
    label = Label("l", "t0", "u0", "fraud", "analyst", START_MS + 20 * DAY_MS)
    assert stored_and_labelled(blocked, probability, [label] if is_labelled else []) == expected


def test_a_customer_who_stands_for_four_takes_four_places() -> None:
    rows = JudgedRows(
        timestamps_ms=np.zeros(3, dtype=np.int64),
        customers=np.arange(3, dtype=np.int32),
        labels=np.array([0, 1, 1], dtype=np.int8),
        base_amounts_minor=np.ones(3, dtype=np.int64),
        weights=np.array([4.0, 1.0, 1.0]),
        scenarios=np.full(3, -1, dtype=np.int32),
    )
    ranking = CardRanking(np.array([0.9, 0.8, 0.7]), rows)
    assert [ranking.precision(k) for k in (4, 5, 6)] == [0.0, 1 / 5, 2 / 6]

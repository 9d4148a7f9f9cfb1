"""Score, rules, decision: what is done with a batch of transactions, frozen as canonical bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat, starmap
from operator import attrgetter

import msgspec
import numpy as np
from numpy.typing import NDArray

from fraud.decision import (
    ACTIONS,
    ALLOW,
    BLOCK,
    Action,
    Artefact,
    Decision,
    RuleHit,
    Scalar,
    ScoreReason,
    Versions,
    canonical_bytes_of_each,
    content_sha256,
)
from fraud.features.feature_text import FeatureText
from fraud.features.table import FeatureSet, typed
from fraud.money import RateTable
from fraud.rule_inputs import GatheredBatch, RuleInputs
from fraud.rules.policy import Evaluation, Policy
from fraud.rules.policy_file import Rule
from fraud.rules.values import Kind
from fraud.scoring.model import Model
from fraud.transaction import Transaction

# More than a person reads; the exact contributions of all features can be computed again from the decision.
SCORE_REASONS = 5
CONTRIBUTION_DECIMALS = 6
# What a policy recommends for every row that a control group draws about.
BLOCKED = ACTIONS[BLOCK]


@dataclass(frozen=True)
class DecisionBatch:
    """What was decided about n transactions, in their order.

    `scores` float64 [n], NaN without a model; `canonical` the canonical bytes of each decision, `hashes`
    their SHA-256 in hexadecimal; `reason_codes` and `notifications` n lists.
    """

    scores: NDArray[np.float64]
    evaluation: Evaluation
    reason_codes: list[list[str]]
    notifications: list[list[str]]
    canonical: list[bytes]
    hashes: list[str]

    def is_alert(self, row: int) -> bool:
        """Whether the decision asks somebody to act."""
        return bool(self.evaluation.action_codes[row] != ALLOW or self.notifications[row])


@dataclass(frozen=True)
class _Outcomes:
    """What is said about each of n rows: n lists of each kind. All rows about which there is nothing share one."""

    notifications: list[list[str]]
    reason_codes: list[list[str]]
    rule_hits: list[list[RuleHit]]
    score_reasons: list[list[ScoreReason]]

    @classmethod
    def nothing(cls, rows: int) -> _Outcomes:
        return cls([[]] * rows, [[]] * rows, [[]] * rows, [[]] * rows)


# Different sets of rules that hit together, with what is said about each: a policy has dozens in use. Each is a
# kilobyte; beyond this many somebody probes the policy, and they are made again.
_REMEMBERED_FINDINGS = 4_096


@dataclass(frozen=True)
class _Finding:
    """What is said whenever exactly these rules hit and the score asks for this action."""

    notifications: list[str]
    reason_codes: list[str]
    rules: list[Rule]


def decision_versions(feature_set: FeatureSet, policy: Policy, model: Model | None, rates: RateTable) -> Versions:
    """What a decision under these names itself by."""
    return Versions(
        feature_set=Artefact(feature_set.schema_hash, feature_set.name),
        model=None if model is None else Artefact(model.content_hash, model.name),
        policy=Artefact(policy.content_hash, f"{policy.name} {policy.version}"),
        rates=Artefact(rates.content_hash, rates.name),
    )


class Decider:
    """Decides under exactly one model, policy, feature set and rate table."""

    def __init__(
        self,
        feature_set: FeatureSet,
        policy: Policy,
        model: Model | None,
        rates: RateTable,
        kinds: dict[str, Kind],
    ) -> None:
        self.policy = policy
        self.model = model
        self.inputs = RuleInputs(policy.reads, feature_set, kinds, rates.base_exponent)
        versions = decision_versions(feature_set, policy, model, rates)
        self._findings: dict[tuple[bytes, int], _Finding] = {}
        self._versions_bytes = msgspec.Raw(msgspec.json.encode(versions))
        self._base_currency = rates.base_currency
        self._feature_set = feature_set
        self._feature_text = FeatureText(feature_set)
        # A struct with the values as fields is made and encoded in a third of the time of a dictionary.
        self._profile = msgspec.defstruct("Profile", [(name, Scalar) for name in self.inputs.profile_names], gc=False)

    def score(self, batch: GatheredBatch) -> NDArray[np.float64]:
        """Scores of the batch, NaN without a model."""
        if self.model is None:
            return np.full(len(batch.transactions), np.nan)
        return self.model.score(batch.matrix)

    def decide(self, batch: GatheredBatch, scores: NDArray[np.float64], evaluation: Evaluation) -> DecisionBatch:
        """Assemble and freeze the decisions."""
        outcomes = self._outcomes(batch, scores, evaluation)
        canonical = canonical_bytes_of_each(self._decisions(batch, scores, evaluation, outcomes))
        hashes = list(map(content_sha256, canonical))
        return DecisionBatch(scores, evaluation, outcomes.reason_codes, outcomes.notifications, canonical, hashes)

    def evaluate(self, batch: GatheredBatch, scores: NDArray[np.float64]) -> Evaluation:
        """Run the policy over the batch."""
        evaluation = self.policy.evaluate(self.inputs.columns(batch, scores), len(batch.transactions))
        if self.policy.control_group is None:
            return evaluation
        return self.policy.with_draws(evaluation, [(one.user_id, one.transaction_id) for one in batch.transactions])

    def _outcomes(self, batch: GatheredBatch, scores: NDArray[np.float64], evaluation: Evaluation) -> _Outcomes:
        speaking = np.flatnonzero(
            evaluation.hits.any(axis=1) | (evaluation.action_codes != ALLOW) | (evaluation.score_action_codes != ALLOW)
        )
        outcomes = _Outcomes.nothing(len(batch.transactions))
        for row, score, score_action_code in zip(
            speaking.tolist(),
            scores[speaking].tolist(),
            evaluation.score_action_codes[speaking].tolist(),
            strict=True,
        ):
            finding = self._finding(evaluation.hits[row], score_action_code)
            known_score = None if math.isnan(score) else score
            outcomes.notifications[row] = finding.notifications
            outcomes.reason_codes[row] = finding.reason_codes
            outcomes.rule_hits[row] = [self._rule_hit(rule, batch, row, known_score) for rule in finding.rules]
        for row, reasons in self._score_reasons(batch, np.flatnonzero(evaluation.action_codes != ALLOW)):
            outcomes.score_reasons[row] = reasons
        return outcomes

    def _finding(self, hit_row: NDArray[np.bool_], score_action_code: int) -> _Finding:
        key = (hit_row.tobytes(), score_action_code)
        finding = self._findings.get(key)
        if finding is None:
            finding = _Finding(
                self.policy.notifications(hit_row),
                self.policy.reason_codes(hit_row, score_action_code),
                [self.policy.rules[number] for number in np.flatnonzero(hit_row).tolist()],
            )
            if len(self._findings) >= _REMEMBERED_FINDINGS:
                self._findings.clear()
            self._findings[key] = finding
        return finding

    def _rule_hit(self, rule: Rule, batch: GatheredBatch, row: int, score: float | None) -> RuleHit:
        values: dict[str, Scalar] = {name: self.inputs.value(name, batch, row, score) for name in rule.reads}
        return RuleHit(rule.action, rule.reason_code, rule.id, values)

    def _score_reasons(
        self, batch: GatheredBatch, flagged: NDArray[np.intp]
    ) -> Iterator[tuple[int, list[ScoreReason]]]:
        if self.model is None or not len(flagged):
            return
        contributions = np.round(self.model.explain(batch.matrix[flagged]), CONTRIBUTION_DECIMALS)
        # Stable: of equal contributions the feature that stands earlier in the set comes first.
        order = np.argsort(-np.abs(contributions), axis=1, kind="stable")[:, :SCORE_REASONS]
        highest = np.take_along_axis(contributions, order, axis=1)
        rows = self._feature_set.rows
        for row, features, moved in zip(flagged.tolist(), order.tolist(), highest.tolist(), strict=True):
            values = batch.matrix[row].tolist()
            yield (
                row,
                [
                    ScoreReason(contribution, rows[feature].name, typed(rows[feature].kind, values[feature]))
                    for feature, contribution in zip(features, moved, strict=True)
                    if contribution
                ],
            )

    def _decisions(
        self, batch: GatheredBatch, scores: NDArray[np.float64], evaluation: Evaluation, outcomes: _Outcomes
    ) -> Iterator[Decision]:
        """The decisions of a batch: made column by column, which takes half the time of row by row."""
        transactions = batch.transactions
        actions: list[Action] = [ACTIONS[code] for code in evaluation.action_codes.tolist()]
        recommended, probabilities = actions.copy(), [1.0] * len(actions)
        for row, probability in evaluation.drawn.items():
            recommended[row], probabilities[row] = BLOCKED, probability
        return map(
            Decision,
            actions,
            map(attrgetter("amount_minor"), transactions),
            probabilities,
            map(attrgetter("base_amount_minor"), transactions),
            repeat(self._base_currency),
            map(attrgetter("currency"), transactions),
            repeat(list(batch.degraded)),
            self._feature_text.of_each(batch.matrix),
            batch.late.tolist(),
            outcomes.notifications,
            starmap(self._profile, batch.profiles),
            outcomes.reason_codes,
            recommended,
            outcomes.rule_hits,
            repeat(None) if self.model is None else scores.tolist(),
            outcomes.score_reasons,
            _timestamp_texts(transactions),
            map(attrgetter("transaction_id"), transactions),
            map(attrgetter("user_id"), transactions),
            repeat(self._versions_bytes),
        )


def _timestamp_texts(transactions: Sequence[Transaction]) -> list[str]:
    """Of each, what `fraud.transaction.timestamp_to_text` says, in a quarter of the time."""
    moments = np.array([transaction.timestamp_ms for transaction in transactions], dtype="datetime64[ms]")
    texts: list[str] = np.datetime_as_string(moments, unit="ms", timezone="UTC").tolist()
    return texts

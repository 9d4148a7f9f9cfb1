"""Score, rules, decision: what is done with a batch of transactions, frozen as canonical bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from fraud.decision import ALLOW, BLOCK, Artefact, RuleHit, ScoreReason, Versions, content_sha256
from fraud.decision_text import DecisionText, Finding, Verdicts
from fraud.features.table import FeatureSet, typed
from fraud.money import RateTable
from fraud.rule_inputs import GatheredBatch, RuleInputs
from fraud.rules.policy import Evaluation, Policy
from fraud.rules.values import Kind
from fraud.scoring.model import Model

# More than a person reads; the exact contributions of all features can be computed again from the decision.
SCORE_REASONS = 5
CONTRIBUTION_DECIMALS = 6


@dataclass(frozen=True)
class DecisionBatch:
    """What was decided about n transactions, in their order.

    `scores` float64 [n], NaN without a model; `findings` what is said about a row, where anything is; `canonical` the
    canonical bytes of each decision, `hashes` their SHA-256 in hexadecimal.
    """

    scores: NDArray[np.float64]
    evaluation: Evaluation
    findings: Mapping[int, Finding]
    canonical: list[bytes]
    hashes: list[str]

    def is_alert(self, row: int) -> bool:
        """Whether the decision asks somebody to act."""
        finding = self.findings.get(row)
        return finding is not None and bool(finding.notifications or self.evaluation.action_codes[row] != ALLOW)

    def alerts(self) -> list[int]:
        """The rows whose decisions ask somebody to act, in their order."""
        return [row for row in self.findings if self.is_alert(row)]


# Different sets of rules that hit together, with what is said about each: a policy has dozens in use. Each is a
# kilobyte; beyond this many somebody probes the policy, and they are made again.
_REMEMBERED_CONSEQUENCES = 4_096


@dataclass(frozen=True)
class _Consequence:
    """What is said whenever exactly these rules hit and the score asks for this action."""

    notifications: list[str]
    reason_codes: list[str]


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
        self._consequences: dict[tuple[bytes, int], _Consequence] = {}
        self._feature_set = feature_set
        self._text = DecisionText(feature_set, self.inputs.profile_names, rates.base_currency, versions)

    def score(self, batch: GatheredBatch) -> NDArray[np.float64]:
        """Scores of the batch, NaN without a model."""
        if self.model is None:
            return np.full(len(batch.transactions), np.nan)
        return self.model.score(batch.matrix)

    def decide(self, batch: GatheredBatch, scores: NDArray[np.float64], evaluation: Evaluation) -> DecisionBatch:
        """Assemble and freeze the decisions."""
        findings = self._findings(batch, scores, evaluation)
        recommended, probabilities = evaluation.action_codes, np.ones(len(scores))
        if evaluation.drawn:
            # A control group draws about what the policy recommends to block.
            drawn = list(evaluation.drawn)
            recommended = recommended.copy()
            recommended[drawn], probabilities[drawn] = BLOCK, list(evaluation.drawn.values())
        verdicts = Verdicts(evaluation.action_codes, recommended, probabilities, scores, findings)
        canonical = self._text.of_each(batch, verdicts)
        return DecisionBatch(scores, evaluation, findings, canonical, list(map(content_sha256, canonical)))

    def evaluate(self, batch: GatheredBatch, scores: NDArray[np.float64]) -> Evaluation:
        """Run the policy over the batch."""
        evaluation = self.policy.evaluate(self.inputs.columns(batch, scores), len(batch.transactions))
        if self.policy.control_group is None:
            return evaluation
        return self.policy.with_draws(evaluation, list(zip(batch.user_ids, batch.transaction_ids, strict=True)))

    def _findings(
        self, batch: GatheredBatch, scores: NDArray[np.float64], evaluation: Evaluation
    ) -> dict[int, Finding]:
        """What is said, by row: about the rows where a rule hit or the score asks for an action."""
        speaking = np.flatnonzero(
            evaluation.hits.any(axis=1) | (evaluation.action_codes != ALLOW) | (evaluation.score_action_codes != ALLOW)
        )
        rule_hits = self._rule_hits(batch, scores, evaluation.hits)
        reasons = dict(self._score_reasons(batch, np.flatnonzero(evaluation.action_codes != ALLOW)))
        findings = {}
        for row, score_action_code in zip(
            speaking.tolist(), evaluation.score_action_codes[speaking].tolist(), strict=True
        ):
            consequence = self._consequence(evaluation.hits[row], score_action_code)
            findings[row] = Finding(
                consequence.notifications, consequence.reason_codes, rule_hits.get(row, []), reasons.get(row, [])
            )
        return findings

    def _consequence(self, hit_row: NDArray[np.bool_], score_action_code: int) -> _Consequence:
        key = (hit_row.tobytes(), score_action_code)
        consequence = self._consequences.get(key)
        if consequence is None:
            consequence = _Consequence(
                self.policy.notifications(hit_row),
                self.policy.reason_codes(hit_row, score_action_code),
            )
            if len(self._consequences) >= _REMEMBERED_CONSEQUENCES:
                self._consequences.clear()
            self._consequences[key] = consequence
        return consequence

    def _rule_hits(
        self, batch: GatheredBatch, scores: NDArray[np.float64], hits: NDArray[np.bool_]
    ) -> dict[int, list[RuleHit]]:
        """The rules that hit each row where any does, in the policy's order."""
        found: dict[int, list[RuleHit]] = {}
        for number in np.flatnonzero(hits.any(axis=0)).tolist():
            rule, rows = self.policy.rules[number], np.flatnonzero(hits[:, number])
            columns = [self.inputs.values(name, batch, rows, scores) for name in rule.reads]
            of_rows = zip(*columns, strict=True) if columns else repeat((), len(rows))
            for row, values in zip(rows.tolist(), of_rows, strict=True):
                hit = RuleHit(rule.action, rule.reason_code, rule.id, dict(zip(rule.reads, values, strict=True)))
                found.setdefault(row, []).append(hit)
        return found

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

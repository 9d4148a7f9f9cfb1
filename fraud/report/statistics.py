"""What a replay amounts to: fed batch by batch, asked once for `summary.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fraud.decision import ACTIONS, ALLOW, BLOCK, REVIEW
from fraud.report.batch import FRAUD, DecidedBatch
from fraud.report.day_counts import DAY_MS, DRIFT_QUANTILES, DayCounts
from fraud.report.money import OTHER_SCENARIOS, SCENARIOS_MAX, MoneyLedger, PaymentTotal, value_recall
from fraud.report.riskiest import Riskiest
from fraud.report.rule_counts import RuleCounts
from fraud.report.score_counts import ALERT_BUDGET_SHARE, Int64Array, ScoreCounts, score_units
from fraud.transaction import Transaction, timestamp_to_text

Summary = dict[str, Any]

# Columns of the counters by label; unknown stands first because its label is -1.
_UNKNOWN, _LEGITIMATE, _FRAUD = range(3)


@dataclass(frozen=True)
class InputCounts:
    """What only the reader of the files knows.

    `transactions` valid ones, each once, decided or not (refunds, reversals and the rows that warm the state are not
    decided); `rejected` records; `duplicates`, the same transaction with the same content again.
    """

    transactions: int
    rejected: int = 0
    duplicates: int = 0


class ReplayStatistics:
    """Sums up decided batches; the result doesn't depend on where one batch ends and the next begins.

    Arguments: `rules`, id to action, in the order of the columns; the base currency (ISO 4217) and its exponent;
    `score_thresholds`, action to lowest score, as the policy has them. Memory: 50 MB at most, 1 KB a day and one entry
    for each compromised card; never by transaction.
    """

    def __init__(
        self,
        rules: Mapping[str, str],
        base_currency: str,
        base_currency_exponent: int,
        score_thresholds: Mapping[str, float] | None = None,
    ) -> None:
        self._base_currency = base_currency
        self._base_currency_exponent = base_currency_exponent
        self._score_thresholds = dict(score_thresholds or {})
        self._scores = ScoreCounts()
        self._days = DayCounts()
        self._rules = RuleCounts(rules)
        self._ledger = MoneyLedger()
        self._riskiest = {"customers": Riskiest(), "merchants": Riskiest(), "devices": Riskiest()}
        # scenario -> [frauds, alerts, blocks, fraud value of all attempts]
        self._scenarios: dict[str, list[int]] = {}
        self._late = 0
        self._notified_only = 0
        self._first_ms: int | None = None
        self._last_ms: int | None = None

    def add(self, batch: DecidedBatch) -> None:
        """Count a batch. Raise `ValueError` if its columns don't have the same length."""
        _check_lengths(batch, len(self._rules))
        if not len(batch):
            return
        first, last = int(batch.timestamps_ms.min()), int(batch.timestamps_ms.max())
        self._first_ms = first if self._first_ms is None else min(first, self._first_ms)
        self._last_ms = last if self._last_ms is None else max(last, self._last_ms)
        self._late += int(np.count_nonzero(batch.late))
        self._notified_only += int(np.count_nonzero(batch.notifying & (batch.action_codes == ALLOW)))
        units = score_units(batch.scores)
        days = batch.timestamps_ms // DAY_MS
        self._scores.add(units, batch.labels)
        self._days.add(days, batch.action_codes, batch.labels, batch.base_amounts_minor, units)
        self._rules.add(batch.hits, batch.labels, batch.base_amounts_minor)
        self._add_notable(batch, days, units)

    def _add_notable(self, batch: DecidedBatch, days: Int64Array, units: Int64Array) -> None:
        """Look one by one at what is a fraud or an alert; everything else is counted by column."""
        rows = np.flatnonzero((batch.action_codes != ALLOW) | (batch.labels == FRAUD))
        columns = (
            rows,
            batch.action_codes[rows],
            batch.labels[rows],
            batch.base_amounts_minor[rows],
            days[rows],
            units[rows],
        )
        for row, action_code, label, amount_minor, day, unit in zip(*(c.tolist() for c in columns), strict=True):
            transaction, scenario = batch.transactions[row], batch.scenarios[row]
            is_fraud, is_alert = label == FRAUD, action_code != ALLOW
            fraud_value = amount_minor if is_fraud and transaction.auth_result != "declined" else 0
            if fraud_value:
                self._scores.add_fraud_value(unit, fraud_value)
            if is_alert:
                self._scores.add_alert(action_code, unit, fraud_value)
            if is_fraud and scenario is not None:
                self._add_scenario(scenario, action_code, fraud_value)
            self._ledger.add(transaction, amount_minor, action_code, label, day, scenario)
            self._add_riskiest(transaction, amount_minor, is_fraud=is_fraud, is_alert=is_alert, unit=unit)

    def _add_scenario(self, scenario: str, action_code: int, fraud_value: int) -> None:
        if scenario not in self._scenarios and len(self._scenarios) >= SCENARIOS_MAX:
            scenario = OTHER_SCENARIOS
        counts = self._scenarios.setdefault(scenario, [0, 0, 0, 0])
        counts[0] += 1
        counts[1] += action_code != ALLOW
        counts[2] += action_code == BLOCK
        counts[3] += fraud_value

    def _add_riskiest(
        self, transaction: Transaction, amount_minor: int, *, is_fraud: bool, is_alert: bool, unit: int
    ) -> None:
        for kind, identifier in (
            ("customers", transaction.user_id),
            ("merchants", transaction.merchant_id),
            ("devices", transaction.device_id),
        ):
            self._riskiest[kind].add(identifier, amount_minor, fraud=is_fraud, alert=is_alert, units=unit)

    def summary(self, inputs: InputCounts) -> Summary:
        """Return everything known so far, ready for canonical JSON: no NaN, money in integer minor units.

        What needs labels is None where there are none, what needs scores is None without a model; neither is ever 0.
        """
        counts = self._days.total_counts()
        by_label = counts.sum(axis=0)
        labelled = bool(by_label[_LEGITIMATE] + by_label[_FRAUD])
        decided = int(counts.sum())
        return {
            "transactions": inputs.transactions,
            "rejected": inputs.rejected,
            "duplicates": inputs.duplicates,
            "decided": decided,
            "late": self._late,
            "period": self._period(),
            "base_currency": self._base_currency,
            "base_currency_exponent": self._base_currency_exponent,
            "labels": {
                "labelled": int(by_label[_LEGITIMATE] + by_label[_FRAUD]),
                "unlabelled": int(by_label[_UNKNOWN]),
                "frauds": int(by_label[_FRAUD]) if labelled else None,
                "legitimate": int(by_label[_LEGITIMATE]) if labelled else None,
            },
            "actions": _actions(counts, self._days.total_money(), labelled=labelled),
            "detection": _detection(counts, self._notified_only),
            "ranking": self._ranking(labelled=labelled),
            "thresholds": self._thresholds(),
            "money": self._money(labelled=labelled),
            "workload": self._workload(),
            "scenarios": self._scenario_table(),
            "rules": self._rules.table(labelled=labelled),
            "riskiest": {kind: riskiest.top(labelled=labelled) for kind, riskiest in self._riskiest.items()},
            "riskiest_exact": all(riskiest.exact for riskiest in self._riskiest.values()),
            "days": self._day_table(labelled=labelled),
        }

    def _period(self) -> Summary | None:
        if self._first_ms is None or self._last_ms is None:
            return None
        return {
            "first": timestamp_to_text(self._first_ms),
            "last": timestamp_to_text(self._last_ms),
            "days": self._last_ms // DAY_MS - self._first_ms // DAY_MS + 1,
        }

    def _ranking(self, *, labelled: bool) -> Summary:
        curve, scored = self._scores.curve(), self._scores.scored
        usable = labelled and scored > 0
        return {
            "scored": scored,
            "area_under_roc": curve.area_under_roc() if usable else None,
            "average_precision": curve.average_precision() if usable else None,
            "alert_budget_share": ALERT_BUDGET_SHARE,
            "fraud_value_caught_by_model": self._scores.value_caught_by_model() if usable else None,
            "fraud_value_caught_by_policy": self._scores.value_caught_by_policy() if labelled else None,
            "precision_recall_curve": curve.precision_recall() if usable else None,
            "score_histogram": self._scores.histogram() if scored else None,
        }

    def _thresholds(self) -> list[Summary]:
        if not self._scores.scored:
            return []
        ordered = sorted(self._score_thresholds.items(), key=lambda item: (item[1], item[0]))
        return [{"action": action, **self._scores.at_threshold(threshold)} for action, threshold in ordered]

    def _money(self, *, labelled: bool) -> Summary:
        outcomes = self._ledger.outcomes()
        if not labelled:
            return {**dict.fromkeys(outcomes), "value_recall": None, "legitimate_hindered": None}
        return {**outcomes, "value_recall": value_recall(outcomes), "legitimate_hindered": self._ledger.hindered()}

    def _workload(self) -> Summary:
        """Return reviews and alerts a day, over all calendar days of the period, empty ones included."""
        days = self._days.days
        if not days:
            return {"reviews_a_day": None, "alerts_a_day": None}
        empty_days = days[-1] - days[0] + 1 - len(days)
        reviews = [int(self._days.counts(day)[REVIEW].sum()) for day in days]
        alerts = [int(self._days.counts(day)[ALLOW + 1 :].sum()) for day in days]
        return {"reviews_a_day": _daily(reviews, empty_days), "alerts_a_day": _daily(alerts, empty_days)}

    def _scenario_table(self) -> list[Summary] | None:
        if not self._scenarios:
            return None
        outcomes = self._ledger.scenario_outcomes()
        nothing: PaymentTotal = {"payments": 0, "amount_minor": 0}
        return [
            {
                "scenario": scenario,
                "frauds": frauds,
                "alerts": alerts,
                "blocks": blocks,
                "recall": alerts / frauds,
                "amount_minor": amount_minor,
                **{name: outcomes.get(scenario, {}).get(name, nothing) for name in ("stopped", "lost", "after_block")},
            }
            for scenario, (frauds, alerts, blocks, amount_minor) in sorted(self._scenarios.items())
        ]

    def _day_table(self, *, labelled: bool) -> list[Summary]:
        stability = self._days.stability()
        return [
            {
                "day": timestamp_to_text(day * DAY_MS)[:10],
                **_day_counts(self._days.counts(day), labelled=labelled),
                **{name: total if labelled else None for name, total in self._ledger.day_outcomes(day).items()},
                "score_quantiles": _named_quantiles(self._days.quantiles(day)),
                "score_stability_index": stability[day],
            }
            for day in self._days.days
        ]


def _check_lengths(batch: DecidedBatch, rule_count: int) -> None:
    lengths = {
        "timestamps_ms": len(batch.timestamps_ms),
        "base_amounts_minor": len(batch.base_amounts_minor),
        "scores": len(batch.scores),
        "action_codes": len(batch.action_codes),
        "hits": len(batch.hits),
        "labels": len(batch.labels),
        "late": len(batch.late),
        "notifying": len(batch.notifying),
        "scenarios": len(batch.scenarios),
    }
    for name, length in lengths.items():
        if length != len(batch):
            raise ValueError(f"a batch of {len(batch)} transactions has {length} {name}")
    if batch.hits.shape != (len(batch), rule_count):
        raise ValueError(f"hits must have the shape {(len(batch), rule_count)}, not {batch.hits.shape}")


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _actions(counts: Int64Array, money: Int64Array, *, labelled: bool) -> Summary:
    decided = int(counts.sum())
    return {
        action: {
            "count": int(counts[code].sum()),
            "share": _ratio(int(counts[code].sum()), decided),
            "amount_minor": int(money[code].sum()),
            "frauds": int(counts[code, _FRAUD]) if labelled else None,
            "fraud_amount_minor": int(money[code, _FRAUD]) if labelled else None,
            "legitimate_amount_minor": int(money[code, _LEGITIMATE]) if labelled else None,
        }
        for code, action in enumerate(ACTIONS)
    }


def _detection(counts: Int64Array, notified_only: int) -> Summary:
    """Return precision and recall of alerts and of blocks, and the false-positive rate, over labelled transactions.

    Alerts here are decisions that are not `allow`: what is allowed and only notifies somebody is no claim of fraud that
    could be right or wrong. `notified_only` counts it apart; alerts.jsonl has as many lines as both together.
    """
    frauds, legitimate = int(counts[:, _FRAUD].sum()), int(counts[:, _LEGITIMATE].sum())
    alerted, blocked = counts[ALLOW + 1 :].sum(axis=0), counts[BLOCK]
    caught, disturbed = int(alerted[_FRAUD]), int(alerted[_LEGITIMATE])
    return {
        "alerts": int(alerted.sum()),
        "notified_only": notified_only,
        "alert_share": _ratio(int(alerted.sum()), int(counts.sum())),
        "alert_precision": _ratio(caught, caught + disturbed),
        "alert_recall": _ratio(caught, frauds),
        "block_precision": _ratio(int(blocked[_FRAUD]), int(blocked[_FRAUD] + blocked[_LEGITIMATE])),
        "block_recall": _ratio(int(blocked[_FRAUD]), frauds),
        "false_positive_rate": _ratio(disturbed, legitimate),
        "false_positives": disturbed if frauds + legitimate else None,
        "frauds_caught": caught if frauds + legitimate else None,
    }


def _daily(counts: Sequence[int], empty_days: int) -> Summary:
    """Return mean, 95th percentile (nearest rank) and maximum of a count a day."""
    total_days = len(counts) + empty_days
    rank = math.ceil(0.95 * total_days) - empty_days
    return {
        "mean": sum(counts) / total_days,
        "p95": sorted(counts)[rank - 1] if rank > 0 else 0,
        "max": max(counts),
    }


def _day_counts(counts: Int64Array, *, labelled: bool) -> Summary:
    alerted = counts[ALLOW + 1 :].sum(axis=0)
    return {
        "transactions": int(counts.sum()),
        "actions": {action: int(counts[code].sum()) for code, action in enumerate(ACTIONS)},
        "alerts": int(alerted.sum()),
        "frauds": int(counts[:, _FRAUD].sum()) if labelled else None,
        "frauds_caught": int(alerted[_FRAUD]) if labelled else None,
    }


def _named_quantiles(quantiles: list[float] | None) -> dict[str, float] | None:
    if quantiles is None:
        return None
    return {f"p{share * 100:g}": value for share, value in zip(DRIFT_QUANTILES, quantiles, strict=True)}

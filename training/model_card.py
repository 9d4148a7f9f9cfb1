"""The card of a model: what it is, what it has learned from, how it does, and what nobody knows about it.

After Mitchell et al., *Model Cards for Model Reporting* (2019), sections 4.1 to 4.9.
"""

from __future__ import annotations

from collections.abc import Sequence

from fraud.scoring.manifest import Manifest
from training.against_champion import AgainstChampion
from training.evaluation import METRICS
from training.metrics.bootstrap import Interval
from training.metrics.segments import NEW_CUSTOMER_PAYMENTS

CARD_FILE = "model_card.md"

_KIND_NAMES = {
    "logistic_regression": "logistic regression",
    "random_forest": "random forest",
    "boosting": "gradient boosting on histograms",
}


def model_card(manifest: Manifest, evaluation: AgainstChampion, evaluation_hash: str, limits: Sequence[str]) -> str:
    """The card in Markdown. `limits`: what the judged rows cannot tell, in sentences."""
    parts = [
        f"# {evaluation.candidate.name}",
        _identity(manifest),
        _learned_from(manifest),
        _judged(evaluation, evaluation_hash),
        _segments(evaluation),
        _gates(evaluation),
        _limits(manifest, evaluation, limits),
    ]
    return "\n\n".join(parts) + "\n"


def _identity(manifest: Manifest) -> str:
    return (
        f"A {_KIND_NAMES[manifest.kind]} on the {len(manifest.feature_names)} features of the set "
        f"`{manifest.feature_set_name}`, which gives the probability that a payment is fraud. Content "
        f"`{manifest.content_hash}`, made {manifest.created_at}. It is meant for the policy of the service that "
        "computes these features, and for nothing else: a score is no verdict about a person, and a "
        "payment that somebody disputes is looked at by people."
    )


def _learned_from(manifest: Manifest) -> str:
    training = manifest.training
    rows = [
        ("payments", f"{training.row_count:,}"),
        ("frauds known", f"{training.fraud_count:,} ({training.fraud_count / max(training.row_count, 1):.3%})"),
        ("period", f"{training.period_from} to {training.period_to}, end exclusive; labels as known at the end"),
        ("label delay", f"{training.label_delay_days:g} days where the source does not say"),
        ("rows", f"SHA-256 `{training.data_hash}`"),
        ("seed", str(training.seed)),
        *((name.replace("_", " "), str(value)) for name, value in training.configuration.items()),
        *manifest.library_versions.items(),
    ]
    return "## Learned from\n\n" + _table(("what", "value"), rows)


def _judged(evaluation: AgainstChampion, evaluation_hash: str) -> str:
    left_out = (
        "nobody was left out"
        if evaluation.removed_days is None
        else f"customers whose fraud of the {evaluation.removed_days:g} days before, or later, was known are left out"
    )
    rows = [
        (
            name,
            _interval(evaluation.metrics[metric]),
            _interval(evaluation.champion_metrics[metric]),
            _interval(evaluation.differences[metric], signed=True),
        )
        for metric, name in METRICS.items()
    ]
    return (
        "## Judged\n\n"
        f"On {evaluation.rows:,} payments of {evaluation.customers:,} customers with {evaluation.frauds:,} frauds, "
        f"{evaluation.period_from} to {evaluation.period_to} (end exclusive), by labels as known at "
        f"{evaluation.known_by}; {left_out}. The champion was `{evaluation.champion.name}`, content "
        f"`{evaluation.champion.content_hash[:12]}`. In brackets: 95% intervals by bootstrap over customers, those of "
        f"differences paired. Evaluation `{evaluation_hash}`.\n\n"
        + _table(("metric", "this model", "champion", "difference"), rows)
    )


def _segments(evaluation: AgainstChampion) -> str:
    rows = [
        (
            segment.kind,
            segment.name,
            f"{segment.rows:,}",
            f"{segment.frauds:,}",
            _number(segment.auc_roc),
            _number(segment.average_precision),
            _number(segment.recall_at_false_positive_rate),
        )
        for segment in evaluation.segments
    ]
    names = ("segment", "part", "payments", "frauds", "AUC ROC", "average precision", "recall at 0.1% false positives")
    return "## By segment\n\n" + _table(names, rows)


def _gates(evaluation: AgainstChampion) -> str:
    rows = [
        (gate.name.replace("_", " "), "passed" if gate.passed else "failed", gate.told) for gate in evaluation.gates
    ]
    return (
        f"## Gates\n\nThe policy was `{evaluation.policy.name}`, content `{evaluation.policy.content_hash[:12]}`.\n\n"
        + _table(("gate", "result", "figures"), rows)
    )


def _limits(manifest: Manifest, evaluation: AgainstChampion, limits: Sequence[str]) -> str:
    told = [
        *limits,
        "Frauds that nobody reports count as legitimate, in learning and in judging.",
        f"Customers of fewer than {NEW_CUSTOMER_PAYMENTS} payments, and whatever began after "
        f"{manifest.training.period_to}, are what it knows least; see the segments, and "
        "`fraud-train drift` for what has changed since.",
    ]
    if evaluation.alerts.unread_names:
        told.append(
            "Alerts were counted without "
            + ", ".join(f"`{name}`" for name in evaluation.alerts.unread_names)
            + ", which conditions of the policy read and the judged rows do not hold: missing, for both models alike."
        )
    return "## Limits\n\n" + "\n".join(f"- {sentence}" for sentence in told)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _interval(value: Interval, *, signed: bool = False) -> str:
    form = "+.3f" if signed else ".3f"
    if value.value is None:
        return "-"
    shown = format(value.value, form)
    if value.low is None or value.high is None:
        return shown
    return f"{shown} [{value.low:{form}}, {value.high:{form}}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"

"""What the service measures of itself, for Prometheus."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from fraud.decision import ACTIONS
from fraud.live.drift import LiveDrift
from fraud.live.outgoing import Outgoing
from fraud.pipeline import BatchResult
from fraud.scoring.drift import DriftThresholds

# From a stage that is hardly there to one that has eaten the whole budget of a decision.
_STAGE_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
# The goals are 100 and 250 ms; minutes are a worker's that was away.
_LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)
# Scores are small nearly always, and what matters lies at the top.
_SCORE_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1)
# How long a batch may be in a stage, in milliseconds. Together 225, since entities are counted while the batch is
# published: under the goal of 250 for 999 of 1,000 decisions. A full batch that works off a backlog takes longer.
STAGE_BUDGETS_MS = {
    "validate": 5,
    "enrich": 60,
    "features": 40,
    "score": 5,
    "rules": 5,
    "decide": 10,
    "history": 60,
    "entities": 40,
    "publication": 40,
}
# What may be missing from a decision.
_PARTS = ("entity_windows",)


class BatchHistogram(Collector):
    """A histogram that counts whole batches at a time: `Histogram` takes microseconds for each value."""

    def __init__(self, name: str, meaning: str, bounds: Sequence[float]) -> None:
        self._name, self._meaning = name, meaning
        self._bounds = np.array(bounds, dtype=np.float64)
        self._counts = np.zeros(len(bounds) + 1, dtype=np.int64)
        self._sum = 0.0

    def observe(self, values: ArrayLike) -> None:
        """Count float64 `values` [any number]; a value on a bound belongs below it."""
        numbers = np.asarray(values, dtype=np.float64)
        places = np.searchsorted(self._bounds, numbers, side="left")
        self._counts += np.bincount(places, minlength=len(self._counts))
        self._sum += float(numbers.sum())

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What was counted so far, as Prometheus wants it: cumulative."""
        names = [*(f"{bound:g}" for bound in self._bounds), "+Inf"]
        buckets = list(zip(names, self._counts.cumsum().astype(float).tolist(), strict=True))
        family = HistogramMetricFamily(self._name, self._meaning)
        family.add_metric([], buckets, self._sum)
        yield family


class ArtefactMeasures:
    """Which policy and model decide, and which ones on disk were refused."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._refused = Gauge(
            "fraud_reload_refused",
            "Whether what lies on disk was refused, so that the one before goes on",
            ["part"],
            registry=registry,
        )
        self._activations = Counter(
            "fraud_activations", "Changes of what decides, while running", ["part"], registry=registry
        )
        self._active = Gauge(
            "fraud_active", "1 for the policy and the model that decide", ["part", "name", "hash"], registry=registry
        )

    def refused(self, part: str, *, is_refused: bool) -> None:
        """Whether what lies on disk of this part cannot be used."""
        self._refused.labels(part).set(is_refused)

    def active(self, names: Mapping[str, tuple[str, str]]) -> None:
        """What decides from now on: name and content hash by part."""
        self._active.clear()
        for part, (name, content_hash) in names.items():
            self._activations.labels(part)
            self._active.labels(part, name, content_hash).set(1)

    def activated(self, part: str) -> None:
        """Another one of this part decides."""
        self._activations.labels(part).inc()


class StageMeasures:
    """How long batches are in each stage, and how often longer than its budget."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "fraud_stage_seconds",
            "Seconds of a batch in a stage",
            ["stage"],
            buckets=_STAGE_BUCKETS_S,
            registry=registry,
        )
        self._over_budget = Counter(
            "fraud_over_budget",
            "Batches that were longer in a stage than its budget",
            ["stage"],
            registry=registry,
        )
        for stage in STAGE_BUDGETS_MS:
            self._seconds.labels(stage)
            self._over_budget.labels(stage)

    def passed(self, seconds: Mapping[str, float]) -> None:
        """A batch is through, and was so long in each stage."""
        for stage, spent in seconds.items():
            if spent > 0:
                self._seconds.labels(stage).observe(spent)
                self._over_budget.labels(stage).inc(spent * 1_000 > STAGE_BUDGETS_MS[stage])


class Measures:
    """All measures of one worker."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._seen_lookups: dict[str, int] = {}
        # Attempts that failed because a store or the brokers were away.
        self.failed_attempts = 0
        self._transactions = self._counter(
            "fraud_transactions", "Transactions by what became of them", "outcome", ("decided", "recorded", "repeated")
        )
        self._actions = self._counter("fraud_actions", "Decisions by action", "action", ACTIONS)
        self._degraded = self._counter("fraud_degraded", "Decisions made without a part that was away", "part", _PARTS)
        self._refused = Counter(
            "fraud_dead_letters",
            "Messages refused, by the topic that they came from and error code",
            ["source", "code"],
            registry=self.registry,
        )
        self._retries = self._counter(
            "fraud_retries",
            "Attempts that failed because a store or the brokers were away, by what has to wait",
            "what",
            ("transactions", "labels", "publication"),
        )
        self._published = self._counter(
            "fraud_published", "Messages published", "topic", ("decisions", "alerts", "dead-letters")
        )
        self._labels = self._counter(
            "fraud_labels",
            "Labels by what became of them",
            "outcome",
            ("counted", "parked", "found", "given_up", "refused"),
        )
        self._lookups = self._counter(
            "fraud_customer_cache", "Customers looked for in memory", "outcome", ("hit", "miss")
        )
        self._stages = StageMeasures(self.registry)
        self._batches = Histogram(
            "fraud_batch_transactions", "Transactions in a batch", buckets=_BATCH_BUCKETS, registry=self.registry
        )
        self._scores = BatchHistogram("fraud_score", "Scores", _SCORE_BUCKETS)
        self._latency = BatchHistogram(
            "fraud_latency_seconds",
            "Seconds from a transaction's message time to the publication of what came of it",
            _LATENCY_BUCKETS_S,
        )
        for histogram in (self._scores, self._latency):
            self.registry.register(histogram)
        self.backlog = Gauge(
            "fraud_entity_backlog", "Events that entity windows have yet to count", registry=self.registry
        )
        self._lag = Gauge(
            "fraud_consumer_lag", "Messages not acknowledged yet", ["topic", "partition"], registry=self.registry
        )
        self.artefacts = ArtefactMeasures(self.registry)
        self.drift = LiveDrift(DriftThresholds())
        self.registry.register(self.drift)
        self.reachable = Gauge(
            "fraud_reachable", "Whether what the worker depends on answered lately", ["part"], registry=self.registry
        )

    def _counter(self, name: str, meaning: str, label: str, values: Sequence[str]) -> Counter:
        """A counter whose series are there from the start: a rate over one that appears with its first event is 0."""
        counter = Counter(name, meaning, [label], registry=self.registry)
        for value in values:
            counter.labels(value)
        return counter

    def batch(self, result: BatchResult) -> None:
        """A batch went through the core and is durable."""
        count = len(result.positions)
        self._transactions.labels("decided").inc(count)
        self._transactions.labels("recorded").inc(result.recorded)
        self._transactions.labels("repeated").inc(len(result.duplicates))
        self._batches.observe(count + result.recorded + len(result.duplicates))
        for part in result.gathered.degraded:
            self._degraded.labels(part).inc(count)
        if result.decided is not None and count:
            codes = np.bincount(result.decided.evaluation.action_codes, minlength=len(ACTIONS)).tolist()
            for action, number in zip(ACTIONS, codes, strict=True):
                self._actions.labels(action).inc(number)
            scores = result.decided.scores
            self._scores.observe(scores[~np.isnan(scores)])
            # Features that are missing because a store was away say nothing of the customers.
            if result.live is not None and not result.gathered.degraded:
                self.drift.decided(result.gathered.matrix, scores, result.live.origins[-1].ingested_ms)

    def answered(self, ingested_ms: Sequence[int], now_ms: int, stage_seconds: Mapping[str, float]) -> None:
        """Everything that came of a batch of transactions of these message times is published."""
        self._latency.observe((now_ms - np.array(ingested_ms, dtype=np.float64)) / 1_000)
        self._stages.passed(stage_seconds)

    def looked_up(self, hits: int, misses: int) -> None:
        """How often customers were found in memory, and how often not, since the start."""
        for outcome, total in (("hit", hits), ("miss", misses)):
            self._lookups.labels(outcome).inc(total - self._seen_lookups.get(outcome, 0))
            self._seen_lookups[outcome] = total

    def refused(self, source: str, code: str) -> None:
        """A message of the topic `source` was refused."""
        self._refused.labels(source, code).inc()

    def retried(self, what: str) -> None:
        """`what` has to be tried again."""
        self.failed_attempts += 1
        self._retries.labels(what).inc()

    def published(self, outgoing: Sequence[Outgoing]) -> None:
        """The brokers have these messages."""
        for topic, number in Tally(message.topic for message in outgoing).items():
            self._published.labels(topic).inc(number)

    def label(self, outcome: str) -> None:
        """What became of a label."""
        self._labels.labels(outcome).inc()

    def lag(self, behind: Mapping[tuple[str, int], int]) -> None:
        """Messages not acknowledged yet by topic and partition; those not named are somebody else's now."""
        self._lag.clear()
        for (topic, partition), messages in behind.items():
            self._lag.labels(topic, partition).set(messages)

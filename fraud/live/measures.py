"""What the service measures of itself, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from fraud.decision import ACTIONS
from fraud.live.outgoing import Outgoing
from fraud.pipeline import BatchResult, StageTimings

# From a stage that is hardly there to one that has eaten the whole budget of a decision.
_STAGE_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)
# Scores are small nearly always, and what matters lies at the top.
_SCORE_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1)


class Measures:
    """All measures of one worker. `clock` is seconds that only grow."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        self.timings = StageTimings(clock)
        self._seen_seconds: dict[str, float] = {}
        registry = self.registry
        self._transactions = Counter(
            "fraud_transactions", "Transactions by what became of them", ["outcome"], registry=registry
        )
        self._actions = Counter("fraud_actions", "Decisions by action", ["action"], registry=registry)
        self._degraded = Counter(
            "fraud_degraded", "Decisions made without a part that was away", ["part"], registry=registry
        )
        self._refused = Counter("fraud_refused", "Messages refused, by error code", ["code"], registry=registry)
        self._retries = Counter("fraud_retries", "Batches tried again because a store was away", registry=registry)
        self._published = Counter("fraud_published", "Messages published", ["topic"], registry=registry)
        self._stages = Histogram(
            "fraud_stage_seconds",
            "Seconds of a batch in a stage",
            ["stage"],
            buckets=_STAGE_BUCKETS_S,
            registry=registry,
        )
        self._batches = Histogram(
            "fraud_batch_transactions", "Transactions in a batch", buckets=_BATCH_BUCKETS, registry=registry
        )
        self._scores = Histogram("fraud_score", "Scores", buckets=_SCORE_BUCKETS, registry=registry)
        self.cache = Counter("fraud_customer_cache", "Customers asked for", ["found"], registry=registry)
        self.backlog = Gauge("fraud_entity_backlog", "Events that entity windows have yet to count", registry=registry)
        self.lag = Gauge(
            "fraud_consumer_lag", "Messages not acknowledged yet", ["topic", "partition"], registry=registry
        )
        self.labels = Counter("fraud_labels", "Labels by what became of them", ["outcome"], registry=registry)
        self.latency = Histogram(
            "fraud_latency_seconds",
            "Seconds from the broker taking a transaction to its decision being published",
            buckets=_STAGE_BUCKETS_S,
            registry=registry,
        )

    def batch(self, result: BatchResult) -> None:
        """A batch went through the core and is durable."""
        count = len(result.positions)
        self._transactions.labels("decided").inc(count)
        self._transactions.labels("recorded").inc(result.recorded)
        self._transactions.labels("repeated").inc(len(result.duplicates))
        self._batches.observe(count)
        for part in result.gathered.degraded:
            self._degraded.labels(part).inc(count)
        if result.decided is not None and count:
            codes = np.bincount(result.decided.evaluation.action_codes, minlength=len(ACTIONS)).tolist()
            for action, number in zip(ACTIONS, codes, strict=True):
                self._actions.labels(action).inc(number)
            for score in result.decided.scores.tolist():
                self._scores.observe(score)
        for stage, seconds in self.timings.seconds.items():
            spent = seconds - self._seen_seconds.get(stage, 0.0)
            if spent > 0:
                self._stages.labels(stage).observe(spent)
            self._seen_seconds[stage] = seconds

    def refused(self, code: str) -> None:
        """A message was refused."""
        self._refused.labels(code).inc()

    def retried(self) -> None:
        """A batch has to be tried again."""
        self._retries.inc()

    def published(self, outgoing: Sequence[Outgoing]) -> None:
        """Messages are about to be published."""
        for message in outgoing:
            self._published.labels(message.topic).inc()

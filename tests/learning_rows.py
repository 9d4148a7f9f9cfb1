"""Labelled rows for tests of learning: small, seeded, with a signal in the first two features."""

from __future__ import annotations

import numpy as np

from training.labelled_rows import DatasetOrigin, LabelledRows

NAMES = ("amount", "count", "hours")
DAY_MS = 86_400_000
START_MS = 1_767_225_600_000  # 2026-01-01


def origin(names=NAMES, label_delay_days=7.0):
    return DatasetOrigin(
        feature_set_name="tests",
        feature_set_hash="0" * 64,
        feature_names=tuple(names),
        mapping="native",
        label_delay_days=label_delay_days,
        base_currency="EUR",
        base_exponent=2,
    )


def labelled(timestamps_ms, labels, known_at_ms, matrix=None, customers=None, amounts=None):
    count = len(labels)
    values = np.arange(count, dtype=np.float64)[:, None] if matrix is None else matrix
    names = NAMES if values.shape[1] == len(NAMES) else tuple(f"feature_{place}" for place in range(values.shape[1]))
    return LabelledRows(
        origin=origin(names),
        matrix=values,
        timestamps_ms=np.array(timestamps_ms, dtype=np.int64),
        labels=np.array(labels, dtype=np.int8),
        label_known_at_ms=np.array(known_at_ms, dtype=np.int64),
        base_amounts_minor=np.full(count, 100, dtype=np.int64) if amounts is None else amounts,
        customers=np.arange(count, dtype=np.int32) if customers is None else np.array(customers, dtype=np.int32),
        scenarios=np.full(count, -1, dtype=np.int32),
        scenario_names=(),
        weights=np.ones(count),
    )


def simulated(seed, days=60, rows_a_day=120, customers=80, delay_days=7):
    """Payments over `days`: a tenth of them fraud, known `delay_days` later, by amount, count and chance."""
    generator = np.random.default_rng(seed)
    count = days * rows_a_day
    timestamps = START_MS + np.sort(generator.integers(0, days * DAY_MS, count))
    matrix = generator.normal(size=(count, len(NAMES)))
    labels = (matrix[:, 0] + 0.5 * matrix[:, 1] + 0.7 * generator.normal(size=count) > 1.7).astype(np.int8)
    matrix[generator.random(matrix.shape) < 0.05] = np.nan
    return labelled(
        timestamps,
        labels,
        timestamps + delay_days * DAY_MS,
        matrix,
        generator.integers(0, customers, count),
        generator.integers(1, 50_000, count),
    )

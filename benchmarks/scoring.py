"""Time of one score: our form of each model against scikit-learn's own, at several batch sizes, on one thread.

    python benchmarks/scoring.py [--repeats N]

Prints microseconds a row (the best of the repeats) as a Markdown table, and the same for contributions.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from fraud.scoring import Estimate
from fraud.scoring.trees import WalkScorer

BATCHES = (1, 64, 256, 1024, 4096)
EXPLAINED = (1, 16, 64)


def models() -> dict[str, tuple[int, Any]]:
    boosting = {"max_iter": 100, "early_stopping": False, "random_state": 0}
    return {
        "logistic regression": (
            15,
            Pipeline([("i", SimpleImputer()), ("s", StandardScaler()), ("r", LogisticRegression())]),
        ),
        "boosting 100 x depth 3": (15, HistGradientBoostingClassifier(max_depth=3, **boosting)),
        "boosting 100 x 31 leaves": (15, HistGradientBoostingClassifier(**boosting)),
        "boosting 100 x 31 leaves, wide": (100, HistGradientBoostingClassifier(**boosting)),
        "forest 100 x 64 leaves": (15, RandomForestClassifier(100, max_leaf_nodes=64, random_state=0)),
        "forest 100 x depth 12": (15, RandomForestClassifier(100, max_depth=12, random_state=0)),
    }


def rows(feature_count: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(20_000, feature_count))
    odds = matrix[:, 0] * matrix[:, 1] + matrix[:, 2] - 1
    labels = (generator.random(len(matrix)) < 1 / (1 + np.exp(-odds))).astype(np.int8)
    matrix[generator.random(matrix.shape) < 0.05] = np.nan
    return matrix, labels


def microseconds_a_row(compute: Callable[[np.ndarray], Any], batch: np.ndarray, repeats: int) -> float:
    compute(batch)
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        compute(batch)
        best = min(best, time.perf_counter() - started)
    return best / len(batch) * 1e6


def cells(compute: Callable[[np.ndarray], Any], matrix: np.ndarray, sizes: tuple[int, ...], repeats: int) -> str:
    return " | ".join(f"{microseconds_a_row(compute, matrix[:size].copy(), repeats):.2f}" for size in sizes)


def nodes_one_tree_at_a_time(estimator: Any) -> Callable[[np.ndarray], np.ndarray]:
    """scikit-learn's compiled predictor without its validation: private, measured only to know what it would give."""
    empty, no_map = np.zeros((0, 8), dtype=np.uint32), np.zeros(0, dtype=np.uint32)
    predictors = [trees[0] for trees in estimator._predictors]

    def raw(matrix: np.ndarray) -> np.ndarray:
        total = np.full(len(matrix), float(estimator._baseline_prediction[0, 0]))
        for predictor in predictors:
            total += predictor.predict(matrix, empty, no_map, 1)
        return total

    return raw


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    scoring, explaining = [], []
    for name, (feature_count, estimator) in models().items():
        matrix, labels = rows(feature_count)
        with threadpool_limits(limits=1), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimator.fit(matrix, labels)
            estimate = Estimate(estimator, [str(index) for index in range(feature_count)])
            variants: dict[str, Callable[[np.ndarray], Any]] = {
                "scikit-learn `predict_proba`": estimator.predict_proba,
                f"ours ({type(estimate._scorer).__name__})": estimate.score,
            }
            if estimate.kind == "boosting":
                variants["scikit-learn's compiled trees, no validation"] = nodes_one_tree_at_a_time(estimator)
                variants["walk"] = WalkScorer(estimate._trees).raw_scores
            for variant, compute in variants.items():
                line = cells(compute, matrix, BATCHES, repeats)
                scoring.append(f"| {name} | {feature_count} | {variant} | {line} |")
            estimate.explain(matrix[:1])
            explaining.append(f"| {name} | {feature_count} | {cells(estimate.explain, matrix, EXPLAINED, 3)} |")
    print("| model | features | engine | " + " | ".join(str(size) for size in BATCHES) + " |")
    print("|---|---|---|" + "---|" * len(BATCHES))
    print("\n".join(scoring))
    print("\n| contributions of | features | " + " | ".join(str(size) for size in EXPLAINED) + " |")
    print("|---|---|" + "---|" * len(EXPLAINED))
    print("\n".join(explaining))


if __name__ == "__main__":
    main()

"""Fraud scoring as it is commonly written, doing the same work: the handbook's 15 features, the same model, 20 rules.

Features are kept in dicts of deques and computed by walking the customer's and the terminal's history, the model is
scikit-learn's own `predict_proba`, rules are Python functions, a decision is `json.dumps` of a dict. Nothing is
validated, explained, hashed or summed up. The rules are those of `policies/handbook.yaml`; every run checks that
features and actions are the product's.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

WINDOWS = (timedelta(days=1), timedelta(days=7), timedelta(days=30))
LABEL_DELAY = timedelta(days=7)
ACTIONS = ("allow", "challenge", "review", "block")
THRESHOLDS = (("block", 0.95), ("review", 0.8), ("challenge", 0.5))

# Of the rules that hit, those of the highest priority decide; the score's thresholds have priority 0, as most rules.
PRIORITIES = {"amount_above_220": 10, "terminal_mostly_fraud": 10, "small_usual_amount": 1, "terminal_busy": -10}

Row = dict[str, Any]
Facts = dict[str, Any]
Rule = tuple[str, str, Callable[[Facts], bool]]

FEATURE_NAMES = (
    "TX_AMOUNT",
    "TX_DURING_WEEKEND",
    "TX_DURING_NIGHT",
    *(f"CUSTOMER_ID_{what}_{days}DAY_WINDOW" for days in (1, 7, 30) for what in ("NB_TX", "AVG_AMOUNT")),
    *(f"TERMINAL_ID_{what}_{days}DAY_WINDOW" for days in (1, 7, 30) for what in ("NB_TX", "RISK")),
)

# Id, action, condition.
RULES: tuple[Rule, ...] = (
    ("amount_above_220", "block", lambda f: f["amount"] > 220),
    (
        "amount_many_times_month",
        "block",
        lambda f: (
            f["CUSTOMER_ID_NB_TX_30DAY_WINDOW"] >= 10 and f["amount"] > 5 * f["CUSTOMER_ID_AVG_AMOUNT_30DAY_WINDOW"]
        ),
    ),
    (
        "amount_times_month",
        "review",
        lambda f: (
            f["CUSTOMER_ID_NB_TX_30DAY_WINDOW"] >= 10 and f["amount"] > 3 * f["CUSTOMER_ID_AVG_AMOUNT_30DAY_WINDOW"]
        ),
    ),
    (
        "week_above_month",
        "review",
        lambda f: (
            f["CUSTOMER_ID_AVG_AMOUNT_7DAY_WINDOW"] > 2 * f["CUSTOMER_ID_AVG_AMOUNT_30DAY_WINDOW"]
            and f["CUSTOMER_ID_NB_TX_7DAY_WINDOW"] >= 5
        ),
    ),
    (
        "day_above_week",
        "challenge",
        lambda f: f["CUSTOMER_ID_AVG_AMOUNT_1DAY_WINDOW"] > 3 * f["CUSTOMER_ID_AVG_AMOUNT_7DAY_WINDOW"],
    ),
    (
        "above_own_maximum",
        "review",
        lambda f: f["transaction_count"] >= 20 and f["amount"] > 2 * f["maximum_amount"],
    ),
    (
        "above_own_mean_at_night",
        "challenge",
        lambda f: f["TX_DURING_NIGHT"] == 1 and f["transaction_count"] > 0 and f["amount"] > 3 * f["mean_amount"],
    ),
    ("many_in_a_day", "review", lambda f: f["CUSTOMER_ID_NB_TX_1DAY_WINDOW"] > 15),
    (
        "day_above_own_week",
        "challenge",
        lambda f: (
            f["CUSTOMER_ID_NB_TX_1DAY_WINDOW"] / f["CUSTOMER_ID_NB_TX_7DAY_WINDOW"] > 0.5
            and f["CUSTOMER_ID_NB_TX_7DAY_WINDOW"] >= 14
        ),
    ),
    (
        "week_above_own_month",
        "challenge",
        lambda f: (
            f["CUSTOMER_ID_NB_TX_7DAY_WINDOW"] / f["CUSTOMER_ID_NB_TX_30DAY_WINDOW"] > 0.5 and f["tenure_days"] > 60
        ),
    ),
    ("new_customer_high_amount", "challenge", lambda f: f["tenure_days"] < 7 and f["amount"] > 150),
    (
        "terminal_mostly_fraud",
        "block",
        lambda f: f["TERMINAL_ID_RISK_7DAY_WINDOW"] > 0.5 and f["TERMINAL_ID_NB_TX_7DAY_WINDOW"] >= 3,
    ),
    ("terminal_fraud_yesterday", "review", lambda f: f["TERMINAL_ID_RISK_1DAY_WINDOW"] > 0.3),
    ("terminal_risk_week", "review", lambda f: f["TERMINAL_ID_RISK_7DAY_WINDOW"] > 0.2),
    (
        "terminal_risk_month",
        "challenge",
        lambda f: f["TERMINAL_ID_RISK_30DAY_WINDOW"] > 0.2 and f["TERMINAL_ID_NB_TX_30DAY_WINDOW"] >= 10,
    ),
    (
        "terminal_risk_rising",
        "challenge",
        lambda f: (
            f["TERMINAL_ID_RISK_7DAY_WINDOW"] > 2 * f["TERMINAL_ID_RISK_30DAY_WINDOW"]
            and f["TERMINAL_ID_RISK_7DAY_WINDOW"] > 0.1
        ),
    ),
    (
        "terminal_busy",
        "allow",
        lambda f: (
            f["TERMINAL_ID_NB_TX_1DAY_WINDOW"] > 2 * (f["TERMINAL_ID_NB_TX_30DAY_WINDOW"] / 30)
            and f["TERMINAL_ID_NB_TX_1DAY_WINDOW"] >= 10
        ),
    ),
    (
        "score_and_terminal",
        "review",
        lambda f: f["score"] >= 0.3 and f["TERMINAL_ID_RISK_30DAY_WINDOW"] > 0.1,
    ),
    (
        "score_at_night",
        "challenge",
        lambda f: (
            f["score"] >= 0.3 and f["TX_DURING_WEEKEND"] == 1 and (f["TX_DURING_NIGHT"] == 1 or f["hour_of_day"] >= 23)
        ),
    ),
    (
        "small_usual_amount",
        "allow",
        lambda f: (
            f["amount"] < 15 and f["transaction_count"] >= 50 and f["amount"] <= f["mean_amount"] and f["score"] < 0.95
        ),
    ),
)


def row_blocks(file: Path, size: int, limit: int) -> Iterator[list[Row]]:
    """Blocks of `size` rows of a Parquet file in the handbook's columns, as dicts, `limit` rows in all."""
    import pyarrow.parquet as pq

    count = 0
    with pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(size):
            block = batch.slice(0, limit - count).to_pylist()
            count += len(block)
            yield block
            if count == limit:
                return


class Rival:
    """One customer table, one terminal table, one model; `decide` first, then `remember`, row by row."""

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator
        self._customers: dict[int, deque[tuple[datetime, float]]] = defaultdict(deque)
        self._profiles: dict[int, dict[str, Any]] = {}
        self._terminals: dict[int, deque[tuple[datetime, int]]] = defaultdict(deque)

    def facts(self, row: Row) -> Facts:
        """The 15 features, and what the rules read besides them."""
        moment, amount = row["TX_DATETIME"], row["TX_AMOUNT"]
        facts: Facts = {
            "TX_AMOUNT": amount,
            "TX_DURING_WEEKEND": int(moment.weekday() >= 5),
            "TX_DURING_NIGHT": int(moment.hour <= 6),
        }
        history = self._customers[row["CUSTOMER_ID"]]
        while history and history[0][0] <= moment - WINDOWS[-1]:
            history.popleft()
        for window in WINDOWS:
            amounts = [paid for then, paid in history if then > moment - window]
            count = len(amounts) + 1
            facts[f"CUSTOMER_ID_NB_TX_{window.days}DAY_WINDOW"] = count
            facts[f"CUSTOMER_ID_AVG_AMOUNT_{window.days}DAY_WINDOW"] = (sum(amounts) + amount) / count
        visits = self._terminals[row["TERMINAL_ID"]]
        known_until = moment - LABEL_DELAY
        while visits and visits[0][0] <= known_until - WINDOWS[-1]:
            visits.popleft()
        for window in WINDOWS:
            frauds = [fraud for then, fraud in visits if known_until - window < then <= known_until]
            facts[f"TERMINAL_ID_NB_TX_{window.days}DAY_WINDOW"] = len(frauds)
            facts[f"TERMINAL_ID_RISK_{window.days}DAY_WINDOW"] = sum(frauds) / len(frauds) if frauds else 0.0
        profile = self._profiles.get(row["CUSTOMER_ID"])
        count = profile["count"] if profile else 0
        return facts | {
            "amount": amount,
            "hour_of_day": moment.hour,
            "transaction_count": count,
            "maximum_amount": profile["maximum"] if profile else 0.0,
            "mean_amount": profile["total"] / count if profile else 0.0,
            "tenure_days": (moment - profile["first"]).total_seconds() / 86_400 if profile else 0.0,
        }

    def remember(self, row: Row) -> None:
        """Count the row in its customer's and its terminal's history."""
        moment, amount, customer = row["TX_DATETIME"], row["TX_AMOUNT"], row["CUSTOMER_ID"]
        self._customers[customer].append((moment, amount))
        self._terminals[row["TERMINAL_ID"]].append((moment, row["TX_FRAUD"]))
        profile = self._profiles.setdefault(customer, {"count": 0, "total": 0.0, "maximum": 0.0, "first": moment})
        profile["count"] += 1
        profile["total"] += amount
        profile["maximum"] = max(profile["maximum"], amount)

    def decide_each(self, block: list[Row]) -> list[str]:
        """Decisions as JSON, the model asked once for each row."""
        lines = []
        for row in block:
            facts = self.facts(row)
            self.remember(row)
            score = float(self._estimator.predict_proba(np.array([[facts[name] for name in FEATURE_NAMES]]))[0, 1])
            lines.append(decision(row, facts, score))
        return lines

    def decide_block(self, block: list[Row]) -> list[str]:
        """Decisions as JSON, the model asked once for the block: what somebody does who has measured."""
        gathered = []
        for row in block:
            gathered.append(self.facts(row))
            self.remember(row)
        matrix = np.array([[facts[name] for name in FEATURE_NAMES] for facts in gathered])
        scores = self._estimator.predict_proba(matrix)[:, 1].tolist()
        return [decision(row, facts, score) for row, facts, score in zip(block, gathered, scores, strict=True)]


def decision(row: Row, facts: Facts, score: float) -> str:
    """Rules and thresholds on one row; the decision as JSON."""
    facts["score"] = score
    hits = [(name, action) for name, action, condition in RULES if condition(facts)]
    claims = [(PRIORITIES.get(name, 0), ACTIONS.index(action)) for name, action in hits]
    claims += [(0, ACTIONS.index(action)) for action, threshold in THRESHOLDS if score >= threshold][:1]
    action = ACTIONS[max(claims)[1]] if claims else "allow"
    return json.dumps(
        {
            "transaction_id": row["TRANSACTION_ID"],
            "customer_id": row["CUSTOMER_ID"],
            "timestamp": row["TX_DATETIME"].isoformat(),
            "amount": row["TX_AMOUNT"],
            "score": score,
            "action": action,
            "rules": [name for name, _ in hits],
            "features": {name: facts[name] for name in FEATURE_NAMES},
        }
    )

"""The bytes of a batch of decisions are those of each decision by itself, as the encoder writes it."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from payments import typed_rows

from fraud.decision import ACTIONS, Artefact, Decision, RuleHit, ScoreReason, Versions, canonical_bytes
from fraud.decision_text import DecisionText, Finding, Verdicts
from fraud.features import feature_set
from fraud.features.profile_values import PROFILE_FIELDS, Profiles
from fraud.rule_inputs import GatheredBatch
from fraud.transaction import EARLIEST_TIMESTAMP_MS, LATEST_TIMESTAMP_MS, Transaction, timestamp_to_text

FEATURES = feature_set("handbook")
PROFILE = ("home_country", "maximum_amount", "tenure_days", "transaction_count")
ARTEFACT = Artefact("0" * 64, 'a "name"')
VERSIONS = Versions(ARTEFACT, None, ARTEFACT, ARTEFACT)
TEXT = DecisionText(FEATURES, PROFILE, "EUR", VERSIONS)

# Whatever a record may name: quotes, brackets and letters of any script.
NAMES = st.one_of(st.text('ab"\\{}[],:é\u2028😀', max_size=8), st.text(st.characters(exclude_categories=["Cs"])))
SCORES = st.one_of(st.just(float("nan")), st.integers(0, 10**6).map(lambda units: units / 10**6))
VALUES = st.one_of(st.none(), NAMES, st.booleans(), st.integers(-(10**9), 10**9), st.floats(allow_nan=False))
FINDINGS = st.builds(
    Finding,
    st.lists(NAMES, max_size=2),
    st.lists(NAMES, max_size=2),
    st.lists(
        st.builds(RuleHit, st.sampled_from(ACTIONS), NAMES, NAMES, st.dictionaries(NAMES, VALUES, max_size=2)),
        max_size=2,
    ),
    st.lists(st.builds(ScoreReason, st.floats(allow_nan=False, allow_infinity=False), NAMES, VALUES), max_size=2),
)
ROWS = st.fixed_dictionaries(
    {
        "transaction": st.builds(
            Transaction,
            NAMES,
            NAMES,
            st.integers(EARLIEST_TIMESTAMP_MS, LATEST_TIMESTAMP_MS - 1),
            st.integers(0, 10**11),
            st.sampled_from(["EUR", "JPY"]),
            st.integers(0, 10**15),
        ),
        "action": st.integers(0, 3),
        "recommended": st.integers(0, 3),
        "probability": st.one_of(st.just(1.0), st.floats(0, 1)),
        "score": SCORES,
        "late": st.booleans(),
        "profile": st.tuples(
            st.none() | NAMES, st.none() | st.floats(0, 1e12), st.floats(0, 1e5), st.integers(0, 2**53)
        ),
        "finding": st.none() | FINDINGS,
        "amount": st.floats(0, 1e6),
    }
)


def expected(row: dict[str, Any], features: dict[str, Any], degraded: tuple[str, ...]) -> bytes:
    transaction, finding = row["transaction"], row["finding"] or Finding([], [], [], [])
    return canonical_bytes(
        Decision(
            ACTIONS[row["action"]],
            transaction.amount_minor,
            row["probability"],
            transaction.base_amount_minor,
            "EUR",
            transaction.currency,
            list(degraded),
            msgspec.Raw(msgspec.json.encode(features)),
            row["late"],
            finding.notifications,
            dict(zip(PROFILE, row["profile"], strict=True)),
            finding.reason_codes,
            ACTIONS[row["recommended"]],
            finding.rule_hits,
            None if np.isnan(row["score"]) else row["score"],
            finding.score_reasons,
            timestamp_to_text(transaction.timestamp_ms),
            transaction.transaction_id,
            transaction.user_id,
            msgspec.Raw(msgspec.json.encode(VERSIONS)),
        )
    )


@given(st.lists(ROWS, max_size=8), st.sampled_from([(), ("entity_windows",)]), st.sampled_from([1, 20]))
@example([], (), 1)
def test_a_batch_has_the_bytes_of_each_decision(
    rows: list[dict[str, Any]], degraded: tuple[str, ...], times: int
) -> None:
    # More rows than are written at once, too.
    rows = rows * times
    matrix = np.array([[row["amount"]] * len(FEATURES.names) for row in rows]).reshape(-1, len(FEATURES.names))
    matrix = np.where([feature.kind == "number" for feature in FEATURES.rows], matrix, np.floor(matrix))
    batch = GatheredBatch(
        [row["transaction"] for row in rows],
        matrix,
        Profiles.of_rows([PROFILE_FIELDS[name] for name in PROFILE], [row["profile"] for row in rows]),
        np.array([row["late"] for row in rows], dtype=np.bool_),
        degraded,
    )
    verdicts = Verdicts(
        np.array([row["action"] for row in rows], dtype=np.int8),
        np.array([row["recommended"] for row in rows], dtype=np.int8),
        np.array([row["probability"] for row in rows], dtype=np.float64),
        np.array([row["score"] for row in rows], dtype=np.float64),
        {number: row["finding"] for number, row in enumerate(rows) if row["finding"] is not None},
    )
    order = sorted(range(len(FEATURES.names)), key=FEATURES.names.__getitem__)
    features = [{FEATURES.names[place]: values[place] for place in order} for values in typed_rows(FEATURES, matrix)]
    assert TEXT.of_each(batch, verdicts) == [
        expected(row, values, degraded) for row, values in zip(rows, features, strict=True)
    ]

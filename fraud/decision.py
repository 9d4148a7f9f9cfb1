"""A decision: what was done with a payment and everything it rests on, as bytes that can be made again."""

from __future__ import annotations

import hashlib

import msgspec

from fraud.rules.values import ACTIONS, ALLOW, BLOCK, CHALLENGE, REVIEW, Action

Scalar = str | float | int | bool | None


__all__ = [
    "ACTIONS",
    "ALLOW",
    "BLOCK",
    "CHALLENGE",
    "REVIEW",
    "Action",
    "Artefact",
    "Decision",
    "RuleHit",
    "Scalar",
    "ScoreReason",
    "Versions",
    "canonical_bytes",
    "content_sha256",
    "decision_message",
]


class RuleHit(msgspec.Struct, frozen=True, gc=False):
    """A rule that was true, and the values that its condition read."""

    action: Action
    reason_code: str
    rule_id: str
    values: dict[str, Scalar]


class ScoreReason(msgspec.Struct, frozen=True, gc=False):
    """A feature that moved the score, by its exact Shapley value in log-odds."""

    contribution: float
    feature: str
    value: Scalar


class Artefact(msgspec.Struct, frozen=True, gc=False):
    """A model, policy, feature set or rate table by name and by the SHA-256 of its content."""

    hash: str
    name: str


class Versions(msgspec.Struct, frozen=True, gc=False):
    """Exactly one of each: what a decision was made with."""

    feature_set: Artefact
    model: Artefact | None
    policy: Artefact
    rates: Artefact


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The frozen part of a decision. Fields stand in alphabetical order, because that is their order in the canonical
    bytes.

    `amount_minor` is in `currency`, `base_amount_minor` in `base_currency`. `score` is the probability of fraud
    rounded to 1e-6, None without a model. `features` and `profile` hold every value that the score and the rules read.
    `assignment_probability` is that of `action`, 1 unless a control group drew; it lets through some payments whose
    `recommended_action` is block.
    """

    action: Action
    amount_minor: int
    assignment_probability: float
    base_amount_minor: int
    base_currency: str
    currency: str
    degraded: list[str]
    features: msgspec.Raw
    late: bool
    notifications: list[str]
    profile: msgspec.Struct | dict[str, Scalar]
    reason_codes: list[str]
    recommended_action: Action
    rule_hits: list[RuleHit]
    score: float | None
    score_reasons: list[ScoreReason]
    timestamp: str
    transaction_id: str
    user_id: str
    versions: msgspec.Raw


_ENCODER = msgspec.json.Encoder()


def canonical_bytes(decision: Decision) -> bytes:
    """Canonical JSON: sorted keys, shortest round-trip numbers, missing is null.

    Struct fields are declared in alphabetical order and `features` and `profile` are built in sorted order, so the
    encoder need not sort; a test compares the result with a sorting encoder.
    """
    return _ENCODER.encode(decision)


def content_sha256(canonical: bytes) -> str:
    """The hash that freezes a decision: SHA-256 over its canonical bytes, in hexadecimal."""
    return hashlib.sha256(canonical).hexdigest()


def decision_message(canonical: bytes, content_hash: str) -> bytes:
    """The message for the `decisions` and `alerts` topics: the canonical bytes as they are, and their SHA-256 beside
    them.
    """
    return b'{"decision":%b,"hash":"%b"}' % (canonical, content_hash.encode())

"""What is known about a transaction at a time, from every label that has arrived by then."""

from __future__ import annotations

from collections.abc import Iterable

from fraud.transaction import Label, LabelName, LabelSource

# Whose word counts more. A representment is the bank's final ruling on a dispute; an analyst has seen the case; a
# chargeback is a formal claim; an issuer alert and a customer's call are early signs that are often withdrawn.
SOURCE_PRECEDENCE: tuple[LabelSource, ...] = ("representment", "analyst", "chargeback", "issuer_alert", "customer")


def resolve_labels(labels: Iterable[Label], known_by_ms: int) -> LabelName | None:
    """`fraud`, `legitimate`, or None (unknown) as known at `known_by_ms`.

    The source that counts most decides; within a source the label known last, and of equal times the one with the
    greater `label_id`, so that the order of arrival does not matter. The only place where labels are resolved.
    """
    best: tuple[int, int, str] | None = None
    resolved: LabelName | None = None
    for label in labels:
        if label.known_at_ms <= known_by_ms:
            rank = (-SOURCE_PRECEDENCE.index(label.source), label.known_at_ms, label.label_id)
            if best is None or rank > best:
                best, resolved = rank, label.label
    return resolved

"""What a report says about the run, besides the numbers of the summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Component:
    """One thing that the decisions rest on: its kind in words ("model"), its name and the SHA-256 of its content."""

    kind: str
    name: str
    hash: str


@dataclass(frozen=True)
class RejectedReason:
    """How many records were refused for one reason, and the first of them in words (masked by the caller)."""

    count: int
    example: str


@dataclass(frozen=True)
class ReportContext:
    """What was run: everything the page shows that is not in the summary.

    `sources` names of the files; `components` model, policy, feature set and rates (no model: leave it out);
    `labels_known` says in words when labels became known; `rejected` by error code; `rule_descriptions` by rule id.
    """

    sources: Sequence[str]
    mapping: str
    components: Sequence[Component]
    labels_known: str
    program_version: str
    rejected: Mapping[str, RejectedReason] = field(default_factory=dict)
    rule_descriptions: Mapping[str, str] = field(default_factory=dict)

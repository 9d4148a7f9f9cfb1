"""What `fraud policy check FILE` says: the policy in tables, or everything that is wrong with it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fraud.rules.policy import Policy, PolicyError, load_policy
from fraud.rules.policy_file import Rule
from fraud.rules.values import Names

# A terminal of the usual width; the table of rules is as wide as its longest id and channels.
_LINE_CHARACTERS = 80
_INDENT = " " * 12


@dataclass(frozen=True)
class PolicyCheck:
    """The outcome of a check: whether the policy can be used, and the text for a person."""

    is_valid: bool
    text: str


def check_policy(path: Path, names: Names, other_sets: Mapping[str, Names] | None = None) -> PolicyCheck:
    """Check the policy file at `path` against the `names` that its conditions may read, as `load_policy` does."""
    try:
        policy = load_policy(path, names, other_sets)
    except PolicyError as error:
        return PolicyCheck(is_valid=False, text=str(error))
    return PolicyCheck(is_valid=True, text=f"{path} is valid\n\n{describe_policy(policy)}")


def describe_policy(policy: Policy) -> str:
    """The policy's rules in order of precedence, its thresholds and lists, and the names that it reads."""
    parts = [f"policy      {policy.name}, version {policy.version}"]
    if policy.description:
        parts.extend(_wrapped(policy.description, _INDENT))
    parts.append(f"hash        {policy.content_hash}")
    thresholds = ", ".join(f"{action} from {value!r}" for action, value in policy.score_thresholds.items())
    parts.append(f"score       {thresholds or 'no thresholds'}")
    if policy.control_group is not None:
        parts.append(f"control     {policy.control_group.share:g} of what rules and score would block is let through")
    for name, values in policy.lists.items():
        parts.append(f"list        {name}: {len(values)} {'entry' if len(values) == 1 else 'entries'}")
    reads = ", ".join(sorted(policy.reads)) or "nothing"
    parts.extend(_wrapped(reads, "reads       "))
    return "\n".join([*parts, "", *_table(policy.rules)])


def _table(rules: Sequence[Rule]) -> list[str]:
    """A row for each rule, and under it the condition in full: it decides, so none of it is left out."""
    rows: list[tuple[str, ...]] = [("kind", "priority", "id", "action", "notify")]
    rows.extend(
        (
            rule.kind.replace("_", "-"),
            str(rule.priority) if rule.kind == "rule" else "",
            rule.id,
            rule.action,
            ", ".join(rule.notify),
        )
        for rule in rules
    )
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    heading, *shown = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
    lines = [heading, "  ".join("-" * width for width in widths)]
    for row, rule in zip(shown, rules, strict=True):
        lines.append(row)
        lines.extend(_wrapped(f"{rule.reason_code} when {rule.condition}", _INDENT))
    return lines


def _wrapped(text: str, start: str) -> list[str]:
    return textwrap.wrap(
        text,
        _LINE_CHARACTERS,
        initial_indent=start,
        subsequent_indent=_INDENT,
        break_on_hyphens=False,
        break_long_words=False,
    )

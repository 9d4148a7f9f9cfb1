"""A policy file as plain definitions: every key checked, every condition compiled, every problem noted."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import yaml

from fraud.rules.control_group import ControlGroup
from fraud.rules.document import Reader, character_positions
from fraud.rules.expression import RESERVED, Condition, choices_of, compile_condition, suggestion
from fraud.rules.operands import Choices
from fraud.rules.tokens import ConditionError
from fraud.rules.values import ACTIONS, SCORE, Action, Kind, Names

RuleKind = Literal["block_list", "allow_list", "rule"]
# In order of precedence: what a block-list says stands, whatever else hits.
RULE_KINDS: tuple[RuleKind, ...] = ("block_list", "allow_list", "rule")

# What the score thresholds are called among rules and reason codes.
SCORE_RULE_ID = "score"
SCORE_REASON_CODES: tuple[str, ...] = tuple(f"SCORE_{action.upper()}" for action in ACTIONS)

# Priorities order a few hundred rules at most; a larger one is a slip of the keyboard.
_LARGEST_PRIORITY = 1_000
# Whoever can guess the key can find a transaction that is let through; 16 characters are beyond guessing.
_SHORTEST_KEY = 16
# Each rule is a row of numpy work and a column of hits for every transaction.
_MAXIMUM_RULES = 500
# Identifiers stand in every decision and in column names.
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,63}")
_REASON_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}")


@dataclass(frozen=True)
class Rule:
    """One rule, allow-list or block-list of a policy. `condition` is in its canonical form, `reads` sorted."""

    id: str
    kind: RuleKind
    description: str
    condition: str
    action: Action
    notify: tuple[str, ...]
    reason_code: str
    priority: int
    reads: tuple[str, ...]


@dataclass(frozen=True)
class Definitions:
    """The whole content of a policy file. Rules stand by kind, then priority (highest first), then id."""

    name: str
    version: str
    description: str
    score_thresholds: Mapping[Action, float]
    lists: Mapping[str, Choices]
    rules: tuple[tuple[Rule, Condition], ...]
    control_group: ControlGroup | None = None

    def content_hash(self) -> str:
        """SHA-256 over the content as canonical JSON: comments, layout and the order of entries do not change it."""
        content: dict[str, Any] = {
            "description": self.description,
            "lists": {name: sorted(choices.values) for name, choices in self.lists.items()},
            "policy": self.name,
            "rules": [
                {
                    "action": rule.action,
                    "condition": rule.condition,
                    "description": rule.description,
                    "id": rule.id,
                    "kind": rule.kind,
                    "notify": rule.notify,
                    "priority": rule.priority,
                    "reason_code": rule.reason_code,
                }
                for rule, _ in self.rules
            ],
            "score_thresholds": dict(self.score_thresholds),
            "version": self.version,
        }
        if self.control_group is not None:
            content["control_group"] = {"key": self.control_group.key, "share": self.control_group.share}
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()


class DefinitionReader:
    """Reads the definitions out of a composed file; what it could not read is in `reader.problems`."""

    def __init__(self, reader: Reader, names: Names) -> None:
        self._reader = reader
        self._names: Names = {SCORE: Kind.NUMBER, **names}
        self._lists: dict[str, Choices] = {}
        self._lines: dict[str, int] = {}

    def read(self, root: yaml.Node) -> Definitions:
        """Everything that the file defines; to be used only if the reader has no problems."""
        entries = self._reader.mapping(
            root,
            "the policy",
            ("policy", "version"),
            ("description", "score_thresholds", "control_group", "lists", "allow_lists", "block_lists", "rules"),
        )
        name = self._matching(entries.get("policy"), "`policy`", _NAME, "a name of letters, digits, - and _")
        version = self._matching(entries.get("version"), "`version`", _VERSION, "for example 1 or 2026-03-01")
        thresholds = self._thresholds(entries.get("score_thresholds"))
        control_group = self._control_group(entries.get("control_group"))
        self._read_lists(entries.get("lists"))
        rules: list[tuple[Rule, Condition]] = []
        sections = {"block_lists": "block_list", "allow_lists": "allow_list", "rules": "rule"}
        for section, kind in sections.items():
            for node in self._reader.items(entries.get(section), f"`{section}`"):
                rule = self._rule(node, cast("RuleKind", kind))
                if rule:
                    rules.append(rule)
        if len(rules) > _MAXIMUM_RULES:
            self._reader.problem(
                root, f"the policy has more than {_MAXIMUM_RULES} rules", "join rules by lists, or remove some"
            )
        rules.sort(key=lambda entry: (RULE_KINDS.index(entry[0].kind), -entry[0].priority, entry[0].id))
        return Definitions(
            name,
            version,
            self._text(entries.get("description"), "`description`"),
            thresholds,
            self._lists,
            tuple(rules),
            control_group,
        )

    def _text(self, node: yaml.Node | None, what: str) -> str:
        scalar = self._reader.scalar(node, what) if node is not None else None
        return " ".join(scalar.text.split()) if scalar else ""

    def _matching(self, node: yaml.Node | None, what: str, pattern: re.Pattern[str], wanted: str) -> str:
        text = self._text(node, what)
        if node is not None and text and not pattern.fullmatch(text):
            self._reader.problem(node, f"{what} is not as expected", f"write {wanted}, at most 64 characters")
        return text

    def _thresholds(self, node: yaml.Node | None) -> dict[Action, float]:
        if node is None:
            return {}
        thresholds: dict[Action, float] = {}
        entries = self._reader.mapping(node, "`score_thresholds`", (), ACTIONS[1:])
        previous: Action | None = None
        for action in ACTIONS[1:]:
            if action not in entries:
                continue
            value = self._reader.number(entries[action], f"the threshold for {action}")
            if value is None:
                continue
            if not 0 <= value <= 1:
                self._reader.problem(
                    entries[action], f"the threshold for {action} is not between 0 and 1", "a score is a probability"
                )
                continue
            if previous and value < thresholds[previous]:
                self._reader.problem(
                    entries[action],
                    f"the threshold for {action} is below the one for {previous}",
                    f"{action} is more severe than {previous}: its threshold must not be lower",
                )
            thresholds[action] = value
            previous = action
        return thresholds

    def _control_group(self, node: yaml.Node | None) -> ControlGroup | None:
        if node is None:
            return None
        entries = self._reader.mapping(node, "`control_group`", ("share", "key"), ())
        share = self._reader.number(entries["share"], "`share`") if "share" in entries else None
        if share is not None and not 0 < share < 1:
            self._reader.problem(
                entries["share"],
                "the share of the control group is not between 0 and 1",
                "write for example 0.02, or remove `control_group`",
            )
        key = self._text(entries.get("key"), "`key`")
        if "key" in entries and key and len(key) < _SHORTEST_KEY:
            self._reader.problem(
                entries["key"],
                f"the key of the control group has fewer than {_SHORTEST_KEY} characters",
                "who can guess it knows what is let through: write a long random text",
            )
        return None if share is None else ControlGroup(share, key)

    def _read_lists(self, node: yaml.Node | None) -> None:
        if node is None:
            return
        for name, (key, value) in self._reader.entries(node, "`lists`").items():
            if not _IDENTIFIER.fullmatch(name):
                self._reader.problem(
                    key,
                    f"`{name}` cannot be the name of a list",
                    "use small letters, digits and _, for example blocked_cards",
                )
            elif name in self._names or name in RESERVED:
                self._reader.problem(
                    key, f"`{name}` already means something else in conditions", "give the list another name"
                )
            nodes = self._reader.items(value, f"the list `{name}`")
            values = [(entry, self._reader.list_entry(entry, f"the list `{name}`")) for entry in nodes]
            usable = [(entry, value) for entry, value in values if value is not None]
            for entry, found in usable:
                if isinstance(found, str) != isinstance(usable[0][1], str):
                    self._reader.problem(
                        entry,
                        f"the list `{name}` has both numbers and texts",
                        "put texts that look like numbers in quotes",
                    )
                    break
            self._lists[name] = choices_of([found for _, found in usable])

    def _rule(self, node: yaml.Node, kind: RuleKind) -> tuple[Rule, Condition] | None:
        what = {"rule": "the rule", "allow_list": "the allow-list", "block_list": "the block-list"}[kind]
        required = ["id", "description", "condition", "reason_code"]
        optional = []
        if kind == "rule":
            required.insert(3, "action")
            optional = ["notify", "priority"]
        entries = self._reader.mapping(node, what, required, optional)
        identifier = self._id(entries.get("id"))
        reason_code = self._matching(
            entries.get("reason_code"), "`reason_code`", _REASON_CODE, "capitals, digits and _, for example NEW_DEVICE"
        )
        if reason_code in SCORE_REASON_CODES:
            self._reader.problem(
                entries["reason_code"], f"`{reason_code}` is the reason code of a score threshold", "choose another one"
            )
        description = self._text(entries.get("description"), "`description`")
        action = self._action(entries.get("action"), kind)
        notify = self._notify(entries.get("notify"))
        priority = self._priority(entries.get("priority"))
        condition = self._condition(entries.get("condition"))
        if condition is None or action is None:
            return None
        rule = Rule(
            identifier, kind, description, condition.text, action, notify, reason_code, priority, condition.reads
        )
        return rule, condition

    def _id(self, node: yaml.Node | None) -> str:
        identifier = self._matching(node, "`id`", _IDENTIFIER, "small letters, digits and _, for example new_device")
        if node is None or not identifier:
            return identifier
        if identifier == SCORE_RULE_ID:
            self._reader.problem(node, f"the id `{identifier}` is kept for the score thresholds", "choose another id")
        if identifier in self._lines:
            self._reader.problem(
                node,
                f"the id `{identifier}` is already used in line {self._lines[identifier]}",
                "ids are unique in a policy",
            )
        self._lines.setdefault(identifier, node.start_mark.line + 1)
        return identifier

    def _action(self, node: yaml.Node | None, kind: RuleKind) -> Action | None:
        if kind != "rule":
            return "allow" if kind == "allow_list" else "block"
        text = self._text(node, "`action`")
        if text in ACTIONS:
            return text
        if node is not None and text:
            hint = suggestion(text, frozenset(ACTIONS)) or f"the actions are {', '.join(ACTIONS)}"
            if text == "notify":
                hint = "to notify somebody write `action: allow` and `notify: analyst`"
            self._reader.problem(node, f"unknown action `{text}`", hint)
        return None

    def _notify(self, node: yaml.Node | None) -> tuple[str, ...]:
        if node is None:
            return ()
        nodes = self._reader.items(node, "`notify`") if isinstance(node, yaml.SequenceNode) else [node]
        channels = {
            self._matching(entry, "`notify`", _IDENTIFIER, "a channel such as customer or analyst") for entry in nodes
        }
        return tuple(sorted(channels))

    def _priority(self, node: yaml.Node | None) -> int:
        value = self._reader.number(node, "`priority`") if node is not None else None
        if node is None or value is None:
            return 0
        if value != int(value) or abs(value) > _LARGEST_PRIORITY:
            self._reader.problem(
                node,
                f"`priority` is not a whole number from -{_LARGEST_PRIORITY} to {_LARGEST_PRIORITY}",
                "0 is the default",
            )
            return 0
        return int(value)

    def _condition(self, node: yaml.Node | None) -> Condition | None:
        scalar = self._reader.scalar(node, "`condition`") if node is not None else None
        if scalar is None:
            return None
        try:
            return compile_condition(scalar.text, self._names, self._lists)
        except ConditionError as error:
            positions = character_positions(scalar.node, self._reader.source.text)
            for fault in error.faults:
                start = positions[min(fault.start, len(positions) - 1)]
                end = max(start, positions[min(max(fault.end - 1, fault.start), len(positions) - 1)]) + 1
                self._reader.problem_at(start, end, fault.reason, fault.hint, fault.unknown_name)
            return None

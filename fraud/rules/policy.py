"""A policy: which rules hit for each row of a batch, and which action follows.

Precedence: a block-list decides over everything; then an allow-list; then, among the rules that hit and the score
thresholds (of priority 0), the highest priority, and within it the most severe action. Nothing hit: allow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from fraud.rules.control_group import ControlGroup
from fraud.rules.document import Reader, compose, read_text
from fraud.rules.operands import Truth, Value, comparison
from fraud.rules.policy_file import RULE_KINDS, SCORE_REASON_CODES, SCORE_RULE_ID, DefinitionReader, Definitions, Rule
from fraud.rules.problems import PolicyError, Problem, Source
from fraud.rules.program import Column, Constant, Program, Step
from fraud.rules.values import ACTIONS, ALLOW, BLOCK, SCORE, Action, Columns, Kind, Mask, Names

_SCORE_PRIORITY = 0


@dataclass(frozen=True)
class Evaluation:
    """What a policy says about a batch of rows.

    `action_codes`: int8 [rows], the index in `ACTIONS`. `hits`: bool [rows, rules], in the order of `Policy.rules`.
    `score_action_codes`: int8 [rows], what the score thresholds alone say. `drawn` has, by row, the probability of the
    action that a control group's draw gave it: the policy recommended to block, some of these rows are allowed.
    """

    action_codes: NDArray[np.int8]
    hits: Mask
    score_action_codes: NDArray[np.int8]
    drawn: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Policy:
    """A checked policy, ready to evaluate. `rules` stand by kind (block-lists, allow-lists, rules), priority and id.

    `reads` has every name that a condition or a threshold reads: the columns that `evaluate` needs. `content_hash`:
    SHA-256 of the parsed content, so that comments and layout do not change it.
    """

    name: str
    version: str
    description: str
    content_hash: str
    score_thresholds: Mapping[Action, float]
    lists: Mapping[str, frozenset[float] | frozenset[str]]
    rules: tuple[Rule, ...]
    reads: frozenset[str]
    control_group: ControlGroup | None
    _program: Program = field(repr=False, compare=False)
    # What to paint over the actions of a batch, the last one deciding: the number of a result and an action code.
    _precedence: tuple[tuple[int, int], ...] = field(repr=False, compare=False)

    def evaluate(self, columns: Columns, rows: int) -> Evaluation:
        """Which rules hit, and the action that follows, for each of `rows` rows.

        `columns` has an array of shape [rows], typed as `Kind` says, for each of `reads`; without `score` (there is no
        model) it is missing in every row. Raises `KeyError` with the name of any other column that is not there.
        """
        if SCORE in self.reads and SCORE not in columns:
            columns = {**columns, SCORE: np.full(rows, np.nan)}
        masks = self._program.run(columns)
        hits = np.empty((rows, len(self.rules)), dtype=np.bool_)
        for place in range(len(self.rules)):
            hits[:, place] = masks[place]
        score_action_codes = np.zeros(rows, dtype=np.int8)
        for place, action in enumerate(self.score_thresholds, start=len(self.rules)):
            np.copyto(score_action_codes, ACTIONS.index(action), where=masks[place])
        action_codes = np.full(rows, ALLOW, dtype=np.int8)
        for place, action_code in self._precedence:
            np.copyto(action_codes, action_code, where=masks[place])
        return Evaluation(action_codes, hits, score_action_codes)

    def with_draws(self, evaluation: Evaluation, identities: Sequence[tuple[str, str]]) -> Evaluation:
        """Let through whom the control group draws among the rows that rules or score block; a block-list stands.

        `identities`: user and transaction id of each row. Without a control group nothing changes.
        """
        group = self.control_group
        if group is None:
            return evaluation
        listed = [place for place, rule in enumerate(self.rules) if rule.kind == "block_list"]
        blocked = (evaluation.action_codes == BLOCK) & ~evaluation.hits[:, listed].any(axis=1)
        action_codes, drawn = evaluation.action_codes.copy(), {}
        for row in np.flatnonzero(blocked).tolist():
            let_through = group.draws(*identities[row])
            drawn[row] = group.share if let_through else 1 - group.share
            if let_through:
                action_codes[row] = ALLOW
        return replace(evaluation, action_codes=action_codes, drawn=drawn)

    def notifications(self, hit_row: Mask) -> list[str]:
        """Whom the rules that hit want to notify, whatever decided: sorted, each once. `hit_row`: bool [rules]."""
        return sorted({channel for place in np.flatnonzero(hit_row) for channel in self.rules[place].notify})

    def reason_codes(self, hit_row: Mask, score_action_code: int) -> list[str]:
        """The reason codes of what hit, each once, in the order of `rules`; the score stands as a rule called `score`.

        `hit_row`: bool [rules]; `score_action_code`: what the thresholds say for this row, the index in `ACTIONS`.
        """
        codes = [(_order(self.rules[place]), self.rules[place].reason_code) for place in np.flatnonzero(hit_row)]
        if score_action_code != ALLOW:
            codes.append(
                ((RULE_KINDS.index("rule"), -_SCORE_PRIORITY, SCORE_RULE_ID), SCORE_REASON_CODES[score_action_code])
            )
        return list(dict.fromkeys(code for _, code in sorted(codes)))


def _order(rule: Rule) -> tuple[int, int, str]:
    return RULE_KINDS.index(rule.kind), -rule.priority, rule.id


def load_policy(path: Path, names: Names, other_sets: Mapping[str, Names] | None = None) -> Policy:
    """Read and check the policy file at `path`.

    `names`: every name that a condition may read, with its type; `score` is always there. `other_sets`: what they
    would be under other feature sets, by the name of the set, to recognise a policy that was written for one of them.
    Raises `PolicyError` with every problem of the file.
    """
    return parse_policy(read_text(path), str(path), names, other_sets)


def parse_policy(text: str, file_name: str, names: Names, other_sets: Mapping[str, Names] | None = None) -> Policy:
    """Check the policy in `text`, as `load_policy`; `file_name` is only for messages."""
    source = Source(text, file_name)
    root = compose(source)
    try:
        return _compiled(_definitions(source, root, names))
    except PolicyError as error:
        others = other_sets or {}
        left = {feature_set: _problems(source, root, its_names) for feature_set, its_names in others.items()}
        meant = min(left, key=lambda feature_set: len(left[feature_set]), default=None)
        if meant is None or len(left[meant]) >= len(error.problems):
            raise PolicyError(file_name, _known_elsewhere(error.problems, others)) from None
        advice = _for_another_set(file_name, meant, is_all=not left[meant])
        raise PolicyError(file_name, [advice, *_known_elsewhere(left[meant], {**others, "": names})]) from None


def _definitions(source: Source, root: yaml.Node, names: Names) -> Definitions:
    reader = Reader(source)
    definitions = DefinitionReader(reader, names).read(root)
    if reader.problems:
        raise PolicyError(source.file_name, reader.problems)
    return definitions


def _problems(source: Source, root: yaml.Node, names: Names) -> list[Problem]:
    try:
        _definitions(source, root, names)
    except PolicyError as error:
        return error.problems
    return []


def _for_another_set(file_name: str, feature_set: str, *, is_all: bool) -> Problem:
    reason = f"the policy reads features of the feature set `{feature_set}`"
    hint = f"try --feature-set {feature_set}{'' if is_all else ', with which this is left:'}"
    return Problem(0, 0, reason, hint, file_name=file_name)


def _known_elsewhere(problems: list[Problem], sets: Mapping[str, Names]) -> list[Problem]:
    """The problems; what is unknown here but in another of the `sets` says so. The set in use has no name in `sets`."""
    explained = []
    for problem in problems:
        homes = [f"the feature set `{name}`" for name, names in sets.items() if name and problem.unknown_name in names]
        if problem.unknown_name in sets.get("", {}):
            homes.append("the feature set in use now")
        hint = f"it belongs to {homes[0]}; a policy reads one set" if homes else problem.hint
        explained.append(replace(problem, hint=hint))
    return explained


def _compiled(definitions: Definitions) -> Policy:
    rules = tuple(rule for rule, _ in definitions.rules)
    results: list[Step] = [condition.truth.true for _, condition in definitions.rules]
    results.extend(_reaches(threshold).true for threshold in definitions.score_thresholds.values())
    reads = {name for rule in rules for name in rule.reads}
    if definitions.score_thresholds:
        reads.add(SCORE)
    return Policy(
        name=definitions.name,
        version=definitions.version,
        description=definitions.description,
        content_hash=definitions.content_hash(),
        score_thresholds=definitions.score_thresholds,
        lists={name: choices.values for name, choices in definitions.lists.items()},
        rules=rules,
        reads=frozenset(reads),
        control_group=definitions.control_group,
        _program=Program(results),
        _precedence=_precedence(rules, list(definitions.score_thresholds)),
    )


def _reaches(threshold: float) -> Truth:
    return comparison(np.greater_equal, np.less)(
        Value(Kind.NUMBER, Column(SCORE)), Value(Kind.NUMBER, Constant(threshold))
    )


def _precedence(rules: tuple[Rule, ...], thresholds: list[Action]) -> tuple[tuple[int, int], ...]:
    """Results and their action codes from the weakest to the one that decides over all others."""
    ranked: list[tuple[tuple[Any, ...], int, int]] = []
    for place, rule in enumerate(rules):
        action_code = ACTIONS.index(rule.action)
        ranked.append(((-RULE_KINDS.index(rule.kind), rule.priority, action_code), place, action_code))
    for place, action in enumerate(thresholds, start=len(rules)):
        action_code = ACTIONS.index(action)
        ranked.append(((-RULE_KINDS.index("rule"), _SCORE_PRIORITY, action_code), place, action_code))
    return tuple((place, action_code) for _, place, action_code in sorted(ranked))


__all__ = ["Evaluation", "Policy", "PolicyError", "load_policy", "parse_policy"]

"""A policy: what decides, what is told, what its hash covers, and what is wrong with one that is refused."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from fraud import decision
from fraud.rules.check import check_policy
from fraud.rules.policy import Policy, PolicyError, load_policy, parse_policy
from fraud.rules.values import ACTIONS, Kind

NAMES = {
    "amount": Kind.NUMBER,
    "merchant_category": Kind.TEXT,
    "country": Kind.TEXT,
    "device_is_new": Kind.BOOLEAN,
    "attributes.loyalty_level": Kind.NUMBER,
    **{f"hit_{place}": Kind.BOOLEAN for place in range(8)},
}
HEADER = "policy: test\nversion: 1\n"


def parse(text: str) -> Policy:
    return parse_policy(text, "test.yaml", NAMES)


def refused(text: str) -> PolicyError:
    with pytest.raises(PolicyError) as error:
        parse(text)
    return error.value


def rule(identifier: str, condition: str = "amount > 1", action: str = "review", **more: object) -> str:
    lines = [f"  - id: {identifier}", "    description: d", f"    condition: {condition}", f"    action: {action}"]
    lines += [f"    reason_code: {identifier.upper()}", *(f"    {key}: {value}" for key, value in more.items())]
    return "\n".join(lines) + "\n"


def listed(identifier: str, condition: str) -> str:
    return (
        f"  - id: {identifier}\n    description: d\n    condition: {condition}\n    reason_code: {identifier.upper()}\n"
    )


def test_the_actions_are_those_of_decisions() -> None:
    assert ACTIONS == decision.ACTIONS


# Every combination of what can hit: a block-list, an allow-list, rules of each priority and action, and the score.
RULES = [("high_allow", 5, "allow"), ("high_review", 5, "review"), ("zero_challenge", 0, "challenge")]
RULES += [("zero_allow", 0, "allow"), ("low_block", -5, "block")]
PRECEDENCE = (
    HEADER
    + "score_thresholds: {challenge: 0.3, review: 0.6, block: 0.9}\n"
    + "block_lists:\n"
    + listed("blocked", "hit_0")
    + "allow_lists:\n"
    + listed("trusted", "hit_1")
    + "rules:\n"
    + "".join(
        rule(name, f"hit_{place}", action, priority=priority) for place, (name, priority, action) in enumerate(RULES, 2)
    )
)


def expected_action(hits: tuple[bool, ...], score: float) -> str:
    """The documented precedence, word for word."""
    if hits[0]:
        return "block"
    if hits[1]:
        return "allow"
    candidates = [
        (priority, ACTIONS.index(action)) for hit, (_, priority, action) in zip(hits[2:], RULES, strict=True) if hit
    ]
    for threshold, action in ((0.9, "block"), (0.6, "review"), (0.3, "challenge")):
        if score >= threshold:
            candidates.append((0, ACTIONS.index(action)))
            break
    return ACTIONS[max(candidates)[1]] if candidates else "allow"


def test_precedence_holds_for_every_combination_of_hits_and_scores() -> None:
    policy = parse(PRECEDENCE)
    rows = list(itertools.product(*[[False, True]] * 7, [np.nan, 0.0, 0.3, 0.5, 0.6, 0.8999, 0.9, 1.0]))
    columns = {f"hit_{place}": np.array([float(row[place]) for row in rows]) for place in range(7)}
    columns["score"] = np.array([row[7] for row in rows])
    evaluation = policy.evaluate(columns, len(rows))
    assert evaluation.action_codes.dtype == np.int8
    assert evaluation.hits.shape == (len(rows), 7)
    for place, row in enumerate(rows):
        assert ACTIONS[evaluation.action_codes[place]] == expected_action(row[:7], row[7]), row
        alone = expected_action((False,) * 7, row[7])
        assert ACTIONS[evaluation.score_action_codes[place]] == alone


def test_a_row_is_decided_alike_in_every_batch() -> None:
    policy = parse(PRECEDENCE)
    generator = np.random.default_rng(5)
    columns = {f"hit_{place}": generator.choice([0.0, 1.0, np.nan], 300) for place in range(7)}
    columns["score"] = generator.random(300)
    whole = policy.evaluate(columns, 300)
    for size in (1, 7, 256):
        for start in range(0, 300, size):
            part = {name: values[start : start + size] for name, values in columns.items()}
            rows = len(part["score"])
            evaluation = policy.evaluate(part, rows)
            assert np.array_equal(evaluation.action_codes, whole.action_codes[start : start + rows])
            assert np.array_equal(evaluation.hits, whole.hits[start : start + rows])
            assert np.array_equal(evaluation.score_action_codes, whole.score_action_codes[start : start + rows])
    assert policy.evaluate({name: values[:0] for name, values in columns.items()}, 0).hits.shape == (0, 7)


def test_rules_stand_by_kind_priority_and_id_whatever_their_order_in_the_file() -> None:
    policy = parse(PRECEDENCE)
    assert [entry.id for entry in policy.rules] == [
        "blocked",
        "trusted",
        "high_allow",
        "high_review",
        "zero_allow",
        "zero_challenge",
        "low_block",
    ]


def test_reason_codes_stand_in_order_of_precedence_and_once() -> None:
    policy = parse(PRECEDENCE)
    everything = np.ones(7, dtype=np.bool_)
    assert policy.reason_codes(everything, 3) == [
        "BLOCKED",
        "TRUSTED",
        "HIGH_ALLOW",
        "HIGH_REVIEW",
        "SCORE_BLOCK",
        "ZERO_ALLOW",
        "ZERO_CHALLENGE",
        "LOW_BLOCK",
    ]
    assert policy.reason_codes(~everything, 0) == []
    assert policy.reason_codes(~everything, 1) == ["SCORE_CHALLENGE"]
    shared = parse(HEADER + "rules:\n" + rule("a") + rule("b").replace("reason_code: B", "reason_code: A"))
    assert shared.reason_codes(np.ones(2, dtype=np.bool_), 0) == ["A"]


def test_every_rule_that_hits_notifies_whatever_decides() -> None:
    policy = parse(
        HEADER
        + "block_lists:\n"
        + listed("blocked", "hit_0")
        + "rules:\n"
        + rule("one", "hit_1", notify="[customer, analyst]")
        + rule("two", "hit_2", "allow", notify="customer")
        + rule("three", "hit_3", notify="branch")
    )
    assert [entry.id for entry in policy.rules] == ["blocked", "one", "three", "two"]
    assert policy.notifications(np.array([True, True, False, True])) == ["analyst", "customer"]
    assert policy.notifications(np.array([True, False, False, False])) == []


def test_without_a_model_the_score_is_unknown() -> None:
    policy = parse(
        HEADER
        + "score_thresholds: {block: 0.1}\nrules:\n"
        + rule("low", "score < 0.5")
        + rule("not_high", "not score > 0.5")
        + rule("no_score", "score is missing", "challenge")
    )
    evaluation = policy.evaluate({}, 2)
    assert evaluation.score_action_codes.tolist() == [0, 0]
    assert evaluation.action_codes.tolist() == [ACTIONS.index("challenge")] * 2
    assert [policy.rules[place].id for place in np.flatnonzero(evaluation.hits[0])] == ["no_score"]


def test_a_policy_and_its_rules_tell_what_they_read() -> None:
    policy = parse(
        HEADER
        + "rules:\n"
        + rule("one", 'country == "FR" and attributes.loyalty_level < amount')
        + rule("two", "device_is_new")
    )
    assert policy.rules[0].reads == ("amount", "attributes.loyalty_level", "country")
    assert policy.reads == {"amount", "attributes.loyalty_level", "country", "device_is_new"}
    assert parse(HEADER + "score_thresholds: {block: 0.5}\n").reads == {"score"}
    with pytest.raises(KeyError, match="device_is_new"):
        parse(HEADER + "rules:\n" + rule("two", "device_is_new")).evaluate({}, 1)


def test_a_condition_without_names_holds_for_every_row() -> None:
    policy = parse(HEADER + "rules:\n" + rule("always", "true") + rule("never", "1 > 2"))
    assert policy.evaluate({}, 3).hits.tolist() == [[True, False]] * 3


HASHED = HEADER + "description: A test\nlists:\n  food: ['5411', '5812']\nrules:\n"


def test_the_hash_covers_the_content_and_not_how_it_is_written() -> None:
    plain = parse(HASHED + rule("one", 'merchant_category in food and amount > 0.5 and country == "FR"') + rule("two"))
    other = parse(
        "# a comment\nrules:\n"
        + rule("two")
        + rule("one", "|\n      merchant_category in food   and\n      amount > 0.50 and\n      country == 'FR'")
        + "version: '1'\npolicy: test\n\nlists: {food: ['5812', '5411', '5411']}\ndescription: >\n  A\n  test\n"
    )
    assert plain.content_hash == other.content_hash
    assert len(plain.content_hash) == 64


@pytest.mark.parametrize(
    ("written", "changed"),
    [
        ("version: 1", "version: 2"),
        ("policy: test", "policy: other"),
        ("A test", "Another test"),
        ("'5411', ", ""),
        ("id: two", "id: three"),
        ("reason_code: TWO", "reason_code: THREE"),
        ("action: review", "action: block"),
        ("amount > 1", "amount > 2"),
        ("reason_code: TWO", "reason_code: TWO\n    priority: 1"),
        ("reason_code: TWO", "reason_code: TWO\n    notify: analyst"),
        ("description: d", "description: e"),
        ("rules:", "score_thresholds: {block: 0.5}\nrules:"),
    ],
)
def test_every_change_of_content_changes_the_hash(written: str, changed: str) -> None:
    text = HASHED + rule("two")
    assert written in text
    assert parse(text).content_hash != parse(text.replace(written, changed)).content_hash


def test_a_country_called_no_is_a_country() -> None:
    policy = parse(HEADER + "lists: {nordic: [NO, SE, on]}\nrules:\n" + rule("nordic_country", "country in nordic"))
    hits = policy.evaluate({"country": np.array(["NO", "SE", "DE", None], dtype=object)}, 4).hits
    assert hits[:, 0].tolist() == [True, True, False, False]


PROBLEMS = [
    ("policy: test\nversion: 1\nrulez: []\n", (3, 1), "unknown key `rulez`", "did you mean `rules`?"),
    ("policy: a b\nversion: 1\n", (1, 9), "`policy` is not as expected", "write a name of letters"),
    (HEADER + "score_thresholds: {allow: 0.1}\n", (3, 20), "unknown key `allow`", "challenge, review, block"),
    (HEADER + "score_thresholds: {block: high}\n", (3, 27), "must be a number", "without quotes"),
    (HEADER + "score_thresholds: {block: 95}\n", (3, 27), "not between 0 and 1", "a probability"),
    (HEADER + "score_thresholds: {block: .nan}\n", (3, 27), "must be a number", "without quotes"),
    (HEADER + "score_thresholds: {review: 0.9, block: 0.5}\n", (3, 40), "below the one for review", "more severe"),
    (HEADER + "lists: {Blocked: []}\n", (3, 9), "cannot be the name of a list", "small letters"),
    (HEADER + "lists: {amount: []}\n", (3, 9), "already means something else", "another name"),
    (HEADER + "lists: {lower: []}\n", (3, 9), "already means something else", "another name"),
    (HEADER + "lists: {codes: x}\n", (3, 16), "must be a list", "write [] for none"),
    (HEADER + "lists: {codes: [1, x]}\n", (3, 20), "both numbers and texts", "in quotes"),
    (HEADER + "lists: {codes: [0742]}\n", (3, 17), "neither a plain number nor a text", 'write "0742"'),
    (HEADER + "lists: {codes: [true]}\n", (3, 17), "neither a plain number nor a text", 'write "true"'),
    (HEADER + "lists: {codes: [null]}\n", (3, 17), "is empty", "remove the line"),
    (HEADER + "lists: {codes: [[1]]}\n", (3, 17), "must be one value", "needs quotes"),
    (HEADER + "rules:\n" + rule("Bad"), (4, 9), "`id` is not as expected", "small letters"),
    (HEADER + "rules:\n" + rule("score"), (4, 9), "kept for the score thresholds", "another id"),
    (HEADER + "rules:\n" + rule("a") + rule("a"), (9, 9), "already used in line 4", "unique"),
    (HEADER + "rules:\n" + rule("score_block"), (8, 18), "reason code of a score threshold", "another"),
    (HEADER + "rules:\n" + rule("a", action="stop"), (7, 13), "unknown action `stop`", "allow, challenge"),
    (HEADER + "rules:\n" + rule("a", action="notify"), (7, 13), "unknown action `notify`", "`notify: analyst`"),
    (HEADER + "rules:\n" + rule("a", priority=1.5), (9, 15), "not a whole number", "0 is the default"),
    (HEADER + "rules:\n" + rule("a", priority="5000"), (9, 15), "not a whole number", "0 is the default"),
    (HEADER + "rules:\n" + rule("a", notify="Every one"), (9, 13), "`notify` is not as expected", "a channel"),
    (HEADER + "rules:\n" + rule("a", condition="[1]"), (6, 16), "must be one value", "needs quotes"),
    (HEADER + "rules:\n" + rule("a", condition="!device_is_new"), (6, 16), "tags such as", "write not"),
    (HEADER + "rules:\n" + rule("a", condition="amont > 1"), (6, 16), "unknown name `amont`", "`amount`"),
    (HEADER + "rules:\n" + rule("a", condition="'country == ''F'' or amont > 1'"), (6, 37), "unknown name `amont`", ""),
    (HEADER + "rules:\n" + rule("a", condition='"country == \\"F\\" or amont > 1"'), (6, 37), "unknown name", ""),
    (HEADER + "rules:\n" + rule("a", condition="amount > 1\n      or amont > 1"), (7, 10), "unknown name `amont`", ""),
    (
        HEADER + "rules:\n" + rule("a", condition=">-\n      amount > 1\n      or amont > 1"),
        (8, 10),
        "unknown name",
        "",
    ),
    (
        HEADER + "rules:\n" + rule("a", condition="| # why\n      amount > 1\n      or amont > 1"),
        (8, 10),
        "unknown",
        "",
    ),
    (HEADER + "rules:\n" + rule("a", condition='"amount > 1 \\\n      or amont > 1"'), (7, 10), "unknown name", ""),
    (HEADER + "rules:\n" + rule("a", condition="country in blocked"), (6, 27), "unknown list `blocked`", "name it"),
    (HEADER + "allow_lists:\n" + rule("a"), (7, 5), "unknown key `action` in the allow-list", "the keys of"),
    (HEADER + "rules:\n  - id: a\n", (4, 5), "`description` is missing in the rule", "add a line"),
]


@pytest.mark.parametrize(("text", "place", "reason", "hint"), PROBLEMS, ids=[f"{n}" for n in range(len(PROBLEMS))])
def test_a_problem_has_its_place_reason_and_hint(text: str, place: tuple[int, int], reason: str, hint: str) -> None:
    problems = refused(text).problems
    first = next(problem for problem in problems if reason in problem.reason)
    assert (first.line, first.column) == place
    assert hint in first.hint
    assert all(problem.hint for problem in problems)


def test_all_problems_of_a_file_are_told_in_its_order() -> None:
    error = refused(
        "policy: test\nversion: 1\nscore_thresholds: {block: 2}\nrules:\n"
        + rule("one", 'custmer > 1 and amount > "5"', action="blok")
        + rule("one", "amount >", prority=3)
    )
    assert str(error) == (
        """test.yaml is refused: 7 problems

test.yaml:3:27: the threshold for block is not between 0 and 1
  3 | score_thresholds: {block: 2}
    |                           ^
  hint: a score is a probability

test.yaml:7:16: unknown name `custmer`
  7 |     condition: custmer > 1 and amount > "5"
    |                ^^^^^^^
  hint: if it is a text, write it in quotes: "custmer"

test.yaml:7:41: `x > y` takes (number, number), not (number, text)
  7 |     condition: custmer > 1 and amount > "5"
    |                                         ^^^
  hint: text is written in quotes, a number without

test.yaml:8:13: unknown action `blok`
  8 |     action: blok
    |             ^^^^
  hint: did you mean `block`?

test.yaml:10:9: the id `one` is already used in line 5
  10 |   - id: one
     |         ^^^
  hint: ids are unique in a policy

test.yaml:12:23: a value is missing after `>`
  12 |     condition: amount >
     |                       ^
  hint: complete it

test.yaml:15:5: unknown key `prority` in the rule
  15 |     prority: 3
     |     ^^^^^^^
  hint: did you mean `priority`?"""
    )


def test_an_excerpt_of_a_long_line_shows_the_place_and_no_control_characters() -> None:
    error = refused(HEADER + "rules:\n" + rule("a", f"country in ['{'x' * 150}'] or amont > 1  # \u200e\ttab"))
    lines = str(error.problems[0]).split("\n")
    assert len(lines[1]) < 120
    caret = lines[2].index("^")
    assert lines[1][caret : caret + 5] == "amont"
    assert all(line.isprintable() for line in lines)


def test_after_a_hundred_problems_no_more_are_looked_for() -> None:
    error = refused(HEADER + "rules: [" + "{a: 1}," * 1_000 + "]\n")
    assert len(error.problems) == 100
    assert str(error).startswith("test.yaml is refused: 100 problems")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"absent.yaml: cannot be read: No such file"):
        load_policy(tmp_path / "absent.yaml", NAMES)
    with pytest.raises(PolicyError, match="cannot be read: Is a directory"):
        load_policy(tmp_path, NAMES)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("policy: a\ndescription: caf\xe9\n".encode("latin-1"))
    with pytest.raises(PolicyError, match=r"latin.yaml:2:17: the byte 0xe9 is not UTF-8"):
        load_policy(latin, NAMES)
    large = tmp_path / "large.yaml"
    large.write_text("#" * 600_000, encoding="utf-8")
    with pytest.raises(PolicyError, match="larger than 512 KiB"):
        load_policy(large, NAMES)


def test_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    text = HEADER + "rules:\n" + rule("one", ">-\n      amount > 1\n      and device_is_new")
    unix, windows = tmp_path / "unix.yaml", tmp_path / "windows.yaml"
    unix.write_bytes(text.encode())
    windows.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert load_policy(unix, NAMES).content_hash == load_policy(windows, NAMES).content_hash
    windows.write_bytes(text.replace("device_is_new", "device_new").replace("\n", "\r\n").encode())
    with pytest.raises(PolicyError, match=r"windows.yaml:8:11: unknown name"):
        load_policy(windows, NAMES)


def test_the_check_shows_a_valid_policy_in_tables(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        HEADER
        + "description: A test\nscore_thresholds: {challenge: 0.5, block: 0.95}\nlists: {food: ['5411']}\n"
        + "allow_lists:\n"
        + listed("trusted", "merchant_category in food")
        + "rules:\n"
        + rule("high", "amount>  500", notify="[customer, analyst]", priority=3),
        encoding="utf-8",
    )
    outcome = check_policy(path, NAMES)
    assert outcome.is_valid
    shown = outcome.text.replace(str(path), "policy.yaml")
    digest = load_policy(path, NAMES).content_hash
    assert shown == (
        f"""policy.yaml is valid

policy      test, version 1
            A test
hash        {digest}
score       challenge from 0.5, block from 0.95
list        food: 1 entry
reads       amount, merchant_category, score

kind        priority  id       action  notify
----------  --------  -------  ------  -----------------
allow-list            trusted  allow
            TRUSTED when merchant_category in food
rule        3         high     review  analyst, customer
            HIGH when amount > 500"""
    )


def test_the_check_shows_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(HEADER + "rules:\n" + rule("one", "amont > 1"), encoding="utf-8")
    outcome = check_policy(path, NAMES)
    assert not outcome.is_valid
    assert "did you mean `amount`?" in outcome.text


def test_an_unknown_name_is_told_once_with_all_its_lines() -> None:
    error = refused(HEADER + "rules:\n" + rule("one", "speed > 1") + rule("two", "speed > 2 and speed < 3 or mass > 1"))
    assert [(problem.line, problem.unknown_name) for problem in error.problems] == [(6, "speed"), (11, "mass")]
    assert "test.yaml:6:16: unknown name `speed`, 3 times, in lines 6, 11\n" in str(error)
    assert "test.yaml:11:43: unknown name `mass`\n" in str(error)
    assert "2 problems" in str(error)


def test_many_places_of_a_name_are_not_all_told() -> None:
    error = refused(HEADER + "rules:\n" + "".join(rule(f"rule_{place}", "speed > 1") for place in range(12)))
    assert "12 times, in lines 6, 11, 16, 21, 26, 31, 36, 41 ..." in str(error)


OTHER_SETS = {
    "physics": {"amount": Kind.NUMBER, "speed": Kind.NUMBER, "mass": Kind.NUMBER},
    "cooking": {"amount": Kind.NUMBER, "mass": Kind.NUMBER},
}


@pytest.mark.parametrize(
    ("condition", "set_name", "left"),
    [
        ("speed > 1 and mass > 1", "physics", ""),
        ("mass > 1 and device_is_new and country == 'GB'", None, "`mass`"),
        ("device_is_new and amont > 1", None, "`amont`"),
        ("speed > 1 and mass > 1 and amont > 1", "physics", "`amont`"),
    ],
)
def test_a_policy_for_another_feature_set_is_recognised(condition: str, set_name: str | None, left: str) -> None:
    with pytest.raises(PolicyError) as raised:
        parse_policy(HEADER + "rules:\n" + rule("one", condition), "test.yaml", NAMES, OTHER_SETS)
    first, *others = raised.value.problems
    if set_name is None:
        others = [first, *others]
    else:
        assert first.reason == f"the policy reads features of the feature set `{set_name}`"
        assert first.hint.startswith(f"try --feature-set {set_name}")
    assert left in "".join(problem.reason for problem in others)
    assert len(others) == bool(left)


@pytest.mark.parametrize(
    ("condition", "unknown", "hint"),
    [
        ("mass > 1 and device_is_new", "mass", "it belongs to the feature set `physics`"),
        ("speed > 1 and mass > 1 and device_is_new", "device_is_new", "it belongs to the feature set in use now"),
    ],
)
def test_a_feature_of_another_set_is_told_as_that(condition: str, unknown: str, hint: str) -> None:
    with pytest.raises(PolicyError) as raised:
        parse_policy(HEADER + "rules:\n" + rule("one", condition), "test.yaml", NAMES, OTHER_SETS)
    problem = raised.value.problems[-1]
    assert problem.unknown_name == unknown
    assert problem.hint == f"{hint}; a policy reads one set"


def test_the_set_that_leaves_the_fewest_problems_is_named_whatever_their_order() -> None:
    text = HEADER + "rules:\n" + rule("one", "speed > 1 and mass > 1")
    for names in (OTHER_SETS, dict(reversed(OTHER_SETS.items()))):
        with pytest.raises(PolicyError, match="--feature-set physics"):
            parse_policy(text, "test.yaml", NAMES, names)

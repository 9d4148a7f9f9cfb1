import re

import pytest

from fraud.sources import MappingError, load_mapping, mapping_names, parse_mapping

SMALLEST = """\
mapping: mine
fields:
  transaction_id: id
  user_id: customer
  amount: total
  currency: {constant: EUR}
time: {column: when, format: iso, zone: UTC}
"""
LABEL = """\
label:
  column: fraud
  fraud_values: [1]
  legitimate_values: [0]
"""


def test_four_mappings_ship() -> None:
    assert mapping_names() == ["handbook", "native", "paysim", "sparkov"]
    for name in mapping_names():
        assert load_mapping(name).name == name


def test_a_name_that_does_not_ship_is_answered_with_those_that_do() -> None:
    with pytest.raises(
        MappingError, match=r"no mapping 'handbok'; did you mean 'handbook'\? Shipped: handbook, native"
    ):
        load_mapping("handbok")
    with pytest.raises(MappingError, match=r"no mapping 'nothing'\. Shipped: handbook, native"):
        load_mapping("nothing")


def test_a_mapping_file_that_is_missing_is_one_clear_line() -> None:
    with pytest.raises(MappingError, match=r"nowhere\.yaml: cannot read the mapping: No such file"):
        load_mapping("nowhere.yaml")


def test_attribute_kinds_name_the_declared_types() -> None:
    assert load_mapping("sparkov").attribute_kinds == {
        "home_latitude": "number",
        "home_longitude": "number",
        "city_pop": "number",
    }


def test_the_content_hash_ignores_comments_and_layout_but_not_meaning() -> None:
    original = parse_mapping(SMALLEST, "a.yaml").content_hash
    assert (
        parse_mapping("# mine\n" + SMALLEST.replace("{constant: EUR}", "\n    constant: EUR"), "b.yaml").content_hash
        == original
    )
    assert parse_mapping(SMALLEST.replace("EUR", "USD"), "a.yaml").content_hash != original


def test_values_are_texts_as_written_so_norway_stays_norway() -> None:
    mapping = parse_mapping(SMALLEST + "", "a.yaml")
    assert mapping.fields["currency"].constant == "EUR"
    norway = parse_mapping(SMALLEST.replace("amount: total", "amount: total\n  country: {constant: NO}"), "a.yaml")
    assert norway.fields["country"].constant == "NO"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("  user_id: customer\n", ""), "m.yaml:2:1: missing: user_id; each needs"),
        (("  user_id: customer\n", ""), "; the mapping has: transaction_id, amount, currency"),
        (("user_id: customer", "user: customer"), "m.yaml:4:3: unknown field 'user'; did you mean 'user_id'?"),
        (("user_id: customer", "timestamp: when"), "m.yaml:4:3: the timestamp has a section of its own"),
        (("user_id: customer", "nothing: customer"), "m.yaml:4:3: unknown field 'nothing'. Possible: transaction_id,"),
        (("user_id: customer", "user_id: {nothing: a}"), "m.yaml:4:13: unknown key 'nothing'. Possible: column,"),
        (("format: iso", "format: nothing"), "m.yaml:7:22: unknown format 'nothing'. Possible: iso,"),
        (("user_id: customer", "user_id: {colum: a}"), "m.yaml:4:13: unknown key 'colum'; did you mean 'column'?"),
        (("user_id: customer", "user_id: {column: a, constant: b}"), "m.yaml:4:3: user_id needs exactly one of"),
        (("user_id: customer", "user_id: {column: a, optional: true}"), "m.yaml:4:24: user_id is required"),
        (("user_id: customer", "user_id: {column: a, unit: minor}"), "m.yaml:4:24: unit is for the amount only"),
        (("amount: total", "amount: {column: a, prefix: b}"), "m.yaml:5:3: amount is a number"),
        (("user_id: customer", "user_id: customer\n  user_id: b"), "m.yaml:5:3: 'user_id' is there twice"),
        (("user_id: customer", "user_id: [a]"), "m.yaml:4:3: a text is needed here"),
        (("user_id: customer", "user_id: {columns: a}"), "m.yaml:4:13: a list is needed here"),
        (("user_id: customer", "user_id: {column: a, optional: maybe}"), "m.yaml:4:24: must be one of true, false"),
        (("{constant: EUR}", "{constant: EURO}"), "m.yaml:6:14: currency must be an ISO 4217 currency code"),
        (("amount: total", "amount: total\n  latitude: {constant: far}"), ":6:14: latitude must be a number between"),
        (("format: iso", "format: isoo"), "m.yaml:7:22: unknown format 'isoo'; did you mean 'iso'?"),
        (("zone: UTC", "zone: Mars/Base"), "m.yaml:7:35: unknown time zone 'Mars/Base'"),
        (("format: iso", "format: hours_since"), "m.yaml:7:1: hours_since needs a start"),
        (("format: iso", "format: iso, start: 2026-01-01"), "m.yaml:7:1: hours_since needs a start"),
        (("zone: UTC", "start: 2026-01-01, format: hours_since"), "m.yaml:7:54: 'format' is there twice"),
        (("format: iso, zone: UTC", "start: 2026-01-01, format: hours_since"), "m.yaml:7:22: must name its zone"),
        (("format: iso, zone: UTC", "start: soon, format: hours_since"), "m.yaml:7:22: 'soon' is not a time"),
        (("mapping: mine\n", ""), "m.yaml:1:1: missing: mapping"),
        (("mapping: mine", "mapping: mine\ndelimiter: ab"), "m.yaml:2:1: must be one character"),
        (("mapping: mine", "mapping: mine\ntopic_messages: true"), "m.yaml:2:1: topic_messages is for files"),
        (("mapping: mine", "mapping: mine: yours"), "m.yaml:1:14: not valid YAML"),
        (("mapping: mine", "mapping: &a mine\ndescription: *a"), "m.yaml:2:14: aliases"),
        (("mapping: mine", "mapping: mine\nattributes: {a b: {column: c, type: text}}"), ":2:14: attribute 'a b'"),
        (("mapping: mine", "mapping: mine\nattributes: {a: {column: c, type: int}}"), ":2:29: must be one of number"),
    ],
)  # fmt: skip
def test_a_wrong_mapping_is_refused_at_its_line_and_column(change: tuple[str, str], problem: str) -> None:
    assert change[0] in SMALLEST
    with pytest.raises(MappingError, match=re.escape(problem)):
        parse_mapping(SMALLEST.replace(*change), "m.yaml")


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        ("label: {column: a, fraud_values: [1]}", ":8:1: missing: legitimate_values"),
        (LABEL.replace("[0]", "[0, 1]"), ":11:3: 1 can't mean fraud and legitimate"),
        (LABEL.replace("[0]", "[]"), ":11:3: a list is needed here"),
        (LABEL + "  source: chargebak\n", ":12:3: must be one of chargeback"),
        (LABEL + "  delay: {seed: 1}\n", ":12:3: needs a distribution"),
        (LABEL + "  delay: {seed: 1, distribution: constant}\n", ":12:3: missing: days"),
        (LABEL + "  delay: {seed: 1, distribution: constant, days: -1}\n", "must be a number of at least 0"),
        (LABEL + "  delay: {seed: 1, distribution: constant, days: soon}\n", "must be a number, not 'soon'"),
        (LABEL + "  delay: {seed: 1, distribution: uniform, minimum_days: 2, maximum_days: 1}\n", "must not be above"),
        (LABEL + "  delay: {seed: 1, distribution: poisson}\n", "must be one of constant, uniform, lognormal"),
        (LABEL + "  delay: {seed: 1, by_source: {analyst: {days: 1}}}\n", "missing: distribution"),
        (LABEL + "  delay: {seed: 1, by_source: {police: {days: 1}}}\n", "unknown key 'police'"),
        (LABEL + "  known_at: {column: a, format: iso}\n  delay: {seed: 1}\n", "only one of them"),
    ],
)
def test_a_wrong_label_section_is_refused(label: str, problem: str) -> None:
    with pytest.raises(MappingError, match=re.escape(problem)):
        parse_mapping(SMALLEST + label, "m.yaml")


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n- b\n", "text", "a: [", "\x00", "a: \t- b", "[" * 5_000])
def test_what_is_not_a_mapping_at_all_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(MappingError, match=r"^m\.yaml[^\n]*$"):
        parse_mapping(text, "m.yaml")


def test_a_file_too_large_to_be_a_mapping_is_refused() -> None:
    with pytest.raises(MappingError, match="more than 100000 characters"):
        parse_mapping("#" * 100_001, "m.yaml")

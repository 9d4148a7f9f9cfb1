"""What holds for every registered feature of every set."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from random import Random

import pytest
from event_sequences import Pools, generate
from payments import HOUR_MS, MINUTE_MS, START_MS, Bench, admission, typed_rows

from fraud.features import FEATURE_SETS, UnknownFeatureSetError, feature_set
from fraud.features.extraction import Extraction
from fraud.features.passage import Passages
from fraud.features.plan import ENTITY_KINDS
from fraud.features.table import Feature, FeatureSet, StateLimits, Value
from fraud.rule_inputs import rule_names
from fraud.settings import Settings
from fraud.transaction import Transaction

STEPS_MS = (0, 0, 0, MINUTE_MS, MINUTE_MS, 10 * MINUTE_MS, HOUR_MS, 7 * HOUR_MS, 30 * HOUR_MS, -HOUR_MS)
ALL_ROWS = [pytest.param(name, row, id=f"{name}-{row.name}") for name in FEATURE_SETS for row in feature_set(name).rows]
KIND_TYPES = {"integer": int, "number": float, "boolean": bool}
EMPTY = Transaction("t", "customer", START_MS, 2_000, "EUR", 2_000)


def columns(name: str) -> dict[str, list[Value]]:
    """Values of every feature over a long sequence."""
    sequence = generate(Random(7), 800, Pools(customers=3, merchants=4, others=3), STEPS_MS)
    bench = Bench(feature_set_name=name, verdicts=sequence.verdicts)
    rows = [outcome.values for outcome in bench.run(sequence.messages) if outcome.what == "decided"]
    return dict(zip(bench.names, map(list, zip(*rows, strict=True)), strict=True))


COLUMNS = {name: columns(name) for name in FEATURE_SETS}


def first_values(name: str) -> dict[str, Value]:
    """Values for a customer's first payment, in which every optional field is missing."""
    chosen = feature_set(name)
    extraction = Extraction(chosen, chosen.plan(StateLimits()), 2)
    customer = extraction.customer(EMPTY.user_id, EMPTY.timestamp_ms, {})
    matrix = extraction.pass_all(Passages([EMPTY], [customer], [False]), {kind: {} for kind in ENTITY_KINDS}).matrix
    return dict(zip(chosen.names, typed_rows(chosen, matrix)[0], strict=True))


@pytest.mark.parametrize(("name", "row"), ALL_ROWS)
def test_it_is_finite_or_declared_missing(name: str, row: Feature) -> None:
    for value in [*COLUMNS[name][row.name], first_values(name)[row.name]]:
        assert math.isfinite(value) or (math.isnan(value) and row.missing), value


@pytest.mark.parametrize(("name", "row"), ALL_ROWS)
def test_it_is_of_its_kind(name: str, row: Feature) -> None:
    of_kind = KIND_TYPES[row.kind]
    for value in COLUMNS[name][row.name]:
        if not math.isnan(value):
            assert type(value) is of_kind or (row.kind == "number" and type(value) is int), value


@pytest.mark.parametrize(("name", "row"), ALL_ROWS)
def test_it_varies_over_a_varied_sequence(name: str, row: Feature) -> None:
    assert len({str(value) for value in COLUMNS[name][row.name]}) > 1


@pytest.mark.parametrize(("name", "row"), ALL_ROWS)
def test_it_is_explained(name: str, row: Feature) -> None:
    assert row.meaning
    assert not row.meaning.endswith(".")
    assert row.window_ms >= 0
    assert row.delay_ms >= 0
    assert row.entity in ("customer", "transaction", *ENTITY_KINDS)


def test_a_first_payment_without_any_optional_field() -> None:
    assert {name: value for name, value in first_values("handbook").items() if value} == {
        "TX_AMOUNT": 20.0,
        "CUSTOMER_ID_NB_TX_1DAY_WINDOW": 1,
        "CUSTOMER_ID_NB_TX_7DAY_WINDOW": 1,
        "CUSTOMER_ID_NB_TX_30DAY_WINDOW": 1,
        "CUSTOMER_ID_AVG_AMOUNT_1DAY_WINDOW": 20.0,
        "CUSTOMER_ID_AVG_AMOUNT_7DAY_WINDOW": 20.0,
        "CUSTOMER_ID_AVG_AMOUNT_30DAY_WINDOW": 20.0,
    }
    values = first_values("default")
    known = {name: value for name, value in values.items() if not math.isnan(value)}
    lengths = ("10m", "1h", "24h", "7d", "30d")
    assert {known[f"customer_count_{length}"] for length in lengths} == {1}
    assert {known[f"customer_sum_{length}"] for length in lengths} == {20.0}
    assert {known[f"customer_maximum_{length}"] for length in lengths} == {20.0}
    assert {value for name, value in known.items() if "distinct" in name} == {0}
    assert known["customer_tenure_days"] == 0
    assert known["rising_amounts_run"] == 1
    assert known["hour_surprise"] == pytest.approx(math.log(24))
    assert not {name for name in known if name.startswith(ENTITY_KINDS) and name != "card_is_new"}


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_reading_values_changes_nothing(name: str) -> None:
    chosen = feature_set(name)
    extraction = Extraction(chosen, chosen.plan(StateLimits()), 2)
    customers: dict[str, object] = {}
    states: dict[str, dict[str, object]] = {kind: {} for kind in ENTITY_KINDS}
    admit = admission(Settings()).admit
    for message in generate(Random(3), 60, Pools(), (60_000, 3_600_000, 86_400_000)).messages:
        transaction = admit(message)
        customer = extraction.customer(transaction.user_id, transaction.timestamp_ms, customers)
        # One that is late is read and not counted; what no window reaches any more is dropped before.
        read = Passages([transaction], [customer], [True])
        extraction.pass_all(read, states)
        before = snapshot([customer, states])
        first, second = extraction.pass_all(read, states), extraction.pass_all(read, states)
        assert first.matrix.tobytes() == second.matrix.tobytes()
        assert snapshot([customer, states]) == before
        extraction.pass_all(Passages([transaction], [customer], [False]), states)


def snapshot(thing: object) -> object:
    """All that is reachable from a state, as plain values in order."""
    if hasattr(thing, "__slots__") and not isinstance(thing, str | bytes):
        return {name: snapshot(getattr(thing, name)) for name in thing.__slots__ if hasattr(thing, name)}
    if isinstance(thing, dict):
        return [(key, snapshot(value)) for key, value in thing.items()]
    if isinstance(thing, list | tuple):
        return [snapshot(part) for part in thing]
    return copy.copy(thing)


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_the_same_sequence_gives_the_same_values(name: str) -> None:
    assert repr(columns(name)) == repr(COLUMNS[name])


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_names_are_unique_and_not_those_of_the_transaction(name: str) -> None:
    chosen = feature_set(name)
    assert len(set(chosen.names)) == len(chosen.names)
    assert not set(chosen.names) & set(Transaction.__struct_fields__)
    assert set(chosen.names) < set(rule_names(chosen, {}, detailed=True))


CHANGES = {
    "name": lambda row: replace(row, name="another"),
    "kind": lambda row: replace(row, kind="number" if row.kind == "boolean" else "boolean"),
    "entity": lambda row: replace(row, entity="transaction" if row.entity == "merchant" else "merchant"),
    "aggregation": lambda row: replace(row, aggregation="another"),
    "window": lambda row: replace(row, window_ms=row.window_ms + 1),
    "baseline window": lambda row: replace(row, baseline_window_ms=row.baseline_window_ms + 1),
    "delay": lambda row: replace(row, delay_ms=row.delay_ms + 1),
    "hop": lambda row: replace(row, hop_ms=row.hop_ms + 1),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("name", FEATURE_SETS)
def test_the_schema_hash_names_what_changes_a_value(name: str, what: str) -> None:
    rows = feature_set(name).rows
    hashes = {feature_set(name).schema_hash}
    for place, row in enumerate(rows):
        changed = CHANGES[what](row)
        hashes.add(FeatureSet(name, [*rows[:place], changed, *rows[place + 1 :]]).schema_hash)
    assert len(hashes) == len(rows) + 1


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_the_schema_hash_covers_the_order_and_not_the_words(name: str) -> None:
    chosen = feature_set(name)
    swapped = FeatureSet(name, [*chosen.rows[1:3], chosen.rows[0], *chosen.rows[3:]])
    assert swapped.schema_hash != chosen.schema_hash
    reworded = FeatureSet(name, [replace(row, meaning="in other words", missing="seldom") for row in chosen.rows])
    assert reworded.schema_hash == chosen.schema_hash


def test_a_set_names_no_feature_twice() -> None:
    row = feature_set("handbook").rows[0]
    with pytest.raises(ValueError, match="names twice: TX_AMOUNT"):
        FeatureSet("broken", [row, row])


def test_a_family_reads_one_kind_of_entity() -> None:
    by_terminal = next(row for row in feature_set("handbook").rows if row.entity == "terminal")
    by_merchant = replace(by_terminal, name="merchant_count", entity="merchant")
    torn = FeatureSet("torn", [by_terminal, by_merchant])
    with pytest.raises(ValueError, match=r"torn: one family reads one kind of entity, not \['merchant', 'terminal'\]"):
        torn.families(torn.plan(StateLimits()))


def test_an_unknown_set_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownFeatureSetError, match="default, handbook"):
        feature_set("handbok")

"""What a replay writes, and that nothing in it names a card or an address."""

import collections
import csv
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from fraud.features import feature_set

PROMISED_COLUMNS = {
    "transaction_id": pa.string(),
    "user_id": pa.string(),
    "timestamp": pa.timestamp("ms", tz="UTC"),
    "amount": pa.float64(),
    "score": pa.float64(),
    "action": pa.string(),
    "rule_hits": pa.list_(pa.string()),
    "reason_codes": pa.list_(pa.string()),
    "degraded": pa.list_(pa.string()),
    "late": pa.bool_(),
    "model_version": pa.string(),
    "policy_version": pa.string(),
    "feature_set_version": pa.string(),
    "rates_version": pa.string(),
}
BAD_ROWS = (
    # Clear values in the wrong column, and card and address that are refused themselves.
    {"amount": "4000121234567890"},
    {"currency": "81.2.69.142"},
    {"card_id": "40001212345\x0767890"},
    {"ip_address": "81.2.69.142\x07"},
    {"transaction_id": "4000121234567890\x07"},
    {"user_id": "u\x07 4000 1212 3456 7890 from 81.2.69.142 and 2001:db8:85a3::8a2e:370:7334"},
)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def json_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def canonical(value: Any) -> bytes:
    return msgspec.json.encode(value, order="sorted")


def texts_in(path: Path) -> Iterator[str]:
    """Every text in a file, that of compressed columns included."""
    if path.suffix != ".parquet":
        yield path.read_text()
        return
    table = pq.read_table(path)
    yield str(pq.read_schema(path).metadata)
    for column in table.columns:
        flat = pc.list_flatten(column) if pa.types.is_list(column.type) else column
        if pa.types.is_string(flat.type):
            yield "\n".join(filter(None, flat.to_pylist()))


def test_every_promised_file_is_there_and_no_other(replayed: Path) -> None:
    assert sorted(path.name for path in replayed.iterdir()) == [
        "alerts.jsonl",
        "decisions.jsonl",
        "decisions.parquet",
        "rejected.jsonl",
        "report.html",
        "summary.json",
        "timings.json",
    ]


def test_decisions_as_messages_are_written_on_request_only(
    tmp_path: Path, simulated: Path, replay: Callable[..., Path]
) -> None:
    out = replay(tmp_path / "out", simulated, "--limit", "50")
    assert not (out / "decisions.jsonl").exists()


def test_there_is_one_decision_for_each_authorisation_in_the_order_of_the_file(simulated: Path, replayed: Path) -> None:
    table = pq.read_table(replayed / "decisions.parquet")
    expected = [row for row in rows_of(simulated) if row["event_type"] in {"", "authorisation"}]
    assert len(expected) < len(rows_of(simulated))
    assert table["transaction_id"].to_pylist() == [row["transaction_id"] for row in expected]
    assert table["user_id"].to_pylist() == [row["user_id"] for row in expected]
    assert table["amount"].to_pylist() == [float(row["amount"]) for row in expected]
    assert [moment.isoformat(timespec="milliseconds") for moment in table["timestamp"].to_pylist()] == [
        row["timestamp"].replace("Z", "+00:00") for row in expected
    ]


def test_decisions_have_the_promised_columns_and_every_feature_under_its_own_name(replayed: Path) -> None:
    schema = pq.read_schema(replayed / "decisions.parquet")
    for name, kind in PROMISED_COLUMNS.items():
        assert schema.field(name).type == kind, name
    names = feature_set("default").names
    assert schema.names[-len(names) :] == list(names)


def test_the_handbook_set_writes_exactly_the_published_names(
    tmp_path: Path, simulated: Path, replay: Callable[..., Path]
) -> None:
    arguments = ("--limit", "100", "--feature-set", "handbook", "--policy", "handbook")
    schema = pq.read_schema(replay(tmp_path / "out", simulated, *arguments) / "decisions.parquet")
    published = [
        "TX_DURING_WEEKEND",
        "TX_DURING_NIGHT",
        *(f"CUSTOMER_ID_{value}_{days}DAY_WINDOW" for days in (1, 7, 30) for value in ("NB_TX", "AVG_AMOUNT")),
        *(f"TERMINAL_ID_{value}_{days}DAY_WINDOW" for days in (1, 7, 30) for value in ("NB_TX", "RISK")),
        "TX_AMOUNT",
    ]
    assert set(schema.names[-15:]) == set(published)


def test_without_a_model_scores_and_model_versions_are_missing(replayed: Path) -> None:
    table = pq.read_table(replayed / "decisions.parquet", columns=["score", "model_version", "policy_version"])
    assert table["score"].null_count == table["model_version"].null_count == table.num_rows
    assert re.fullmatch(r"default 1@[0-9a-f]{12}", table["policy_version"][0].as_py())


@pytest.mark.parametrize("name", ["alerts.jsonl", "decisions.jsonl"])
def test_messages_are_canonical_and_frozen_by_their_hash(replayed: Path, name: str) -> None:
    lines = (replayed / name).read_bytes().splitlines()
    assert lines
    for line in lines:
        message = json.loads(line)
        assert set(message) == {"decision", "hash"}
        assert line == canonical(message)
        assert hashlib.sha256(canonical(message["decision"])).hexdigest() == message["hash"]


def test_messages_and_table_tell_the_same(replayed: Path) -> None:
    rows = pq.read_table(replayed / "decisions.parquet").to_pylist()
    messages = json_lines(replayed / "decisions.jsonl")
    assert [message["hash"] for message in messages] == [row["decision_hash"] for row in rows]
    for message, row in zip(messages, rows, strict=True):
        decision = message["decision"]
        assert decision["transaction_id"] == row["transaction_id"]
        assert decision["action"] == row["action"]
        assert decision["reason_codes"] == row["reason_codes"]
        assert [hit["rule_id"] for hit in decision["rule_hits"]] == row["rule_hits"]
        assert decision["features"] == {name: row[name] for name in decision["features"]}


def test_alerts_are_the_decisions_that_ask_somebody_to_act(replayed: Path) -> None:
    decisions = [message["decision"] for message in json_lines(replayed / "decisions.jsonl")]
    acting = [row["transaction_id"] for row in decisions if row["action"] != "allow" or row["notifications"]]
    alerts = [message["decision"]["transaction_id"] for message in json_lines(replayed / "alerts.jsonl")]
    assert alerts == acting
    assert 0 < len(alerts) < len(decisions)


def test_the_summary_counts_every_alert_as_flagged_or_as_notifying_only(
    tmp_path: Path, simulated: Path, replayed: Path, replay: Callable[..., Path]
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        """
policy: tells
version: 1
description: Reviews some payments and tells the customer about others
rules:
  - id: high
    description: Reviewed, and told
    condition: amount > 200
    action: review
    notify: analyst
    reason_code: HIGH
  - id: middling
    description: Told, whatever is done
    condition: amount > 100
    action: allow
    notify: customer
    reason_code: MIDDLING
"""
    )
    telling = replay(tmp_path / "out", simulated, "--policy", policy)
    for out in (replayed, telling):
        detection = json.loads((out / "summary.json").read_bytes())["detection"]
        assert len(json_lines(out / "alerts.jsonl")) == detection["alerts"] + detection["notified_only"]
    rows = pq.read_table(telling / "decisions.parquet", columns=["action", "notifications"]).to_pylist()
    told = [row for row in rows if row["action"] == "allow" and row["notifications"]]
    assert detection["notified_only"] == len(told) > 0
    assert detection["alerts"] > 0


def test_a_rule_hit_carries_the_values_that_its_condition_read(replayed: Path) -> None:
    for message in json_lines(replayed / "alerts.jsonl"):
        decision = message["decision"]
        assert decision["rule_hits"]
        for hit in decision["rule_hits"]:
            assert set(hit) == {"action", "reason_code", "rule_id", "values"}
            for name, value in hit["values"].items():
                assert decision["features"].get(name, value) == value
            if hit["rule_id"] == "many_merchants":
                values = hit["values"]
                assert values["customer_distinct_merchants_24h"] >= 10 or values["customer_distinct_countries_24h"] >= 4


def test_summary_counts_are_those_of_the_decisions(simulated: Path, replayed: Path) -> None:
    summary = json.loads((replayed / "summary.json").read_bytes())
    table = pq.read_table(replayed / "decisions.parquet")
    assert summary["transactions"] == len(rows_of(simulated))
    assert summary["decided"] == table.num_rows
    actions = collections.Counter(table["action"].to_pylist())
    assert {name: row["count"] for name, row in summary["actions"].items()} == {
        name: actions[name] for name in ("allow", "challenge", "review", "block")
    }
    for name, row in summary["actions"].items():
        chosen = table.filter(pc.equal(table["action"], name))
        assert row["amount_minor"] == (pc.sum(chosen["base_amount_minor"]).as_py() or 0)
        assert row["frauds"] == chosen["label"].to_pylist().count("fraud")
    assert summary["labels"]["frauds"] == table["label"].to_pylist().count("fraud")
    days = collections.Counter(moment.date().isoformat() for moment in table["timestamp"].to_pylist())
    assert {day["day"]: day["transactions"] for day in summary["days"]} == days
    assert all(sum(day["actions"].values()) == day["transactions"] for day in summary["days"])


def test_summary_precision_and_recall_are_those_of_the_decisions(replayed: Path) -> None:
    detection = json.loads((replayed / "summary.json").read_bytes())["detection"]
    table = pq.read_table(replayed / "decisions.parquet", columns=["action", "label"])
    flagged = [row for row in table.to_pylist() if row["action"] != "allow"]
    caught = [row for row in flagged if row["label"] == "fraud"]
    labelled = [row for row in flagged if row["label"] is not None]
    assert detection["frauds_caught"] == len(caught) > 0
    assert detection["alert_precision"] == pytest.approx(len(caught) / len(labelled))
    frauds = table["label"].to_pylist().count("fraud")
    assert detection["alert_recall"] == pytest.approx(len(caught) / frauds)


def test_stopped_lost_and_later_money_is_all_fraud_money_with_no_payment_counted_twice(replayed: Path) -> None:
    summary = json.loads((replayed / "summary.json").read_bytes())
    for key in ("stopped", "lost", "after_block"):
        by_day = [day[key] for day in summary["days"]]
        assert sum(day["amount_minor"] for day in by_day) == summary["money"][key]["amount_minor"]
        assert sum(day["payments"] for day in by_day) == summary["money"][key]["payments"]
    money = summary["money"]
    total = sum(money[key]["amount_minor"] for key in ("stopped", "lost", "after_block"))
    assert 0 < total <= sum(row["fraud_amount_minor"] for row in summary["actions"].values())


def test_the_printed_summary_has_every_promised_number(
    tmp_path: Path, simulated: Path, fraud: Callable[..., Any]
) -> None:
    finished = fraud("replay", simulated, "--out", tmp_path / "out", "--model", "none")
    summary = json.loads((tmp_path / "out" / "summary.json").read_bytes())
    timings = json.loads((tmp_path / "out" / "timings.json").read_bytes())
    lines = {line[:18].strip(): line[18:] for line in finished.stdout.splitlines()}
    assert f"{summary['transactions']:,}" in lines["transactions"]
    assert "a second" in lines["transactions"]
    for action, row in summary["actions"].items():
        assert f"{row['count']:,}" in lines[action]
    assert {"precision", "recall", "money stopped", "money lost", "reviews a day"} <= set(lines)
    stages = {"read", "validate", "enrich", "features", "score", "rules", "decide", "write", "report", "total"}
    assert stages <= set(lines)
    assert stages == set(timings)
    assert "report.html" in finished.stdout
    assert max(map(len, finished.stdout.splitlines())) <= 100 + len(str(tmp_path))


def test_the_report_opens_offline(replayed: Path) -> None:
    page = (replayed / "report.html").read_text()
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)
    assert "@import" not in page
    assert "<script" not in page
    for title in ("Riskiest customers", "Riskiest merchants", "Riskiest devices", "Money by action", "Rules"):
        assert title in page


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory, simulated: Path, replay: Callable[..., Path]
) -> tuple[Path, list[dict[str, str]]]:
    """A replay of good rows and of rows that are refused with card numbers and addresses in them."""
    folder = tmp_path_factory.mktemp("guarded")
    rows = rows_of(simulated)
    given = {"card_id": "4000121234567890", "ip_address": "81.2.69.142"}
    bad = [rows[0] | given | {"transaction_id": f"bad{number}"} | change for number, change in enumerate(BAD_ROWS)]
    file = folder / "in.csv"
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows[:300] + bad)
        stream.write("4000121234567890,81.2.69.142,2001:db8:85a3::8a2e:370:7334\n")
        stream.write('"4000-1212-3456-7890,81.2.69.142\n')
        writer.writerows(rows[300:])
    return replay(folder / "out", file, "--decisions-jsonl"), rows + bad


def test_no_output_has_a_clear_card_number_or_address(guarded: tuple[Path, list[dict[str, str]]]) -> None:
    out, rows = guarded
    cards = {row["card_id"] for row in rows} - {""}
    # An address that ends in zero is also how its network is written.
    addresses = {row["ip_address"] for row in rows if not row["ip_address"].endswith(".0")} - {""}
    addresses |= {"2001:db8:85a3::8a2e:370:7334"}
    assert len(cards) > 50
    assert len(addresses) > 50
    # The grouped forms of the same number as well.
    for path in out.iterdir():
        for text in texts_in(path):
            plain = re.sub(r"(?<=\d)[ -](?=\d)", "", text)
            assert not {card for card in cards if card in plain}, path.name
            found = set(re.findall(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d./])|2001:db8:[0-9a-f:]+", text))
            assert not found & addresses, path.name


def test_every_refusal_names_file_line_field_value_and_reason(guarded: tuple[Path, list[dict[str, str]]]) -> None:
    out, _ = guarded
    rejected = json_lines(out / "rejected.jsonl")
    assert len(rejected) == len(BAD_ROWS) + 2
    for record in rejected:
        assert set(record) == {"code", "field", "file", "line", "reason", "value"}
        assert record["file"].endswith("in.csv")
        assert len(record["value"]) <= 80
    assert [record["line"] for record in rejected] == list(range(302, 302 + len(BAD_ROWS) + 2))


def test_a_card_keeps_its_prefix_and_one_token_for_the_same_number(
    tmp_path: Path, simulated: Path, replay: Callable[..., Path]
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        """
policy: shows_cards
version: 1
description: Reads card and network
rules:
  - id: everything
    description: Reads what is left of card and address
    condition: card_prefix != "" and card_id != "" and ip_prefix != "" and ip_address != ""
    action: review
    reason_code: SEEN
"""
    )
    clear = {row["transaction_id"]: row for row in rows_of(simulated)}
    tokens: dict[str, set[str]] = collections.defaultdict(set)
    for message in json_lines(replay(tmp_path / "out", simulated, "--policy", policy) / "alerts.jsonl"):
        row = clear[message["decision"]["transaction_id"]]
        values = message["decision"]["rule_hits"][0]["values"]
        assert values["card_prefix"] == row["card_id"][:6]
        assert values["ip_prefix"] == row["ip_address"].rsplit(".", 1)[0] + ".0/24"
        assert re.fullmatch(r"dev_[a-z2-7]{26}", values["ip_address"])
        tokens[row["card_id"]].add(values["card_id"])
    assert len(tokens) > 20
    assert all(len(of_one_card) == 1 for of_one_card in tokens.values())
    assert len(set.union(*tokens.values())) == len(tokens)


def test_a_field_that_settings_name_is_tokenised_in_every_output(
    tmp_path: Path, simulated: Path, monkeypatch: pytest.MonkeyPatch, replay: Callable[..., Path]
) -> None:
    monkeypatch.setenv("FRAUD_TOKENISED_FIELDS", "user_id, device_id")
    monkeypatch.setenv("FRAUD_TOKEN_KEY", "a key of the test, long enough")
    monkeypatch.setenv("FRAUD_TOKEN_KEY_ID", "k7")
    rows = rows_of(simulated)[:400]
    file = tmp_path / "in.csv"
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows([*rows, rows[0] | {"transaction_id": "bad", "device_id": rows[0]["device_id"] + "\x07"}])
        writer.writerow(rows[0] | {"transaction_id": "worse", "user_id": rows[0]["user_id"] + "\x07"})
    out = replay(tmp_path / "out", file, "--decisions-jsonl")
    clear = {row[name] for row in rows for name in ("user_id", "device_id")} - {""}
    for path in out.iterdir():
        for text in texts_in(path):
            assert not {value for value in clear if value in text}, path.name
    assert all(user.startswith("k7_") for user in pq.read_table(out / "decisions.parquet")["user_id"].to_pylist())


def test_an_attribute_that_settings_name_is_not_shown_where_all_attributes_are_refused(
    tmp_path: Path, simulated: Path, monkeypatch: pytest.MonkeyPatch, replay: Callable[..., Path]
) -> None:
    monkeypatch.setenv("FRAUD_TOKENISED_FIELDS", "attributes.phone")
    monkeypatch.setenv("FRAUD_TOKEN_KEY", "a key of the test, long enough")
    first, needed = rows_of(simulated)[0], ("transaction_id", "user_id", "timestamp", "amount", "currency")
    message = {name: first[name] for name in needed} | {"attributes": {"phone": "+4915112345", "note": None}}
    file = tmp_path / "in.jsonl"
    file.write_text(json.dumps(message) + "\n")
    out = replay(tmp_path / "out", file)
    (refused,) = map(json.loads, (out / "rejected.jsonl").read_text().splitlines())
    assert refused["field"] == "attributes"
    for path in out.iterdir():
        assert not any("4915112345" in text for text in texts_in(path)), path.name


def test_stages_are_told_in_the_order_of_the_work(replayed):
    timings = json.loads((replayed / "timings.json").read_bytes())
    stages = ["read", "validate", "enrich", "features", "score", "rules", "decide", "write", "report", "total"]
    assert list(timings) == stages

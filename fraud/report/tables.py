"""The tables of the report: every cell a text, so that the page only lays them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from fraud.report import formats
from fraud.report.context import RejectedReason, ReportContext

Summary: TypeAlias = dict[str, Any]
Money: TypeAlias = partial[str]

# Long enough for every id that people choose; a hostile one must not stretch the page.
IDENTIFIER_LENGTH = 60
_DESCRIPTION_LENGTH = 160


@dataclass(frozen=True)
class Row:
    """What the row is about, a few words on it, and its cells, one for each of the table's `columns`."""

    subject: str
    cells: tuple[str, ...]
    description: str = ""


@dataclass(frozen=True)
class Table:
    """A table. `subject` heads the first column; `is_code` says that its entries are names that a file defines.

    `left_out` are rows that have nothing to say but their name and description, under the heading `left_out_title`.
    """

    title: str
    subject: str
    columns: tuple[str, ...]
    rows: Sequence[Row]
    note: str = ""
    is_code: bool = False
    left_out: Sequence[Row] = ()
    left_out_title: str = ""


def report_tables(summary: Summary, context: ReportContext) -> list[Table]:
    """Return the tables that the summary has rows for, in the order of the page. Texts are clear: escape them."""
    money = partial(formats.money, currency=summary["base_currency"], exponent=summary["base_currency_exponent"])
    tables = [_actions(summary, money)]
    if summary["rules"]:
        tables.append(_rules(summary["rules"], context.rule_descriptions, money))
    if summary["scenarios"]:
        tables.append(_scenarios(summary["scenarios"], money))
    riskiest = {kind: entries for kind, entries in summary["riskiest"].items() if entries}
    for place, (kind, entries) in enumerate(riskiest.items()):
        inexact = not place and not summary["riskiest_exact"]
        tables.append(_riskiest(kind, entries, money, is_inexact=inexact))
    if context.rejected:
        tables.append(_rejected(context.rejected))
    return tables


def _actions(summary: Summary, money: Money) -> Table:
    hindered = summary["money"]["legitimate_hindered"] or {}
    rows = []
    for action, entry in summary["actions"].items():
        held_up = hindered.get(action, {"payments": None, "amount_minor": None})
        cells = (
            formats.count(entry["count"]),
            formats.percent(entry["share"]),
            money(entry["amount_minor"]),
            formats.count(entry["frauds"]),
            money(entry["fraud_amount_minor"]),
            formats.count(held_up["payments"]),
            money(held_up["amount_minor"]),
        )
        rows.append(Row(action, cells))
    columns = (
        "Transactions",
        "Share",
        "Amount",
        "Frauds",
        "Fraud amount",
        "Held up",
        "Amount held up",
    )
    note = "Held up: legitimate payments that were not simply allowed."
    return Table("Actions", "Action", columns, rows, note if summary["labels"]["labelled"] else "")


def _rules(rules: Sequence[Mapping[str, Any]], descriptions: Mapping[str, str], money: Money) -> Table:
    hit: list[Row] = []
    never: list[Row] = []
    for rule in rules:
        cells = (
            rule["action"],
            formats.count(rule["hits"]),
            formats.count(rule["sole_hits"]),
            formats.count(rule["frauds"]),
            formats.percent(rule["precision"]),
            money(rule["fraud_amount_minor"]),
            money(rule["amount_minor"]),
        )
        description = formats.shortened(descriptions.get(rule["rule_id"], ""), _DESCRIPTION_LENGTH)
        row = Row(formats.shortened(rule["rule_id"], IDENTIFIER_LENGTH), cells, description)
        (hit if rule["hits"] else never).append(row)
    return Table(
        "Rules",
        "Rule",
        ("Action", "Hits", "Sole hits", "Frauds", "Precision", "Fraud amount", "Amount"),
        hit,
        note="Sole hits: no other rule was true. A rule with few of them, or none, may be dropped without a loss.",
        is_code=True,
        left_out=never,
        left_out_title=f"{formats.count(len(never))} {'rule was' if len(never) == 1 else 'rules were'} never true",
    )


def _scenarios(scenarios: Sequence[Mapping[str, Any]], money: Money) -> Table:
    rows = [
        Row(
            formats.shortened(entry["scenario"], IDENTIFIER_LENGTH),
            (
                formats.count(entry["frauds"]),
                formats.count(entry["alerts"]),
                formats.count(entry["blocks"]),
                formats.percent(entry["recall"]),
                money(entry["stopped"]["amount_minor"]),
                money(entry["lost"]["amount_minor"]),
                money(entry["after_block"]["amount_minor"]),
            ),
        )
        for entry in scenarios
    ]
    columns = ("Frauds", "Alerts", "Blocks", "Recall", "Stopped", "Lost", "After block")
    return Table("Fraud scenarios", "Scenario", columns, rows)


def _riskiest(kind: str, entries: Sequence[Mapping[str, Any]], money: Money, *, is_inexact: bool) -> Table:
    rows = [
        Row(
            formats.shortened(entry["id"], IDENTIFIER_LENGTH),
            (
                formats.count(entry["frauds"]),
                money(entry["fraud_amount_minor"]),
                formats.count(entry["alerts"]),
                money(entry["alert_amount_minor"]),
                formats.decimal(entry["highest_score"], 3),
            ),
        )
        for entry in entries
    ]
    note = "More had alerts than can be followed at once: a count may leave out early ones." if is_inexact else ""
    columns = ("Frauds", "Fraud amount", "Alerts", "Alert amount", "Highest score")
    return Table(f"Riskiest {kind}", kind[:-1].capitalize(), columns, rows, note)


def _rejected(reasons: Mapping[str, RejectedReason]) -> Table:
    ranked = sorted(reasons.items(), key=lambda item: (-item[1].count, item[0]))
    rows = [
        Row(
            formats.shortened(code, IDENTIFIER_LENGTH),
            (formats.count(reason.count),),
            formats.shortened(f"first: {reason.example}", _DESCRIPTION_LENGTH),
        )
        for code, reason in ranked
    ]
    return Table("Rejected records", "Reason", ("Records",), rows, is_code=True)

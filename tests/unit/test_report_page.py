"""The report page: offline, escaped, deterministic, and honest about what is absent."""

import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from fraud.report.batch import DecidedBatch
from fraud.report.console import rejections_text, summary_text
from fraud.report.context import Component, RejectedReason, ReportContext
from fraud.report.page import render_report
from fraud.report.plots import draw_plots
from fraud.report.statistics import InputCounts, ReplayStatistics
from fraud.report.tables import report_tables
from fraud.transaction import Transaction

HOSTILE = "<script>alert('x')</script>&\"$\\alpha$"
COUNT = 400


def summary_of(*, labelled=True, model=True, decided=COUNT):
    statistics = ReplayStatistics(
        {"<b>rule</b>$": "review", "trusted": "allow", "never": "block"}, "EUR", 2, {"review": 0.5, "block": 0.9}
    )
    number = np.arange(decided)
    fraud = number % 10 == 0
    transactions = [
        Transaction(
            transaction_id=str(i),
            user_id=f"user {i % 7} {HOSTILE}",
            timestamp_ms=1_772_323_200_000 + i * 3_600_000,
            amount_minor=1_000 + i,
            currency="EUR",
            base_amount_minor=1_000 + i,
            merchant_id=HOSTILE,
        )
        for i in range(decided)
    ]
    statistics.add(
        DecidedBatch(
            transactions,
            np.array([transaction.timestamp_ms for transaction in transactions], dtype=np.int64),
            number + 1_000,
            np.where(fraud, 0.8, number % 100 / 200) if model else np.full(decided, math.nan),
            np.where(number % 20 == 0, 3, number % 25 == 0).astype(np.int8),
            np.stack([number % 20 == 0, number % 2 == 1, np.zeros(decided, dtype=np.bool_)], axis=1),
            fraud.astype(np.int8) if labelled else np.full(decided, -1, dtype=np.int8),
            np.zeros(decided, dtype=np.bool_),
            number % 40 == 1,
            [HOSTILE if i % 10 == 0 and labelled else None for i in range(decided)],
        )
    )
    return statistics.summary(InputCounts(decided, rejected=2, duplicates=1))


CONTEXT = ReportContext(
    sources=[HOSTILE],
    mapping=HOSTILE,
    components=[Component("model", HOSTILE, "ab" * 32)],
    labels_known="known 7 days after the transaction",
    program_version="0.1.0",
    rejected={"broken_json": RejectedReason(2, HOSTILE)},
    rule_descriptions={"<b>rule</b>$": HOSTILE},
)


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def tags_of(page):
    parser = Tags()
    parser.feed(page)
    return parser.found


VARIANTS = [
    {},
    {"labelled": False},
    {"model": False},
    {"labelled": False, "model": False},
    {"decided": 1},
    {"decided": 0},
]


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_is_loaded_from_anywhere_and_no_script_survives(variant):
    page = render_report(summary_of(**variant), CONTEXT)
    assert "http" not in page.replace("http-equiv", "")
    for tag, attributes in tags_of(page):
        assert tag not in {"script", "link", "img", "iframe", "object", "b"}
        assert not any(name.startswith("on") or name == "src" for name in attributes)
        for name in ("href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    assert "url(" not in re.sub(r"url\(#[^)]*\)", "", page)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_same_summary_gives_the_same_bytes(variant):
    summary = summary_of(**variant)
    assert render_report(summary, CONTEXT) == render_report(summary, CONTEXT)


def test_a_hostile_name_is_shown_as_it_is_written():
    page = render_report(summary_of(), CONTEXT)
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&#34;$\\alpha$" in page


def test_plots_are_all_drawn_with_labels_and_a_model():
    assert all(plot.svg for plot in draw_plots(summary_of()))


def test_plots_that_need_labels_or_a_model_say_what_is_missing():
    absent = {plot.name: plot.absence for plot in draw_plots(summary_of(labelled=False)) if plot.svg is None}
    assert absent == {
        "precision_recall": "The file has no labels, so nobody knows which transactions were fraud.",
    }
    absent = {plot.name: plot.absence for plot in draw_plots(summary_of(model=False)) if plot.svg is None}
    assert set(absent) == {"score_distribution", "precision_recall", "score_drift"}
    assert set(absent.values()) == {"The replay ran without a model, so nothing has a score."}


def plot_of(name, summary):
    return next(plot for plot in draw_plots(summary) if plot.name == name)


def texts_of(svg):
    return re.findall(r"<text [^>]*>([^<]*)</text>", svg)


@pytest.mark.parametrize("name", ["alerts_by_day", "score_drift"])
def test_a_single_day_stands_alone_on_its_axis(name):
    dates = [text for text in texts_of(plot_of(name, summary_of(decided=1)).svg) if text.count("-") == 2]
    assert dates == ["2026-03-01"]


def test_days_without_an_alert_have_different_numbers_on_their_axis():
    summary = summary_of()
    for day in summary["days"]:
        day |= {"alerts": 0, "frauds": 0, "frauds_caught": 0}
    numbers = [text for text in texts_of(plot_of("alerts_by_day", summary).svg) if text.isdecimal()]
    assert numbers == ["0", "1"]


def test_scores_between_two_powers_of_ten_have_both_on_their_axis():
    summary = summary_of()
    for day in summary["days"]:
        day["score_quantiles"] = {"p50": 0.002, "p90": 0.003, "p99": 0.004}
    texts = texts_of(plot_of("score_drift", summary).svg)
    assert {"0.001", "0.01"} <= set(texts)


def test_the_thresholds_of_the_policy_are_named_within_the_axes():
    summary = summary_of()
    for threshold in summary["thresholds"]:
        threshold |= {"precision": 0.0, "recall": 0.0}
    svg = plot_of("precision_recall", summary).svg
    place = {text: (float(x), float(y)) for x, y, text in re.findall(r'x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]+)<', svg)}
    for action in ("review", "block"):
        assert place[action][0] > place["0%"][0]
        assert place[action][1] < place["0%"][1]
    assert place["review"][1] != place["block"][1]


def test_one_day_is_one_day():
    assert "(1 day)" in render_report(summary_of(decided=1), CONTEXT)


def test_what_is_allowed_and_told_to_somebody_stands_beside_the_alerts():
    told = "more allowed and told to somebody"
    assert f"; 10 {told}" in render_report(summary_of(), CONTEXT)
    assert f"; 1 {told}" in render_report(summary_of(decided=2), CONTEXT)
    assert told not in render_report(summary_of(decided=1), CONTEXT)


def test_rules_that_allow_are_no_work_and_stay_out_of_the_plot():
    drawn = texts_of(plot_of("rule_hits", summary_of()).svg)
    assert "&lt;b&gt;rule&lt;/b&gt;$" in drawn
    assert "trusted" not in drawn
    summary = summary_of()
    summary["rules"] = [rule for rule in summary["rules"] if rule["action"] == "allow"]
    assert plot_of("rule_hits", summary).absence == "No rule that challenges, reviews or blocks was ever true."


def test_plots_take_their_colours_from_the_page():
    for plot in draw_plots(summary_of()):
        assert "var(--ink)" in plot.svg or "var(--muted)" in plot.svg
        assert not re.search(r"(fill|stroke): #(?!000000)", plot.svg)


def test_without_labels_numbers_that_need_them_are_missing_and_never_zero():
    summary = summary_of(labelled=False)
    assert summary["labels"]["frauds"] is None
    assert summary["money"]["stopped"] is summary["money"]["lost"] is summary["money"]["value_recall"] is None
    detection = summary["detection"]
    assert {detection[name] for name in detection if name not in {"alerts", "notified_only", "alert_share"}} == {None}
    assert summary["ranking"]["fraud_value_caught_by_policy"] is None
    assert summary["scenarios"] is None
    assert all(day["frauds"] is None and day["lost"] is None for day in summary["days"])
    assert all(entry["frauds"] is None for entry in summary["riskiest"]["customers"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_terminal_summary_fits_80_columns(variant):
    text = summary_text(summary_of(**variant), {"decode": 1.5, "score": 0.5, "total": 2.5})
    assert text.endswith("\n")
    assert max(map(len, text.splitlines())) <= 80
    for word in ("transactions", "precision", "recall", "money stopped", "money lost", "decode", "total"):
        assert word in text
    assert "nan" not in text


def test_the_terminal_summary_says_how_fast_it_was():
    text = summary_text(summary_of(), {"decode": 1.5, "score": 0.5})
    assert "200 a second" in text
    assert re.search(r"decode +1\.50 s +75\.0%", text)


def test_a_rule_that_was_never_true_is_named_apart():
    rules = next(table for table in report_tables(summary_of(), CONTEXT) if table.title == "Rules")
    assert [row.subject for row in rules.rows] == ["<b>rule</b>$", "trusted"]
    assert [row.subject for row in rules.left_out] == ["never"]
    assert rules.left_out_title == "1 rule was never true"


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_row_of_a_table_has_a_cell_for_each_column(variant):
    for table in report_tables(summary_of(**variant), CONTEXT):
        assert table.rows or table.left_out
        assert {len(row.cells) for row in table.rows} <= {len(table.columns)}


def test_the_rate_leaves_out_drawing_the_report():
    text = summary_text(summary_of(), {"read": 0.5, "score": 1.5, "report": 8.0, "total": 10.0})
    assert "200 a second" in text


def test_a_run_that_decided_nothing_does_not_blame_the_labels():
    summary = summary_of(decided=0)
    text = summary_text(summary, {"total": 1.0})
    assert "every record was refused" in text
    assert "labels" not in text
    assert "file has no labels" not in render_report(summary, CONTEXT)
    assert {plot.absence for plot in draw_plots(summary)} == {"No transaction was decided."}


def test_files_of_which_nothing_is_decided_say_why():
    text = summary_text(summary_of(decided=0) | {"transactions": 5}, {"total": 1.0})
    assert "no authorisation lies in the period" in text


def test_files_without_a_record_are_told_as_that():
    summary = summary_of(decided=0) | {"rejected": 0, "duplicates": 0}
    assert "there are no records" in summary_text(summary, {"total": 1.0})


def test_the_terminal_names_the_most_frequent_reasons_with_their_first_record():
    reasons = {"a": (1, "x:1: first a"), "b": (1_200, "x:2: first b"), "c": (5, "x:3: first c"), "d": (1, "x:4: d")}
    assert rejections_text(reasons, "out/rejected.jsonl") == (
        "rejected       1,207 records, each with its reason in out/rejected.jsonl\n"
        "               1,200 b: x:2: first b\n"
        "               5 c: x:3: first c\n"
        "               1 a: x:1: first a\n"
        "               and 1 other reason\n"
    )

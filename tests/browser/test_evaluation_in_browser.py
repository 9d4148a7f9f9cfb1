"""The report on models in a real browser: offline, complete, and readable on a desk and on a phone."""

import numpy as np
import pytest

from training.evaluation import EvaluationOptions, JudgedPeriod, evaluate
from training.metrics.cost import CostModel
from training.metrics.judged import DAY_MS, JudgedRows
from training.report.page import ReportText, Section, render_evaluation

DESK, PHONE = 1280, 390
START_MS = 1_767_225_600_000  # 2026-01-01
MODELS = ("regression", "boosting_of_the_month_before", "<b>forest</b>")

SIDEWAYS = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
TOO_WIDE = """
return [...document.querySelectorAll('main *')].filter(element => {
  const box = element.getBoundingClientRect();
  const isHidden = box.width === 0 || element.closest('thead') && innerWidth <= 860;
  const isClipped = element.closest('svg') && !['svg', 'text'].includes(element.tagName);
  return !isHidden && !isClipped && (box.right > innerWidth + 0.5 || box.left < -0.5);
}).map(element => element.outerHTML.slice(0, 120));
"""
SMALLEST_TEXT_OF_PLOTS = """
const scale = text => Math.hypot(text.getScreenCTM().c, text.getScreenCTM().d);
return Math.min(...[...document.querySelectorAll('svg text')]
  .map(text => parseFloat(getComputedStyle(text).fontSize) * scale(text)));
"""


def judged_weeks(count):
    generator = np.random.default_rng(7)
    weeks = []
    for week in range(count):
        rows = 1_500
        labels = (generator.random(rows) < 0.05).astype(np.int8)
        start_ms = START_MS + week * 7 * DAY_MS
        judged = JudgedRows(
            start_ms + np.sort(generator.integers(0, 7 * DAY_MS, rows)),
            generator.integers(0, 200, rows).astype(np.int32),
            labels,
            generator.integers(100, 90_000, rows),
            np.ones(rows),
            np.where(labels > 0, generator.integers(0, 2, rows), -1).astype(np.int32),
            ("account_takeover", "card_testing"),
        )
        scores = {
            name: np.round(generator.beta(1, 20, rows) + labels * generator.random(rows) * strength, 6).clip(0, 1)
            for name, strength in zip(MODELS, (0.2, 0.4, 0.5), strict=True)
        }
        weeks.append(JudgedPeriod(start_ms, judged, scores))
    return weeks


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    options = EvaluationOptions(100, CostModel(), 5, 0, MODELS[:1], draws=30)
    text = ReportText("Week after week", ["payments.csv"], "EUR", 2, [("test weeks", "3")], ["Blocked is unknown."])
    sections = [
        Section("Labels known after 7 days", evaluate(judged_weeks(3), options)),
        Section(
            "Labels known after 30 days", evaluate(judged_weeks(1), options), ["2026-01-01: nothing to learn from"]
        ),
    ]
    path = tmp_path_factory.mktemp("evaluation") / "evaluation.html"
    path.write_text(render_evaluation(text, sections), encoding="utf-8")
    return path


def test_the_report_on_models_opens_from_disk_and_asks_for_nothing_else(browser, page):
    browser.requested()
    browser.complaints()
    browser.open(page, DESK)
    assert browser.requested() == [page.resolve().as_uri()]
    assert browser.complaints() == []


def test_every_model_stands_in_every_table_and_names_are_text(browser, page):
    browser.open(page, DESK)
    assert browser.run("return document.querySelectorAll('main b').length") == 0
    subjects = browser.run("return [...document.querySelectorAll('th.subject bdi')].map(cell => cell.textContent)")
    for name in MODELS:
        assert subjects.count(name) == 6
    assert "boosting_of_the_month_before to regression" in subjects
    titles = browser.run("return [...document.querySelectorAll('h3')].map(title => title.textContent)")
    assert titles.count("Metrics") == 2
    assert titles.count("By scenario") == 2
    assert titles.count("By test period") == 1
    assert "Skipped: 2026-01-01: nothing to learn from" in browser.run("return document.body.textContent")


def test_a_plot_that_one_period_cannot_fill_says_so(browser, page):
    browser.open(page, DESK)
    absent = browser.run("return [...document.querySelectorAll('.absent')].map(box => box.textContent)")
    assert absent == ["One period was judged: there is no course over time."] * 2
    drawn = browser.run("return [...document.querySelectorAll('svg')].map(plot => plot.getBoundingClientRect().height)")
    assert len(drawn) == 10
    assert min(drawn) > 100


@pytest.mark.parametrize("width", [DESK, 768, PHONE, 320])
def test_nothing_sticks_out_of_the_window(browser, page, width):
    browser.open(page, width)
    assert browser.run(SIDEWAYS) <= 0
    assert browser.run(TOO_WIDE) == []


@pytest.mark.parametrize("width", [DESK, PHONE])
def test_the_text_of_plots_can_be_read(browser, page, width):
    browser.open(page, width)
    assert browser.run(SMALLEST_TEXT_OF_PLOTS) >= 9


def test_on_a_phone_every_cell_says_what_it_is(browser, page):
    browser.open(page, PHONE)
    assert (
        browser.run(
            "return [...document.querySelectorAll('td')].filter(cell => "
            "!getComputedStyle(cell, '::before').content.replace(/\"/g, '').trim()).length"
        )
        == 0
    )

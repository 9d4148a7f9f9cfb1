"""The report in a real browser: offline, complete, and readable on a desk and on a phone."""

import pytest

DESK, PHONE = 1280, 390
WIDTHS = (DESK, 900, 861, 768, PHONE, 320)

TITLES = "return [...document.querySelectorAll('h3')].map(title => title.textContent)"
TABLES = "return [...document.querySelectorAll('h2')].map(title => title.textContent)"
# What sticks out of the window, scrolled sideways or not. The lines of a plot are clipped, its texts are not.
TOO_WIDE = """
return [...document.querySelectorAll('main *')].filter(element => {
  const box = element.getBoundingClientRect();
  const isHidden = box.width === 0 || element.closest('thead') && innerWidth <= 860;
  const isClipped = element.closest('svg') && !['svg', 'text'].includes(element.tagName);
  return !isHidden && !isClipped && (box.right > innerWidth + 0.5 || box.left < -0.5);
}).map(element => element.outerHTML.slice(0, 120));
"""
SCROLLING = """
return [...document.querySelectorAll('*')].filter(element =>
  element.scrollWidth > element.clientWidth + 1 && ['auto', 'scroll'].includes(getComputedStyle(element).overflowX)
).map(element => element.outerHTML.slice(0, 120));
"""
COLOURS = """
const luminance = element => {
  const [red, green, blue] = getComputedStyle(element).backgroundColor.match(/[0-9.]+/g).map(Number);
  return (0.299 * red + 0.587 * green + 0.114 * blue) / 255;
};
return [document.body, document.querySelector('.card')].map(luminance);
"""
# Texts with less contrast to their card or page than WCAG 2 asks for (section 1.4.3).
FAINT_TEXTS = """
const channel = value => value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4;
const luminance = colour => {
  const [red, green, blue] = colour.match(/[0-9.]+/g).map(Number);
  return 0.2126 * channel(red) + 0.7152 * channel(green) + 0.0722 * channel(blue);
};
const contrast = element => {
  const style = getComputedStyle(element);
  const ground = getComputedStyle(element.closest('.card') || document.body).backgroundColor;
  const [light, dark] = [luminance(element.closest('svg') ? style.fill : style.color), luminance(ground)]
    .sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
};
const withText = [...document.querySelectorAll('main *:not(style)')].filter(element =>
  [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.textContent.trim()));
return withText.filter(element => contrast(element) < 4.5).map(element => element.outerHTML.slice(0, 120));
"""
SMALLEST_TEXT = """
return Math.min(...[...document.querySelectorAll('main *')]
  .filter(element => !element.closest('svg') && element.textContent.trim())
  .map(element => parseFloat(getComputedStyle(element).fontSize)));
"""
# The text of a plot grows and shrinks with it: what counts is how high it stands on the screen.
SMALLEST_TEXT_OF_PLOTS = """
const scale = text => Math.hypot(text.getScreenCTM().c, text.getScreenCTM().d);
return Math.min(...[...document.querySelectorAll('svg text')]
  .map(text => parseFloat(getComputedStyle(text).fontSize) * scale(text)));
"""
CELLS_WITHOUT_NAME = """
return [...document.querySelectorAll('td')].filter(cell =>
  !getComputedStyle(cell, '::before').content.replace(/"/g, '').trim()).length;
"""


def test_the_report_opens_from_disk_and_asks_for_nothing_else(browser, report):
    browser.requested()
    browser.complaints()
    browser.open(report, DESK)
    assert browser.requested() == [report.resolve().as_uri()]
    assert browser.run("return performance.getEntriesByType('resource').length") == 0
    assert browser.complaints() == []


def test_every_plot_is_drawn_and_every_table_is_there(browser, report):
    browser.open(report, DESK)
    assert browser.run(TITLES) == [
        "Scores",
        "Precision and recall",
        "Alerts and fraud by day",
        "Money by action",
        "Rules that hit most",
        "Score drift",
    ]
    sizes = browser.run(
        "return [...document.querySelectorAll('svg')].map(svg => svg.getBoundingClientRect())"
        ".map(box => [box.width, box.height])"
    )
    assert len(sizes) == 6
    assert all(width > 300 and height > 200 for width, height in sizes)
    assert browser.run(TABLES) == [
        "How it went",
        "Actions",
        "Rules",
        "Fraud scenarios",
        "Riskiest customers",
        "Riskiest merchants",
        "Riskiest devices",
        "Rejected records",
        "What was run",
    ]
    rows = browser.run("return [...document.querySelectorAll('table')].map(table => table.tBodies[0].rows.length)")
    assert len(rows) == 7
    assert all(rows)
    assert rows[0] == 4


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_has_to_be_scrolled_sideways(browser, report, width):
    browser.open(report, width)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.run(TOO_WIDE) == []
    assert browser.run(SCROLLING) == []


def test_on_a_phone_every_cell_says_what_it_is(browser, report):
    browser.open(report, PHONE)
    assert browser.run("return document.querySelectorAll('td').length") > 50
    assert browser.run(CELLS_WITHOUT_NAME) == 0
    assert browser.run("return document.querySelector('thead').getBoundingClientRect().width") <= 1


@pytest.mark.parametrize("width", [DESK, PHONE])
def test_text_is_large_enough_to_read(browser, report, width):
    browser.open(report, width)
    assert browser.run(SMALLEST_TEXT) >= 12
    assert browser.run(SMALLEST_TEXT_OF_PLOTS) >= 8


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_follows_the_reader_s_choice_of_light_or_dark(browser, report, dark):
    browser.open(report, DESK, dark=dark)
    for luminance in browser.run(COLOURS):
        assert (luminance < 0.2) == dark


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_stands_out_from_its_ground(browser, report, dark):
    browser.open(report, DESK, dark=dark)
    assert browser.run(FAINT_TEXTS) == []


def test_rules_that_never_hit_unfold_with_their_descriptions(browser, report):
    browser.open(report, PHONE)
    shown = "return document.querySelector('details li .note').checkVisibility()"
    assert not browser.run(shown)
    browser.run("document.querySelector('summary').click()")
    assert browser.run(shown)
    assert browser.run(TOO_WIDE) == []

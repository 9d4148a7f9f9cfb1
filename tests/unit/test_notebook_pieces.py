"""What the notebooks call: data of any source as columns, tables and plots that show and never run what is in them."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import pytest

from fraud.report.drawing import Plot
from training.dataset import DatasetError
from training.notebook import exploration_plots
from training.notebook.beside_the_loop import Progress, beside_the_loop
from training.notebook.listing import Listing, Shown
from training.notebook.source import Source
from training.notebook.transactions import explored


def payment(number: int, **fields: object) -> dict[str, object]:
    start = {
        "transaction_id": f"t{number}",
        "user_id": f"c{number % 7}",
        "timestamp": f"2026-01-{number % 20 + 1:02}T10:00:00Z",
    }
    return {**start, "amount": 10 + number, "currency": "EUR", **fields}


def source_of(folder: Path, *payments: dict[str, object]) -> Source:
    path = folder / "payments.jsonl"
    path.write_text("\n".join(map(json.dumps, payments)))
    return Source((path,), folder / "kept")


def test_a_table_shows_what_a_merchant_calls_himself_and_does_not_run_it() -> None:
    html = Listing(("name", "frauds"), [("<script>alert(1)</script>", "3")])._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_a_plot_that_cannot_be_drawn_says_why() -> None:
    assert "no labels" in Shown([Plot("amounts", "Amounts", "", None, "There are no labels.")])._repr_html_()


def test_cards_are_tokens_before_anybody_sees_them(tmp_path: Path) -> None:
    found = explored(source_of(tmp_path, payment(1, card_id="4000123412341234")))
    assert "4000123412341234" not in str(found.table.to_pylist())


def test_refunds_and_refused_records_are_counted_apart(tmp_path: Path) -> None:
    records = [payment(1), payment(2, event_type="refund"), payment(3, currency="XXX"), payment(4, amount=-1)]
    found = explored(source_of(tmp_path, *records))
    assert (len(found.table), found.others, found.rejected) == (1, 1, 2)
    assert "payments.jsonl:3" in found.first_rejected


def test_files_without_a_payment_are_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no payment.*payments\.jsonl:1"):
        explored(source_of(tmp_path, payment(1, amount=-1)))


def test_payments_without_labels_have_plots_of_what_is_known(tmp_path: Path) -> None:
    found = explored(source_of(tmp_path, *(payment(number, channel="pos") for number in range(40))))
    assert not found.is_labelled
    assert exploration_plots.by_day(found).svg
    for plot in (
        exploration_plots.by_hour(found),
        exploration_plots.by_amount(found),
        exploration_plots.fraud_share_by(found, "channel"),
        exploration_plots.label_delays(found),
    ):
        assert plot.svg is None
        assert plot.absence


def test_the_share_of_fraud_of_a_value_has_an_interval_around_it(tmp_path: Path) -> None:
    records = [payment(number, channel="pos", label="fraud" if number < 12 else "legitimate") for number in range(120)]
    plot = exploration_plots.fraud_share_by(explored(source_of(tmp_path, *records)), "channel")
    assert plot.svg
    assert "pos (120)" in plot.svg


def test_work_with_an_event_loop_runs_where_one_is_running_already() -> None:
    async def answer() -> int:
        return 42

    async def kernel() -> int:
        return beside_the_loop(lambda _progress: asyncio.run(answer()))

    assert asyncio.run(kernel()) == 42


def test_what_the_work_raises_is_raised() -> None:
    def work(_progress: Progress) -> None:
        raise DatasetError("no rows")

    with pytest.raises(DatasetError, match="no rows"):
        beside_the_loop(work)


def test_interrupting_the_kernel_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    started = threading.Event()

    def work(progress: Progress) -> None:
        started.set()
        try:
            while True:
                progress(0, 0)
        finally:
            ended.set()

    def interrupted(_future: object, _timeout: float | None = None) -> None:
        started.wait()
        raise KeyboardInterrupt

    monkeypatch.setattr("concurrent.futures.Future.result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        beside_the_loop(work)
    assert ended.is_set()

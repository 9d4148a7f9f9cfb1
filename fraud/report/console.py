"""The summary of a replay for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fraud.report import formats

_NAME_WIDTH = 18
_VALUE_WIDTH = 16
# Where the text of the lines under the summary starts.
_TITLE_WIDTH = 15
# The first ones say what is wrong with the file; a page of them would hide the summary.
_SHOWN_REASONS = 3
_EXAMPLE_LENGTH = 160


def summary_text(summary: dict[str, Any], timings: Mapping[str, float]) -> str:
    """Return the summary in lines of at most 80 characters, ending in a newline.

    `timings` are seconds by stage in the order of the stages; the entry `total` is the wall time of the replay. Without
    it the total is the sum of the stages. The rate leaves out the stage `report`: it does not grow with the file.
    """
    total_seconds = timings.get("total", sum(timings.values()))
    working_seconds = total_seconds - timings.get("report", 0.0)
    lines = [*_volume(summary, working_seconds), "", *_actions(summary), "", *_quality(summary), "", *_money(summary)]
    stages = {stage: seconds for stage, seconds in timings.items() if stage != "total"}
    if stages:
        lines += ["", *_stages(stages, total_seconds)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def rejections_text(reasons: Mapping[str, tuple[int, str]], file: str) -> str:
    """Return how many records were refused, where all of them stand, and the most frequent of the reasons.

    `reasons` has for each code how often it came, and its first record in words.
    """
    total = sum(count for count, _ in reasons.values())
    lines = [f"{'rejected':<{_TITLE_WIDTH}}{_counted(total, 'record')}, each with its reason in {file}"]
    ranked = sorted(reasons.items(), key=lambda item: (-item[1][0], item[0]))
    for code, (count, example) in ranked[:_SHOWN_REASONS]:
        first = formats.shortened(example, _EXAMPLE_LENGTH)
        lines.append(f"{'':<{_TITLE_WIDTH}}{formats.count(count)} {code}: {first}")
    if len(ranked) > _SHOWN_REASONS:
        lines.append(f"{'':<{_TITLE_WIDTH}}and {_counted(len(ranked) - _SHOWN_REASONS, 'other reason')}")
    return "\n".join(lines) + "\n"


def _line(name: str, value: str, note: str = "") -> str:
    return f"{name:<{_NAME_WIDTH}}{value:>{_VALUE_WIDTH}}  {note}"


def _volume(summary: dict[str, Any], seconds: float) -> list[str]:
    rate = f"{formats.count(summary['transactions'] / seconds)} a second" if seconds > 0 else ""
    period = summary["period"]
    duplicates = summary["duplicates"]
    refused = f"{formats.count(summary['rejected'])} rejected, {_counted(duplicates, 'duplicate')}"
    when = f"{period['first'][:10]} to {period['last'][:10]}" if period else _why_nothing(summary)
    return [
        _line("transactions", formats.count(summary["transactions"]), ", ".join(filter(None, (rate, refused)))),
        _line("decided", formats.count(summary["decided"]), when),
    ]


def _counted(number: int, what: str) -> str:
    return f"{formats.count(number)} {what}{'' if number == 1 else 's'}"


def _why_nothing(summary: dict[str, Any]) -> str:
    if summary["transactions"]:
        return "no authorisation lies in the period"
    return "every record was refused" if summary["rejected"] else "there are no records"


def _no_labels(summary: dict[str, Any]) -> str:
    return "the file has no labels" if summary["decided"] else "nothing was decided"


def _actions(summary: dict[str, Any]) -> list[str]:
    return [
        _line(action, formats.count(row["count"]), f"{formats.percent(row['share']):>7}")
        for action, row in summary["actions"].items()
    ]


def _quality(summary: dict[str, Any]) -> list[str]:
    detection, ranking, labels = summary["detection"], summary["ranking"], summary["labels"]
    reviews = summary["workload"]["reviews_a_day"]
    budget = formats.percent(ranking["alert_budget_share"])
    precision_note = "of labelled alerts are fraud"
    recall_note = f"{formats.count(detection['frauds_caught'])} of {formats.count(labels['frauds'])} frauds alerted on"
    if not labels["labelled"]:
        precision_note = recall_note = _no_labels(summary)
    lines = [
        _line("precision", formats.percent(detection["alert_precision"]), precision_note),
        _line("recall", formats.percent(detection["alert_recall"]), recall_note),
    ]
    if ranking["fraud_value_caught_by_policy"] is not None:
        by_model = ranking["fraud_value_caught_by_model"]
        caught = formats.percent(ranking["fraud_value_caught_by_policy"])
        alone = "" if by_model is None else f"; {formats.percent(by_model)} by score alone"
        lines.append(_line("fraud value caught", caught, f"in {budget} of payments{alone}"))
    if reviews is not None:
        note = f"95% of days up to {formats.count(reviews['p95'])}, at most {formats.count(reviews['max'])}"
        lines.append(_line("reviews a day", formats.decimal(reviews["mean"]), note))
    return lines


def _money(summary: dict[str, Any]) -> list[str]:
    money, currency, exponent = summary["money"], summary["base_currency"], summary["base_currency_exponent"]
    if money["stopped"] is None:
        absent = _no_labels(summary)
        return [_line("money stopped", formats.NOTHING, absent), _line("money lost", formats.NOTHING, absent)]
    notes = {
        "stopped": f"{formats.percent(money['value_recall'])} of fraud money",
        "lost": "fraud that was allowed",
        "after_block": "later fraud on blocked cards",
    }
    return [
        _line(
            name if name == "after_block" else f"money {name}",
            formats.money(money[name]["amount_minor"], currency, exponent),
            f"{formats.count(money[name]['payments'])} payments, {note}",
        ).replace("after_block", "after block")
        for name, note in notes.items()
    ]


def _stages(stages: Mapping[str, float], total_seconds: float) -> Sequence[str]:
    lines = [
        _line(
            stage, f"{seconds:.2f} s", f"{formats.percent(seconds / total_seconds if total_seconds > 0 else None):>7}"
        )
        for stage, seconds in stages.items()
    ]
    return [*lines, _line("total", f"{total_seconds:.2f} s")]

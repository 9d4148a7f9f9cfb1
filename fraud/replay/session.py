"""`fraud replay`: a replay with everything that it writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import fraud
from fraud.bootstrap import Artefacts
from fraud.deciding import decision_versions
from fraud.decision import decision_message
from fraud.pipeline import StageTimings
from fraud.replay.decided_rows import DecidedRows
from fraud.replay.decision_table import DecisionTable
from fraud.replay.outputs import ROW_GROUP_ROWS, LinesOutput, OutputFolder, RejectedOutput
from fraud.replay.run import DUPLICATE_CODE, Replay, ReplayedBatch, ReplayOptions
from fraud.report.batch import FRAUD, LEGITIMATE, UNKNOWN, DecidedBatch
from fraud.report.context import Component, RejectedReason, ReportContext
from fraud.report.page import render_report
from fraud.report.statistics import InputCounts, ReplayStatistics
from fraud.settings import Settings
from fraud.sources.mapping import Mapping
from fraud.sources.reader import TransactionFiles

_LABEL_CODES = {"fraud": FRAUD, "legitimate": LEGITIMATE, None: UNKNOWN}
# Messages only where they are asked for.
_OUTPUTS = (
    "decisions.parquet",
    "decisions.jsonl",
    "alerts.jsonl",
    "rejected.jsonl",
    "report.html",
    "summary.json",
    "timings.json",
)


@dataclass(frozen=True)
class ReplayRequest:
    """What to replay and where to write it."""

    paths: Sequence[Path]
    mapping: Mapping
    out: Path
    options: ReplayOptions
    writes_decisions_jsonl: bool = False


@dataclass(frozen=True)
class ReplayOutcome:
    """What a replay says at its end: the content of `summary.json`, seconds by stage, and the files written.

    `refusals` has for each reason but repetition how often it came, and its first record in words.
    """

    summary: dict[str, Any]
    timings: dict[str, float]
    files: list[Path]
    refusals: dict[str, tuple[int, str]]


class ReplaySession:
    """Runs one replay."""

    def __init__(
        self,
        settings: Settings,
        artefacts: Artefacts,
        request: ReplayRequest,
        clock: Callable[[], float],
    ) -> None:
        if artefacts.policy is None:
            raise ValueError("a replay decides, so it needs a policy")
        self._policy = artefacts.policy
        self._secret_fields = settings.tokenised_fields
        self._artefacts = artefacts
        self._request = request
        self._clock = clock
        self._timings = StageTimings(clock)
        self._replay = Replay(settings, artefacts, request.mapping, request.options, self._timings)
        self.files = TransactionFiles(request.paths, request.mapping)
        self._statistics = ReplayStatistics(
            {rule.id: rule.action for rule in self._policy.rules},
            artefacts.rates.base_currency,
            artefacts.rates.base_exponent,
            {str(action): threshold for action, threshold in self._policy.score_thresholds.items()},
        )
        self._transactions = 0
        # Decided rows, up to a row group: a report and a table of columns take them many at a time.
        self._pending: list[DecidedRows] = []

    async def run(self, progress: Callable[[int, int], None]) -> ReplayOutcome:
        """Replay everything and write the outputs; nothing has its final name before all is written.

        `progress` is called after each batch with the bytes read and the records processed so far.
        """
        started = self._clock()
        request = self._request
        records_seen = 0
        with OutputFolder(request.out, request.paths, _OUTPUTS) as folder, ExitStack() as stack:
            table = stack.enter_context(closing(self._decision_table(folder.path("decisions.parquet"))))
            alerts = stack.enter_context(closing(LinesOutput(folder.path("alerts.jsonl"))))
            rejected_output = RejectedOutput(folder.path("rejected.jsonl"), self._secret_fields)
            rejected = stack.enter_context(closing(rejected_output))
            messages = None
            if request.writes_decisions_jsonl:
                messages = stack.enter_context(closing(LinesOutput(folder.path("decisions.jsonl"))))
            # Asked for before the work, so that what cannot be written is told before it.
            report, numbers, seconds = map(folder.path, ("report.html", "summary.json", "timings.json"))
            async for batch in self._replay.batches(self.files):
                with self._timings.stage("write"):
                    self._write(batch, table, alerts, rejected, messages)
                records_seen += batch.records_read
                progress(self.files.bytes_read, records_seen)
            with self._timings.stage("write"):
                if self._pending:
                    self._count_pending(table)
            with self._timings.stage("report"):
                summary = self._summary(rejected)
                report.write_text(render_report(summary, self._context(rejected)), encoding="utf-8")
                numbers.write_bytes(_readable_json(summary))
            stack.close()
            timings = self._seconds(started)
            seconds.write_bytes(_readable_json(timings, sort=False))
            # The last moment at which Ctrl-C still leaves everything as it was.
            await asyncio.sleep(0)
            return ReplayOutcome(summary, timings, folder.publish(), _refusals(rejected))

    def _write(
        self,
        batch: ReplayedBatch,
        table: DecisionTable,
        alerts: LinesOutput,
        rejected: RejectedOutput,
        messages: LinesOutput | None,
    ) -> None:
        result = batch.result
        self._transactions += len(result.positions) + result.recorded + result.warmed
        for record in batch.rejected:
            rejected.write(record)
        decided = result.decided
        if decided is None or not result.positions:
            return
        truths = [batch.records[position].label for position in result.positions]
        self._pending.append(DecidedRows.of_batch(result.gathered, decided, truths))
        for row in decided.alerts():
            alerts.write(decision_message(decided.canonical[row], decided.hashes[row]))
        if messages is not None:
            for canonical, content_hash in zip(decided.canonical, decided.hashes, strict=True):
                messages.write(decision_message(canonical, content_hash))
        if sum(map(len, self._pending)) >= ROW_GROUP_ROWS:
            self._count_pending(table)

    def _count_pending(self, table: DecisionTable) -> None:
        """Put into table and statistics what is decided by now."""
        rows = DecidedRows.joined(self._pending)
        self._pending.clear()
        table.write(rows)
        self._statistics.add(_decided_batch(rows))

    def _decision_table(self, path: Path) -> DecisionTable:
        artefacts = self._artefacts
        versions = decision_versions(artefacts.feature_set, self._policy, artefacts.model, artefacts.rates)
        return DecisionTable(path, artefacts.feature_set, self._policy, versions)

    def _seconds(self, started: float) -> dict[str, float]:
        """Seconds by stage in the order of the work, and in total."""
        seconds = self._timings.seconds
        return {"read": seconds.get("read", 0.0), **seconds, "total": self._clock() - started}

    def _summary(self, rejected: RejectedOutput) -> dict[str, Any]:
        duplicates = rejected.reasons.get(DUPLICATE_CODE, (0, ""))[0]
        inputs = InputCounts(self._transactions, rejected.count - duplicates, duplicates)
        return self._statistics.summary(inputs)

    def _context(self, rejected: RejectedOutput) -> ReportContext:
        artefacts, policy = self._artefacts, self._policy
        components = [
            Component("policy", f"{policy.name} {policy.version}", policy.content_hash),
            Component("feature set", artefacts.feature_set.name, artefacts.feature_set.schema_hash),
            Component("rates", artefacts.rates.name, artefacts.rates.content_hash),
        ]
        if artefacts.model is not None:
            components.insert(0, Component("model", artefacts.model.name, artefacts.model.content_hash))
        return ReportContext(
            sources=[path.name for path in self._request.paths],
            mapping=self._request.mapping.name,
            components=components,
            labels_known=_labels_known(self._request.mapping, self._request.options.label_delay_days),
            program_version=fraud.__version__,
            rejected={code: RejectedReason(*reason) for code, reason in sorted(rejected.reasons.items())},
            rule_descriptions={rule.id: rule.description for rule in policy.rules},
        )


def _decided_batch(rows: DecidedRows) -> DecidedBatch:
    return DecidedBatch(
        transactions=rows.transactions,
        timestamps_ms=rows.timestamps_ms,
        base_amounts_minor=rows.base_amounts_minor,
        scores=rows.scores,
        action_codes=rows.action_codes,
        hits=rows.hits,
        labels=np.array([_LABEL_CODES[label] for label in rows.labels], dtype=np.int8),
        late=rows.late,
        notifying=rows.notifying,
        scenarios=rows.scenarios,
    )


def _labels_known(mapping: Mapping, label_delay_days: float) -> str:
    """When labels became known, in words: the replay's delay counts only where nothing better is known."""
    delay = f"{label_delay_days:g} day{'' if label_delay_days == 1 else 's'} after the transaction"
    if mapping.label is not None and mapping.label.known_at is not None:
        return f"known when the file says, else {delay}"
    if mapping.label is not None and mapping.label.delay is not None:
        return f"known after the delay that the mapping draws, else {delay}"
    return f"known {delay}"


def _refusals(rejected: RejectedOutput) -> dict[str, tuple[int, str]]:
    return {code: reason for code, reason in rejected.reasons.items() if code != DUPLICATE_CODE}


def _readable_json(content: dict[str, Any], *, sort: bool = True) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content, order="sorted" if sort else None), indent=2) + b"\n"

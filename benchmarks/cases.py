"""One timed case in a process of its own, on one core: `python -m benchmarks.cases SPECIFICATION`.

The specification and the measurement, the last line printed, are JSON. Files and models are ready before: a case only
replays.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import resource
import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks import learning_cases
from benchmarks.inputs import DAYS, LABEL_DELAY_DAYS, Input
from benchmarks.stopwatch import Measurement, Stopwatch

# The rival decides blocks of this many rows, evenly spread over the file; in between it only remembers, untimed, so
# that its state is as full as the product's at the same place.
RIVAL_BLOCK = 1_000


def ours(source: Input, transactions: int, model: Path, out: Path) -> Measurement:
    """The whole of `fraud replay`: from the file to decisions, alerts, summary and report. Imports are not counted."""
    import msgspec

    from fraud.bootstrap import load_artefacts
    from fraud.pipeline import Period
    from fraud.replay.run import ReplayOptions, relaxed_collection
    from fraud.replay.session import ReplayRequest, ReplaySession
    from fraud.settings import Settings
    from fraud.sources.mapping import load_mapping

    settings, mapping = Settings(), load_mapping(source.mapping)
    artefacts = load_artefacts(
        settings, source.feature_set, mapping.attribute_kinds, policy_file=Path(source.policy), model_folder=model
    )
    options = ReplayOptions(Period(), LABEL_DELAY_DAYS, transactions)
    request = ReplayRequest((Path(source.file),), mapping, out, options)
    watch = Stopwatch()
    with relaxed_collection(), watch.running():
        session = ReplaySession(settings, artefacts, request, perf_counter)
        outcome = asyncio.run(session.run(lambda _bytes, _records: None))
    stages = dict(outcome.timings)
    whole = stages.pop("total")
    stages["between stages"] = whole - sum(stages.values())
    summary = msgspec.json.decode((out / "summary.json").read_bytes())
    facts = {"alert_share": summary["detection"]["alert_share"]}
    return Measurement(transactions, watch.wall_seconds, watch.cpu_seconds, stages=stages, facts=facts)


def floor(source: Input, transactions: int) -> Measurement:
    """Decode each transaction through the same reader and mapping, encode a decision of the same size, nothing else."""
    import msgspec

    from fraud.decision import Artefact, Decision, Versions, canonical_bytes
    from fraud.features import feature_set
    from fraud.replay.run import relaxed_collection
    from fraud.sources.mapping import load_mapping
    from fraud.sources.reader import read_blocks

    names = sorted(feature_set(source.feature_set).names)
    usual = (0, 1, 17, 53.27, 0.012345679, 2_345.678901)
    features = msgspec.defstruct("Features", [(name, float) for name in names], gc=False)(
        *(usual[place % len(usual)] for place in range(len(names)))
    )
    version = Artefact("0" * 64, "name")
    versions = msgspec.Raw(msgspec.json.encode(Versions(version, version, version, version)))
    mapping = load_mapping(source.mapping)
    watch = Stopwatch()
    count = size = 0
    late = False
    with relaxed_collection(), watch.running():
        for block in read_blocks([Path(source.file)], mapping):
            for record in block[: transactions - count]:
                message = record.message  # type: ignore[union-attr]
                decision = Decision(
                    "allow", 5327, 1.0, 5327, "EUR", "EUR", [], features, late, [], {}, [], "allow", [], 0.012346, [],
                    "2026-03-01T12:00:00.000Z", message.transaction_id, message.user_id, versions,
                )  # fmt: skip
                size += len(canonical_bytes(decision))
            count += min(len(block), transactions - count)
            if count == transactions:
                break
    return Measurement(count, watch.wall_seconds, watch.cpu_seconds, facts={"bytes_per_decision": size / count})


def rival(
    source: Input, transactions: int, model: Path, decisions: Path, *, timed_rows: int, batched: bool
) -> Measurement:
    """The rival over the whole file, timed on blocks that lie evenly in it; see `benchmarks.rival`."""
    from benchmarks.rival import Rival, row_blocks
    from fraud.scoring.model import MODEL_FILE
    from fraud.scoring.persistence import estimator_from_bytes

    runner = Rival(estimator_from_bytes((model / MODEL_FILE).read_bytes(), str(model)))
    decide = runner.decide_block if batched else runner.decide_each
    every = max(1, transactions // timed_rows)
    watch = Stopwatch()
    count = 0
    blocks = row_blocks(Path(source.file), RIVAL_BLOCK, transactions)
    with decisions.open("w", encoding="utf-8") as file:
        for number in itertools.count():
            timed = number % every == every // 2
            with watch.running() if timed else nullcontext():
                block = next(blocks, None)
                if block is None:
                    break
                if timed:
                    file.writelines(f"{line}\n" for line in decide(block))
                    count += len(block)
            if not timed:
                for row in block:
                    runner.remember(row)
    return Measurement(count, watch.wall_seconds, watch.cpu_seconds)


def agreement(decisions: Path, replayed: Path) -> dict[str, float]:
    """How often the rival's decisions have the product's action, and its features (to 1e-6)."""
    import pyarrow.parquet as pq

    from benchmarks.rival import FEATURE_NAMES

    table = pq.read_table(replayed, columns=["transaction_id", "action", *FEATURE_NAMES])
    places = {name: place for place, name in enumerate(table.column("transaction_id").to_pylist())}
    with decisions.open(encoding="utf-8") as file:
        rival_rows = [json.loads(line) for line in file]
    chosen = table.take([places[str(row["transaction_id"])] for row in rival_rows]).to_pylist()
    same_action = same_features = 0
    for theirs, own in zip(rival_rows, chosen, strict=True):
        same_action += theirs["action"] == own["action"]
        same_features += all(abs(theirs["features"][name] - own[name]) < 1e-6 for name in FEATURE_NAMES)
    return {"same_action": same_action / len(chosen), "same_features": same_features / len(chosen)}


def prepare(source: Input) -> str:
    """Fit the model that the cases of `source` are run with; where it lies."""
    from benchmarks.inputs import fitted

    return str(fitted(source))


def run(specification: dict[str, Any]) -> Any:
    """The measurement that a specification asks for, ready for JSON."""
    case = specification["case"]
    if case == "simulate":
        from benchmarks.inputs import simulated

        days = specification.get("days", DAYS)
        return str(simulated(specification["format"], specification["transactions"], days))
    if case == "state":
        from benchmarks.state_size import state_size

        return asdict(state_size(specification["feature_set"], specification["customers"]))
    source = Input(**specification["input"])
    if case == "prepare":
        return prepare(source)
    folder = Path(specification["out"])
    if case == "agreement":
        return agreement(folder / "rival.jsonl", folder / "ours" / "decisions.parquet")
    measured = measured_case(case, source, specification["transactions"], folder, specification)
    # Kilobytes on Linux.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024
    return asdict(measured) | {"peak_memory_bytes": peak}


def measured_case(
    case: str, source: Input, transactions: int, folder: Path, specification: dict[str, Any]
) -> Measurement:
    """Run one timed case; what it writes goes into `folder`."""
    if case == "ours":
        return ours(source, transactions, Path(specification["model"]), folder / "ours")
    if case == "floor":
        return floor(source, transactions)
    if case == "dataset":
        return learning_cases.dataset(source, transactions, folder / f"{source.feature_set}.parquet")
    if case == "fit and judge":
        rows = folder / f"{source.feature_set}.parquet"
        return learning_cases.fit_and_judge(rows, transactions, folder / "fitted")
    if case == "prequential":
        return learning_cases.prequential(source, specification["weeks"], folder / "weeks")
    batched = case == "rival batched"
    file = folder / ("rival-batched.jsonl" if batched else "rival.jsonl")
    model = Path(specification["model"])
    return rival(source, transactions, model, file, timed_rows=specification["rival_rows"], batched=batched)


def main() -> None:
    specification = json.loads(sys.argv[1])
    if "core" in specification:
        os.sched_setaffinity(0, {specification["core"]})
    print(json.dumps(run(specification)))


if __name__ == "__main__":
    main()

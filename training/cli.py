"""The command `fraud-train`: datasets, fitting, evaluation, the registry. Each command imports what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fraud.termination import Termination
from training.commands.dataset import dataset
from training.commands.drift import drift
from training.commands.evaluate import evaluate
from training.commands.fit import fit
from training.commands.models import models
from training.commands.options import load_rows
from training.commands.prequential import prequential
from training.commands.promotion import compare, promote
from training.commands.retrain import retrain
from training.commands.shadow_report import shadow_report

if TYPE_CHECKING:
    from fraud.scoring.manifest import Manifest, ModelKind


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Fit, judge, promote and watch models on the features that the service computes."""
    Termination()


main.add_command(dataset)
main.add_command(fit)
main.add_command(evaluate)
main.add_command(models)
models.add_command(compare)
models.add_command(promote)
main.add_command(prequential)
main.add_command(shadow_report)
main.add_command(drift)
main.add_command(retrain)


@dataclass(frozen=True)
class FitRequest:
    """A fit with the defaults of a kind of model, for programs.

    Times are UTC milliseconds, `period_to_ms` and `validation_to_ms` exclusive.
    """

    paths: tuple[Path, ...]
    mapping_name: str
    feature_set_name: str
    label_delay_days: float
    period_from_ms: int
    period_to_ms: int
    validation_to_ms: int
    model_kind: ModelKind
    seed: int
    folder: Path


def fit_and_write(request: FitRequest, created_at: str) -> Manifest:
    """Compute features through the core, fit, judge, write the folder. `created_at` is RFC 3339.

    Raises what reading, the settings and fitting raise, and `OSError` where the folder cannot be written.
    """
    from training.configuration import DEFAULT_CONFIGURATIONS, FitConfiguration
    from training.fitting import FitPeriods
    from training.fitting import fit_and_write as fit_rows_and_write

    rows = load_rows(
        request.paths,
        request.mapping_name,
        request.feature_set_name,
        request.label_delay_days,
        from_ms=request.period_from_ms,
        to_ms=request.validation_to_ms,
    )
    periods = FitPeriods(
        request.period_from_ms, request.period_to_ms, request.validation_to_ms, request.label_delay_days
    )
    configuration = FitConfiguration(DEFAULT_CONFIGURATIONS[request.model_kind], request.seed)
    return fit_rows_and_write(rows, configuration, periods, request.folder, created_at, lambda _line: None).manifest

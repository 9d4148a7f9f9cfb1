"""Where a notebook's data comes from, and what was computed of it before, so that nothing is computed twice."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import msgspec

import fraud
from fraud.bootstrap import load_artefacts
from fraud.features import feature_set
from fraud.pipeline import Period
from fraud.replay.run import ReplayOptions, relaxed_collection
from fraud.replay.session import ReplayRequest, ReplaySession
from fraud.scoring.registry import chosen_files
from fraud.settings import Settings, load_settings
from fraud.simulator.options import SimulationOptions
from fraud.simulator.writing import write_simulation
from fraud.sources import load_mapping
from training.building import FilesRequest, ReplayedFiles
from training.dataset_file import dataset_origin, read_dataset, write_dataset
from training.labelled_rows import LabelledRows
from training.notebook.beside_the_loop import Progress, beside_the_loop

# Some 55,000 payments with 400 frauds: few enough for a notebook in half a minute, enough for a model to learn from
# and for a month to judge it on. With fewer, every interval is too wide to say anything.
SIMULATED = SimulationOptions(seed=5, days=75, customers=650, merchants=300, fraud_rate=0.008)


@dataclass(frozen=True)
class Source:
    """Transaction files with their column mapping, or one dataset that `fraud-train dataset` wrote.

    `label_delay_days` count where a file does not say when a label was known. What is computed is kept in `kept_in`,
    under names that change with the data, the features and the version of the product.
    """

    paths: tuple[Path, ...]
    kept_in: Path
    mapping_name: str = "native"
    feature_set_name: str = "default"
    label_delay_days: float = 7.0

    @property
    def dataset(self) -> Path | None:
        """The dataset, if that is what the source is. Raises `DatasetError` for a missing file."""
        path = self.paths[0]
        is_one = len(self.paths) == 1 and path.suffix == ".parquet" and dataset_origin(path) is not None
        return path if is_one else None

    def rows(self) -> LabelledRows:
        """Features and labels, computed by the product's own core, kept as a dataset.

        Raises `DatasetError`, and `SourceError` for a file or mapping that cannot be read.
        """
        if self.dataset is not None:
            return read_dataset(self.dataset)
        path = self.kept_in / f"rows-{self._key()}.parquet"
        if not path.exists():
            beside_the_loop(lambda progress: self._write_rows(path, progress))
        return read_dataset(path)

    def replayed(self, policy_file: Path, model_folder: Path, from_ms: int) -> Path:
        """The folder of `fraud replay` over the files: decisions, alerts, summary and report, from `from_ms` (UTC).

        What came before warms the state. Raises `ValueError` for a dataset, which has no transactions to decide, and
        what loading the mapping, the policy and the model raises.
        """
        if self.dataset is not None:
            raise ValueError("a dataset has no transactions to decide: name the transaction files")
        decided_with = (policy_file.read_bytes(), chosen_files(model_folder)[-1].read_bytes())
        key = self._key(*decided_with, str(from_ms).encode())
        folder = self.kept_in / f"replay-{policy_file.stem}-{key}"
        if not (folder / "summary.json").exists():
            beside_the_loop(lambda progress: self._replay(folder, policy_file, model_folder, from_ms, progress))
        return folder

    def _write_rows(self, path: Path, progress: Progress) -> None:
        request = FilesRequest(self.paths, self.mapping_name, self.feature_set_name, self.label_delay_days)
        replayed = ReplayedFiles(load_settings(), request, perf_counter)
        with relaxed_collection():
            write_dataset(path, replayed.origin, replayed.features, replayed.blocks(progress))

    def _replay(self, folder: Path, policy_file: Path, model_folder: Path, from_ms: int, progress: Progress) -> None:
        import asyncio

        settings: Settings = load_settings()
        mapping = load_mapping(self.mapping_name)
        artefacts = load_artefacts(
            settings,
            self.feature_set_name,
            mapping.attribute_kinds,
            policy_file=policy_file,
            model_folder=model_folder,
        )
        options = ReplayOptions(Period(from_ms), self.label_delay_days)
        session = ReplaySession(settings, artefacts, ReplayRequest(self.paths, mapping, folder, options), perf_counter)
        with relaxed_collection():
            asyncio.run(session.run(progress))

    def _key(self, *contents: bytes) -> str:
        """A name for what is computed of these files in this way."""
        digest = hashlib.sha256()
        files = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in self.paths]
        mapping = Path(self.mapping_name)
        read_with = (
            fraud.__version__,
            files,
            mapping.read_text() if mapping.is_file() else self.mapping_name,
            feature_set(self.feature_set_name).schema_hash,
            self.label_delay_days,
        )
        for content in (msgspec.json.encode(read_with), *contents):
            digest.update(hashlib.sha256(content).digest())
        return digest.hexdigest()[:12]


def simulated(kept_in: Path, options: SimulationOptions = SIMULATED) -> Source:
    """Simulated payments with known frauds, written to `kept_in` unless they are there already."""
    key = hashlib.sha256(repr(options).encode()).hexdigest()[:12]
    path = kept_in / f"simulated-{key}.parquet"
    if not path.exists():
        kept_in.mkdir(parents=True, exist_ok=True)
        write_simulation(options, path)
    return Source((path,), kept_in)

"""Transaction files of any supported format, read as a stream of records through a column mapping."""

from fraud.sources.mapping import Mapping, load_mapping, mapping_names, parse_mapping
from fraud.sources.reader import TransactionFiles, read_blocks, read_records
from fraud.sources.records import (
    GroundTruth,
    MappingError,
    Record,
    RejectedRecord,
    SourceError,
    SourceRecord,
    shown_value,
)

__all__ = [
    "GroundTruth",
    "Mapping",
    "MappingError",
    "Record",
    "RejectedRecord",
    "SourceError",
    "SourceRecord",
    "TransactionFiles",
    "load_mapping",
    "mapping_names",
    "parse_mapping",
    "read_blocks",
    "read_records",
    "shown_value",
]

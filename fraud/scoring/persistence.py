"""Estimators as files that cannot run code.

Skops, a fixed list of what may be in one, and the same bytes every time.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
from typing import Any

import numpy as np

from fraud.scoring.manifest import ModelRefusedError

SCHEMA_MEMBER = "schema.json"
# A forest of 100 full trees on 100,000 rows is some 100 MB; more than this is no model for a stream, or an attack on
# memory.
MODEL_FILE_MAX_BYTES = 256 * 1024 * 1024
# A boosting model has some 2 arrays a tree: this leaves room for tens of thousands of trees.
MODEL_FILE_MAX_MEMBERS = 100_000

# The earliest time that a zip can hold; the same in every file, so that the same model gives the same bytes.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)

# Every type that the supported estimators consist of, each with the one skops node that may build it. Whatever else a
# file names is refused before anything is imported: skops itself would also trust functions, partials and every
# estimator.
ALLOWED_NODES = frozenset(
    {
        ("builtins.dict", "DictNode"),
        ("builtins.list", "ListNode"),
        ("builtins.str", "JsonNode"),
        ("builtins.str", "TypeNode"),
        ("builtins.tuple", "TupleNode"),
        ("numpy.dtype", "DTypeNode"),
        ("numpy.float64", "NdArrayNode"),
        ("numpy.int64", "NdArrayNode"),
        ("numpy.ndarray", "NdArrayNode"),
        ("numpy.random._generator.Generator", "RandomGeneratorNode"),
        ("numpy.uint64", "NdArrayNode"),
        ("sklearn._loss._loss.CyHalfBinomialLoss", "LossNode"),
        ("sklearn._loss.link.Interval", "ObjectNode"),
        ("sklearn._loss.link.LogitLink", "ObjectNode"),
        ("sklearn._loss.loss.HalfBinomialLoss", "ObjectNode"),
        ("sklearn.ensemble._forest.RandomForestClassifier", "ObjectNode"),
        ("sklearn.ensemble._hist_gradient_boosting.binning._BinMapper", "ObjectNode"),
        ("sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier", "ObjectNode"),
        ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor", "ObjectNode"),
        ("sklearn.impute._base.SimpleImputer", "ObjectNode"),
        ("sklearn.linear_model._logistic.LogisticRegression", "ObjectNode"),
        ("sklearn.pipeline.Pipeline", "ObjectNode"),
        ("sklearn.preprocessing._data.StandardScaler", "ObjectNode"),
        ("sklearn.preprocessing._label.LabelEncoder", "ObjectNode"),
        ("sklearn.tree._classes.DecisionTreeClassifier", "ObjectNode"),
        ("sklearn.tree._tree.Tree", "TreeNode"),
    }
)
TRUSTED_TYPES = sorted({name for name, _ in ALLOWED_NODES})

# What a damaged or hostile file of allowed types can still raise while it is put together.
_CONSTRUCTION_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
)


def estimator_bytes(estimator: Any) -> bytes:
    """A fitted estimator as a skops file in canonical form: equal estimators give equal bytes.

    skops names arrays and marks objects by their memory addresses and stamps the time. Arrays are named by their
    content here, the addresses (an optimisation for shared objects only) are left out, and the time is constant.
    """
    import skops.io

    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(estimator))) as source:
        schema = json.loads(source.read(SCHEMA_MEMBER))
        arrays = {name: source.read(name) for name in source.namelist() if name != SCHEMA_MEMBER}
    names = {name: f"{hashlib.sha256(content).hexdigest()}.npy" for name, content in arrays.items()}
    members = {names[name]: content for name, content in arrays.items()}
    members[SCHEMA_MEMBER] = json.dumps(
        _without_addresses(schema, names), separators=(",", ":"), sort_keys=False
    ).encode()
    target = io.BytesIO()
    # Stored, not compressed: the bytes must not depend on the version of a compressor.
    with zipfile.ZipFile(target, "w", compression=zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            archive.writestr(zipfile.ZipInfo(name, date_time=_ZIP_TIME), members[name])
    return target.getvalue()


def _without_addresses(node: Any, names: dict[str, str]) -> Any:
    if isinstance(node, list):
        return [_without_addresses(child, names) for child in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _without_addresses(value, names) for key, value in node.items() if key != "__id__"}
    if node.get("__loader__") == "NdArrayNode" and "file" in node:
        kept["file"] = names[node["file"]]
    return kept


def estimator_from_bytes(content: bytes, place: str) -> Any:
    """The estimator in a skops file; `place` names the file in messages.

    Raises `ModelRefusedError` for anything that is not a whole skops file of the allowed types and of a bounded size.
    No code of the file's choosing runs, and nothing is imported before every type was checked.
    """
    if not content.startswith(b"PK\x03\x04"):
        raise ModelRefusedError(
            f"{place} is not a skops file (a pickle or joblib file, perhaps): such files can run code and are never "
            "read. Train the model again with fraud-train fit"
        )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_sizes(archive, place)
            _check_nodes(json.loads(archive.read(SCHEMA_MEMBER)), place)
            for member in archive.infolist():
                if member.filename != SCHEMA_MEMBER:
                    _check_array(archive.read(member), place)
        import skops.io

        return skops.io.loads(content, trusted=TRUSTED_TYPES)
    except _CONSTRUCTION_ERRORS as error:
        raise ModelRefusedError(
            f"{place} is damaged and cannot be read ({type(error).__name__}: {error}). "
            "Restore it or train the model again"
        ) from error


def _check_sizes(archive: zipfile.ZipFile, place: str) -> None:
    members = archive.infolist()
    size = sum(member.file_size for member in members)
    if len(members) > MODEL_FILE_MAX_MEMBERS or size > MODEL_FILE_MAX_BYTES:
        raise ModelRefusedError(
            f"{place} unpacks to {len(members)} members of {size} bytes, allowed are {MODEL_FILE_MAX_MEMBERS} and "
            f"{MODEL_FILE_MAX_BYTES}. Train a smaller model"
        )


def _check_nodes(schema: Any, place: str) -> None:
    pending = [schema]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending.extend(node)
        elif isinstance(node, dict):
            pending.extend(node.values())
            if "__loader__" in node:
                found = (f"{node.get('__module__')}.{node.get('__class__')}", str(node["__loader__"]))
                if found not in ALLOWED_NODES:
                    raise ModelRefusedError(
                        f"{place} contains the type {found[0]} ({found[1]}), which is not on the list of trusted "
                        "types. Do not use this file; train the model again with fraud-train fit"
                    )


def _check_array(content: bytes, place: str) -> None:
    """A header must not promise more than its file holds: memory is set aside by it."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ModelRefusedError(f"{place} holds an array of format {version}, written by no version of this program")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    size = dtype.itemsize
    for length in shape:
        size *= length
    if dtype.hasobject or size != len(content) - file.tell():
        raise ModelRefusedError(f"{place} holds an array that does not fit its own header. Restore it or train again")

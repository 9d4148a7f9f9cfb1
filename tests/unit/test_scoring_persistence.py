"""A model folder loads only if it is whole, unchanged, fits features and scikit-learn, and cannot run code."""

import hashlib
import io
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import joblib
import msgspec
import numpy as np
import pytest
import skops.io
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.preprocessing import FunctionTransformer

from fraud.scoring import ModelRefusedError, Training, load_model, persistence
from fraud.scoring.manifest import manifest_bytes, sealed
from training.configuration import DEFAULT_CONFIGURATIONS, FitConfiguration
from training.dataset import Dataset
from training.fit import fit
from training.folder import Identity, model_files, write_folder

NAMES = ("amount", "count", "hours", "novelty")
FEATURE_SET = ("handbook", "a" * 64)
TRAINING = Training(
    data_hash="0" * 64,
    period_from="2026-01-01T00:00:00.000Z",
    period_to="2026-02-01T00:00:00.000Z",
    validation_to="2026-02-08T00:00:00.000Z",
    label_delay_days=7.0,
    row_count=600,
    fraud_count=100,
    seed=1,
    configuration={"mapping": "handbook"},
)


def dataset(seed):
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(600, len(NAMES)))
    labels = (matrix[:, 0] + generator.normal(size=600) > 1).astype(np.int8)
    matrix[generator.random(matrix.shape) < 0.05] = np.nan
    return Dataset(matrix, labels, generator.integers(1, 10_000, 600))


def fitted(kind):
    return fit(dataset(1), dataset(2), NAMES, FitConfiguration(DEFAULT_CONFIGURATIONS[kind], seed=1))


@pytest.fixture(scope="module")
def trained():
    return {kind: fitted(kind) for kind in DEFAULT_CONFIGURATIONS}


def files_of(model, created_at="2026-02-08T10:00:00+00:00", training=TRAINING):
    return model_files(model, Identity("pilot", *FEATURE_SET, NAMES, created_at), training)


@pytest.fixture
def folder(trained, tmp_path):
    write_folder(tmp_path / "pilot", files_of(trained["boosting"])[1])
    return tmp_path / "pilot"


def replace_model_file(folder, content):
    """Put other bytes in place and make the manifest fit them, as an attacker would."""
    (folder / "model.skops").write_bytes(content)
    change_manifest(folder, model_file_hash=hashlib.sha256(content).hexdigest())


def change_manifest(folder, **changes):
    from fraud.scoring.manifest import Manifest

    manifest = msgspec.json.decode((folder / "manifest.json").read_bytes(), type=Manifest)
    (folder / "manifest.json").write_bytes(manifest_bytes(sealed(msgspec.structs.replace(manifest, **changes))))


def refused(folder, reason, feature_set=FEATURE_SET):
    with pytest.raises(ModelRefusedError, match=reason) as error:
        load_model(folder, *feature_set)
    return str(error.value)


@pytest.mark.parametrize("kind", DEFAULT_CONFIGURATIONS)
def test_a_loaded_model_scores_and_explains_as_before_it_was_written(trained, tmp_path, kind):
    manifest, files = files_of(trained[kind])
    write_folder(tmp_path / "pilot", files)
    model = load_model(tmp_path / "pilot", *FEATURE_SET)
    matrix = dataset(3).matrix
    assert model.score(matrix).tobytes() == trained[kind].estimate.score(matrix).tobytes()
    assert model.explain(matrix[:20]).tobytes() == trained[kind].estimate.explain(matrix[:20]).tobytes()
    assert (model.name, model.kind, model.feature_names) == ("pilot", kind, NAMES)
    assert model.content_hash == manifest.content_hash
    assert model.manifest.thresholds == trained[kind].thresholds


@pytest.mark.parametrize("kind", DEFAULT_CONFIGURATIONS)
def test_the_same_data_and_configuration_give_the_same_content_hash(trained, kind):
    first, first_files = files_of(trained[kind])
    second, second_files = files_of(fitted(kind), created_at="2027-01-01T00:00:00+00:00")
    assert first_files["model.skops"] == second_files["model.skops"]
    assert first.content_hash == second.content_hash
    assert first.created_at != second.created_at


def test_another_process_gives_the_same_model_bytes(trained):
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import hashlib; "
        "from test_scoring_persistence import fitted, files_of; "
        "print(hashlib.sha256(files_of(fitted('boosting'))[1]['model.skops']).hexdigest())"
    )
    here = str(Path(__file__).parent)
    result = subprocess.run([sys.executable, "-c", program, here], capture_output=True, text=True, check=True)
    content = files_of(trained["boosting"])[1]["model.skops"]
    assert result.stdout.strip() == hashlib.sha256(content).hexdigest()


def test_other_content_gives_another_hash(trained):
    manifest, _ = files_of(trained["boosting"])
    other_training = msgspec.structs.replace(TRAINING, seed=2)
    assert files_of(trained["boosting"], training=other_training)[0].content_hash != manifest.content_hash
    assert files_of(trained["random_forest"])[0].content_hash != manifest.content_hash


def test_a_missing_folder_or_file_is_named(folder, tmp_path):
    assert "manifest.json is missing" in refused(tmp_path / "nowhere", "fraud-train fit")
    (folder / "model.skops").unlink()
    refused(folder, r"model\.skops is missing")


def test_another_feature_set_is_refused(folder):
    refused(
        folder,
        "feature set 'handbook', in use is 'default'. Use --feature-set handbook, another model, or none",
        ("default", "a" * 64),
    )


def test_another_schema_is_refused_with_the_command_that_trains_again(folder):
    message = refused(folder, "another version of the feature set", ("handbook", "b" * 64))
    assert "fraud-train fit FILE... --mapping handbook --feature-set handbook --label-delay-days 7" in message
    assert "--model-kind boosting --seed 1 --out models/pilot" in message


def test_changed_model_bytes_are_refused(folder):
    content = bytearray((folder / "model.skops").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.skops").write_bytes(content)
    refused(folder, "its hash does not match")


def test_a_changed_manifest_is_refused(folder):
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"fraud_count": 100', b'"fraud_count": 900'))
    refused(folder, "was changed after training")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"name": "x"}', b"\xff\xfe", b"[" * 100_000])
def test_a_broken_manifest_is_refused(folder, content):
    (folder / "manifest.json").write_bytes(content)
    refused(folder, "is not a model manifest")


def test_a_manifest_with_unknown_fields_or_version_is_refused(folder):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    path.write_text(json.dumps({**manifest, "surprise": 1}))
    refused(folder, "unknown field `surprise`")
    path.write_text(json.dumps({**manifest, "manifest_version": 2}))
    refused(folder, "manifest version 2, this program reads 1")


def test_the_creation_time_may_change(folder):
    change_manifest(folder, created_at="2030-01-01T00:00:00+00:00")
    load_model(folder, *FEATURE_SET)


@pytest.mark.parametrize("version", ["1.8.2", "2.9.1", "0.24"])
def test_another_minor_version_of_scikit_learn_is_refused(folder, version):
    change_manifest(folder, library_versions={"scikit-learn": version})
    assert "Train it again: fraud-train fit" in refused(folder, f"trained with scikit-learn {version}")


def test_another_patch_version_of_scikit_learn_fits(folder):
    import sklearn

    minor = sklearn.__version__.rsplit(".", 1)[0]
    change_manifest(folder, library_versions={"scikit-learn": f"{minor}.99"})
    load_model(folder, *FEATURE_SET)


def test_a_manifest_that_names_another_kind_is_refused(folder):
    change_manifest(folder, kind="random_forest")
    refused(folder, "holds a boosting, its manifest says random_forest")


def test_a_manifest_with_other_features_is_refused(folder):
    change_manifest(folder, feature_names=NAMES[:-1])
    refused(folder, "fitted on 4 features, the set has 3")


class CreatesFileWhenLoaded:
    """What an attacker pickles: anything that loads it runs the command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_dropped_into_the_folder_runs_no_code(folder, tmp_path):
    proof = tmp_path / "code_ran"
    for dump in (
        pickle.dumps,
        lambda item: _joblib_bytes(item, compress=0),
        lambda item: _joblib_bytes(item, compress=3),
    ):
        replace_model_file(folder, dump(CreatesFileWhenLoaded(proof)))
        refused(folder, "is not a skops file")
        (folder / "model.pkl").write_bytes(dump(CreatesFileWhenLoaded(proof)))
    assert not proof.exists()


def _joblib_bytes(item, compress):
    buffer = io.BytesIO()
    joblib.dump(item, buffer, compress=compress)
    return buffer.getvalue()


def touched(path):
    """A function of this module: what a skops file may name, and import, and call."""
    Path(path).touch()


def test_a_skops_file_of_other_types_runs_no_code(folder, tmp_path):
    proof = tmp_path / "code_ran"
    transformer = FunctionTransformer(func=touched, kw_args={"path": str(proof)})
    replace_model_file(folder, skops.io.dumps(transformer))
    refused(folder, "not on the list of trusted types")
    assert not proof.exists()


def test_a_skops_file_names_no_module_that_would_be_imported(folder, tmp_path, monkeypatch):
    proof = tmp_path / "code_ran"
    (tmp_path / "hostile_module.py").write_text(f"open({str(proof)!r}, 'w').close()\nclass Thing: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for loader in ("ObjectNode", "TypeNode", "FunctionNode", "NdArrayNode"):
        node = {"__class__": "Thing", "__module__": "hostile_module", "__loader__": loader, "content": None}
        replace_model_file(folder, skops_file({**node, "protocol": 2, "_skops_version": "0.16.0"}))
        refused(folder, "hostile_module.Thing")
    assert not proof.exists()
    assert "hostile_module" not in sys.modules


@pytest.mark.parametrize(
    ("name", "loader"),
    [
        ("builtins.eval", "FunctionNode"),
        ("os.system", "FunctionNode"),
        ("functools.partial", "PartialNode"),
        ("operator.methodcaller", "OperatorFuncNode"),
        ("builtins.dict", "ObjectNode"),
        ("numpy.exp", "FunctionNode"),
        ("sklearn.svm._classes.SVC", "ObjectNode"),
    ],
)
def test_types_that_skops_alone_might_trust_are_refused_wherever_they_hide(folder, name, loader):
    module, class_name = name.rsplit(".", 1)
    hidden = {"__class__": class_name, "__module__": module, "__loader__": loader, "content": {}}
    listed = {"__class__": "list", "__module__": "builtins", "__loader__": "ListNode", "content": [hidden]}
    replace_model_file(folder, skops_file({**listed, "protocol": 2, "_skops_version": "0.16.0"}))
    refused(folder, f"{name} \\({loader}\\)")


def skops_file(schema, **members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression=zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", schema if isinstance(schema, str) else json.dumps(schema))
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_damaged_skops_files_are_refused(folder):
    content = (folder / "model.skops").read_bytes()
    without_schema = io.BytesIO()
    with zipfile.ZipFile(without_schema, "w") as archive:
        archive.writestr("other.json", "{}")
    for damaged in (
        content[: len(content) // 2],
        without_schema.getvalue(),
        skops_file("{"),
        skops_file("[" * 100_000),
        skops_file("{}"),
        skops_file({"__class__": "list", "__module__": "builtins", "__loader__": "ListNode", "protocol": 2}),
    ):
        replace_model_file(folder, damaged)
        refused(folder, "damaged")


def test_a_file_of_trusted_types_that_is_no_classifier_is_refused(folder):
    replace_model_file(folder, skops.io.dumps(["not", "a", "model"]))
    refused(folder, "list cannot be scored")
    replace_model_file(folder, skops.io.dumps(RandomForestClassifier()))
    refused(folder, "cannot be scored")


def test_trees_that_point_outside_of_their_arrays_are_refused(folder):
    data = dataset(1)
    estimator = HistGradientBoostingClassifier(max_iter=3, early_stopping=False).fit(data.matrix, data.labels)
    estimator._predictors[1][0].nodes["left"][0] = 4_000_000_000
    replace_model_file(folder, persistence.estimator_bytes(estimator))
    refused(folder, "a child node is out of range")


def test_a_zip_bomb_and_an_array_that_promises_too_much_are_refused(folder, monkeypatch):
    replace_model_file(folder, skops_file("{}", zeros=b"\0" * 3_000_000))
    monkeypatch.setattr(persistence, "MODEL_FILE_MAX_BYTES", 1_000_000)
    refused(folder, "unpacks to 2 members of 3000002 bytes")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**15,)})
    listed = {"__class__": "list", "__module__": "builtins", "__loader__": "ListNode", "content": [], "protocol": 2}
    replace_model_file(folder, skops_file(listed, **{"1.npy": header.getvalue()}))
    refused(folder, "does not fit its own header")


def test_a_file_that_is_too_large_is_not_read(folder, monkeypatch):
    from fraud.scoring import model

    monkeypatch.setattr(model, "MODEL_FILE_MAX_BYTES", 1_000)
    refused(folder, "is larger than 1000 bytes")


def test_writing_replaces_a_whole_folder_and_leaves_nothing_beside_it(folder, trained):
    write_folder(folder, files_of(trained["logistic_regression"])[1])
    assert load_model(folder, *FEATURE_SET).kind == "logistic_regression"
    assert [path.name for path in folder.parent.iterdir()] == ["pilot"]


def test_a_failed_write_leaves_the_old_folder(folder, trained):
    files = files_of(trained["logistic_regression"])[1]
    with pytest.raises(TypeError):
        write_folder(folder, {**files, "notes": None})
    assert load_model(folder, *FEATURE_SET).kind == "boosting"
    assert [path.name for path in folder.parent.iterdir()] == ["pilot"]

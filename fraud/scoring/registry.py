"""The registry of models as a file: which model is champion, which score in its shadow, and every change of it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from fraud.scoring.manifest import ModelRefusedError
from fraud.scoring.model import MANIFEST_FILE, MODEL_FILE, Model, load_model

State = Literal["candidate", "shadow", "champion", "archived"]
Step = Literal["register", "shadow", "promote", "rollback", "archive"]

REGISTRY_FILE = "registry.json"
# What decides before anything was promoted: the folder that ships.
FIRST_CHAMPION = "default"
# The version of this file's own layout. Another one is refused, never guessed at.
REGISTRY_VERSION = 1
# A change is a third of a kilobyte: this is a hundred years of daily changes, and a bound on what a reader takes in.
REGISTRY_MAX_BYTES = 16 * 1024 * 1024


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one step did to one model: its state from then on, who did it, when (RFC 3339, UTC) and why.

    A step may change two models: who is promoted takes another's place. `model` is the folder's name, `content_hash`
    the one of its manifest then. `evaluation_hash` is the SHA-256 of the evaluation that the step rests on, if any.
    """

    model: str
    content_hash: str
    state: State
    step: Step
    who: str
    when: str
    why: str
    evaluation_hash: str | None = None


class Registry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file `registry.json`: every change in order. What stands follows from it alone."""

    changes: tuple[Change, ...] = ()
    registry_version: int = REGISTRY_VERSION

    @property
    def standing(self) -> dict[str, Change]:
        """The last change of each model, by its name, in the order of the first."""
        return {change.model: change for change in self.changes}

    @property
    def champion(self) -> Change | None:
        """The model that decides, None before the first promotion."""
        return next((change for change in self.standing.values() if change.state == "champion"), None)

    @property
    def reigns(self) -> tuple[Change, ...]:
        """The champions that a rollback leads back through, the present one last."""
        found: list[Change] = []
        for change in self.changes:
            if change.state != "champion":
                continue
            if change.step == "rollback":
                del found[-2:]
            found.append(change)
        return tuple(found)

    @property
    def shadows(self) -> tuple[Change, ...]:
        """The models that score beside the champion and are never acted on, by name."""
        found = [change for change in self.standing.values() if change.state == "shadow"]
        return tuple(sorted(found, key=lambda change: change.model))

    def state_of(self, model: str) -> State:
        """The state of a model; one that was never registered is a candidate."""
        change = self.standing.get(model)
        return "candidate" if change is None else change.state


def read_registry(models: Path) -> Registry:
    """The registry of the folder `models`; empty where there is none. A writer replaces the file in one step.

    Raises `ModelRefusedError` where it cannot be read or says that two models are champion.
    """
    path = models / REGISTRY_FILE
    try:
        with path.open("rb") as file:
            content = file.read(REGISTRY_MAX_BYTES + 1)
    except FileNotFoundError:
        return Registry()
    except OSError as error:
        raise ModelRefusedError(f"{path} cannot be read ({error.strerror})") from error
    if len(content) > REGISTRY_MAX_BYTES:
        raise ModelRefusedError(f"{path} is larger than {REGISTRY_MAX_BYTES} bytes. Restore it")
    return parse_registry(content, str(path))


def parse_registry(content: bytes, place: str) -> Registry:
    """Read a registry; `place` names the file in messages. Raises `ModelRefusedError`."""
    try:
        registry = msgspec.json.decode(content, type=Registry)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelRefusedError(f"{place} is not a registry of models: {error}. Restore it") from error
    if registry.registry_version != REGISTRY_VERSION:
        raise ModelRefusedError(
            f"{place} has registry version {registry.registry_version}, this program reads {REGISTRY_VERSION}"
        )
    for change in registry.changes:
        check_model_name(change.model, place)
    champions = [change.model for change in registry.standing.values() if change.state == "champion"]
    if len(champions) > 1:
        raise ModelRefusedError(f"{place} names two champions, {champions[0]} and {champions[1]}. Restore it")
    return registry


def check_model_name(name: str, place: str) -> None:
    """Raise `ModelRefusedError` unless `name` is that of a folder right under the registry's: a path could lead out."""
    if not name or name.startswith(".") or Path(name).name != name or "\x00" in name:
        raise ModelRefusedError(f"{place}: {name!r} is not the name of a model: it is the name of a folder beside it")


def registry_bytes(registry: Registry) -> bytes:
    """The file's bytes: sorted keys, indented for people, one newline at the end."""
    return msgspec.json.format(msgspec.json.encode(registry, order="sorted"), indent=2) + b"\n"


def load_registered(models: Path, change: Change, feature_set_name: str, feature_set_hash: str) -> Model:
    """The model that a change names, checked as `load_model` does, and that it is the one that was registered.

    Raises `ModelRefusedError`.
    """
    model = load_model(models / change.model, feature_set_name, feature_set_hash)
    if model.content_hash != change.content_hash:
        raise ModelRefusedError(
            f"{models / change.model} holds the content {model.content_hash[:12]}, registered as {change.state} is "
            f"{change.content_hash[:12]}. Restore the folder, or evaluate and promote the new content"
        )
    return model


def is_registry(folder: Path) -> bool:
    """Whether `folder` holds models, not the files of one."""
    if (folder / MANIFEST_FILE).exists():
        return False
    return (folder / REGISTRY_FILE).exists() or (folder / FIRST_CHAMPION / MANIFEST_FILE).exists()


def registry_folder(model_folder: Path) -> Path:
    """The registry that a model folder, or the registry itself, belongs to."""
    return model_folder if is_registry(model_folder) else model_folder.parent


def champion_name(models: Path) -> str:
    """The folder that decides. Raises `ModelRefusedError` where the registry cannot be read."""
    champion = read_registry(models).champion
    return FIRST_CHAMPION if champion is None else champion.model


def load_champion(models: Path, feature_set_name: str, feature_set_hash: str) -> Model:
    """The model that decides. Raises `ModelRefusedError`."""
    champion = read_registry(models).champion
    if champion is None:
        return load_model(models / FIRST_CHAMPION, feature_set_name, feature_set_hash)
    return load_registered(models, champion, feature_set_name, feature_set_hash)


def load_chosen(model_folder: Path, feature_set_name: str, feature_set_hash: str) -> Model:
    """The champion where `model_folder` is a registry, else the model in it. Raises `ModelRefusedError`."""
    if is_registry(model_folder):
        return load_champion(model_folder, feature_set_name, feature_set_hash)
    return load_model(model_folder, feature_set_name, feature_set_hash)


def chosen_files(model_folder: Path) -> tuple[Path, ...]:
    """The files that `load_chosen` reads now, for who follows them."""
    folder = model_folder
    files: tuple[Path, ...] = ()
    if is_registry(model_folder):
        files = (model_folder / REGISTRY_FILE,)
        try:
            folder = model_folder / champion_name(model_folder)
        except ModelRefusedError:
            # Loading says why; the registry itself is watched until it is mended.
            return files
    return (*files, folder / MANIFEST_FILE, folder / MODEL_FILE)

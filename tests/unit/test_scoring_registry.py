"""A registry says which model decides; what it cannot mean is refused."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree

import pytest

from fraud.features import feature_set
from fraud.scoring.manifest import ModelRefusedError, parse_manifest
from fraud.scoring.registry import (
    REGISTRY_FILE,
    Change,
    Registry,
    State,
    load_registered,
    parse_registry,
    read_registry,
    registry_bytes,
)

SHIPPED = Path(__file__).resolve().parents[2] / "models" / "default"


def _change(model: str, state: State, content_hash: str = "a" * 64) -> Change:
    return Change(model, content_hash, state, "register", "Ann", "2026-03-01T12:00:00.000Z", "because", None)


def test_without_a_file_nothing_is_registered(tmp_path: Path) -> None:
    registry = read_registry(tmp_path)
    assert (registry.champion, registry.shadows, registry.state_of("mine")) == (None, (), "candidate")


def test_the_last_change_of_each_model_stands(tmp_path: Path) -> None:
    changes = (
        _change("old", "champion"),
        _change("new", "shadow"),
        _change("other", "shadow"),
        _change("old", "archived"),
        _change("new", "champion"),
    )
    (tmp_path / REGISTRY_FILE).write_bytes(registry_bytes(Registry(changes)))
    registry = read_registry(tmp_path)
    assert registry.changes == changes
    assert registry.champion == changes[4]
    assert registry.shadows == (changes[2],)
    assert registry.state_of("old") == "archived"


@pytest.mark.parametrize("content", [b"", b"{", b'{"changes": 1}', b'{"other": 1}', b"\xff", b"[" * 100_000])
def test_a_damaged_registry_is_refused(content: bytes) -> None:
    with pytest.raises(ModelRefusedError, match=r"here\.json is not a registry"):
        parse_registry(content, "here.json")


def test_two_champions_are_refused() -> None:
    content = registry_bytes(Registry((_change("one", "champion"), _change("two", "champion"))))
    with pytest.raises(ModelRefusedError, match="two champions, one and two"):
        parse_registry(content, "here.json")


def test_another_version_is_refused() -> None:
    with pytest.raises(ModelRefusedError, match="version 2, this program reads 1"):
        parse_registry(registry_bytes(Registry(registry_version=2)), "here.json")


@pytest.mark.parametrize("name", ["", "..", "../away", "a/b", "/etc", ".hidden", "a\x00b"])
def test_a_name_that_leads_out_of_the_folder_is_refused(name: str) -> None:
    with pytest.raises(ModelRefusedError, match="is not the name of a model"):
        parse_registry(registry_bytes(Registry((_change(name, "shadow"),))), "here.json")


def test_a_model_that_is_not_the_registered_one_is_refused(tmp_path: Path) -> None:
    copytree(SHIPPED, tmp_path / "mine")
    manifest = parse_manifest((SHIPPED / "manifest.json").read_bytes(), "shipped")
    features = feature_set(manifest.feature_set_name)
    registered = _change("mine", "champion", manifest.content_hash)
    assert load_registered(tmp_path, registered, features.name, features.schema_hash).content_hash == (
        manifest.content_hash
    )
    with pytest.raises(ModelRefusedError, match="registered as champion is aaaaaaaaaaaa"):
        load_registered(tmp_path, _change("mine", "champion"), features.name, features.schema_hash)

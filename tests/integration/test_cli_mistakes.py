"""What a person gets wrong ends with one clear line and exit code 2, and leaves nothing behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HEADER = "transaction_id,user_id,timestamp,amount,currency\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of one good transaction."""
    path = tmp_path / "in.csv"
    path.write_text(HEADER + "t1,u1,2026-03-01T12:00:00Z,12.50,EUR\n")
    return path


MISTAKES = {
    "a missing file": (("{folder}/none.csv",), ("{folder}/none.csv", "no such file")),
    "a folder for a file": (("{folder}",), ("{folder}", "is a folder")),
    "an unknown ending": (("{folder}/in.xlsx",), ("in.xlsx", "unknown kind of file", "parquet")),
    "a folder under a file": (("{file}", "--out", "{file}/out"), ("{file}/out", "cannot write")),
    "a file for a folder": (("{file}", "--out", "{file}"), ("{file}", "is a file", "--out")),
    "a folder that cannot be made": (("{file}", "--out", "/proc/none/out"), ("/proc/none/out", "cannot write")),
    "an unknown mapping": (("{file}", "--mapping", "handbok"), ("handbok", "handbook, native, paysim, sparkov")),
    "a missing mapping": (("{file}", "--mapping", "{folder}/m.yaml"), ("{folder}/m.yaml", "cannot read")),
    "an unknown policy": (("{file}", "--policy", "defalt"), ("defalt", "default", "handbook", ".yaml")),
    "a missing policy": (("{file}", "--policy", "{folder}/p.yaml"), ("{folder}/p.yaml", "default, handbook")),
    "an unknown model": (("{file}", "--model", "defalt"), ("defalt", "Shipped models", "a folder")),
    "a missing model": (("{file}", "--model", "{folder}/model"), ("{folder}/model", "a folder")),
    "a policy without a name": (("{file}", "--policy", ""), ("''", "Shipped policies", "default, handbook")),
    "a model without a name": (("{file}", "--model", ""), ("''", "Shipped models", "a folder")),
    "an unknown feature set": (("{file}", "--feature-set", "defalt"), ("defalt", "default, handbook")),
    "a time that is none": (("{file}", "--from", "yesterday"), ("'yesterday'", "2026-03-01")),
    "a negative delay": (("{file}", "--label-delay-days", "-1"), ("--label-delay-days", "-1")),
    "a delay that is no number": (("{file}", "--label-delay-days", "nan"), ("--label-delay-days", "'nan'")),
    "a delay without end": (("{file}", "--label-delay-days", "inf"), ("--label-delay-days", "inf")),
    "a limit of nothing": (("{file}", "--limit", "0"), ("--limit", "0")),
    "an empty period": (("{file}", "--from", "2026-02-01", "--to", "2026-02-01"), ("--from must be before --to",)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_line_with_exit_code_2(
    tmp_path: Path, file: Path, fraud: Callable[..., Any], mistake: str
) -> None:
    (tmp_path / "in.xlsx").touch()
    given, told = (tuple(part.format(folder=tmp_path, file=file) for part in parts) for parts in MISTAKES[mistake])
    before = sorted(tmp_path.rglob("*"))
    finished = fraud("replay", "--out", tmp_path / "out", "--model", "none", *given)
    assert finished.exit_code == 2
    assert finished.stdout == ""
    # Before a wrong option stand two lines on how to use the command.
    *usage, line = filter(None, finished.stderr.splitlines())
    assert all(text.startswith(("Usage:", "Try ")) for text in usage)
    assert all(part in line for part in told), line
    assert "Traceback" not in finished.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("mistake", ["a missing file", "an unknown mapping", "an unknown feature set"])
def test_features_tell_of_mistakes_alike(tmp_path: Path, file: Path, fraud: Callable[..., Any], mistake: str) -> None:
    given, told = (tuple(part.format(folder=tmp_path, file=file) for part in parts) for parts in MISTAKES[mistake])
    finished = fraud("features", *given, "--out", tmp_path / "values.parquet")
    (line,) = finished.stderr.splitlines()
    assert finished.exit_code == 2
    assert all(part in line for part in told)
    assert not (tmp_path / "values.parquet").exists()


def test_a_disk_that_is_full_is_told_and_leaves_nothing(tmp_path: Path, file: Path, fraud: Callable[..., Any]) -> None:
    (tmp_path / "out").mkdir()
    # A write to this device fails as on a full disk.
    (tmp_path / "out" / "alerts.jsonl.partial").symlink_to("/dev/full")
    lines = [f"t{number},u1,2026-03-01T12:00:00Z,12.50,EUR\n" for number in range(3_000)]
    file.write_text(HEADER + "".join(lines))
    finished = fraud("replay", file, "--out", tmp_path / "out", "--model", "none")
    assert finished.exit_code == 2
    assert "No space left" in finished.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_a_wrong_setting_is_told_by_its_variable(
    tmp_path: Path, file: Path, fraud: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAUD_FORGET_AFTER_DAYS", "soon")
    finished = fraud("replay", file, "--out", tmp_path / "out", "--model", "none")
    assert (finished.exit_code, finished.stderr.splitlines()) == (
        2,
        ["FRAUD_FORGET_AFTER_DAYS must be a number, it is 'soon'"],
    )


def test_a_token_key_that_is_too_short_is_refused_without_showing_it(
    tmp_path: Path, file: Path, fraud: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAUD_TOKEN_KEY", "s3cret")
    finished = fraud("replay", file, "--out", tmp_path / "out", "--model", "none")
    assert finished.exit_code == 2
    assert "FRAUD_TOKEN_KEY must have at least 16 bytes, it has 6" in finished.stderr
    assert "s3cret" not in finished.stderr


def test_the_development_key_is_pointed_out(
    tmp_path: Path, file: Path, fraud: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("replay", file, "--out", tmp_path / "out", "--model", "none")
    assert "FRAUD_TOKEN_KEY" in fraud(*arguments).stdout
    monkeypatch.setenv("FRAUD_TOKEN_KEY", "a key of the test, long enough")
    assert "FRAUD_TOKEN_KEY" not in fraud(*arguments).stdout


def test_a_broken_policy_is_told_with_place_and_hint(tmp_path: Path, file: Path, fraud: Callable[..., Any]) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "policy: mine\nversion: 1\ndescription: A typing mistake\nrules:\n  - id: high\n    description: High\n"
        "    condition: amout > 100\n    action: review\n    reason_code: HIGH\n"
    )
    for command in (("policy", "check", policy), ("replay", file, "--policy", policy, "--out", tmp_path / "out")):
        finished = fraud(*command)
        assert finished.exit_code == 2
        text = finished.stdout + finished.stderr
        assert f"{policy}:7:16: unknown name `amout`" in text
        assert "did you mean `amount`?" in text
        assert text.endswith("\n")


def test_a_valid_policy_is_shown_as_a_table(fraud: Callable[..., Any]) -> None:
    shipped = Path(__file__).parents[2] / "policies"
    for name in ("default", "handbook"):
        finished = fraud("policy", "check", shipped / f"{name}.yaml", "--feature-set", name)
        assert finished.exit_code == 0
        assert "is valid" in finished.stdout
        assert finished.stdout.endswith("\n")
        assert max(map(len, finished.stdout.splitlines()[1:])) <= 80


@pytest.mark.parametrize("command", [(), ("replay",), ("features",), ("simulate",), ("policy",), ("policy", "check")])
def test_every_command_has_help(fraud: Callable[..., Any], command: tuple[str, ...]) -> None:
    finished = fraud(*command, "--help")
    assert finished.exit_code == 0
    assert finished.stdout.startswith("Usage: fraud")


def test_the_list_of_commands_says_whole_sentences_in_80_columns(fraud: Callable[..., Any]) -> None:
    lines = fraud("--help").stdout.splitlines() + fraud("policy", "--help").stdout.splitlines()
    said = {line.split()[0]: line for line in lines if line.startswith("  ")}
    for command in ("replay", "features", "policy", "check", "simulate", "settings", "stack"):
        assert said[command].endswith(".")
        assert not said[command].endswith("...")


@pytest.mark.parametrize(
    "command", [("replay", "{file}", "--out", "{folder}/out"), ("features", "{file}", "--out", "{folder}/f.pq")]
)
def test_limits_that_contradict_each_other_are_refused_in_one_line(
    tmp_path: Path, file: Path, fraud: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("FRAUD_FORGET_AFTER_DAYS", "20")
    finished = fraud(*(part.format(folder=tmp_path, file=file) for part in command))
    assert finished.exit_code == 2
    assert finished.stderr.startswith("FRAUD_FORGET_AFTER_DAYS is 20, but")
    assert len(finished.stderr.splitlines()) == 1


@pytest.mark.parametrize(("name", "set_name"), [("handbook", "default"), ("default", "handbook")])
def test_a_policy_for_another_feature_set_is_told_as_one_mistake(
    tmp_path: Path, file: Path, fraud: Callable[..., Any], name: str, set_name: str
) -> None:
    chosen = ("--feature-set", set_name)
    out = ("--out", tmp_path / "out", "--model", "none")
    for command in (("policy", "check", name, *chosen), ("replay", file, "--policy", name, *chosen, *out)):
        finished = fraud(*command)
        assert finished.exit_code == 2
        text = finished.stdout + finished.stderr
        assert "is refused: 1 problem\n" in text
        assert f"try --feature-set {name}\n" in text


@pytest.mark.parametrize("name", ["default", "handbook"])
def test_a_shipped_policy_is_checked_by_its_name(fraud: Callable[..., Any], name: str) -> None:
    finished = fraud("policy", "check", name, "--feature-set", name)
    assert finished.exit_code == 0
    assert f"policy      {name}, version 1\n" in finished.stdout


def test_features_fail_on_rejects_where_asked_to(tmp_path: Path, file: Path, fraud: Callable[..., Any]) -> None:
    out = tmp_path / "features.parquet"
    with file.open("a") as rows:
        rows.write(file.read_text().splitlines()[-1] + "\n")
    assert fraud("features", file, "--fail-on-rejects", "--out", out).exit_code == 0
    with file.open("a") as rows:
        rows.write("t2,u1,yesterday,12.50,EUR\n")
    assert fraud("features", file, "--out", out).exit_code == 0
    finished = fraud("features", file, "--fail-on-rejects", "--out", out)
    assert finished.exit_code == 1
    assert f"1 record refused, the first: {file}:4: timestamp" in finished.stderr
    assert out.exists()


@pytest.mark.parametrize(
    ("command", "taken"),
    [
        (("features", "--out", "{out}/values"), "values"),
        (("replay", "--model", "none", "--out", "{out}"), "report.html"),
    ],
)
def test_a_folder_where_a_file_is_to_be_is_told(
    tmp_path: Path, file: Path, fraud: Callable[..., Any], command: tuple[str, ...], taken: str
) -> None:
    folder = tmp_path / "out" / taken
    folder.mkdir(parents=True)
    finished = fraud(*(part.format(out=tmp_path / "out") for part in command), file)
    assert finished.exit_code == 2
    assert finished.stderr == f"{folder}: is a folder; a file is to be written there\n"
    assert [path.name for path in folder.parent.iterdir()] == [taken]


def test_an_output_never_replaces_an_input(tmp_path: Path, file: Path, fraud: Callable[..., Any]) -> None:
    values = tmp_path / "values.csv"
    values.write_bytes(file.read_bytes())
    finished = fraud("features", values, "--out", values)
    assert finished.exit_code == 2
    assert finished.stderr == f"{values}: is an input and would be overwritten; choose another --out\n"
    alerts = tmp_path / "alerts.jsonl"
    alerts.write_text("{}\n")
    finished = fraud("replay", alerts, "--model", "none", "--out", tmp_path)
    assert finished.exit_code == 2
    assert "would be overwritten" in finished.stderr
    assert alerts.read_text() == "{}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alerts.jsonl", "in.csv", "values.csv"]


def test_what_another_run_left_does_not_look_like_this_one(
    tmp_path: Path, file: Path, fraud: Callable[..., Any]
) -> None:
    command = ("replay", file, "--model", "none", "--out", tmp_path / "out")
    for options, is_there in ((("--decisions-jsonl",), True), ((), False)):
        assert fraud(*command, *options).exit_code == 0
        assert (tmp_path / "out" / "decisions.jsonl").exists() == is_there


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_a_file_with_other_delimiters_is_told_how_to_be_read(
    tmp_path: Path, file: Path, fraud: Callable[..., Any], delimiter: str
) -> None:
    file.write_text(file.read_text().replace(",", delimiter))
    finished = fraud("replay", file, "--model", "none", "--out", tmp_path / "out")
    assert finished.exit_code == 2
    shown = delimiter.replace("\t", r"\t")
    assert f'write into a mapping of your own: delimiter: "{shown}". It has:' in finished.stderr


def test_standard_input_is_refused_with_what_to_do(tmp_path: Path, fraud: Callable[..., Any]) -> None:
    finished = fraud("replay", "-", "--model", "none", "--out", tmp_path / "out")
    assert (finished.exit_code, finished.stderr[:29]) == (2, "standard input cannot be read")

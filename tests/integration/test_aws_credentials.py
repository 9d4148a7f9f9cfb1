"""Credentials for DynamoDB come by AWS's usual chain, over TLS only, and are shown nowhere."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext

import pytest
from aws_roles import CONTAINER_TOKEN, IDENTITY, ROLE_ARN, giving_roles
from dynamodb_fault_proxy import DynamoFaultProxy, running_dynamodb_fault_proxy
from live_worker import FRAUD, WorkerProcess, worker_environment
from secured_kafka import Authority

from fraud.stack import Stack

KEY, SECRET, TOKEN = "AKIDFROMENVIRONMENT", "not-to-be-seen-anywhere-0123456789", "nor-is-this-token-9876543210"
PROFILES = """
[default]
aws_access_key_id = AKIDOFDEFAULTPROFILE
aws_secret_access_key = {secret}

[payments]
aws_access_key_id = AKIDOFPAYMENTSPROFILE
aws_secret_access_key = {secret}
aws_session_token = {token}
"""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ours")


@pytest.fixture
def aws(stack: Stack, authority: Authority) -> Iterator[DynamoFaultProxy]:
    """DynamoDB as at AWS: with TLS, and asking who signs."""
    signed = authority.sign("dynamodb", "127.0.0.1")
    tls = SSLContext(PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(signed.certificate, signed.key)
    with running_dynamodb_fault_proxy(stack.environment["FRAUD_DYNAMODB_ENDPOINT_URL"], seed=1, tls=tls) as proxy:
        yield proxy


@pytest.fixture
def environment(stack: Stack, aws: DynamoFaultProxy, authority: Authority, tmp_path: Path) -> dict[str, str]:
    """A machine without credentials."""
    known = worker_environment(stack, "credentials", dynamodb_endpoint_url=aws.url, log_level="debug")
    without = {name: value for name, value in known.items() if not name.startswith("AWS_")}
    nowhere = {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    return {**without, **nowhere, "AWS_CA_BUNDLE": str(authority.file)}


@pytest.fixture
def profiles(tmp_path: Path) -> Path:
    file = tmp_path / "shared-credentials"
    file.write_text(PROFILES.format(secret=SECRET, token=TOKEN))
    return file


def said(environment: dict[str, str], *command: str) -> tuple[int, str]:
    """Exit code and everything that a command says, which holds no secret."""
    finished = subprocess.run([FRAUD, *command], env=environment, capture_output=True, text=True, check=False)
    everything = finished.stdout + finished.stderr
    assert SECRET not in everything
    assert TOKEN not in everything
    return finished.returncode, everything


def test_credentials_come_from_the_environment(environment: dict[str, str], aws: DynamoFaultProxy) -> None:
    own = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN}
    assert said({**environment, **own}, "init")[0] == 0
    assert aws.signers == {(KEY, TOKEN)}
    assert said({**environment, **own}, "settings")[0] == 0


def test_credentials_come_from_the_shared_file_by_profile(
    environment: dict[str, str], aws: DynamoFaultProxy, profiles: Path
) -> None:
    environment["AWS_SHARED_CREDENTIALS_FILE"] = str(profiles)
    assert said(environment, "init")[0] == 0
    assert aws.signers == {("AKIDOFDEFAULTPROFILE", None)}
    aws.signers.clear()
    assert said({**environment, "AWS_PROFILE": "payments"}, "init")[0] == 0
    assert aws.signers == {("AKIDOFPAYMENTSPROFILE", TOKEN)}


def test_the_environment_goes_before_the_shared_file(
    environment: dict[str, str], aws: DynamoFaultProxy, profiles: Path
) -> None:
    own = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SHARED_CREDENTIALS_FILE": str(profiles)}
    assert said({**environment, **own}, "init")[0] == 0
    assert aws.signers == {(KEY, None)}


def test_a_worker_uses_them_and_logs_no_secret(
    environment: dict[str, str], aws: DynamoFaultProxy, profiles: Path, tmp_path: Path
) -> None:
    environment |= {"AWS_SHARED_CREDENTIALS_FILE": str(profiles), "AWS_PROFILE": "payments"}
    assert said(environment, "init")[0] == 0
    aws.signers.clear()
    worker = WorkerProcess(environment, tmp_path / "worker.log")
    worker.start()
    try:
        worker.wait_until_ready()
        assert worker.stop() == 0
    finally:
        worker.end()
    assert aws.signers == {("AKIDOFPAYMENTSPROFILE", TOKEN)}
    assert SECRET not in worker.log.read_text()
    assert TOKEN not in worker.log.read_text()


@pytest.mark.parametrize("role", ["of an instance", "of a container", "of a pod's identity"])
def test_credentials_come_from_the_role(
    environment: dict[str, str], aws: DynamoFaultProxy, role: str, tmp_path: Path
) -> None:
    identity = tmp_path / "identity"
    identity.write_text(IDENTITY)
    with giving_roles(KEY, SECRET, TOKEN) as url:
        roles = {
            "of an instance": {"AWS_EC2_METADATA_SERVICE_ENDPOINT": url, "AWS_EC2_METADATA_DISABLED": "false"},
            "of a container": {
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/container",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN": CONTAINER_TOKEN,
            },
            "of a pod's identity": {
                "AWS_ROLE_ARN": ROLE_ARN,
                "AWS_WEB_IDENTITY_TOKEN_FILE": str(identity),
                "AWS_ENDPOINT_URL_STS": url,
            },
        }
        assert said(environment | roles[role], "init")[0] == 0
    assert aws.signers == {(KEY, TOKEN)}


WRONG = {
    "none": ({}, "Unable to locate credentials"),
    "an unknown profile": ({"AWS_PROFILE": "nobody"}, "The config profile (nobody) could not be found"),
    "a key that AWS does not know": (
        {"AWS_ACCESS_KEY_ID": "AKIDOFNOBODY", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN},
        "UnrecognizedClientException",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("command", ["init", "profile nobody", "worker"])
def test_credentials_that_cannot_be_used_are_told_in_one_line(
    environment: dict[str, str], aws: DynamoFaultProxy, wrong: str, command: str
) -> None:
    aws.unknown_keys.add("AKIDOFNOBODY")
    own, reason = WRONG[wrong]
    code, everything = said({**environment, **own}, *command.split())
    # Before it, `init` has said what it made.
    *before, line = everything.splitlines()
    assert (code, [told for told in before if not told.startswith("topic ")]) == (2, [])
    assert line.startswith(f"DynamoDB at {aws.url} (FRAUD_DYNAMODB_ENDPOINT_URL): ")
    assert reason in line


def test_without_tls_no_credentials_leave_the_machine(
    stack: Stack, environment: dict[str, str], profiles: Path
) -> None:
    with running_dynamodb_fault_proxy(stack.environment["FRAUD_DYNAMODB_ENDPOINT_URL"], seed=1) as plain:
        environment |= {"FRAUD_DYNAMODB_ENDPOINT_URL": plain.url, "AWS_SHARED_CREDENTIALS_FILE": str(profiles)}
        assert said(environment, "init")[0] == 0
        assert plain.signers == {("local", None)}

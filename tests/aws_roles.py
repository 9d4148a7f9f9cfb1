"""Where AWS gives roles their credentials, on loopback: the metadata of an instance, of a container, and STS.

No server of AWS's own runs on a laptop. Each answers as its documentation says, to who asks as it says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs

EXPIRES = "2100-01-01T00:00:00Z"
ROLE = "payments"
ROLE_ARN = f"arn:aws:iam::123456789012:role/{ROLE}"
SESSION_TOKEN, CONTAINER_TOKEN, IDENTITY = "imds-session-token", "container-token", "identity-of-the-pod"
_INSTANCE = "/latest/meta-data/iam/security-credentials/"
_STS = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{key}</AccessKeyId>
<SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{token}</SessionToken><Expiration>{expires}</Expiration>
</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""


class _Roles(BaseHTTPRequestHandler):
    key: str
    secret: str
    token: str

    def do_PUT(self) -> None:
        """An instance's metadata (IMDSv2) is for who holds a session's token."""
        self._answer(SESSION_TOKEN if self.path == "/latest/api/token" else None)

    def do_GET(self) -> None:
        in_session = self.headers.get("x-aws-ec2-metadata-token") == SESSION_TOKEN
        if self.path == _INSTANCE and in_session:
            self._answer(ROLE)
        elif (self.path == _INSTANCE + ROLE and in_session) or (
            self.path == "/container" and self.headers.get("Authorization") == CONTAINER_TOKEN
        ):
            self._answer(
                json.dumps(
                    {
                        "Code": "Success",
                        "Type": "AWS-HMAC",
                        "LastUpdated": "2026-01-01T00:00:00Z",
                        "AccessKeyId": self.key,
                        "SecretAccessKey": self.secret,
                        "Token": self.token,
                        "Expiration": EXPIRES,
                    }
                )
            )
        else:
            self._answer(None)

    def do_POST(self) -> None:
        asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        wanted = {
            "Action": ["AssumeRoleWithWebIdentity"],
            "RoleArn": [ROLE_ARN],
            "WebIdentityToken": [IDENTITY],
        }
        is_known = all(asked.get(name) == value for name, value in wanted.items())
        answer = _STS.format(key=self.key, secret=self.secret, token=self.token, expires=EXPIRES)
        self._answer(answer if is_known else None)

    def _answer(self, text: str | None) -> None:
        content = (text or "").encode()
        self.send_response(403 if text is None else 200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-aws-ec2-metadata-token-ttl-seconds", "21600")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def giving_roles(key: str, secret: str, token: str) -> Iterator[str]:
    """The address of all three, which give these credentials."""
    handler = type("Roles", (_Roles,), {"key": key, "secret": secret, "token": token})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()

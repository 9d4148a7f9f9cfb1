"""Files of certificates, checked by name, and why a server's certificate is not accepted: in words for people."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

# X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL's x509_vfy.h.
_OTHER_NAME = frozenset((62, 64))


class UnusableTlsFileError(ValueError):
    """A file for TLS that cannot be used; the message names its setting."""


@dataclass(frozen=True)
class TlsFiles:
    """PEM files for connections to one kind of server; `setting` begins the names of the settings: FRAUD_KAFKA.

    Without `ca_file` the system's authorities have to have signed the server's certificate. `certificate_file` and
    `key_file` are the service's own, both or neither.
    """

    setting: str
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    def context(self) -> ssl.SSLContext:
        """For a client. Raises `UnusableTlsFileError`."""
        # Read here by name, since what the library raises names no file.
        self._check_readable("CA", self.ca_file)
        self._check_readable("CERTIFICATE", self.certificate_file)
        self._check_readable("KEY", self.key_file)
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except ssl.SSLError as error:
            raise UnusableTlsFileError(
                f"{self.setting}_SSL_CA_FILE: {self.ca_file} holds no certificates in PEM: {error}"
            ) from error
        if self.certificate_file is not None:
            try:
                # A key that is locked cannot be opened here; without an answer the library would ask the terminal.
                context.load_cert_chain(self.certificate_file, self.key_file, password=lambda: "")
            except ssl.SSLError as error:
                raise UnusableTlsFileError(
                    f"{self.setting}_SSL_CERTIFICATE_FILE and {self.setting}_SSL_KEY_FILE: {self.certificate_file} and "
                    f"{self.key_file} are no certificate and its key, unlocked, in PEM: {error}"
                ) from error
        return context

    def _check_readable(self, what: str, file: Path | None) -> None:
        if file is not None:
            try:
                file.read_bytes()
            except OSError as error:
                raise UnusableTlsFileError(
                    f"{self.setting}_SSL_{what}_FILE: {file} cannot be read: {error.strerror}"
                ) from None


def certificate_refusal(error: ssl.SSLCertVerificationError, server: str, setting: str) -> str:
    """What is wrong with the certificate of `server`, and what to do; `setting` names the file of the signers."""
    said = error.verify_message.rstrip(".")
    if error.verify_code in _OTHER_NAME:
        return f"{said}: name {server} as its certificate does"
    return f"its certificate is not trusted: {said}; {setting} names who has to have signed it"


def ends_handshake(error: BaseException) -> bool:
    """Whether a server with TLS ended the connection, as it does when it is shown no certificate, or one that it does
    not trust: by an alert (RFC 8446, section 6.2), or without a word where the alert comes too late to be read.
    """
    alert = isinstance(error, ssl.SSLError) and "_ALERT_" in (error.reason or "")
    return alert or isinstance(error, ConnectionResetError)

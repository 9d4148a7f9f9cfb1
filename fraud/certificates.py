"""Why a server's certificate is not accepted, in words for people."""

from __future__ import annotations

import ssl

# X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL's x509_vfy.h.
_OTHER_NAME = frozenset((62, 64))


def certificate_refusal(error: ssl.SSLCertVerificationError, server: str, setting: str) -> str:
    """What is wrong with the certificate of `server`, and what to do; `setting` names the file of the signers."""
    said = error.verify_message.rstrip(".")
    if error.verify_code in _OTHER_NAME:
        return f"{said}: name {server} as its certificate does"
    return f"its certificate is not trusted: {said}; {setting} names who has to have signed it"

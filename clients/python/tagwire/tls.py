"""TLS: whom a client trusts, how it shows who it is itself, and what went wrong, in words. No sockets.

TLS 1.2 or newer, by Python's `ssl`. Who asks for it never gets less.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import re
import ssl
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

__all__ = ["Security", "Tls", "security_of", "why_broken", "why_no_handshake"]

_PIN = re.compile(r"sha256:([0-9a-fA-F]{64})")


@dataclass(frozen=True)
class Tls:
    """Whom to trust with `tagwires://` and `wss://`, and which certificate to show. Without anything: the
    authorities that the system trusts, and none.

    Raises `ValueError` for a pin that is none, and for what contradicts itself. Files are read when
    connecting.
    """

    ca: str | os.PathLike[str] = ""
    """A PEM file with the certificates of one's own authority, which then is the only one trusted."""

    pin: str = ""
    """`sha256:` and the 64 hexadecimal digits of the SHA-256 of the server's certificate (DER), as a server
    with a self-signed certificate prints them; colons in between and capitals are fine. Only this very
    certificate is then trusted, whatever its name, dates and authority."""

    certificate: str | os.PathLike[str] = ""
    """A PEM file with this client's own certificate, for servers that ask for one, and those between it and
    its authority."""

    key: str | os.PathLike[str] = ""
    """A PEM file with the key to it, not encrypted. Empty: it is in the file of the certificate."""

    def __post_init__(self) -> None:
        if self.pin:
            digest_of(self.pin)
            if self.ca:
                raise ValueError("Tls: give ca or pin; a pinned certificate is trusted whoever signed it")
        if self.key and not self.certificate:
            raise ValueError("Tls: key without certificate")


class Security(NamedTuple):
    """What a connection with TLS needs."""

    context: ssl.SSLContext
    host_name: str
    """Whom the certificate must name, and whom the server is told that we want."""
    digest: bytes | None = None
    """The SHA-256 of the only certificate that is trusted. None: that is OpenSSL's to decide."""

    def objection(self, transport: asyncio.Transport) -> str:
        """Why the peer is not to be trusted, where that was left to us. Empty: it is."""
        if self.digest is None:
            return ""
        told = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        found = hashlib.sha256(told or b"").digest()
        if hmac.compare_digest(found, self.digest):
            return ""
        return (
            f"the server's certificate is sha256:{found.hex()}, pinned is sha256:{self.digest.hex()}; if the "
            "server has got a new one, pin that, else somebody stands between"
        )


def digest_of(pin: str) -> bytes:
    """The digest in a pin. Raises `ValueError`."""
    scheme, _, digits = pin.strip().partition(":")
    found = _PIN.fullmatch(f"{scheme.lower()}:{digits.replace(':', '')}")
    if found is None:
        raise ValueError(f"Tls(pin={pin!r}): a pin is sha256: and 64 hexadecimal digits")
    return bytes.fromhex(found[1])


def security_of(tls: Tls, host: str, *, http: bool = False) -> Security:
    """Makes ready for a host. Raises `ValueError` where a file cannot be used, with its name and why."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if http:
        context.set_alpn_protocols(["http/1.1"])  # else a proxy may speak HTTP/2
    digest = None
    if tls.pin:
        digest = digest_of(tls.pin)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # `Security.objection` has the last word
    elif tls.ca:
        try:
            context.load_verify_locations(os.fspath(tls.ca))
        except OSError as error:
            raise ValueError(_file("ca", tls.ca, error)) from error
    else:
        context.load_default_certs()
    if tls.certificate:
        certificate, key = os.fspath(tls.certificate), os.fspath(tls.key) if tls.key else None
        try:
            for path in (certificate, key):
                if path is not None:
                    with open(path, "rb"):  # OpenSSL does not say which of the two is missing
                        pass
            context.load_cert_chain(certificate, key, password=_no_password)
        except OSError as error:
            where = error.filename or tls.key or tls.certificate
            raise ValueError(_file("key" if where == key else "certificate", where, error)) from error
    # OpenSSL knows no zones of IPv6 addresses.
    return Security(context, host.partition("%")[0].removesuffix("."), digest)


def why_no_handshake(error: Exception, secure: str, plain: str) -> str:
    """What went wrong in a handshake, and what to do. `secure` and `plain` are the schemes of the address,
    with TLS and without."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _why_not_trusted(error)
    if isinstance(error, ssl.SSLError) and error.reason in (
        "WRONG_VERSION_NUMBER",
        "RECORD_LAYER_FAILURE",
        "HTTP_REQUEST",
        "PACKET_LENGTH_TOO_LONG",
        "UNEXPECTED_MESSAGE",
        "UNSUPPORTED_PROTOCOL",
    ):
        return (
            f"what answers there speaks no TLS, or only an old version ({_reason(error)}); use the port on "
            f"which it does, or {plain}:// if it is meant to be without"
        )
    if isinstance(error, ssl.SSLEOFError) or not isinstance(error, ssl.SSLError):
        return (
            f"the server closed the connection in the TLS handshake ({why_broken(error)}); does it speak TLS "
            f"on this port, and want no certificate of this client? One without TLS has {plain}:// addresses "
            f"instead of {secure}://"
        )
    return f"the TLS handshake failed: {why_broken(error)}"


def why_broken(error: Exception) -> str:
    """Why a connection broke."""
    if not isinstance(error, ssl.SSLError):
        if isinstance(error, OSError) and error.errno:
            return os.strerror(error.errno)
        return str(error) or "without a word"
    reason = (error.reason or "").upper()
    if "CERTIFICATE_REQUIRED" in reason:
        return (
            "the server asks for a certificate of this client; give it with tls=tagwire.Tls(certificate=...)"
        )
    if "ALERT" in reason and any(part in reason for part in ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED")):
        return f"the server does not accept the certificate of this client ({_reason(error)})"
    if "HANDSHAKE_FAILURE" in reason or "PROTOCOL_VERSION" in reason:
        return f"the server has no way of TLS in common with this client ({_reason(error)})"
    return _reason(error)


def _why_not_trusted(error: ssl.SSLCertVerificationError) -> str:
    # The codes are OpenSSL's X509_V_ERR_*, which `ssl` does not name.
    code, text = error.verify_code, error.verify_message.rstrip(".")
    if code == 10:
        return "the server's certificate has expired; the server needs a new one"
    if code == 9:
        return "the server's certificate is not valid yet; is the clock of this machine right?"
    if code in (62, 64):
        return f"the server's certificate is for another host ({text}); use a name that it has"
    if code in (2, 18, 19, 20, 21):
        return (
            f"nobody whom this client trusts has signed the server's certificate ({text}); trust it with "
            "tls=tagwire.Tls(ca='ca.pem'), or pin='sha256:...' if it is self-signed"
        )
    return f"the server's certificate is not accepted: {text}"


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()


def _file(field: str, path: str | os.PathLike[str], error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        why = "there is no such thing in it, as PEM, or it does not fit" + (
            f" ({_reason(error)})" if error.reason else ""
        )
    else:
        why = error.strerror or str(error)
    return f"Tls({field}={os.fspath(path)!r}): {why}"


def _no_password() -> NoReturn:
    raise ValueError("Tls: the key is encrypted; give one that is not, readable by this program only")

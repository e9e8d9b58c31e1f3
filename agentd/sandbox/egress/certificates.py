"""Certificates by which a sandbox takes the proxy for the hosts that its secrets are for, by the openssl program.

Each run has its own. One certificate names all hosts of a run, so its authority's key is needed for a moment only: it
is in the memory of this thread and of two programs, and gone before the agent runs.

The library `cryptography` does the same in 0.7 ms of CPU instead of 16, but takes 90 to be imported, and is 16 MB more
to install and to keep safe. It is needed once a launch with such secrets, and openssl is where there are certificates.

Source: openssl-req(1), openssl-x509(1), x509v3_config(5).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agentd.sandbox.support import SandboxError

OPENSSL: Final = "openssl"
_DAYS: Final = "820"
"""Some clients take no certificate that is valid for longer than 825 days."""
_LIMIT: Final = 10.0

_BUNDLES: Final = (
    *("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"),
    *("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem"),
)
"""Where systems keep the authorities that they trust."""
_OWN_BUNDLES: Final = ("SSL_CERT_FILE", "NIX_SSL_CERT_FILE")
_BUNDLE_VARIABLES: Final = (
    *("SSL_CERT_FILE", "NIX_SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO"),
    *(
        "NODE_EXTRA_CA_CERTS",
        "PIP_CERT",
        "AWS_CA_BUNDLE",
        "CARGO_HTTP_CAINFO",
        "DENO_CERT",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    ),
)
"""By which programs are told whom to trust."""

_REQUEST: Final = """[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign
nameConstraints = critical, {permitted}
subjectKeyIdentifier = hash
[host]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = {hosts}
"""


@dataclass(frozen=True, slots=True)
class Certificates:
    """What the proxy is a host with, and what trusts it."""

    identity: str = field(repr=False)
    """Key and certificates, in PEM."""
    authority: str
    """The certificate that is trusted, in PEM."""


def make_certificates(hosts: Sequence[str], environ: Mapping[str, str]) -> Certificates:
    """Make a run's certificates; blocks.

    Raises
    ------
    SandboxError
        If openssl is missing, or fails.
    """
    path = environ.get("PATH", os.defpath)
    program = shutil.which(OPENSSL, path=path)
    if program is None:
        raise SandboxError(
            f"secrets that the agent cannot read need {OPENSSL}, and there is none on agentd's PATH ({path}): "
            f"apt-get install {OPENSSL}"
        )
    names = sorted(set(hosts))
    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", _DAYS)
    printed = ("-keyout", "-", "-out", "-")
    permitted = ", ".join(f"permitted;DNS:{name}" for name in names)
    listed = ", ".join(f"DNS:{name}" for name in names)
    authority_config = _REQUEST.format(name="agentd sandbox", permitted=permitted, hosts=listed)
    authority = _run(
        (program, *new, "-config", "{0}", "-extensions", "authority", *printed),
        (authority_config,),
    )
    host = _run(
        (program, *new, "-config", "{0}", "-extensions", "host", "-CA", "{1}", "-CAkey", "{1}", *printed),
        (_REQUEST.format(name="agentd", permitted=permitted, hosts=listed), authority),
    )
    return Certificates(host, _certificate(authority))


def _run(argv: Sequence[str], files: Sequence[str]) -> str:
    """Run openssl with files that are in memory alone; ``{N}`` in a word stands for the path of one."""
    with contextlib.ExitStack() as stack:
        descriptors = []
        for content in files:
            descriptor = os.memfd_create("openssl", 0)
            stack.callback(os.close, descriptor)
            os.write(descriptor, content.encode())
            os.lseek(descriptor, 0, os.SEEK_SET)
            descriptors.append(descriptor)
        words = [word.format(*(f"/dev/fd/{each}" for each in descriptors)) for word in argv]
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, timeout=_LIMIT, check=False, pass_fds=descriptors,
                stdin=subprocess.DEVNULL, env={"LC_ALL": "C"},
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SandboxError(f"{argv[0]} cannot make certificates: {error}") from error
    if done.returncode != 0:
        said = "; ".join(line.strip() for line in done.stderr.splitlines() if line.strip())
        raise SandboxError(f"{argv[0]} cannot make certificates: {said[-500:]}")
    return done.stdout


def _certificate(text: str) -> str:
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----\n"
    return text[text.index(begin) : text.index(end) + len(end)]


def bundle(authority: str, environ: Mapping[str, str]) -> bytes:
    """Write what a sandbox trusts: what agentd's environment or the system does, and the run's authority; blocks."""
    own = next((environ[name] for name in _OWN_BUNDLES if environ.get(name)), None)
    systems = (*_BUNDLES, ssl.get_default_verify_paths().openssl_cafile) if own is None else (own,)
    found = next((path for path in systems if Path(path).is_file()), None)
    extra = environ.get("NODE_EXTRA_CA_CERTS")
    paths = dict.fromkeys(path for path in (found, extra) if path is not None and Path(path).is_file())
    try:
        return b"\n".join([*(Path(path).read_bytes() for path in paths), authority.encode()])
    except OSError as error:
        raise SandboxError(f"the trusted certificates {error.filename} cannot be read: {error.strerror}") from error


def trusting(path: str) -> dict[str, str]:
    """Variables that have programs trust the authorities in a file."""
    return dict.fromkeys(_BUNDLE_VARIABLES, path)

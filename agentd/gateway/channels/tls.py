"""How connections to brokers are encrypted."""

from __future__ import annotations

import ssl

from agentd.files.answering import NotAnsweringError, within
from agentd.files.regular import read_regular
from agentd.gateway.channels.link import LinkError
from agentd.model.channels import Tls

_LARGEST = 4 << 20


def context_of(tls: Tls) -> ssl.SSLContext:
    """Make what connections are encrypted by; reads the file of certificates.

    Raises
    ------
    LinkError
        If that cannot be read.
    """
    context = ssl.create_default_context(cadata=_certificates(tls))
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _certificates(tls: Tls) -> str | None:
    path = tls.ca_file
    if path is None:
        return tls.ca
    try:
        data = within(path, lambda: read_regular(path, _LARGEST))
        text = data.decode("ascii")
        ssl.create_default_context(cadata=text)
    except NotAnsweringError as error:
        raise LinkError(f"ca_file {path}: {error.strerror}") from None
    except (ssl.SSLError, UnicodeDecodeError):
        raise LinkError(f"ca_file {path}: expected certificates as PEM") from None
    except OSError as error:
        raise LinkError(f"ca_file {path}: {error.strerror}") from None
    return text

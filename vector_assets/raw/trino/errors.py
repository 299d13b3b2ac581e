"""What goes wrong between us and Trino, as our errors: what sources.yaml has wrong, what the table has, what is worth trying again.

Trino's texts may quote values (`Cannot cast 'Ada' to BIGINT`): only those of errors that speak of names alone are shown. The error's own
name and the query's id are always kept; with them the text is found in Trino.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from vector_assets.catalogs import TrinoCatalog
from vector_assets.errors import ConfigurationError, PermanentError, SourceError, SourceUnavailable

if TYPE_CHECKING:
    import requests

SHOWN_CHARACTERS = 300

_ABOUT_NAMES = {
    "CATALOG_NOT_FOUND",
    "COLUMN_NOT_FOUND",
    "FUNCTION_NOT_FOUND",
    "INVALID_SESSION_PROPERTY",  # as far as _SESSION_PROPERTY
    "INVALID_VIEW",
    "PERMISSION_DENIED",
    "ROLE_NOT_FOUND",
    "SCHEMA_NOT_FOUND",
    "TABLE_NOT_FOUND",
    "VIEW_IS_STALE",
}
_SESSION_PROPERTY = re.compile(r"Session property '[^']*'( does not exist)?")  # what may follow is the value
_SETTINGS = {"CATALOG_NOT_FOUND": "catalog, roles and session", "INVALID_SESSION_PROPERTY": "session", "ROLE_NOT_FOUND": "roles"}
_STOPPED = {"ABANDONED_QUERY", "ADMINISTRATIVELY_KILLED", "ADMINISTRATIVELY_PREEMPTED", "TRANSACTION_CONFLICT", "USER_CANCELED"}
"""User errors by type, and yet none of ours: somebody or something ended the query."""

_SAME_LIMITS = {"EXCEEDED_SCAN_LIMIT", "QUERY_TEXT_TOO_LARGE"}
"""Limits that the same query meets each time, however little else runs."""

_NOT_OVER_HTTP = 403
_HOSTNAME_MISMATCH = {62, 64}  # OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH
_EXPIRED = {9, 10}
_TLS_ALERT = "\\x15\\x03"  # how an alert record begins, as BadStatusLine shows it: a TLS port that got plain HTTP


class Address(NamedTuple):
    """Where a catalog's Trino is, for messages: its name in sources.yaml, its host and port."""

    catalog: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"Trino at {self.host}:{self.port} (catalog {self.catalog!r})"

    def setting(self, names: str) -> str:
        """A setting of this catalog, or several ("host and port"), as a person finds them."""
        return f"{names} of catalogs.{self.catalog} in sources.yaml" if " " in names else f"catalogs.{self.catalog}.{names} in sources.yaml"


class QueryError(NamedTuple):
    """What Trino says of a query that failed."""

    name: str
    kind: str
    text: str
    query_id: str

    @classmethod
    def of(cls, error: Mapping[str, object], query_id: str) -> QueryError:
        """From the `error` of a page."""
        return cls(str(error.get("errorName", "UNKNOWN")), str(error.get("errorType", "")), str(error.get("message", "")), query_id)

    @property
    def shown(self) -> str:
        """Name and query id, and the text where it cannot hold values; one line."""
        text = " ".join(self.text.split())[:SHOWN_CHARACTERS] if self.name in _ABOUT_NAMES else ""
        if self.name == "INVALID_SESSION_PROPERTY":
            property_named = _SESSION_PROPERTY.match(text)
            text = property_named[0] if property_named else ""
        return f"{self.name}{f' ({text})' if text else ''}, query {self.query_id}"


def failed(error: QueryError, about: str, address: Address) -> PermanentError | SourceUnavailable:
    """A query that ended with an error. `about` is what was read, for the message."""
    if error.name in _SETTINGS:
        return ConfigurationError(f"{address} refuses: {error.shown}; check {address.setting(_SETTINGS[error.name])}")
    if error.kind == "USER_ERROR" and error.name not in _STOPPED:
        hidden = "" if error.name in _ABOUT_NAMES else "; its text may hold values and is left out: look the query up in Trino"
        return SourceError(f"{about} cannot be read: {error.shown}{hidden}")
    limit = f"raise the limit ({address.setting('session')}, or Trino's own)"
    if error.name in _SAME_LIMITS:
        return SourceError(f"{about} cannot be read: {error.shown}; {limit}")
    more = f", or {limit}" if error.name.startswith("EXCEEDED_") else ""
    return SourceUnavailable(f"reading {about} broke off: {error.shown}; nothing of it is kept: run again{more}")


def refused(response: requests.Response, address: Address, spec: TrinoCatalog) -> ConfigurationError | SourceUnavailable:
    """An answer to a new statement that is neither a page nor worth repeating."""
    status = response.status_code
    if status == 401:
        return ConfigurationError(f"{address} does not let user {spec.user!r} in: {_credential(address, spec)}")
    if status == _NOT_OVER_HTTP:
        return ConfigurationError(f"{address} forbids this (HTTP 403): check {address.setting('user')}, and tls where it wants TLS")
    first = response.text.partition("\n")[0]
    if "AccessDeniedException" in first:  # an unknown or forbidden system role: HTTP 500 and a Java stack
        said = first.partition(": ")[2][:SHOWN_CHARACTERS]
        return ConfigurationError(f"{address} refuses: {said}; check {address.setting('roles')}")
    if status == 400:
        return ConfigurationError(
            f"{address} does not take the request (HTTP 400): check {address.setting('port')}, tls, roles, session and client_tags"
        )
    if status >= 500:
        return SourceUnavailable(f"{address} answers with HTTP {status}; nothing was read: run again")
    return no_trino(address, f"HTTP {status}")


def no_trino(address: Address, answer: str) -> ConfigurationError:
    """Something answers, and it speaks another protocol."""
    return ConfigurationError(
        f"what answers at {address.host}:{address.port} is no Trino coordinator ({answer}): check {address.setting('host and port')}"
    )


def _credential(address: Address, spec: TrinoCatalog) -> str:
    for name in ("password", "password_file"):
        if getattr(spec, name) is not None:
            return f"the password is wrong for that user, check {address.setting(name)}"
    for name in ("jwt", "jwt_file"):
        if getattr(spec, name) is not None:
            return f"the token is not valid for that user or has expired, check {address.setting(name)}"
    return f"it wants to know who it is, set {address.setting('password, password_file, jwt or jwt_file')}"


def unreachable(error: Exception, address: Address, spec: TrinoCatalog) -> ConfigurationError | None:
    """What sources.yaml has wrong where no answer came; None where it may be an outage."""
    for cause in causes_of(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ConfigurationError(f"the certificate of {address} {_certificate(cause, address, spec)}")
        if isinstance(cause, ssl.SSLError) and cause.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
            return ConfigurationError(
                f"{address} does not speak TLS on that port: check {address.setting('port')}, or set tls: false "
                "where there is neither password nor token"
            )
        if isinstance(cause, ssl.SSLError) and cause.reason == "NO_CERTIFICATE_OR_CRL_FOUND":
            return ConfigurationError(f"{spec.ca} holds no certificate: check {address.setting('ca')}")
        if isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN:
            return ConfigurationError(f"there is no host {address.host!r}: check {address.setting('host')}")
        if type(cause).__name__ == "BadStatusLine":
            if _TLS_ALERT in repr(cause):
                return ConfigurationError(f"{address} speaks TLS on that port: {address.setting('tls')} must be true")
            return no_trino(address, "no HTTP")
    return None


def _certificate(cause: ssl.SSLCertVerificationError, address: Address, spec: TrinoCatalog) -> str:
    if cause.verify_code in _HOSTNAME_MISMATCH:
        return f"is for another host: {address.setting('host')} must be a name that it holds"
    if cause.verify_code in _EXPIRED:
        return "has expired or is not valid yet: it has to be renewed (or a clock is wrong)"
    if spec.ca is None:
        return f"is signed by nobody this machine knows: name the file that signs it, {address.setting('ca')}"
    return f"is not signed by {spec.ca}: check {address.setting('ca')}"


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """The error and what is below it: requests and urllib3 hide it in `args`, `reason` or the cause."""
    seen: list[BaseException] = []
    todo: list[object] = [error]
    while todo:
        each = todo.pop()
        if isinstance(each, BaseException) and each not in seen:
            seen.append(each)
            yield each
            todo += [*each.args, getattr(each, "reason", None), each.__cause__, each.__context__]

"""Trino's client protocol: one SQL statement in, blocks of rows out, as JSON had them; types are the business of `types.py`.

The `trino` package makes headers and knows the protocol's names. Pages are followed here, because its row mapper touches each value
(60 k rows/s of nine columns; a block that goes to Arrow column by column: 400 k), and because a read must say when it broke off.

What is sent again: every request that is answered by 429, 502, 503 or 504, or that a broken connection leaves without an answer, with
growing pauses for up to `timeout_seconds`. Trino keeps the last page until the next one is asked for, so a page may be asked for twice.
A statement may be, too: Trino does not begin it before its first page is asked for, and forgets one that nobody asks about. Any other
answer means that the query failed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from vector_assets.catalogs import TrinoCatalog
from vector_assets.errors import ConfigurationError, PermanentError, SourceUnavailable
from vector_assets.raw.trino.errors import Address, causes_of, no_trino, refused, unreachable
from vector_assets.raw.trino.pages import Statement
from vector_assets.raw.trino.rows import Block

if TYPE_CHECKING:
    import requests
    from pydantic import SecretStr

_log = logging.getLogger(__name__)

SOURCE = "vector_assets"
ENCODING = "json+zstd"
CONNECT_SECONDS = 10.0
FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 5.0

_AGAIN = frozenset({429, 502, 503, 504})
_GONE = frozenset({404, 410})


class TrinoClient:
    """Statements on one cluster, for one catalog of sources.yaml. Thread-safe.

    Credentials are read when a request is sent, so that a token file may be renewed while a query runs; they go to the coordinator's own
    addresses only.
    """

    def __init__(
        self,
        catalog: str,
        spec: TrinoCatalog,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address = Address(catalog, spec.host, spec.port)
        self.spec = spec
        self._sleep, self._clock = sleep, clock
        self._lock = threading.Lock()
        self._sessions: dict[bool, requests.Session] = {}

    def close(self) -> None:
        """Close the connections; the next statement opens new ones."""
        with self._lock:
            while self._sessions:
                self._sessions.popitem()[1].close()

    def ask(self, sql: str, about: str) -> Block:
        """All rows of a small answer. `about` is what is asked for, for messages; see `Statement` for what is raised."""
        rows = self.ask_or_none(sql, about, none_for=())
        assert rows is not None
        return rows

    def ask_or_none(self, sql: str, about: str, *, none_for: Collection[str], session: Mapping[str, str] | None = None) -> Block | None:
        """All rows of a small answer; None where Trino refuses with one of these error names."""
        with self.statement(sql, about, session=session) as statement:
            try:
                return [row for block in statement for row in block]
            except PermanentError:
                name = statement.error.name if statement.error is not None else ""
                if name in none_for:
                    return None
                if name == "CATALOG_NOT_FOUND":
                    self._require_catalog()
                raise

    def _require_catalog(self) -> None:
        found = self.ask_or_none("SHOW CATALOGS", "the catalogs", none_for={"CATALOG_NOT_FOUND"})
        if found is None:  # it is one that roles or session properties name
            return
        names = sorted(str(name) for (name,) in found)
        if self.spec.catalog not in names:
            raise ConfigurationError(
                f"{self.address} has no catalog {self.spec.catalog!r} for user {self.spec.user!r} (it has: {', '.join(names)}): "
                f"check {self.address.setting('catalog')}"
            ) from None

    def statement(
        self, sql: str, about: str, *, spooling: bool = False, info: str = "", session: Mapping[str, str] | None = None
    ) -> Statement:
        """A statement that begins with its first block. `info` is shown beside the query in Trino; it must be ASCII."""
        headers = dict(self._headers(session or {}))
        if spooling and self.spec.spooling:
            headers["X-Trino-Query-Data-Encoding"] = ENCODING
        if info:
            headers["X-Trino-Client-Info"] = info
        if not all(value.isascii() and value.isprintable() for value in headers.values()):
            raise ConfigurationError(
                f"user, roles, session or client_tags of catalogs.{self.address.catalog} hold characters that HTTP headers cannot: "
                "only ASCII can be sent"
            )
        return Statement(self, sql, about, headers=headers)

    # --- requests, for `Statement` ---

    def begin(self, sql: str, headers: Mapping[str, str], stopped: threading.Event) -> bytes:
        """Send a statement; the body of its first page."""
        url = f"{self._base}/v1/statement"
        response = self.send("POST", url, stopped, headers=headers, body=sql.encode())
        if response.status_code != 200:
            raise refused(response, self.address, self.spec)
        if not _is_page(response.content):
            raise no_trino(self.address, "HTTP 200, and no page of a query")
        return response.content

    def page(self, url: str, stopped: threading.Event) -> bytes:
        """The body of a following page."""
        if self.spec.encrypted and not url.startswith("https://"):
            raise ConfigurationError(
                f"{self.address} sends us on to an address without TLS, where the credentials would travel in the clear: "
                "set http-server.process-forwarded=true in Trino, or have the proxy before it pass TLS through"
            )
        response = self.send("GET", url, stopped)
        if response.status_code == 401:
            raise refused(response, self.address, self.spec)
        if response.status_code != 200:
            gone = " (it does not know the query any more)" if response.status_code in _GONE else ""
            raise SourceUnavailable(f"{self.address} answers with HTTP {response.status_code}{gone} while a query runs: run again")
        return response.content

    def segment(self, url: str, headers: Mapping[str, str], stopped: threading.Event) -> bytes:
        """A spooled segment, from wherever it lies; without our credentials, which are none of the store's business."""
        response = self.send("GET", url, stopped, headers=headers, ours=False)
        if response.status_code != 200:
            raise SourceUnavailable(
                f"a part of the result of {self.address} is not in its spooling store any more (HTTP {response.status_code}): run again"
            )
        return response.content

    def cancel(self, url: str) -> None:
        """End a query, in one attempt; where that fails, Trino ends it itself once nobody has asked for five minutes."""
        import requests

        try:
            self._session(ours=True).request("DELETE", url, timeout=CONNECT_SECONDS, verify=self._verify)
        except (requests.RequestException, ConfigurationError) as error:
            _log.warning("a query of %s could not be cancelled (%s); Trino abandons it by itself", self.address, type(error).__name__)

    def send(
        self,
        method: str,
        url: str,
        stopped: threading.Event,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        ours: bool = True,
    ) -> requests.Response:
        """One request, sent again where that is harmless. Raises ConfigurationError where no answer can ever come, SourceUnavailable where
        none came in time or `stopped` was set."""
        import requests

        deadline, wait = 0.0, FIRST_WAIT_SECONDS
        while not stopped.is_set():
            try:
                response = self._session(ours).request(
                    method,
                    url,
                    data=body,
                    headers=headers,
                    timeout=(CONNECT_SECONDS, self.spec.timeout_seconds),
                    verify=self._verify,  # here and not in the session, where REQUESTS_CA_BUNDLE would win
                )
                if response.status_code not in _AGAIN and (response.status_code != 200 or response.content or not ours):
                    return response
                problem, pause = f"answers with HTTP {response.status_code}", _asked_pause(response)
            except requests.RequestException as error:
                if isinstance(error, ValueError):  # a host or header that HTTP cannot hold
                    raise ConfigurationError(f"no request to {self.address} can be made: check {self.address.setting('host')}") from None
                mistake = unreachable(error, self.address, self.spec)
                if mistake is not None:
                    raise (mistake if ours else self._gave_up("has no host that is known here, or no certificate", ours=False)) from None
                problem, pause = _no_answer(error), 0.0
            deadline = deadline or self._clock() + self.spec.timeout_seconds
            remaining = deadline - self._clock()
            if remaining <= 0:
                raise self._gave_up(problem, ours=ours) from None
            self._sleep(min(max(wait, pause), remaining))
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)
        raise SourceUnavailable(f"a query of {self.address} was closed while it was read")

    def _gave_up(self, problem: str, *, ours: bool) -> SourceUnavailable:
        if not ours:
            return SourceUnavailable(
                f"the spooling store of {self.address} {problem}; nothing of the result is kept: run again, or set "
                f"{self.address.setting('spooling')} to false where it cannot be reached from here"
            )
        return SourceUnavailable(
            f"{self.address} {problem}; gave up after {self.spec.timeout_seconds:g} s: run again once it is back, "
            f"or check {self.address.setting('host and port')}"
        )

    # --- sessions ---

    @property
    def _base(self) -> str:
        host = f"[{self.spec.host}]" if ":" in self.spec.host else self.spec.host
        return f"{'https' if self.spec.encrypted else 'http'}://{host}:{self.spec.port}"

    @property
    def _verify(self) -> str | bool:
        if self.spec.ca is None:
            return True
        if not self.spec.ca.is_file():
            raise ConfigurationError(f"there is no file {self.spec.ca}: check {self.address.setting('ca')}")
        return str(self.spec.ca)

    def _session(self, ours: bool) -> requests.Session:
        import requests

        with self._lock:
            if ours not in self._sessions:
                session = requests.Session()
                # Compressing pages costs Trino more than it saves: 150 k rows/s with gzip, 310 k without (localhost).
                session.headers["Accept-Encoding"] = "identity"
                session.auth = self._sign if ours else _unsigned
                self._sessions[ours] = session
            return self._sessions[ours]

    def _headers(self, session: Mapping[str, str]) -> Mapping[str, str]:
        """What every statement says of itself: user, source, tags, roles, session, UTC."""
        from trino.client import ClientSession, TrinoRequest

        spec = self.spec
        properties = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in spec.session.items()}
        client = ClientSession(
            user=spec.user,
            source=SOURCE,
            client_tags=[SOURCE, *spec.client_tags],
            roles=dict(spec.roles) or None,
            properties={**session, **properties},
            timezone="UTC",
        )
        made = TrinoRequest(spec.host, spec.port, client, http_scheme="https" if spec.encrypted else "http")
        return {name: value for name, value in made.http_headers.items() if value}

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        from requests.auth import HTTPBasicAuth

        spec = self.spec
        if (token := self._secret("jwt")) is not None:
            request.headers["Authorization"] = f"Bearer {token}"
        elif (password := self._secret("password")) is not None:
            try:
                HTTPBasicAuth(spec.user, password)(request)
            except UnicodeEncodeError:
                raise ConfigurationError(
                    f"user or password of catalogs.{self.address.catalog} holds characters beyond Latin-1, which HTTP cannot carry"
                ) from None
        return request

    def _secret(self, name: str) -> str | None:
        given: SecretStr | None = getattr(self.spec, name)
        file: Path | None = getattr(self.spec, f"{name}_file")
        if file is not None:
            return self._read(file, self.address.setting(f"{name}_file"))
        if given is None:
            return None
        if not given.get_secret_value():
            raise ConfigurationError(f"{self.address.setting(name)} is empty")
        return given.get_secret_value()

    def _read(self, file: Path, setting: str) -> str:
        try:
            secret = file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{file} cannot be read ({type(error).__name__}): check {setting}") from None
        if not secret or "\n" in secret:
            raise ConfigurationError(f"{file} {'holds more than one line' if secret else 'is empty'}: check {setting}")
        return secret


def _unsigned(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """No credentials, and none of a .netrc either, which requests would add by itself."""
    return request


def _asked_pause(response: requests.Response) -> float:
    """Seconds that the server asks for; 0 where it asks for none, or for a date."""
    asked = response.headers.get("Retry-After", "")
    return float(asked) if asked.isdigit() else 0.0


def _no_answer(error: Exception) -> str:
    import requests

    if isinstance(error, requests.Timeout):
        return "does not answer in time"
    causes = [type(cause).__name__ for cause in causes_of(error)]
    if "ConnectionRefusedError" in causes:
        return "refuses connections: nothing listens there"
    return "gives no whole answer (the connection broke)"


def _is_page(body: bytes) -> bool:
    try:
        page = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(page, dict) and "id" in page and "stats" in page

"""Where a Weaviate is, and how one gets in: addresses, key, TLS, versions, and what is checked before anything is read or written.

The client's own checks at start ask PyPI for newer versions and say nothing of settings, so they are skipped: one unauthenticated request
(is anybody let in?), one with the key (which version?) and a gRPC health check take 10 ms and name the variable that is wrong. REST goes
through the client. Objects are sent on a gRPC channel of our own: see `write.py`.
"""

from __future__ import annotations

import contextlib
import re
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import SecretStr

from vector_assets.errors import ConfigurationError, IndexUnavailable
from vector_assets.settings import Settings

if TYPE_CHECKING:
    import grpc  # type: ignore[import-untyped]
    import httpx
    from weaviate import WeaviateClient

OLDEST = (1, 32, 5)  # aliases came with 1.32.0; those of earlier patches lost updates
ASCII_FOLDING_SINCE = (1, 37, 0)
_GRPC_PORT = 50051
_CLOUD = (".weaviate.cloud", ".weaviate.network")
_PROBE = "Vector_assets_probe"  # a collection that nobody has: asking for it is cheap, and tells 401 from 404
_HEALTH_SECONDS = 10.0
_AWAKE_SECONDS = 3.0
_LOOK_SECONDS = 0.1
_DEFAULT_MESSAGE_BYTES = 104_858_000
_HEALTHY = b"\x08\x01"  # grpc.health.v1: status = SERVING


class Endpoint(NamedTuple):
    """One address, parsed."""

    host: str
    port: int
    secure: bool

    @property
    def url(self) -> str:
        """As text, without what a person may have put before the host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}"


@dataclass(frozen=True)
class Server:
    """A Weaviate as settings describe it. `batches`: requests with objects that are under way at one time; `patience_seconds`: how long
    one that did not get through is sent again (15 s: a restart of a small server)."""

    rest: Endpoint
    grpc: Endpoint
    api_key: SecretStr | None
    allow_anonymous: bool = False
    timeout_seconds: float = 60
    consistency: Literal["ONE", "QUORUM", "ALL"] = "QUORUM"
    batches: int = 4
    patience_seconds: float = 15


def server_of(settings: Settings) -> Server:
    """The Weaviate of `WEAVIATE_URL`. Raises ConfigurationError for a URL that cannot be meant, or a key that cannot be read."""
    rest = parse_endpoint("WEAVIATE_URL", settings.weaviate_url or "")
    given = settings.weaviate_grpc_url
    grpc = parse_endpoint("WEAVIATE_GRPC_URL", given) if given else default_grpc(rest)
    if (rest.host, rest.port) == (grpc.host, grpc.port):
        raise ConfigurationError(f"WEAVIATE_GRPC_URL and WEAVIATE_URL are both {rest.host}:{rest.port}: gRPC has a port or host of its own")
    return Server(
        rest=rest,
        grpc=grpc,
        api_key=_api_key(settings),
        allow_anonymous=settings.weaviate_allow_anonymous,
        timeout_seconds=settings.weaviate_timeout_seconds,
        consistency=settings.weaviate_consistency,
        batches=settings.weaviate_batches,
    )


def parse_endpoint(setting: str, url: str) -> Endpoint:
    """The address that a setting names. Raises ConfigurationError, which does not quote the URL: it may hold a password."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise ConfigurationError(f"{setting} is not a URL: write https://host:port") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"{setting} is not a URL: write http://host:port or https://host:port")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(f"{setting} holds a user or password: set WEAVIATE_API_KEY or WEAVIATE_API_KEY_FILE")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigurationError(f"{setting} has something behind the port: Weaviate's client takes host and port only")
    secure = parts.scheme == "https"
    if port is None:
        port = 443 if secure else _GRPC_PORT if setting == "WEAVIATE_GRPC_URL" else 80
    return Endpoint(parts.hostname, port, secure)


def default_grpc(rest: Endpoint) -> Endpoint:
    """Where gRPC is when nobody says: port 50051 of the same host, and where Weaviate Cloud has it."""
    if rest.host.endswith(_CLOUD):
        name, domain = rest.host.split(".", 1)
        return Endpoint(f"{name}.grpc.{domain}" if domain.endswith("weaviate.network") else f"grpc-{rest.host}", 443, secure=True)
    return rest._replace(port=_GRPC_PORT)


def _api_key(settings: Settings) -> SecretStr | None:
    key, path = settings.weaviate_api_key, settings.weaviate_api_key_file
    if key is not None and path is not None:
        raise ConfigurationError("WEAVIATE_API_KEY and WEAVIATE_API_KEY_FILE are both set: keep one of them")
    if path is not None:
        key = _read_key(path)
    text = key.get_secret_value().strip() if key is not None else ""
    if not text and path is not None:
        raise ConfigurationError(f"WEAVIATE_API_KEY_FILE: {path} is empty")
    if not text:
        if settings.weaviate_allow_anonymous:
            return None
        raise ConfigurationError("WEAVIATE_API_KEY is not set (or WEAVIATE_API_KEY_FILE); WEAVIATE_ALLOW_ANONYMOUS=1 does without a key")
    if not (text.isascii() and text.isprintable()):
        place = "WEAVIATE_API_KEY" if path is None else f"WEAVIATE_API_KEY_FILE: {path}"
        raise ConfigurationError(f"{place} holds what no HTTP header takes: copy the key again, as one line")
    return SecretStr(text)


def _read_key(path: Path) -> SecretStr:
    try:
        return SecretStr(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigurationError(f"WEAVIATE_API_KEY_FILE: {path} cannot be read ({reason})") from None


# --- connecting ------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Connection:
    """An open way to a server. `version`: of the server; `message_bytes`: the largest gRPC message that it takes."""

    client: WeaviateClient
    channel: grpc.Channel
    version: tuple[int, ...]
    message_bytes: int

    def close(self) -> None:
        """Close REST and gRPC."""
        self.channel.close()
        self.client.close()


def connect(server: Server) -> Connection:
    """Check the server and open it.

    Raises ConfigurationError for what a person has to change (key, TLS, an open server, an old one), IndexUnavailable where nobody answers.
    """
    about = _meta(server)
    version = tuple(int(number) for number in re.findall(r"\d+", str(about.get("version", "")))[:3])
    if not version:
        raise ConfigurationError(f"WEAVIATE_URL: {server.rest.url} does not answer like a Weaviate")
    if version < OLDEST:
        raise ConfigurationError(
            f"WEAVIATE_URL: {server.rest.url} is Weaviate {'.'.join(map(str, version))}; {'.'.join(map(str, OLDEST))} or newer is needed"
        )
    said = about.get("grpcMaxMessageSize")
    message_bytes = said if isinstance(said, int) else _DEFAULT_MESSAGE_BYTES
    channel = _channel(server, message_bytes)
    try:
        _check_health(server, channel)
        client = _client(server)
    except BaseException:
        channel.close()
        raise
    return Connection(client, channel, version, message_bytes)


def _client(server: Server) -> WeaviateClient:
    import weaviate
    from weaviate.classes.init import AdditionalConfig, Auth, Timeout
    from weaviate.config import GrpcConfig
    from weaviate.connect import ConnectionParams

    client = weaviate.WeaviateClient(
        ConnectionParams.from_params(*server.rest, *server.grpc),
        auth_client_secret=Auth.api_key(server.api_key.get_secret_value()) if server.api_key else None,
        additional_config=AdditionalConfig(
            timeout=Timeout(init=server.timeout_seconds, query=server.timeout_seconds, insert=server.timeout_seconds),
            trust_env=True,  # SSL_CERT_FILE and proxies, as everywhere else
            grpc_config=GrpcConfig(channel_options=_RECONNECT, credentials=_credentials(server)),
        ),
        skip_init_checks=True,
    )
    try:
        client.connect()
    except BaseException:
        client.close()
        raise
    return client


# --- REST ------------------------------------------------------------------------------------------------------------------------------


def _meta(server: Server) -> dict[str, object]:
    """What the server says of itself, after it proved that it does not let anybody in."""
    import httpx

    try:
        with httpx.Client(base_url=server.rest.url, timeout=server.timeout_seconds, trust_env=True) as http:
            if not server.allow_anonymous:
                _refuse_open_door(server, http.get(f"/v1/schema/{_PROBE}"))
            headers = {"Authorization": f"Bearer {server.api_key.get_secret_value()}"} if server.api_key else {}
            answer = http.get("/v1/meta", headers=headers)
    except httpx.TransportError as error:
        raise _unreachable(server, error) from None
    if answer.status_code in (401, 403):
        raise ConfigurationError(
            f"WEAVIATE_API_KEY: {server.rest.url} does not take this key"
            if server.api_key
            else f"WEAVIATE_API_KEY is not set, and {server.rest.url} asks for one"
        )
    _refuse_status(server, answer)
    try:
        about = answer.json()
    except ValueError:
        about = None
    return about if isinstance(about, dict) else {}


def _refuse_open_door(server: Server, answer: httpx.Response) -> None:
    if answer.status_code in (401, 403):
        return
    _refuse_status(server, answer, fine=(200, 404))
    if "json" not in answer.headers.get("content-type", "json"):  # a 404 page of some other server
        raise ConfigurationError(f"WEAVIATE_URL: {server.rest.url} does not answer like a Weaviate")
    raise ConfigurationError(
        f"WEAVIATE_URL: {server.rest.url} lets anybody in without a key: turn anonymous access off there "
        "(AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED=false), or accept it with WEAVIATE_ALLOW_ANONYMOUS=1"
    )


def _refuse_status(server: Server, answer: httpx.Response, fine: tuple[int, ...] = (200,)) -> None:
    status = answer.status_code
    if status in fine:
        return
    if status == 400 and "https" in answer.text.lower():  # what Go and nginx answer to plain HTTP on a TLS port
        raise ConfigurationError(f"WEAVIATE_URL: {server.rest.url} speaks TLS: write https://")
    if 300 <= status < 400:
        raise ConfigurationError(f"WEAVIATE_URL: {server.rest.url} redirects to somewhere else: write https://, or the address it leads to")
    if status >= 500 or status in (408, 429):
        raise IndexUnavailable(f"WEAVIATE_URL: {server.rest.url} answered {status}")
    raise ConfigurationError(f"WEAVIATE_URL: {server.rest.url} does not answer like a Weaviate (status {status})")


def _unreachable(server: Server, error: Exception) -> ConfigurationError | IndexUnavailable:
    url = server.rest.url
    chain: list[BaseException] = [error]  # with what is suppressed: httpcore raises its ConnectError from None, the SSL error behind it
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    if any(isinstance(each, ssl.SSLCertVerificationError) for each in chain):
        return ConfigurationError(
            f"WEAVIATE_URL: the certificate of {url} is not trusted, or is for another host: set SSL_CERT_FILE to the file of its authority"
        )
    if any(isinstance(each, ssl.SSLError) for each in chain):
        return ConfigurationError(f"WEAVIATE_URL: {url} does not speak TLS as asked: write http:// if it is a plain port")
    import httpx

    if isinstance(error, httpx.TimeoutException):
        return IndexUnavailable(f"WEAVIATE_URL: {url} did not answer within {server.timeout_seconds:g} s (WEAVIATE_TIMEOUT_SECONDS)")
    if isinstance(error, httpx.ConnectError):
        return IndexUnavailable(f"WEAVIATE_URL: nobody answers at {url}: is Weaviate running, are host and port right?")
    return IndexUnavailable(f"WEAVIATE_URL: {url} broke off the connection; if it is a TLS port, write https://")


# --- gRPC ------------------------------------------------------------------------------------------------------------------------------

# A channel whose server went away tries again after 1 s, then less and less often, up to two minutes: longer than our retries last.
_RECONNECT: list[tuple[str, int]] = [("grpc.initial_reconnect_backoff_ms", 250), ("grpc.max_reconnect_backoff_ms", 2000)]


def metadata(server: Server) -> tuple[tuple[str, str], ...]:
    """What authenticates a gRPC call."""
    return (("authorization", f"Bearer {server.api_key.get_secret_value()}"),) if server.api_key else ()


def _credentials(server: Server) -> grpc.ChannelCredentials | None:
    import grpc

    if not server.grpc.secure:
        return None
    # gRPC does not know SSL_CERT_FILE; Python does. None: the roots that gRPC brings.
    trusted = ssl.get_default_verify_paths().cafile
    return grpc.ssl_channel_credentials(Path(trusted).read_bytes() if trusted else None)


def _channel(server: Server, message_bytes: int) -> grpc.Channel:
    import grpc

    host = f"[{server.grpc.host}]" if ":" in server.grpc.host else server.grpc.host
    target = f"{host}:{server.grpc.port}"
    options = [*_RECONNECT, ("grpc.max_send_message_length", message_bytes), ("grpc.max_receive_message_length", message_bytes)]
    credentials = _credentials(server)
    if credentials is not None:
        return grpc.secure_channel(target, credentials, options)
    return grpc.insecure_channel(target, options)


def _check_health(server: Server, channel: grpc.Channel) -> None:
    """Whether Weaviate's gRPC is there. Without this, the client's first search would retry for a minute and then not say why."""
    import grpc

    url = server.grpc.url
    try:
        answer = _health(server, channel, min(_HEALTH_SECONDS, server.timeout_seconds))
    except grpc.RpcError as error:
        said = str(getattr(error, "details", str)() or "")
        if "CERTIFICATE_VERIFY_FAILED" in said or "Peer name" in said:
            raise ConfigurationError(
                f"WEAVIATE_GRPC_URL: the certificate of {url} is not trusted, or is for another host: set SSL_CERT_FILE to the file of its "
                "authority"
            ) from None
        if "handshake" in said.lower() or "WRONG_VERSION_NUMBER" in said:
            raise ConfigurationError(f"WEAVIATE_GRPC_URL: {url} does not speak TLS as asked: write http:// if it is a plain port") from None
        raise IndexUnavailable(
            f"WEAVIATE_GRPC_URL: no gRPC at {url} ({_code(error)}): is the port right and open"
            f"{', does it speak TLS as asked' if server.grpc.secure else ', does it expect TLS (https://)'}?"
        ) from None
    if answer != _HEALTHY:
        raise IndexUnavailable(f"WEAVIATE_GRPC_URL: {url} is not ready")


def is_awake(server: Server, channel: grpc.Channel) -> bool:
    """Whether gRPC answers on this channel just now."""
    import grpc

    try:
        _health(server, channel, min(_AWAKE_SECONDS, server.timeout_seconds))
    except grpc.RpcError:
        return False
    return True


def pause(server: Server, channel: grpc.Channel, seconds: float) -> None:
    """Wait, and let channels whose server is back find it. Python's gRPC looks at them while a call waits for one, else every 5 s only:
    after an outage of 8 s they were dead for 20 s more, longer than our retries last; so it is 0.6 s."""
    import grpc

    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        with contextlib.suppress(grpc.RpcError):
            _health(server, channel, left, wait=True)
        time.sleep(max(0.0, min(_LOOK_SECONDS, end - time.monotonic())))


def _health(server: Server, channel: grpc.Channel, seconds: float, *, wait: bool = False) -> object:
    """What the server says of itself. `wait`: also for the channel to be connected. Raises grpc.RpcError."""
    ask = channel.unary_unary("/grpc.health.v1.Health/Check")
    return ask(b"", timeout=seconds, metadata=metadata(server), wait_for_ready=wait)


def _code(error: grpc.RpcError) -> str:
    code = getattr(error, "code", None)
    return str(code().name) if code is not None else "no status"

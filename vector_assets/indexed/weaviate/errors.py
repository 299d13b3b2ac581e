"""What an error of Weaviate means: wait, change something, or refuse one object. The only place that reads the texts of its errors.

They may quote an object (`invalid date property 'at': … "the value"`), so no text of an answer about objects reaches a message of ours:
it is looked at, and said again in our words. Texts about schemas and aliases hold names and settings only, and are passed on.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

from vector_assets.errors import ConfigurationError, IndexConflict, IndexUnavailable, VectorAssetsError

if TYPE_CHECKING:
    import grpc  # type: ignore[import-untyped]

Kind = Literal["object", "passing", "stopped", "gone", "changed", "access", "unknown"]


class Failure(NamedTuple):
    """What went wrong, in our words. `object`: this object cannot be stored; `passing`: soon it may work; `stopped`: not soon;
    `gone`: the collection is not there; `changed`: it is another than it was; `access`: the key is wrong or may not."""

    kind: Kind
    words: str


# The first that matches counts. What may quote a value comes first and is matched from its start, so that no value decides.
_TEXTS: tuple[tuple[str, Kind, str], ...] = (
    (r"^invalid [\w\[\] ]+ property '", "object", "Weaviate does not take the value of a property"),
    (r"^property '[^']*'( on class '[^']*')?: At least one nested", "gone", "it is not there any more"),
    (r"extract auth|unauthorized|forbidden|unauthenticated", "access", "the key is wrong, or may not do this"),
    (r"not present in schema|could not find class|cannot find index|class is nil|non-existing index|class not found", "gone", "it is gone"),
    (r"vector dimensions do not match|vector lengths don't match|vector with length", "changed", "it holds vectors of another length"),
    (r"does not have configuration for vector|no such prop", "changed", "somebody changed its properties or its vectors"),
    (r"larger than max|message too large|request too large", "object", "it is too large for Weaviate"),
    (r"read-?only|read only|no space left|disk", "stopped", "it is read-only (a full disk, or somebody set it so)"),
    (r"memory", "passing", "it is short of memory"),
    (r"enough replicas|broadcast|consistency level", "passing", "too few replicas answered"),
    (r"deadline|timed? ?out|timeout|canceled", "passing", "it did not answer in time"),
    (r"socket closed|broken pipe", "passing", "the connection broke off"),
    (r"shut(ting)? ?down|closed|maintenance|starting up|catch up|leader", "passing", "it is starting, stopping or catching up"),
    (r"connection|connect|unavailable|reset by peer|\beof\b", "passing", "the connection broke off"),
    (r"rate limit|too many requests", "passing", "it is asked too much"),
)
_PATTERNS = [(re.compile(pattern, re.IGNORECASE), Failure(kind, words)) for pattern, kind, words in _TEXTS]
_PERMISSION = re.compile(r"insufficient permissions to ((?:create|read|update|delete)_(?:collections|data|aliases|nodes))\b")
UNKNOWN = Failure("unknown", "Weaviate refused it")


def failure_of(text: str) -> Failure:
    """What the text of an error says."""
    found = next((failure for pattern, failure in _PATTERNS if pattern.search(text)), UNKNOWN)
    return _access(text) if found.kind == "access" else found


def rpc_failure(error: grpc.RpcError) -> Failure:
    """What a gRPC call that failed says."""
    import grpc

    code, details = getattr(error, "code", None), getattr(error, "details", None)
    status = code() if code is not None else grpc.StatusCode.UNKNOWN
    text = str(details() or "") if details is not None else ""
    match status:
        case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED:
            return _access(text)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return Failure("passing", "it did not answer in time")
    said = failure_of(text)
    if said.kind in ("unknown", "object"):  # of a whole call, not of one object
        return Failure("passing", f"it answered {status.name}")
    if status is grpc.StatusCode.UNAVAILABLE and said.kind != "stopped":
        return Failure("passing", said.words)
    return said


def _access(text: str) -> Failure:
    """What is wrong with the key; with the permission that is missing, where roles say so."""
    found = _PERMISSION.search(text)
    words = f"this key may not {found[1]}, see README, The least privileges" if found else "the key is wrong, or may not do this"
    return Failure("access", words)


def raised(failure: Failure, action: str, where: str) -> VectorAssetsError:
    """The error to raise for a failure of more than one object."""
    match failure.kind:
        case "access":
            return ConfigurationError(f"cannot {action} in {where}: {failure.words} (WEAVIATE_API_KEY)")
        case "gone":
            return IndexConflict(f"cannot {action} in {where}: {failure.words}; somebody removed it: sync again, which makes it anew")
        case "changed":
            return IndexConflict(f"cannot {action} in {where}: {failure.words}; remove the collection and sync again, which fills it anew")
    return IndexUnavailable(f"cannot {action} in {where}: {failure.words}")


@contextlib.contextmanager
def boundary(action: str, where: str, by_grpc: str = "") -> Iterator[None]:
    """Errors of the client, httpx and gRPC as ours. Errors of the client's own checks of arguments are bugs, and pass as they are.

    `where` is the server's address, `by_grpc` that of its gRPC, which a port of its own may keep from us.
    """
    import grpc
    import httpx
    from weaviate import exceptions

    passing = (
        exceptions.WeaviateConnectionError,
        exceptions.WeaviateStartUpError,
        exceptions.WeaviateClosedClientError,
        httpx.TransportError,
    )
    try:
        yield
    except exceptions.UnexpectedStatusCodeError as error:
        raise _of_status(error, action, where) from None
    except exceptions.AuthenticationFailedError:
        raise raised(Failure("access", "the key is wrong"), action, where) from None
    except (exceptions.WeaviateTimeoutError, httpx.TimeoutException):
        raise IndexUnavailable(f"cannot {action} in {where}: it did not answer in time (WEAVIATE_TIMEOUT_SECONDS)") from None
    except passing:
        raise IndexUnavailable(f"cannot {action} in {where}: the connection broke off or nobody answers") from None
    except exceptions.ResponseCannotBeDecodedError:  # which quotes the answer
        raise IndexUnavailable(f"cannot {action} in {where}: the answer is no JSON (WEAVIATE_URL: is a proxy in between?)") from None
    except (exceptions.WeaviateGRPCUnavailableError, exceptions.WeaviateRetryError):
        raise IndexUnavailable(f"cannot {action} in {by_grpc or where}: the connection broke off or nobody answers") from None
    except exceptions.WeaviateQueryError as error:
        failure = failure_of(error.message)
        if failure.kind in ("unknown", "object"):
            failure = Failure("passing", "it refused the request")
        raise raised(failure, action, by_grpc or where) from None
    except grpc.RpcError as error:
        raise raised(rpc_failure(error), action, by_grpc or where) from None


@contextlib.contextmanager
def well_formed(action: str, where: str) -> Iterator[None]:
    """Around calls of the client that only read REST: it looks into JSON of another shape without looking at it first."""
    try:
        yield
    except (TypeError, KeyError, AttributeError, IndexError, ValueError):  # which may quote the answer
        raise IndexUnavailable(f"cannot {action} in {where}: the answer is not Weaviate's (WEAVIATE_URL: is a proxy in between?)") from None


def _of_status(error: Exception, action: str, where: str) -> VectorAssetsError:
    status, said = getattr(error, "status_code", 0), _said(getattr(error, "error", None))
    if status in (401, 403) or (status == 7 and "gRPC" not in where):  # 7: PERMISSION_DENIED, as the client has it
        return raised(_access(str(error)), action, where)
    if status in (408, 429) or status >= 500:
        failure = failure_of(said)
        words = failure.words if failure.kind in ("passing", "stopped") else f"it answered {status}"
        return IndexUnavailable(f"cannot {action} in {where}: {words}")
    return IndexConflict(f"cannot {action} in {where}: {said or f'it answered {status}'}")


def _said(body: object) -> str:
    """The text in an answer about a schema or an alias: {"error": [{"message": …}]} or {"code": …, "message": …}."""
    match body:
        case {"error": [{"message": str(text)}, *_]} | {"message": str(text)}:
            return text[:300]
    return ""

"""A Weaviate of one node on this machine. With a key, or open to anybody; with TLS or without."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from vector_assets.demo.servers.certificates import Certificate
from vector_assets.demo.servers.install import Installed
from vector_assets.demo.servers.process import LOOPBACK, answers, free_ports, listens, serving

_NODE = "node1"  # the node's name is part of its data: a server restarted on the same folder needs the same


class RunningWeaviate(NamedTuple):
    """Where it is. `api_key` may do everything; it is empty where anybody may."""

    url: str
    grpc_url: str
    api_key: str
    pid: int


@contextmanager
def weaviate(
    there: Installed, folder: Path, *, anonymous: bool = False, tls: Certificate | None = None, more: Mapping[str, str] | None = None
) -> Iterator[RunningWeaviate]:
    """Run one on the data in `folder`. `more`: environment variables of Weaviate itself. Raises SourceUnavailable."""
    folder.mkdir(parents=True, exist_ok=True)
    http, grpc, *cluster = free_ports(6)
    key = "" if anonymous else secrets.token_urlsafe(24)
    environment = {
        "PERSISTENCE_DATA_PATH": str(folder / "data"),
        "DEFAULT_VECTORIZER_MODULE": "none",
        "AUTOSCHEMA_ENABLED": "false",
        "CLUSTER_HOSTNAME": _NODE,
        "CLUSTER_ADVERTISE_ADDR": LOOPBACK,
        "CLUSTER_GOSSIP_BIND_PORT": str(cluster[0]),
        "CLUSTER_DATA_BIND_PORT": str(cluster[1]),
        "RAFT_PORT": str(cluster[2]),
        "RAFT_INTERNAL_RPC_PORT": str(cluster[3]),
        "RAFT_BOOTSTRAP_EXPECT": "1",
        "RAFT_ENABLE_ONE_NODE_RECOVERY": "true",  # its ports change from start to start
        "RAFT_TIMEOUTS_MULTIPLIER": "1",  # of 1 s until a node elects itself: it is the only one, and starts in 2.5 s instead of 7
        "GRPC_PORT": str(grpc),
        "DISABLE_TELEMETRY": "true",
        "GO_PROFILING_DISABLE": "true",
        "LOG_LEVEL": "warning",
        **_access(key),
        **({"GRPC_CERT_FILE": str(tls.certificate), "GRPC_KEY_FILE": str(tls.key)} if tls else {}),
        **(more or {}),
    }
    listen = ["--scheme=http", f"--host={LOOPBACK}", f"--port={http}"]
    if tls:
        listen = [
            "--scheme=https",
            f"--tls-host={LOOPBACK}",
            f"--tls-port={http}",
            f"--tls-certificate={tls.certificate}",
            f"--tls-key={tls.key}",
        ]

    def ready() -> bool:
        answering = listens(http) if tls else answers(f"http://{LOOPBACK}:{http}/v1/.well-known/ready")
        return answering and listens(grpc)

    with serving([there.weaviate, *listen], log=folder / "weaviate.log", ready=ready, environment=environment) as child:
        scheme = "https" if tls else "http"
        yield RunningWeaviate(f"{scheme}://{_host(tls)}:{http}", f"{scheme}://{_host(tls)}:{grpc}", key, child.pid)


def _access(key: str) -> dict[str, str]:
    if not key:
        return {"AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "true"}
    return {
        "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
        "AUTHENTICATION_APIKEY_ENABLED": "true",
        "AUTHENTICATION_APIKEY_ALLOWED_KEYS": key,
        "AUTHENTICATION_APIKEY_USERS": "vector_assets",
    }


def _host(tls: Certificate | None) -> str:
    return "localhost" if tls and socket.gethostbyname("localhost") == LOOPBACK else LOOPBACK

"""Trino's protocol against a server that follows a script: outages, breaks, refusals, ends that are none."""

import base64
import gc
import json
import socket
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from vector_assets.catalogs import TrinoCatalog
from vector_assets.errors import ConfigurationError, SourceError, SourceUnavailable
from vector_assets.raw.trino.client import LONGEST_WAIT_SECONDS, TrinoClient
from vector_assets.raw.trino.pages import SEGMENTS_AHEAD

COLUMNS = [{"name": "a", "type": "bigint"}, {"name": "b", "type": "varchar"}]
BREAK, SHORT = "break", "short"  # close the connection instead of an answer; promise more bytes than come


class Script(ThreadingHTTPServer):
    """Answers each (method, path) with the next of its answers, the last one again and again; remembers what was asked."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Player)
        self.answers = defaultdict(list)
        self.asked = []
        self.lock = threading.Lock()

    @property
    def base(self):
        return f"http://127.0.0.1:{self.server_port}"

    def paths(self, method="GET"):
        return [path.partition("?")[0] for verb, path, _ in self.asked if verb == method]

    def headers_of(self, path):
        return next(headers for _, asked, headers in self.asked if asked.partition("?")[0] == path)

    def on(self, path, *answers, method="GET"):
        self.answers[method, path].extend(answers)

    def query(self, *pages, first=None):
        """A query of these pages; each a dict that is completed, or any other answer. A list of answers comes one after the other."""
        self.on("/v1/statement", *(first or [self.page(0, {})]), method="POST")
        for number, page in enumerate(pages, start=1):
            for answer in page if isinstance(page, list) else [page]:
                last = number == len(pages)
                self.on(f"/p/{number}", self.page(number, answer, last=last) if isinstance(answer, dict) else answer)

    def page(self, number, parts, *, last=False):
        following = {} if last else {"nextUri": f"{self.base}/p/{number + 1}"}
        stats = {"state": "FINISHED" if last else "RUNNING", "processedRows": number, "processedBytes": 10 * number}
        return 200, json.dumps({"id": "q1", **following, "columns": COLUMNS, **parts, "stats": stats}, separators=(",", ":"))


class Player(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        script = self.server
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0]
        with script.lock:
            script.asked.append((self.command, self.path, dict(self.headers)))
            left = script.answers[self.command, path] or [(404, "no such page")]
            reply = left.pop(0) if len(left) > 1 else left[0]
        if callable(reply):
            reply = reply()
        if reply == BREAK:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        status, body, *headers = (200, '{"id":') if reply == SHORT else reply
        body = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in (headers or [{}])[0].items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) + (1000 if reply == SHORT else 0)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = reply == SHORT

    do_GET = do_POST = do_DELETE = answer  # noqa: N815 - names that http.server looks for

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    script = Script()
    thread = threading.Thread(target=script.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield script
    script.shutdown()
    thread.join()
    script.server_close()


@pytest.fixture
def waits():
    return []


@pytest.fixture
def client(server, waits):
    made = client_of(server.server_port, waits)
    yield made
    made.close()


def client_of(port, waits, **settings):
    spec = TrinoCatalog(
        engine="trino", **{"host": "127.0.0.1", "port": port, "user": "ada", "catalog": "c", "timeout_seconds": 20} | settings
    )
    return TrinoClient("lake", spec, sleep=waits.append, clock=lambda: sum(waits))


def read(client, **how):
    return [row for block in client.statement("SELECT 'Ada'", "lake.s.t", **how) for row in block]


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# --- pages -------------------------------------------------------------------------------------------------------------------------------


def test_pages_are_followed_to_the_end(server, client):
    server.query({"data": [[1, "a"], [2, None]]}, {}, {"data": [[3, "c"]]}, {})
    statement = client.statement("SELECT 1", "lake.s.t")
    assert list(statement) == [[[1, "a"], [2, None]], [[3, "c"]]]
    assert statement.read == (4, 40, 0)
    assert statement.types == ["bigint", "varchar"]
    assert server.paths() == ["/p/1", "/p/2", "/p/3", "/p/4"]
    assert server.paths("DELETE") == []
    assert all("targetResultSize=16777216B" in path for verb, path, _ in server.asked if verb == "GET")
    assert gc.isenabled()


def test_what_a_row_holds_is_never_taken_for_a_pages_address(server, client):
    server.query({"data": [[1, '"nextUri":"x"'], [2, {"nextUri": "http://127.0.0.1:1/"}]]}, {"data": [[3, {"nextUri": "y"}]]})
    assert [row[0] for row in read(client)] == [1, 2, 3]


def test_the_parts_of_a_page_may_come_in_any_order(server, client):
    server.query({}, {"data": [[2, "b"]]})
    server.answers["GET", "/p/1"] = [
        (200, json.dumps({"data": [[1, "a"]], "stats": {"state": "RUNNING"}, "nextUri": f"{server.base}/p/2", "id": "q1"}))
    ]
    assert read(client) == [[1, "a"], [2, "b"]]


def test_one_page_is_fetched_ahead_and_no_more(server, client):
    server.query({"data": [[1, "a"]]}, {"data": [[2, "b"]]}, {"data": [[3, "c"]]})
    blocks = iter(client.statement("SELECT 1", "lake.s.t"))
    assert next(blocks) == [[1, "a"]]
    until(lambda: "/p/2" in server.paths())
    assert "/p/3" not in server.paths()
    assert list(blocks) == [[[2, "b"]], [[3, "c"]]]


def test_a_statement_says_who_asks(server, waits):
    server.query({})
    client = client_of(
        server.server_port, waits, roles={"system": "reader", "c": "ALL"}, session={"a.b": True, "n": 3}, client_tags=("team x",)
    )
    assert read(client, spooling=True, info="lake.s.t") == []
    said = server.headers_of("/v1/statement")
    assert said["X-Trino-User"] == "ada"
    assert said["X-Trino-Source"] == "vector_assets"
    assert said["X-Trino-Client-Tags"] == "vector_assets,team x"
    assert said["X-Trino-Client-Info"] == "lake.s.t"
    assert said["X-Trino-Role"] == "system=ROLE%7Breader%7D,c=ALL"
    assert said["X-Trino-Session"] == "a.b=true,n=3"
    assert said["X-Trino-Time-Zone"] == "UTC"
    assert said["X-Trino-Query-Data-Encoding"] == "json+zstd"
    assert "Authorization" not in said
    client.close()


@pytest.mark.parametrize("settings", [{"user": "Zoë"}, {"client_tags": ("a\r\nX-Evil: 1",)}])
def test_what_a_header_cannot_hold_is_refused(server, waits, settings):
    with pytest.raises(ConfigurationError, match=r"catalogs\.lake hold characters"):
        read(client_of(server.server_port, waits, **settings))


# --- what is sent again ------------------------------------------------------------------------------------------------------------------

OUTAGES = [(502, "bad"), (503, ""), (504, "late"), (429, "slow down"), (200, ""), BREAK, SHORT]


@pytest.mark.parametrize("outage", OUTAGES)
def test_a_page_is_asked_for_again(server, client, waits, outage):
    server.query({"data": [[1, "a"]]}, [outage, outage, {"data": [[2, "b"]]}], {})
    assert read(client) == [[1, "a"], [2, "b"]]
    assert server.paths().count("/p/2") == 3
    assert waits == [0.1, 0.2]


@pytest.mark.parametrize("outage", OUTAGES)
def test_a_statement_is_sent_again(server, client, waits, outage):
    server.query({"data": [[1, "a"]]}, first=[outage, server.page(0, {})])
    assert read(client) == [[1, "a"]]
    assert server.paths("POST") == ["/v1/statement"] * 2
    assert waits == [0.1]


def test_a_server_may_ask_for_patience(server, client, waits):
    server.query({}, first=[(429, "", {"Retry-After": "7"}), (503, "", {"Retry-After": "soon"}), server.page(0, {})])
    assert read(client) == []
    assert waits == [7.0, 0.2]


@pytest.mark.parametrize(
    ("outage", "said"), [((503, ""), "answers with HTTP 503"), (BREAK, r"gives no whole answer \(the connection broke\)")]
)
def test_an_outage_that_lasts_is_unavailable(server, client, waits, outage, said):
    server.query({"data": [[1, "a"]]}, outage)
    with pytest.raises(SourceUnavailable, match=rf"Trino at 127\.0\.0\.1:\d+ \(catalog 'lake'\) {said}; gave up after 20 s"):
        read(client)
    assert sum(waits) == 20
    assert max(waits) == LONGEST_WAIT_SECONDS
    assert server.paths("DELETE") == ["/p/2"], "and the query is not left running"


@pytest.mark.parametrize(
    ("answer", "said"),
    [((500, "java.lang.Exception: Ada"), "HTTP 500"), ((404, ""), "does not know the query"), ((410, ""), "does not know the query")],
)
def test_any_other_answer_means_that_the_query_failed(server, client, waits, answer, said):
    server.query({"data": [[1, "a"]]}, answer)
    with pytest.raises(SourceUnavailable, match=said) as caught:
        read(client)
    assert waits == []
    assert "Ada" not in str(caught.value)


@pytest.mark.parametrize("body", ["", "{", '{"id":"q1","data":[[1,', "<html>"])
def test_half_a_page_is_no_page(server, client, body):
    server.query({"data": [[1, "a"]]}, {})
    server.answers["GET", "/p/2"] = [(200, body or "  ")]
    with pytest.raises(SourceUnavailable, match="broke off: a page is no JSON"):
        read(client)


@pytest.mark.parametrize("state", ["RUNNING", "FAILED", None])
def test_an_end_that_trino_does_not_confirm_is_none(server, client, state):
    server.query({"data": [[1, "a"]]}, {})
    server.answers["GET", "/p/2"] = [(200, json.dumps({"id": "q1", "stats": {"state": state}}))]
    with pytest.raises(SourceUnavailable, match="and not FINISHED"):
        read(client)


# --- refusals ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, "Unauthorized"), r"does not let user 'ada' in: .*set password, password_file, jwt or jwt_file of catalogs\.lake"),
        ((403, "Forbidden"), r"HTTP 403.*catalogs\.lake\.user .*tls"),
        ((404, "<html>"), r"no Trino coordinator \(HTTP 404\): check host and port of catalogs\.lake in sources\.yaml"),
        ((405, "<Error/>"), r"no Trino coordinator"),
        ((200, "<html>"), r"no Trino coordinator"),
        ((200, "[1]"), r"no Trino coordinator"),
        ((400, "Error 400 Bad Request: Invalid X-Trino-Session header"), r"HTTP 400.*session"),
        (
            (500, "io.trino.spi.security.AccessDeniedException: Access Denied: Cannot set role nope\n\tat io.trino"),
            r"refuses: Access Denied: Cannot set role nope; check catalogs\.lake\.roles",
        ),
    ],
)
def test_a_refused_statement_names_the_setting(server, client, waits, answer, said):
    server.on("/v1/statement", answer, method="POST")
    with pytest.raises(ConfigurationError, match=said):
        read(client)
    assert waits == []


def test_a_statement_that_makes_trino_stumble_is_unavailable(server, client, waits):
    server.on("/v1/statement", (500, "java.lang.NullPointerException: Ada"), method="POST")
    with pytest.raises(SourceUnavailable, match="HTTP 500") as caught:
        read(client)
    assert "Ada" not in str(caught.value)


def test_a_port_where_nothing_listens_is_waited_for(waits):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(SourceUnavailable, match=r"refuses connections.* gave up after 20 s.*host and port of catalogs\.lake"):
        read(client_of(port, waits))
    assert sum(waits) == 20


@pytest.mark.parametrize(("code", "error"), [(socket.EAI_NONAME, ConfigurationError), (socket.EAI_AGAIN, SourceUnavailable)])
def test_a_host_that_has_no_address(monkeypatch, waits, code, error):
    def unknown(*_, **__):
        raise socket.gaierror(code, "no")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(error, match=r"check (catalogs\.lake\.host|host and port of catalogs\.lake) in sources"):
        read(client_of(8080, waits, host="trino.nowhere.invalid"))


def test_a_host_that_is_no_name(waits):
    with pytest.raises(ConfigurationError, match=r"catalogs\.lake\.host"):
        read(client_of(8080, waits, host="a b"))
    assert waits == []


def test_a_server_that_speaks_no_http(waits):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def talk():
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"220 mail.example ready\r\n")

        thread = threading.Thread(target=talk)
        thread.start()
        with pytest.raises(ConfigurationError, match=r"no Trino coordinator \(no HTTP\)"):
            read(client_of(listening.getsockname()[1], waits))
        thread.join()


def test_credentials_do_not_follow_to_an_address_without_tls(waits):
    client = client_of(8443, waits, password="s3cret")
    with pytest.raises(ConfigurationError, match="process-forwarded"):
        client.page("http://127.0.0.1:1/v1/statement/x", threading.Event())
    assert "s3cret" not in repr(vars(client))


# --- errors of queries -------------------------------------------------------------------------------------------------------------------

FAILURES = {
    "INVALID_CAST_ARGUMENT": ("USER_ERROR", SourceError, False),
    "SYNTAX_ERROR": ("USER_ERROR", SourceError, False),
    "TABLE_NOT_FOUND": ("USER_ERROR", SourceError, True),
    "PERMISSION_DENIED": ("USER_ERROR", SourceError, True),
    "CATALOG_NOT_FOUND": ("USER_ERROR", ConfigurationError, True),
    "INVALID_SESSION_PROPERTY": ("USER_ERROR", ConfigurationError, False),
    "USER_CANCELED": ("USER_ERROR", SourceUnavailable, False),
    "ABANDONED_QUERY": ("USER_ERROR", SourceUnavailable, False),
    "ADMINISTRATIVELY_KILLED": ("USER_ERROR", SourceUnavailable, False),
    "GENERIC_INTERNAL_ERROR": ("INTERNAL_ERROR", SourceUnavailable, False),
    "SERVER_SHUTTING_DOWN": ("INTERNAL_ERROR", SourceUnavailable, False),
    "CLUSTER_OUT_OF_MEMORY": ("INSUFFICIENT_RESOURCES", SourceUnavailable, False),
    "ICEBERG_CANNOT_OPEN_SPLIT": ("EXTERNAL", SourceUnavailable, False),
}


@pytest.mark.parametrize("name", FAILURES)
def test_errors_of_queries_become_ours_without_values(server, client, name):
    kind, error, shown = FAILURES[name]
    failure = {"message": "line 1:2: 'Ada'\nsaid no", "errorName": name, "errorType": kind, "failureInfo": {"stack": ["Ada"]}}
    server.query({"data": [[1, "a"]]}, {"error": failure})
    statement = client.statement("SELECT 'Ada'", "lake.s.t")
    with pytest.raises(error, match=rf"{name}.*query q1") as caught:
        list(statement)
    assert type(caught.value) is error
    assert statement.error.name == name
    assert ("Ada" in str(caught.value)) == shown
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


# --- ends that are wanted ----------------------------------------------------------------------------------------------------------------


def test_leaving_early_cancels_the_query(server, client):
    server.query({"data": [[1, "a"]]}, {"data": [[2, "b"]]}, {})
    server.on("/p/2", (204, ""), method="DELETE")
    for block in client.statement("SELECT 1", "lake.s.t"):
        assert block == [[1, "a"]]
        break
    until(lambda: server.paths("DELETE") == ["/p/2"])


def test_a_query_that_cannot_be_cancelled_is_left_to_trino(server, client, caplog):
    server.query({"data": [[1, "a"]]}, {"data": [[2, "b"]]}, {})
    server.on("/p/2", BREAK, method="DELETE")
    with client.statement("SELECT 1", "lake.s.t") as statement:
        next(iter(statement))
    assert "could not be cancelled" in caplog.text


def test_closing_from_another_thread_ends_the_read(server, client):
    held, go_on = threading.Event(), threading.Event()

    def hold():
        held.set()
        go_on.wait(10)
        return server.page(2, {"data": [[2, "b"]]})

    server.query({"data": [[1, "a"]]}, hold, {"data": [[3, "c"]]})
    statement = client.statement("SELECT 1", "lake.s.t")
    blocks = iter(statement)
    next(blocks)
    held.wait(10)
    closing = threading.Thread(target=statement.close)
    closing.start()
    closing.join()
    go_on.set()
    with pytest.raises(SourceUnavailable, match="closed while it was read"):
        list(blocks)
    assert "/p/3" not in server.paths()


# --- segments ----------------------------------------------------------------------------------------------------------------------------


def spooled(server, number, rows, **metadata):
    """A spooled segment, served by the same server."""
    plain = json.dumps(rows).encode()
    body = zstandard.compress(plain)
    server.on(f"/s/{number}", (200, body))
    server.on(f"/ack/{number}", (200, ""))
    return {
        "type": "spooled",
        "uri": f"{server.base}/s/{number}",
        "ackUri": f"{server.base}/ack/{number}",
        "headers": {"X-Segment": [f"key {number}"]},
        "metadata": {"segmentSize": len(body), "uncompressedSize": len(plain), "rowsCount": len(rows)} | metadata,
    }


def inline(rows, *, compress=True):
    plain = json.dumps(rows).encode()
    body = zstandard.compress(plain) if compress else plain
    size = {"uncompressedSize": len(plain)} if compress else {}
    return {"type": "inline", "data": base64.b64encode(body).decode(), "metadata": {"rowsCount": len(rows), **size}}


def spooling(*segments):
    return {"data": {"encoding": "json+zstd", "segments": list(segments)}}


def test_segments_come_in_order_and_are_acknowledged(server, client):
    many = [spooled(server, i, [[i, "x"]]) for i in range(10)]
    slow = server.answers["GET", "/s/0"].pop()

    def last_of_the_first():
        until(lambda: "/s/1" in server.paths())
        return slow

    server.on("/s/0", last_of_the_first)
    server.query(spooling(*many), spooling(inline([[10, "x"]]), inline([[11, "x"]], compress=False)), spooling(), {})
    assert [row[0] for row in read(client, spooling=True)] == list(range(12))
    assert sorted(path for path in server.paths() if "/ack/" in path) == sorted(f"/ack/{i}" for i in range(10))
    said = server.headers_of("/s/3")
    assert said["X-Segment"] == "key 3"
    assert not [name for name in said if name.startswith(("X-Trino", "Authorization"))]


def test_few_segments_are_fetched_ahead(server, client):
    server.query(spooling(*(spooled(server, i, [[i, "x"]]) for i in range(10))), {})
    blocks = iter(client.statement("SELECT 1", "lake.s.t", spooling=True))
    next(blocks)
    until(lambda: f"/s/{SEGMENTS_AHEAD - 1}" in server.paths())
    assert f"/s/{SEGMENTS_AHEAD + 1}" not in server.paths()
    assert sum(1 for _ in blocks) == 9


@pytest.mark.parametrize("outage", OUTAGES[:4] + OUTAGES[5:])
def test_a_segment_is_asked_for_again(server, client, waits, outage):
    segment = spooled(server, 1, [[1, "x"]])
    server.answers["GET", "/s/1"].insert(0, outage)
    server.query(spooling(segment), {})
    assert read(client, spooling=True) == [[1, "x"]]
    assert waits == [0.1]


@pytest.mark.parametrize("status", [403, 404, 410, 500])
def test_a_segment_that_is_gone_ends_the_read(server, client, status):
    segments = [spooled(server, i, [[i, "x"]]) for i in range(3)]
    server.answers["GET", "/s/1"] = [(status, "<Error/>")]
    server.query(spooling(*segments), {})
    with pytest.raises(SourceUnavailable, match=rf"not in its spooling store any more \(HTTP {status}\)"):
        read(client, spooling=True)


def test_an_acknowledgement_that_fails_costs_nothing(server, client):
    segment = spooled(server, 1, [[1, "x"]])
    server.answers["GET", "/ack/1"] = [(500, "")]
    server.query(spooling(segment), {})
    assert read(client, spooling=True) == [[1, "x"]]


@pytest.mark.parametrize(
    ("body", "metadata", "said"),
    [
        (b"not zstd", {}, "damaged"),
        (zstandard.compress(b"[[1,"), {"uncompressedSize": 4}, "no JSON"),
        (None, {"rowsCount": 2}, "not the rows"),
        (None, {"uncompressedSize": 3}, "damaged"),
    ],
)
def test_a_damaged_segment_ends_the_read(server, client, body, metadata, said):
    segment = spooled(server, 1, [[1, "x"]], **metadata)
    if body is not None:
        server.answers["GET", "/s/1"] = [(200, body)]
    server.query(spooling(segment), {})
    with pytest.raises(SourceUnavailable, match=said):
        read(client, spooling=True)
    assert "/ack/1" not in server.paths()


ROWS = st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.none() | st.text()).map(list), max_size=5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["direct", "spooled", "inline", "nothing"]), ROWS), max_size=5))
def test_every_mixture_of_pages_gives_its_rows_in_order(pages):
    script = Script()
    thread = threading.Thread(target=script.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    make = {
        "direct": lambda i, rows: {"data": rows},
        "spooled": lambda i, rows: spooling(spooled(script, i, rows)),
        "inline": lambda i, rows: spooling(inline(rows)),
        "nothing": lambda i, rows: {},
    }
    try:
        script.query(*(make[how](i, rows) for i, (how, rows) in enumerate(pages)), {})
        client = client_of(script.server_port, [])
        assert read(client) == [row for how, rows in pages if how != "nothing" for row in rows]
        client.close()
    finally:
        script.shutdown()
        thread.join()
        script.server_close()

"""The UI answers the page itself, and nobody else: other sites, other names, other methods, strangers."""

import asyncio
import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from jobs.commands import begin
from jobs.guard import Guarded, Message, Receive, Scope, Send

JSON = {"content-type": "application/json"}
OWN = {"host": "127.0.0.1:3000"}
WORD = "sésame"
PASSWORD = {"authorization": "Basic " + base64.b64encode(b"anybody:s\xc3\xa9same").decode()}


async def inner(scope: Scope, receive: Receive, send: Send) -> None:
    """Takes everything."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"taken"})


def asked(
    app: Guarded, method: str, path: str, headers: dict[str, str], query: str = "", kind: str = "http"
) -> list[Message]:
    """What is sent back."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": f"{kind}.connect" if kind == "websocket" else "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": kind,
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
    }
    asyncio.run(app(scope, receive, send))
    return sent


CASES: list[tuple[str, str, dict[str, str], str, int]] = [
    ("GET", "/", OWN, "", 200),
    ("GET", "/runs/1", {"host": "localhost:8080"}, "", 200),
    ("GET", "/runs", {"host": "[::1]:3000"}, "a=b", 200),
    ("POST", "/graphql", OWN | JSON, "", 200),
    ("POST", "/graphql", OWN | {"content-type": "application/json; charset=utf-8"}, "", 200),
    ("POST", "/graphql", OWN | JSON | {"origin": "http://127.0.0.1:3000", "sec-fetch-site": "same-origin"}, "", 200),
    ("GET", "/", OWN | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, "", 200),  # a link to it
    # a mutation by GET, whatever its form
    ("GET", "/graphql", OWN, "query=mutation%7B%7D", 405),
    ("GET", "/graphql/", OWN, "query=mutation%7B%7D", 405),
    ("HEAD", "/graphql", OWN, "query=mutation%7B%7D", 405),
    # another site
    ("POST", "/graphql", OWN | JSON | {"origin": "http://evil.example"}, "", 403),
    ("POST", "/graphql", OWN | JSON | {"origin": "null"}, "", 403),
    ("POST", "/graphql", OWN | JSON | {"origin": "http://127.0.0.1:4000"}, "", 403),
    ("POST", "/graphql", OWN | JSON | {"sec-fetch-site": "same-site"}, "", 403),
    ("GET", "/logs/1", OWN | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, "", 403),
    ("OPTIONS", "/graphql", OWN | {"origin": "http://evil.example"}, "", 403),
    # what a form of another site can send
    ("POST", "/graphql", OWN | {"content-type": "text/plain"}, "", 415),
    ("POST", "/graphql", OWN | {"content-type": "application/x-www-form-urlencoded"}, "", 415),
    ("POST", "/graphql", OWN | {"content-type": "multipart/form-data; boundary=application/json"}, "", 415),
    ("POST", "/graphql", OWN, "", 415),
    # another name: DNS rebinding
    ("GET", "/", {"host": "evil.example:3000"}, "", 421),
    ("GET", "/", {"host": "127.0.0.1.evil.example"}, "", 421),
    ("GET", "/", {"host": "127.0.0.1:3000@evil.example"}, "", 421),
    ("GET", "/", {}, "", 421),
    # other methods, other places
    ("POST", "/report_asset_materialization/bars", OWN | JSON, "", 405),
    ("DELETE", "/graphql", OWN, "", 405),
    ("PUT", "/graphql", OWN | JSON, "", 405),
]


@pytest.mark.parametrize(("method", "path", "headers", "query", "status"), CASES)
def test_a_request_of_the_page_passes_and_no_other(
    method: str, path: str, headers: dict[str, str], query: str, status: int
) -> None:
    """By host, origin, method and kind of content; nothing can put it into a frame."""
    first, body = asked(Guarded(inner), method, path, headers, query)
    assert first["status"] == status
    assert (body["body"] == b"taken") == (status == 200)
    assert (b"x-frame-options", b"DENY") in first["headers"]


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        (OWN | {"origin": "http://127.0.0.1:3000"}, True),
        (OWN, True),
        (OWN | {"origin": "http://evil.example"}, False),
        ({"host": "evil.example"}, False),
    ],
)
def test_a_websocket_is_of_the_page_too(headers: dict[str, str], *, passes: bool) -> None:
    """Browsers let any site open one; only its origin tells."""
    (first,) = asked(Guarded(inner), "GET", "/graphql", headers, kind="websocket")
    assert first["type"] == ("websocket.accept" if passes else "websocket.close")


def test_a_password_is_asked_for_once() -> None:
    """Then a cookie that scripts and other sites do not get lets through, websockets too."""
    app = Guarded(inner, password=WORD)
    assert asked(app, "GET", "/", OWN)[0]["status"] == 401
    assert asked(app, "GET", "/", OWN | {"authorization": "Basic %%%"})[0]["status"] == 401
    wrong = {"authorization": "Basic " + base64.b64encode(b"anybody:open").decode()}
    assert asked(app, "GET", "/", OWN | wrong)[0]["status"] == 401
    assert asked(app, "POST", "/graphql", OWN | JSON | PASSWORD | {"origin": "http://evil.example"})[0]["status"] == 403
    entered = asked(app, "GET", "/", OWN | PASSWORD)[0]
    assert entered["status"] == 200
    (cookie,) = [v.decode() for k, v in entered["headers"] if k == b"set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    kept = {"cookie": cookie.partition(";")[0]}
    assert asked(app, "GET", "/", OWN | kept)[0]["status"] == 200
    assert asked(app, "GET", "/graphql", OWN | kept, kind="websocket")[0]["type"] == "websocket.accept"
    assert asked(app, "GET", "/graphql", OWN, kind="websocket")[0]["type"] == "websocket.close"
    assert asked(Guarded(inner, password=WORD), "GET", "/", OWN | kept)[0]["status"] == 401


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answer(port: int, method: str, path: str, body: str = "", headers: dict[str, str] | None = None) -> tuple[int, str]:
    """Status and text."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body or None, headers or {})
    got = connection.getresponse()
    text = got.read().decode()
    connection.close()
    return got.status, text


QUERY = json.dumps({"query": "{ version }"})
LOCATIONS = json.dumps({"query": "{ workspaceOrError { ... on Workspace { locationEntries { name } } } }"})
CHANGE = json.dumps({"query": 'mutation { deleteRun(runId: "x") { __typename } }'})


def of_home(home: Path) -> list[int]:
    """The processes that have the home in their environment, this one left out."""
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        try:
            mine = folder.name.isdigit() and str(home).encode() in (folder / "environ").read_bytes()
            if mine and (folder / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_a_code_location_has_time_to_load_on_a_busy_machine() -> None:
    """Ten minutes to start, five to answer: in the instance's configuration that homes and servers get."""
    for name in ("dagster.yaml", "infra/dagster.postgres.yaml"):
        config = yaml.safe_load((Path(__file__).parents[2] / name).read_text())
        assert config["code_servers"] == {"local_startup_timeout": 600}
    assert begin.PATIENCE == "300"


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds children in /proc")
def test_the_real_ui_is_guarded_and_ends_with_its_children(tmp_path: Path) -> None:
    """`quant ui` on its real server: a query is answered, a change refused; SIGTERM leaves no process behind."""
    port = free_port()
    environment = {**os.environ, "QUANT_HOME": str(tmp_path / "home")}
    locations = tmp_path / "workspace.yaml"
    locations.write_text("load_from: [{python_module: {module_name: jobs.definitions, location_name: ours}}]\n")
    command = [sys.executable, "-m", "jobs.cli", "ui", "--port", str(port), "--workspace", str(locations)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as ui:
        try:
            until = time.monotonic() + 120
            while True:
                try:
                    status, text = answer(port, "POST", "/graphql", QUERY, JSON)
                    break
                except OSError:
                    assert ui.poll() is None
                    assert time.monotonic() < until
                    time.sleep(0.5)
            assert status == 200
            assert "version" in text
            assert '"ours"' in answer(port, "POST", "/graphql", LOCATIONS, JSON)[1]
            assert answer(port, "GET", "/")[0] == 200
            assert answer(port, "GET", "/graphql?query=%7Bversion%7D")[0] == 405
            assert answer(port, "POST", "/graphql", QUERY, {"content-type": "text/plain"})[0] == 415
            assert answer(port, "POST", "/graphql", QUERY, JSON | {"origin": "http://evil.example"})[0] == 403
            assert answer(port, "GET", "/", headers={"host": "evil.example"})[0] == 421
            assert "UnauthorizedError" in answer(port, "POST", "/graphql", CHANGE, JSON)[1]
            assert len(of_home(tmp_path / "home")) > 1
        finally:
            ui.send_signal(signal.SIGTERM)
        _, told = ui.communicate(timeout=60)
    assert ui.returncode == 143, told
    assert "Traceback" not in told
    until = time.monotonic() + 20
    while of_home(tmp_path / "home") and time.monotonic() < until:
        time.sleep(0.2)
    assert not of_home(tmp_path / "home")

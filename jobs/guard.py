"""What is before the Dagster UI: an ASGI application that lets requests through which the page itself makes, and
refuses those of other pages and of strangers.

A browser sends requests for whatever page is open. Dagster's own server answers them all: it takes a
mutation by GET, and from every site.
"""

import base64
import binascii
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
GRAPHQL = "/graphql"
COOKIE = "quant_ui"
JSON = "application/json"
FRAMED = [
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
]
Refusal = tuple[int, str]


class Guarded:
    """`inner`, for requests under one of the names `hosts`. With a `password`, for those alone who know it: by HTTP
    Basic under any user name, then by a cookie that lasts until this process ends.
    """

    def __init__(self, inner: Application, *, hosts: Iterable[str] = LOOPBACK, password: str = "") -> None:
        self._inner = inner
        self._hosts = frozenset(h.lower() for h in hosts)
        self._password = password.encode()
        self._token = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] not in {"http", "websocket"}:
            await self._inner(scope, receive, send)
            return
        headers = _headers(scope)
        entered = self._by_cookie(headers) or self._by_password(headers)
        refusal = self._foreign(headers) or (None if entered else (401, "the password of this UI is asked for"))
        if refusal is None and scope["type"] == "http":
            refusal = _method(scope, headers)
        if refusal is not None:
            await _refuse(scope, receive, send, *refusal)
            return
        cookie = bool(self._password) and not self._by_cookie(headers)

        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [*FRAMED, *([(b"set-cookie", self._cookie())] if cookie else [])]
                message = {**message, "headers": [*message.get("headers", []), *own]}
            await send(message)

        await self._inner(scope, receive, answered)

    def _foreign(self, headers: dict[str, list[str]]) -> Refusal | None:
        """Why a request is not of this page: under another name (DNS rebinding), or from another origin."""
        hosts = headers.get("host", [])
        if len(hosts) != 1 or _name(f"//{hosts[0]}") not in self._hosts:
            return 421, "this UI is asked under another name; open it as http://127.0.0.1 with its port"
        for origin in headers.get("origin", []):
            if urlsplit(origin).netloc.lower() != hosts[0].lower() or not origin.lower().startswith("http"):
                return 403, "another page asks; open the UI itself"
        if {"cross-site", "same-site"} & set(headers.get("sec-fetch-site", [])) and "navigate" not in headers.get(
            "sec-fetch-mode", []
        ):
            return 403, "another page asks; open the UI itself"
        return None

    def _by_cookie(self, headers: dict[str, list[str]]) -> bool:
        """Whether the request comes with the cookie of one that had the password; always if there is none."""
        if not self._password:
            return True
        for line in headers.get("cookie", []):
            try:
                found = SimpleCookie(line).get(COOKIE)
            except CookieError:
                continue  # of another program on this host: without ours the request is refused below
            if found and secrets.compare_digest(found.value.encode(), self._token.encode()):
                return True
        return False

    def _by_password(self, headers: dict[str, list[str]]) -> bool:
        kind, _, given = next(iter(headers.get("authorization", [])), "").partition(" ")
        if kind.lower() != "basic":
            return False
        try:
            _, _, password = base64.b64decode(given, validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return False
        return secrets.compare_digest(password, self._password)

    def _cookie(self) -> bytes:
        return f"{COOKIE}={self._token}; Path=/; HttpOnly; SameSite=Strict".encode()


def _method(scope: Scope, headers: dict[str, list[str]]) -> Refusal | None:
    """Why a request would change something in a way that the page itself never does."""
    path, method = scope["path"].rstrip("/"), scope["method"]
    if method in {"GET", "HEAD"}:
        asks = path.endswith(GRAPHQL) and scope.get("query_string")
        return (405, "a query is sent by POST") if asks else None
    if method != "POST" or not path.endswith(GRAPHQL):
        return 405, "this UI takes GET, and POST to /graphql"
    kinds = [k.partition(";")[0].strip().lower() for k in headers.get("content-type", [])]
    return None if kinds == [JSON] else (415, f"a query is sent as {JSON}")


def _headers(scope: Scope) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def _name(url: str) -> str:
    """The host of an address, without its port; empty where it has none."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *FRAMED]
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="quant", charset="UTF-8"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{why}\n".encode()})

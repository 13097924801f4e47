"""One vendor asked over HTTP: paced, patient, within a budget of bytes, and never with its key in a message.

Only https is spoken, and http to this machine. A redirect is followed on the same host alone, because it would take
the key along. An HTML page, an empty body or one that was cut off is no answer.
"""

import gzip
import io
import os
import re
import ssl
import time
import zlib
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urljoin, urlsplit

from quant_assets.errors import CaptureUnreadable, ConfigurationError
from resources.sources.retry import Pause, Retry, persist

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
PIECE = 1 << 16  # bytes read at a time
REDIRECTS = 3
PLACE = "~key~"  # in the place of the key in an address until it is sent
_GZIP = b"\x1f\x8b"
_BUSY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


class Key(NamedTuple):
    """Where a vendor's key is (`env`, a variable) and how it is sent: in a header after a prefix, or in the query."""

    env: str
    header: str
    prefix: str
    query: str


class NoAnswer(Exception):
    """What came is no answer; `wait`: seconds until it makes sense to ask again (None: it does not)."""

    def __init__(self, why: str, wait: float | None = 0.0) -> None:
        super().__init__(why)
        self.wait = wait


class Asking:
    """GET requests to one vendor. `asked` counts them, `received` the bytes of all bodies."""

    def __init__(
        self, name: str, key: Key | None, per_minute: float, timeout: float, budget: int, retry: Retry, pause: Pause
    ) -> None:
        self.name, self.asked, self.received = name, 0, 0
        self._key, self._interval, self._timeout, self._budget = key, 60 / per_minute, timeout, budget
        self._retry, self._pause, self._last = retry, pause, float("-inf")

    def get(self, url: str) -> bytes:
        """The body of the answer, unpacked. Raises CaptureUnreadable where there is none, after asking again as often
        as the policy has it; ConfigurationError where the key is not in the environment.
        """
        secret = self._secret()
        what, filled = f"{self.name}: GET {self.without_key(url)}", url.replace(PLACE, quote(secret, safe=""))
        errors = (NoAnswer, OSError, HTTPException, zlib.error, EOFError)
        try:
            return persist(
                lambda: self._once(safe(filled), secret, REDIRECTS),
                what,
                self._retry,
                self._pause,
                errors,
                _again,
            )
        except CaptureUnreadable as error:
            raise CaptureUnreadable(self.without_key(str(error))) from None  # its cause may hold the address

    def without_key(self, text: str) -> str:
        """The text with the name of the key's variable in the place of the key."""
        secret = os.environ.get(self._key.env, "") if self._key else ""
        if not self._key or not secret:
            return text
        text = text.replace(PLACE, f"[{self._key.env}]")
        for written in {secret, quote(secret, safe=""), urlencode({"k": secret})[2:]}:
            text = text.replace(written, f"[{self._key.env}]")
        return text

    def _secret(self) -> str:
        if self._key is None:
            return ""
        if not (secret := os.environ.get(self._key.env, "")):
            raise ConfigurationError(f"{self.name}: the environment has no {self._key.env}; set it to the vendor's key")
        return secret

    def _once(self, to: SplitResult, secret: str, redirects: int) -> bytes:
        self._pace()
        headers, query = {"Accept": "*/*", "User-Agent": "quant-assets"}, to.query
        if self._key and self._key.header:
            headers[self._key.header] = self._key.prefix + secret
        if self._key and self._key.query:
            # a link to the next page may have it already
            others = [(k, v) for k, v in parse_qsl(query, keep_blank_values=True) if k != self._key.query]
            query = urlencode([*others, (self._key.query, secret)])
        connection = (
            HTTPSConnection(to.hostname or "", to.port, timeout=self._timeout, context=ssl.create_default_context())
            if to.scheme == "https"
            else HTTPConnection(to.hostname or "", to.port, timeout=self._timeout)
        )
        try:
            connection.request("GET", (to.path or "/") + (f"?{query}" if query else ""), headers=headers)
            with connection.getresponse() as answer:
                moved = answer.headers.get("Location") if answer.status in range(300, 400) else None
                if moved is None:
                    return self._body(answer)
        finally:
            connection.close()
        there = safe(urljoin(to.geturl(), moved))
        if origin(there) != origin(to) or not redirects:
            raise NoAnswer(f"it redirects to {there.hostname}, which is not followed", None)
        return self._once(there, secret, redirects - 1)

    def _pace(self) -> None:
        lacking = self._interval - (self._pause.monotonic() - self._last)
        if lacking > 0:
            self._pause.sleep(lacking)
        self._last = self._pause.monotonic()
        self.asked += 1

    def _body(self, answer: HTTPResponse) -> bytes:
        if answer.status != HTTPStatus.OK:
            passes = answer.status in _BUSY or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            wait = _retry_after(answer.headers.get("Retry-After")) if passes else None
            raise NoAnswer(f"HTTP {answer.status} {answer.reason}", wait)
        body, until = bytearray(), time.monotonic() + self._timeout
        while piece := answer.read1(PIECE):
            body += piece
            if self.received + len(body) > self._budget:
                raise NoAnswer(f"more than {self._budget:,} bytes; declare max_bytes, or ask for less", None)
            if time.monotonic() > until:
                raise NoAnswer(f"the answer was not complete after {self._timeout:g} s")
        declared = answer.headers.get("Content-Length")
        if declared is not None and declared.isdigit() and len(body) < int(declared):
            raise NoAnswer(f"it was cut off after {len(body):,} of {int(declared):,} bytes")
        self.received += len(body)
        return _answered(_unpacked(bytes(body), self._budget), answer.headers.get("Content-Type", ""))


def safe(url: str) -> SplitResult:
    """The address. Raises NoAnswer for one to which a key must not go."""
    to = urlsplit(url)
    if (
        not to.hostname
        or to.username
        or (to.scheme != "https" and (to.scheme != "http" or to.hostname not in LOOPBACK))
    ):
        raise NoAnswer("the address is neither https nor http to this machine, or it has a user in it", None)
    return to


def origin(to: SplitResult) -> tuple[str, str | None, int | None]:
    """Scheme, host and port."""
    return to.scheme, to.hostname, to.port


def _unpacked(body: bytes, budget: int) -> bytes:
    if not body.startswith(_GZIP):
        return body
    with gzip.GzipFile(fileobj=io.BytesIO(body)) as packed:
        whole = packed.read(budget + 1)
    if len(whole) > budget:
        raise NoAnswer(f"it unpacks to more than {budget:,} bytes; declare max_bytes, or ask for less", None)
    return whole


def _answered(body: bytes, kind: str) -> bytes:
    """The body. Raises NoAnswer for an empty one, and for a page."""
    start = body[:512].lstrip().lower()
    if not start:
        raise NoAnswer("the answer is empty")
    if start.startswith((b"<!doctype html", b"<html")) or "text/html" in kind:
        raise NoAnswer("it was answered with a page: look what is between this machine and the vendor", None)
    return body


def _again(error: Exception) -> float | None:
    """Seconds to wait before another attempt; None where that would not help."""
    if isinstance(error, NoAnswer):
        return error.wait
    return None if isinstance(error, ssl.SSLCertVerificationError) else 0.0


def _retry_after(header: str | None) -> float:
    """Seconds to wait, of a header that has them or a date."""
    if header is None:
        return 0.0
    if re.fullmatch(r"\d{1,9}", header.strip()):
        return float(header)
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0

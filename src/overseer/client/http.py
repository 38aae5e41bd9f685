"""One connection to one server, or to one of its replicas: JSON messages over HTTP/1.1, with nothing but the standard library.

Guarantees: plain HTTP only to this machine; TLS 1.2 or later with the host name checked, and where ``ca_file`` is given that CA
*alone* is trusted; no redirect is followed and no proxy is used, so a credential goes to the named host and nowhere else; an
answer above ``max_response_bytes`` is refused while it is read; every failure is an error of ``overseer.core.errors``.

Of several addresses the next one is taken where a connection cannot be had: nothing was sent yet, so that holds for every
request. After an answer 503, or none, the *next* request goes to the next address; this one is not sent again.

It will not retry (``overseer.client.retries`` does), and a client belongs to one thread at a time.
"""

from __future__ import annotations

import http.client
import re
import select
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar, overload
from urllib.parse import urlencode

import msgspec

from overseer.client.addresses import parse_addresses
from overseer.client.answers import error_from_answer
from overseer.client.timed_socket import TimedSocket
from overseer.core.errors import ConfigurationProblem, NotReady, TooLarge, Unreachable
from overseer.core.secret_value import SecretValue

USER_AGENT: Final = "overseer-cli/0.1.0"
MAX_LINE: Final = 1024 * 1024
#: For a connection where there is another address to try: a machine that is gone does not refuse, it says nothing.
CONNECT_SECONDS: Final = 5.0
Value = TypeVar("Value")
Query = Mapping[str, str | int | None]
NONE: Final[frozenset[int]] = frozenset()


@dataclass(frozen=True, slots=True, repr=False)
class Response(Generic[Value]):
    """Status, headers (names in lower case) and the decoded message. Its repr shows no content."""

    status: int
    headers: Mapping[str, str]
    value: Value

    @property
    def etag(self) -> str | None:
        return self.headers.get("etag")

    def __repr__(self) -> str:
        return f"Response(status={self.status})"


class HttpClient:
    """A kept-alive connection to ``base_url``, or to one of several separated by commas, the first at the beginning.

    ``timeout`` in seconds bounds each request as a whole, and connecting too.
    """

    def __init__(
        self,
        base_url: str,
        token: SecretValue | None = None,
        *,
        ca_file: str | Path | None = None,
        user_agent: str = USER_AGENT,
        timeout: float = 30.0,
        max_response_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self.addresses = parse_addresses(base_url)
        self.address = self.addresses[0]
        self.token = token
        self.user_agent = user_agent
        self.timeout = timeout
        self.max_response_bytes = max_response_bytes
        self._tls = tls_context(ca_file) if any(address.secure for address in self.addresses) else None
        self._connection: http.client.HTTPConnection | None = None
        self._timed: TimedSocket | None = None

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def use_next(self) -> None:
        """Ask the next address from now on, where there are several."""
        self.close()
        self.address = self.addresses[(self.addresses.index(self.address) + 1) % len(self.addresses)]

    @overload
    def request(
        self,
        method: str,
        path: str,
        body: msgspec.Struct | None = None,
        *,
        returns: type[Value],
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        also: frozenset[int] = NONE,
    ) -> Response[Value]: ...

    @overload
    def request(
        self,
        method: str,
        path: str,
        body: msgspec.Struct | None = None,
        *,
        returns: None = None,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        also: frozenset[int] = NONE,
    ) -> Response[None]: ...

    def request(
        self,
        method: str,
        path: str,
        body: msgspec.Struct | None = None,
        *,
        returns: Any = None,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        also: frozenset[int] = NONE,
    ) -> Response[Any]:
        """Send ``body`` as JSON to ``path`` (already percent-encoded) and decode the answer as ``returns``.

        An answer below 300 is one, and so is one with a status in ``also`` that is plain JSON.

        Raises the error that the server's problem document names, :class:`Unreachable` where the server cannot be reached in time
        (exit 69), :class:`TooLarge` and :class:`ConfigurationProblem` for answers that no Overseer server gives.
        """
        pairs = {key: str(value) for key, value in (query or {}).items() if value is not None}
        target = f"{path}?{urlencode(pairs)}" if pairs else path
        content = None if body is None else msgspec.json.encode(body)
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        try:
            with self._told():
                answer, raw = self._exchange(method, target, content, self._headers(content, headers), deadline)
        except Unreachable:
            self.use_next()
            raise
        except BaseException:
            self.close()  # interrupted half-way: what is left on the connection belongs to this request
            raise
        plain = answer.headers.get_content_type() == "application/json"
        if answer.status >= 300 and not (plain and answer.status in also):
            error = error_from_answer(
                answer.status, answer.headers.get("Content-Type", ""), raw, answer.headers.get("Retry-After"), str(self.address)
            )
            if isinstance(error, NotReady):
                self.use_next()
            raise error
        found = {name.lower(): value for name, value in answer.headers.items()}
        return Response(answer.status, found, None if returns is None else self._decode(raw, returns))

    @contextmanager
    def lines(self, path: str, *, headers: Mapping[str, str] | None = None, silence: float = 45.0) -> Iterator[Iterator[bytes]]:
        """The lines of an answer that goes on (``text/event-stream``), each without its end, on a connection of its own.

        ``silence`` in seconds bounds the wait for each line. Raises as :meth:`request` does, while the lines are read, too.
        """
        with self._told():
            connection, timed = self._connect(time.monotonic() + self.timeout)
        try:
            sent = {**self._headers(None, headers), "Accept": "text/event-stream, application/problem+json"}
            with self._told(), _as_http():
                connection.request("GET", self.address.prefix + path, headers=sent)
                answer = connection.getresponse()
                kind = answer.headers.get_content_type()
                raw = b"" if kind == "text/event-stream" else answer.read(MAX_LINE)
            if answer.status >= 300:
                raise error_from_answer(answer.status, kind, raw, answer.headers.get("Retry-After"), str(self.address))
            if kind != "text/event-stream":
                raise ConfigurationProblem(f"{self.address} does not send events here: is it an Overseer server of this version?")
            yield self._lines_of(answer, timed, silence)
        except NotReady:
            self.use_next()
            raise
        finally:
            connection.close()

    def _lines_of(self, answer: http.client.HTTPResponse, timed: TimedSocket, silence: float) -> Iterator[bytes]:
        with self._told(), _as_http():
            while True:
                timed.deadline = time.monotonic() + silence
                line = answer.readline(MAX_LINE + 1)
                if not line:
                    return
                if len(line) > MAX_LINE:
                    raise self._too_large()
                yield line.rstrip(b"\r\n")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Failures of the connection as the errors that people understand."""
        try:
            yield
        except ssl.SSLCertVerificationError as error:
            raise ConfigurationProblem(
                f"cannot trust {self.address}: {error.verify_message}; give the server's CA as OVERSEER_CA_FILE (or --ca-file)"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"cannot reach {self.address}: {_cause(error)}") from None

    def _headers(self, content: bytes | None, extra: Mapping[str, str] | None) -> dict[str, str]:
        headers = {"User-Agent": self.user_agent, "Accept": "application/json, application/problem+json"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        if self.token is not None:
            headers["Authorization"] = "Bearer " + _token_text(self.token)
        headers.update(extra or {})
        return headers

    def _exchange(
        self, method: str, target: str, content: bytes | None, headers: dict[str, str], deadline: float
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = self._live_connection(deadline)
        connection.request(method, self.address.prefix + target, body=content, headers=headers)
        with _as_http():
            return self._receive(connection)

    def _receive(self, connection: http.client.HTTPConnection) -> tuple[http.client.HTTPResponse, bytes]:
        answer = connection.getresponse()
        length = answer.headers.get("Content-Length", "0")
        if re.fullmatch(r"[0-9]{1,19}", length) is None:
            raise http.client.HTTPException
        if int(length) > self.max_response_bytes:
            raise self._too_large()
        parts, size = [], 0
        while chunk := answer.read1(1 << 18):
            size += len(chunk)
            if size > self.max_response_bytes:
                raise self._too_large()
            parts.append(chunk)
        answer.read()  # takes the end of a chunked answer, so that the connection can serve again
        if answer.will_close:
            self.close()
        return answer, b"".join(parts)

    def _live_connection(self, deadline: float) -> http.client.HTTPConnection:
        if self._connection is not None and _is_stale(self._connection):
            self.close()
        if self._connection is None or self._timed is None:
            self._connection, self._timed = self._connect(deadline)
        self._timed.deadline = deadline
        return self._connection

    def _connect(self, deadline: float) -> tuple[http.client.HTTPConnection, TimedSocket]:
        """To the current address, else to the next that answers. A certificate that is wrong is not passed over in silence."""
        for others in reversed(range(len(self.addresses))):
            try:
                return self._open(min(deadline, time.monotonic() + CONNECT_SECONDS) if others else deadline)
            except ssl.SSLCertVerificationError:
                raise
            except OSError as error:
                if others and time.monotonic() < deadline:
                    self.use_next()
                elif len(self.addresses) == 1:
                    raise
                else:
                    tried = ", ".join(map(str, self.addresses))
                    raise Unreachable(f"cannot reach any of {tried}: {_cause(error)}") from None
        raise AssertionError("unreachable: the last address returns or raises")

    def _open(self, deadline: float) -> tuple[http.client.HTTPConnection, TimedSocket]:
        host, port, left = self.address.host, self.address.port, max(0.001, deadline - time.monotonic())
        if self._tls is not None and self.address.secure:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(host, port, timeout=left, context=self._tls)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=left)
        connection.connect()
        timed = TimedSocket(connection.sock, deadline)
        connection.sock = timed  # all that http.client uses of a socket
        return connection, timed

    def _too_large(self) -> TooLarge:
        return TooLarge(f"{self.address} sent more than {self.max_response_bytes} bytes; ask for a smaller page or fewer names")

    def _decode(self, raw: bytes, returns: type[Value]) -> Value:
        try:
            return msgspec.json.decode(raw, type=returns)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            # The parser's own words could hold a piece of the answer.
            raise ConfigurationProblem(
                f"{self.address} sent an answer that this version does not understand: is it an Overseer server of this version?"
            ) from None


def tls_context(ca_file: str | Path | None) -> ssl.SSLContext:
    """TLS for a client: the CA in ``ca_file`` alone where one is given, else the system's CAs. TLS 1.2 is the oldest version."""
    try:
        if ca_file is None:
            context = ssl.create_default_context()
        else:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # starts with no CA at all, and checks host names
            context.load_verify_locations(cafile=str(ca_file))
    except (OSError, ssl.SSLError):
        raise ConfigurationProblem(f"the CA file {ca_file} cannot be read as PEM certificates") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _token_text(token: SecretValue) -> str:
    raw = token.reveal()
    if not raw or not raw.isascii() or any(byte <= 0x20 or byte == 0x7F for byte in raw):
        raise ConfigurationProblem("the token holds blanks or characters that no token has: copy it again")
    return raw.decode("ascii")


@contextmanager
def _as_http() -> Iterator[None]:
    """What the standard library did not foresee in a head or a chunk, as the error for what is not HTTP."""
    try:
        yield
    except (ValueError, OverflowError):
        raise http.client.HTTPException from None


def _is_stale(connection: http.client.HTTPConnection) -> bool:
    """True where the peer closed an idle connection: it is readable although nothing was asked."""
    if connection.sock is None:
        return True
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


def _cause(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, http.client.HTTPException):
        return "the connection was closed or the answer is not HTTP"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return type(error).__name__

"""Who may ask: no other web site, nobody without the token where there is one.

A page of another site can send requests to this computer, and by DNS rebinding even under a name of
its own. So a request must name this computer as its host, and what changes something must come from
our own page. Beyond this computer a token is needed, which a browser keeps as a cookie.
"""

from __future__ import annotations

import hmac
import ipaddress
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN = "token"
"""In the address that is printed."""
_SAFE = ("GET", "HEAD")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
"""Of every answer."""


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this computer alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Guard:
    """Lets through what may ask, and adds the headers of every answer.

    Without a token the hosts' names are checked instead; with one they may be any, since nobody
    knows by what names others reach this computer.
    """

    def __init__(self, app: ASGIApp, host: str, token: str = "") -> None:
        self._app, self._token = app, token
        self._hosts = {"localhost", "127.0.0.1", "[::1]", host, f"[{host}]"}
        self._cookie = "umss-jax"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http":
            return
        refused = self._refused(scope)
        answer: ASGIApp = self._app if refused is None else refused

        async def send_all(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("content-security-policy", _POLICY)
            await send(message)

        await answer(scope, receive, send_all)

    def _refused(self, scope: Scope) -> Response | None:
        """The answer to who may not ask."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._token and _host_name(host) not in self._hosts:
            return _line("This page goes by the name of 127.0.0.1 or localhost.", 421)
        if not _is_own(scope["method"], headers, host):
            return _line("This page takes no requests from other sites.", 403)
        return self._without_token(scope, headers) if self._token else None

    def _without_token(self, scope: Scope, headers: Headers) -> Response | None:
        given = parse_qs(scope["query_string"].decode("latin-1")).get(TOKEN, [""])[0]
        if scope["path"] == "/" and scope["method"] == "GET" and self._fits(given):
            answer = RedirectResponse("/", 303)
            answer.set_cookie(self._name(scope), given, httponly=True, samesite="strict")
            return answer
        if self._fits(_cookies(headers).get(self._name(scope), "")):
            return None
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._fits(bearer.strip()):
            return None
        return _line("Open the address that umss-jax app printed: its token is missing here.", 401)

    def _fits(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())

    def _name(self, scope: Scope) -> str:
        """Of the cookie: browsers send those of other ports too."""
        server: Any = scope.get("server") or ("", "")
        return f"{self._cookie}-{server[1]}"


def _host_name(host: str) -> str:
    """A host without its port, in small letters."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()


def _is_own(method: str, headers: Headers, host: str) -> bool:
    """Whether a request may be of our page, or of no page at all."""
    site = headers.get("sec-fetch-site", "none")
    is_link = headers.get("sec-fetch-mode") == "navigate" and (
        headers.get("sec-fetch-dest") == "document"
    )
    if site not in ("none", "same-origin") and not (method in _SAFE and is_link):
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    return urlsplit(origin).netloc.lower() == host.lower() and origin != "null"


def _cookies(headers: Headers) -> dict[str, str]:
    try:
        return {name: one.value for name, one in SimpleCookie(headers.get("cookie", "")).items()}
    except CookieError:
        return {}


def _line(text: str, status: int) -> Response:
    return PlainTextResponse(f"{text}\n", status)

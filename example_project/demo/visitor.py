"""A visitor without a browser: cookies, forms and downloads, from the standard library alone."""

from __future__ import annotations

import html
import re
import secrets
from dataclasses import dataclass
from http.cookiejar import CookieJar
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin, urlsplit
from urllib.request import HTTPCookieProcessor, OpenerDirector, ProxyHandler, Request, build_opener

PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Page:
    """What the server answered, after redirects."""

    status: int
    url: str
    text: str

    def number(self, element_id: str) -> int:
        """Return the whole number shown by the element with this id."""
        found = re.search(rf'id="{element_id}"[^>]*>([\d,]+)<', self.text)
        if found is None:
            raise LookupError(f"{self.url} shows no number with the id {element_id!r}.")
        return int(found[1].replace(",", ""))

    @property
    def progress(self) -> int | None:
        """The value of the page's progress bar."""
        found = re.search(r'<progress id="progress" max="100" value="(\d+)"', self.text)
        return int(found[1]) if found else None

    @property
    def words(self) -> str:
        """The beginning of what the page says, without its markup."""
        body = self.text.partition("<main")[2] or self.text
        return html.unescape(" ".join(re.sub(r"<[^>]*>?", " ", body).split()))[:1000]

    @property
    def reloads(self) -> bool:
        """Whether the page asks the browser to come back."""
        return 'http-equiv="refresh"' in self.text


class Visitor:
    """One browser session on the site at `base`."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._cookies = CookieJar()
        self._opener: OpenerDirector = build_opener(ProxyHandler({}), HTTPCookieProcessor(self._cookies))

    def get(self, path: str) -> Page:
        """Open a page."""
        return self._open(Request(urljoin(self._base, path)))  # noqa: S310 - an http address of our own

    def press(self, page: Page, action: str, fields: dict[str, str] | None = None) -> Page:
        """Send the form of `page` that goes to `action`, its CSRF token included."""
        body = urlencode({"csrfmiddlewaretoken": _token(page, action), **(fields or {})})
        return self.post(action, body.encode(), "application/x-www-form-urlencoded")

    def download(self, path: str) -> bytes:
        """Return the bytes of a file, or nothing when there is none."""
        try:
            with self._opener.open(urljoin(self._base, path), timeout=PATIENCE) as answer:
                return bytes(answer.read())
        except HTTPError as error:
            with error:
                return b""

    def upload(self, page: Page, action: str, name: str, data: bytes, field: str = "file") -> Page:
        """Send the upload form of `page` with a file."""
        boundary = secrets.token_hex(16)
        part = f"--{boundary}\r\nContent-Disposition: form-data; name="
        head = (
            f'{part}"csrfmiddlewaretoken"\r\n\r\n{_token(page, action)}\r\n'
            f'{part}"{field}"; filename="{name}"\r\nContent-Type: application/octet-stream\r\n\r\n'
        )
        body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
        return self.post(action, body, f"multipart/form-data; boundary={boundary}")

    def post(self, path: str, body: bytes, content_type: str) -> Page:
        """Send a body."""
        return self._open(Request(urljoin(self._base, path), body, {"Content-Type": content_type}))  # noqa: S310

    def _open(self, request: Request) -> Page:
        try:
            with self._opener.open(request, timeout=PATIENCE) as answer:
                return Page(answer.status, answer.url, answer.read().decode())
        except HTTPError as error:
            with error:
                return Page(error.code, error.url, error.read().decode())


def _token(page: Page, action: str) -> str:
    form = re.search(rf'<form[^>]*action="{re.escape(action)}".*?</form>', page.text, re.DOTALL)
    if form is None and urlsplit(page.url).path == action:  # a form without an action goes to its own page
        form = re.search(r'<form(?![^>]*action=)[^>]*method="post".*?</form>', page.text, re.DOTALL)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form[0]) if form else None
    if token is None:
        raise LookupError(f"{page.url} has no form with a CSRF token that goes to {action}.")
    return html.unescape(token[1])

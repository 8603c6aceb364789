# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Files on a web server: asked for with Ansible's own code (proxies, TLS, authentication), read through connections that break.

Source: RFC 9110, sections 13 (conditions) and 14 (ranges).
"""

from __future__ import annotations

import contextlib
import http.client
import re
import ssl
import time
import typing as t
import urllib.error
import urllib.parse

from ansible.module_utils.urls import open_url

from .._engine.errors import AccessError, UnsupportedImage, printable
from .._engine.limits import MIB

URL = {
    "url_username": {"type": "str"},
    "url_password": {"type": "str", "no_log": True},
    "force_basic_auth": {"type": "bool", "default": False},
    "headers": {"type": "dict", "default": {}},
    "http_agent": {"type": "str", "default": "ansible-vmimage-prep"},
    "use_proxy": {"type": "bool", "default": True},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path", "no_log": False},
    "timeout": {"type": "int", "default": 30},
    "retries": {"type": "int", "default": 5},
}
"""Options of a module that asks a web server"""

_SECRETS = ("url_username", "url_password", "force_basic_auth", "client_cert", "client_key")
_FOR_ONE_SERVER = ["Authorization", "Cookie", "Proxy-Authorization"]
_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_PROGRESS = 1 * MIB
"""As much as this has to come for the failures before not to count any more"""
_LONGEST_PAUSE = 30.0
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-[0-9]{1,19}/([0-9]{1,19}|\*)", re.ASCII)
_LENGTH = re.compile(r"[0-9]{1,19}", re.ASCII)


class SourceError(AccessError):
    """A server, or a file on this node, does not give what it is asked for."""


class FromTheBeginning(Exception):
    """The server cannot go on where the connection broke: what was read does not count, and reading has begun anew."""


class Version(t.NamedTuple):
    """What tells one version of a file on a server from another."""

    etag: str | None
    last_modified: str | None
    length: int | None
    """bytes; None when the server does not say"""

    @property
    def validator(self) -> str | None:
        """What may stand in If-Range: a strong entity tag, or a date."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified


NO_VERSION = Version(None, None, None)


class Client:
    """Asks servers as the options of a module say.

    :param params: the module's; has the options of URL
    :param home: the URL that user, password, certificate and headers are for: another server does not get them
    """

    def __init__(self, params: dict[str, t.Any], home: str) -> None:
        self._params = params
        self._home = _server(home)

    def get(self, url: str, headers: dict[str, str]) -> t.Any:
        """The server's answer to a GET, whatever it is; None when nobody answers and to ask again may help.

        :raises SourceError: nobody answers, and that will not change
        """
        params = self._params
        at_home = _server(url) == self._home
        given = {str(name): str(value) for name, value in params["headers"].items()} if at_home else {}
        try:
            return open_url(
                url,
                method="GET",
                # The bytes as they are stored: a compressed image stays compressed.
                headers={**given, "Accept-Encoding": "identity", **headers},
                unredirected_headers=[*_FOR_ONE_SERVER, *given],
                decompress=False,
                follow_redirects="safe",
                timeout=params["timeout"],
                http_agent=params["http_agent"],
                use_proxy=params["use_proxy"],
                validate_certs=params["validate_certs"],
                ca_path=params["ca_path"],
                **({name: params[name] for name in _SECRETS} if at_home else {}),
            )
        except urllib.error.HTTPError as error:
            return error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            message = f"cannot be fetched: {printable(str(reason) or type(reason).__name__)}"
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise SourceError(message, path=shown(url), hint="Name the certificate of its authority with ca_path") from error
            if isinstance(reason, http.client.InvalidURL):
                raise SourceError(message, path=shown(url)) from error
            raise _Silence(message, path=shown(url)) from error
        except Exception as error:  # Ansible's own: a certificate that cannot be read, a URL that is none, a library that is missing
            raise SourceError(f"cannot be fetched: {printable(str(error))}", path=shown(url)) from error

    def small(self, url: str, limit: int) -> bytes:
        """The content of a small file: at most ``limit`` bytes and one more.

        :raises SourceError: it cannot be had
        """
        download = Download(self, url, self._params["retries"])
        download.start()
        data = b""
        with contextlib.closing(download):
            while len(data) <= limit:
                try:
                    piece = download.read(limit + 1 - len(data))
                except FromTheBeginning:
                    data = b""
                    continue
                if not piece:
                    break
                data += piece
        return data


class _Silence(SourceError):
    """Nobody answered, or the connection broke; the next attempt may succeed."""


class Download:
    """The bytes of a file on a server from a position to its end, through connections that break.

    After :meth:`start`, ``version``, ``status`` (of HTTP), ``url`` (where redirections led) and ``position`` (of the next byte) are known.

    :param retries: how often in a row a connection may fail without anything being gained
    :param provable: a checksum will tell whether parts belong together that a server sends without saying of which version they are
    """

    def __init__(self, client: Client, url: str, retries: int, *, provable: bool = False) -> None:
        self._client = client
        self._asked = url
        self._retries = retries
        self._provable = provable
        self._failures = 0
        self._best = 0
        self._response: t.Any = None
        self.version = NO_VERSION
        self.status = 0
        self.url = shown(url)
        self.position = 0
        self.received = 0
        """bytes that came over the network"""

    def start(self, position: int = 0, version: Version = NO_VERSION, *, unless: Version | None = None) -> bool:
        """Ask for the file.

        :param position: where to begin, if the server still has this ``version``; it begins at 0 if not
        :param unless: a version that is not needed again
        :returns: False when the file is that version
        :raises SourceError: the server does not give the file
        """
        self._best, self._failures = position, 0
        if position and position == version.length:  # nothing is missing
            self.version, self.position = version, position
            return True
        while True:
            try:
                return self._ask(position, version, unless)
            except _Silence as error:
                self._pause(error)

    def read(self, length: int) -> bytes:
        """The next bytes, at most ``length``; none at the end.

        :raises FromTheBeginning: the connection broke, and the server begins with the first byte again
        :raises SourceError: the connection broke too often
        """
        while True:
            if self.version.length is not None:
                length = max(0, min(length, self.version.length - self.position))
            if not length:
                return b""
            try:
                if self._response is None:
                    self._reconnect()
                data = self._receive(length)
            except _Silence as error:
                self.close()
                self._pause(error)
                continue
            self.position += len(data)
            self.received += len(data)
            if self.position >= self._best + _PROGRESS:
                self._best, self._failures = self.position, 0
            return data

    def close(self) -> None:
        if self._response is not None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                self._response.close()
            self._response = None

    def _ask(self, position: int, version: Version, unless: Version | None) -> bool:
        headers = {}
        if not (version.validator or self._provable):
            position = 0
        if position:
            headers["Range"] = f"bytes={position}-"
            if version.validator:
                headers["If-Range"] = version.validator
        elif unless:
            if unless.etag:
                headers["If-None-Match"] = unless.etag
            if unless.last_modified:
                headers["If-Modified-Since"] = unless.last_modified
        response = self._client.get(self._asked, headers)
        status = response.status
        if position and (status == 416 or (status == 206 and not _continues(response.headers, position, version))):
            response.close()
            return self._ask(0, NO_VERSION, None)
        if status == 304 and unless:
            response.close()
            self.status = status
            return False
        if status not in (200, 206) or (status == 206 and not position):
            response.close()
            message = f"the server answers {status} ({printable(str(response.reason))})"
            raise (_Silence if status in _TRY_AGAIN else SourceError)(message, path=shown(self._asked))
        self._response = response
        self.status = status
        self.url = shown(response.geturl())
        if status == 206:
            self.position = position
            self.version = Version(version.etag, version.last_modified, _total(response.headers, version.length))
        else:
            self.position = 0
            length = _LENGTH.fullmatch(response.headers.get("Content-Length", ""))
            self.version = Version(response.headers.get("ETag"), response.headers.get("Last-Modified"), int(length[0]) if length else None)
        return True

    def _reconnect(self) -> None:
        position = self.position
        self._ask(position, self.version, None)
        if position and not self.position:
            raise FromTheBeginning

    def _receive(self, length: int) -> bytes:
        try:
            # What is there: to wait for more would lose it when the connection breaks.
            data: bytes = self._response.read1(length)
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a chunk's length that is none
            raise _Silence(f"the connection broke at byte {self.position}: {printable(str(error) or type(error).__name__)}", path=shown(self._asked)) from error
        if not data and self.version.length is not None and self.position < self.version.length:
            raise _Silence(f"the connection ended at byte {self.position} of {self.version.length}", path=shown(self._asked))
        return data

    def _pause(self, error: _Silence) -> None:
        """Wait before the next attempt, if there is to be one."""
        if self._failures >= self._retries:
            raise error
        time.sleep(min(2.0**self._failures, _LONGEST_PAUSE))
        self._failures += 1


def _continues(headers: t.Any, position: int, version: Version) -> bool:
    """Whether a part of a file is the one that was asked for, of the same version."""
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if found is None or int(found[1]) != position:
        return False
    if found[2] != "*" and version.length is not None and int(found[2]) != version.length:
        return False
    return headers.get("ETag") in (None, version.etag)


def _total(headers: t.Any, known: int | None) -> int | None:
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    return int(found[2]) if found is not None and found[2] != "*" else known


def shown(url: str) -> str:
    """The URL without user and password."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def is_remote(url: str) -> bool:
    """Whether a file is on a server, and not on this node.

    :raises UnsupportedImage: it can be had in neither way
    """
    try:
        scheme = urllib.parse.urlsplit(url).scheme.lower() if "://" in url else ""
    except ValueError as error:
        raise UnsupportedImage(f"is no URL ({error})", path=url) from error
    if scheme in ("http", "https"):
        return True
    if scheme not in ("", "file") or not local_path(url).startswith("/"):
        raise UnsupportedImage("is neither a URL (http, https, file) nor an absolute path", path=shown(url))
    return False


def local_path(url: str) -> str:
    """The path on this node that a path or a file URL names."""
    if "://" not in url:
        return url
    parts = urllib.parse.urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise UnsupportedImage("a file URL names a file on this node: file:///path", path=shown(url))
    return urllib.parse.unquote(parts.path)


def _server(url: str) -> tuple[str, str]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme.lower(), parts.netloc.rpartition("@")[2].lower()

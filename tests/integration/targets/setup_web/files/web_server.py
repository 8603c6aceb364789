# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A web server that behaves as servers and networks do: web_server.py FOLDER [CERTIFICATE KEY] serves the files in FOLDER on a free port.

It writes its URL to FOLDER.url and ends when somebody POSTs to it, or after ten minutes. The first part of a path says what happens:

=========== =========================================================================================
/plain/     ranges, an entity tag and a time of modification, as nginx and Apache do it
/bare/      neither ranges nor anything that tells one version from another
/unnamed/   ranges, but nothing that tells one version from another
/breaks/    plain, and the connection breaks after 300 000 bytes (2 500 000, of a file with more than twice as many), each time
/once/      bare, and the connection breaks like that the first time
/chunked/   bare, in chunks; the last one is missing the first time
/other/     breaks, and the file is another one (its bytes inverted) from the second request on
/stubborn/  breaks the first time, and from then on all of the file comes whatever range is asked for
/refuses/   breaks the first time, and ranges are answered with 416 from then on
/slow/      plain, 64 KiB every 20 ms
/busy/      503 the first time
/moved/     a redirection to /plain/
/away/      a redirection to /plain/ on another name of this server
/private/   plain, for the user "reader" with the password "secret"
/packed/    plain, and what is stored compressed is said to be encoded so
=========== =========================================================================================

A path with a query is disk.img, as servers do it that count downloads. GET /log gives the requests so far, as JSON.
"""

from __future__ import annotations

import base64
import email.utils
import hashlib
import http.server
import json
import os
import re
import ssl
import sys
import threading
import time
import urllib.parse

BREAK, LATER = 300_000, 2_500_000
LIFE = 600


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.entry = {}
        if self.path == "/log":
            return self.answer(200, json.dumps(self.server.requests).encode(), {"Content-Type": "application/json"})
        _empty, how, name = self.path.split("/", 2)
        entry = {"how": how, "name": name, "status": None, **{key: self.headers[key] for key in ("Range", "If-Range", "If-None-Match", "Authorization")}}
        first = not any(before["how"] == how and before["name"] == name for before in self.server.requests)
        self.server.requests.append(entry)
        self.entry = entry
        return self.give(how, name, first)

    def do_POST(self):
        self.entry = {}
        self.answer(200, b"", {})
        threading.Thread(target=self.server.shutdown).start()

    def give(self, how, name, first):
        path = os.path.join(self.server.folder, "disk.img" if "?" in name else os.path.basename(urllib.parse.unquote(name)))
        if how in ("moved", "away"):
            host = self.headers["Host"].replace("127.0.0.1", "localhost") if how == "away" else self.headers["Host"]
            return self.answer(302, b"", {"Location": f"{self.server.scheme}://{host}/plain/{name}"})
        if how == "busy" and first:
            return self.answer(503, b"later", {})
        if how == "private" and self.headers["Authorization"] != "Basic " + base64.b64encode(b"reader:secret").decode():
            return self.answer(401, b"", {"WWW-Authenticate": 'Basic realm="images"'})
        if not os.path.isfile(path):
            return self.answer(404, b"<html>no such file</html>", {})
        with open(path, "rb") as file:
            data = file.read()
        if how == "other" and not first:
            data = bytes(data).translate(bytes(255 - byte for byte in range(256)))
        headers = {}
        if how not in ("bare", "once", "chunked", "unnamed"):
            headers["ETag"] = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
            headers["Last-Modified"] = email.utils.formatdate(os.stat(path).st_mtime, usegmt=True)
            if self.headers["If-None-Match"] == headers["ETag"]:
                return self.answer(304, None, headers)
        if how == "packed":
            headers["Content-Encoding"] = "gzip"
        if how == "chunked":
            return self.chunks(data, first)
        if how == "refuses" and self.headers["Range"]:
            return self.answer(416, b"", {})
        status, start = 200, self.start(headers) if how not in ("bare", "once", "chunked", "stubborn") else 0
        if start:
            status, headers["Content-Range"] = 206, f"bytes {start}-{len(data) - 1}/{len(data)}"
        breaks = how in ("breaks", "other", "unnamed") or (how in ("once", "stubborn", "refuses") and first)
        return self.answer(status, data[start:], headers, (LATER if len(data) > 2 * LATER else BREAK) if breaks else None, 0.02 if how == "slow" else 0)

    def start(self, headers):
        """Where the range begins that is asked for, if it is to be given."""
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        condition = self.headers["If-Range"]
        return int(wanted[1]) if wanted and (condition is None or condition in headers.values()) else 0

    def answer(self, status, data, headers, most=None, pause=0):
        self.entry["status"] = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if data is not None:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        data = data or b""
        for position in range(0, len(data[:most]), 65536):
            self.wfile.write(data[:most][position : position + 65536])
            time.sleep(pause)
        if most is not None and most < len(data):
            self.close_connection = True

    def chunks(self, data, broken):
        self.entry["status"] = 200
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for position in range(0, len(data), 65536):
            chunk = data[position : position + 65536]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        if broken:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_arguments):
        pass

    def handle(self):
        try:
            super().handle()
        except OSError:  # who asked has gone
            pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, folder, certificate=None, key=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = str(folder)
        self.requests = []
        self.scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            self.socket = context.wrap_socket(self.socket, server_side=True)
            self.scheme = "https"
        self.url = f"{self.scheme}://127.0.0.1:{self.server_address[1]}"


def main():
    server = Server(*sys.argv[1:])
    with open(f"{server.folder}.url.new", "w", encoding="ascii") as file:
        file.write(server.url)
    os.rename(f"{server.folder}.url.new", f"{server.folder}.url")
    end = threading.Timer(LIFE, server.shutdown)
    end.daemon = True
    end.start()
    server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main()

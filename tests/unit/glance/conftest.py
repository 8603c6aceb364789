# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of a real Glance that is no SDK: only HTTP, so that what Glance says arrives as it says it."""

from __future__ import annotations

import http.client
import json
import re
import sys
import types
import urllib.parse
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))


class Client:
    """Glance's Image API v2."""

    def __init__(self, url):
        self.address = urllib.parse.urlparse(url).netloc

    def call(self, method, path, body=b"", kind="application/json"):
        """The status and the content of an answer."""
        connection = http.client.HTTPConnection(self.address, timeout=120)
        try:
            try:
                connection.request(method, path, body, {"Content-Type": kind})
            except (BrokenPipeError, ConnectionResetError):
                pass  # it has seen enough, and its answer is there to be read
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def json(self, method, path, body=None):
        status, content = self.call(method, path, b"" if body is None else json.dumps(body).encode())
        assert 200 <= status < 300, content
        return json.loads(content)

    def create(self, **fields):
        """Make an image without content; the answer as it is."""
        return self.call("POST", "/v2/images", json.dumps(fields).encode())

    def show(self, image):
        return self.json("GET", f"/v2/images/{image}")

    def put(self, image, path):
        """Upload a file as the image's content."""
        return self.call("PUT", f"/v2/images/{image}/file", path.read_bytes(), "application/octet-stream")

    def download(self, image):
        status, content = self.call("GET", f"/v2/images/{image}/file")
        assert status == 200, content
        return content

    def delete(self, image):
        status, content = self.call("DELETE", f"/v2/images/{image}")
        assert status == 204, content

    def upload(self, path, **fields):
        """Create, upload, and what became of it: status of the call that decided, what Glance said, the image, its id."""
        status, content = self.create(name=path.name, **fields)
        if status != 201:
            return types.SimpleNamespace(status=status, said=words(content), image=None)
        image = json.loads(content)["id"]
        status, content = self.put(image, path)
        return types.SimpleNamespace(status=status, said=words(content), image=self.show(image))


def words(content):
    """The text of an answer, which is a page of HTML when it refuses."""
    return " ".join(re.sub(r"<[^>]+>", " ", content.decode()).split())


@pytest.fixture(scope="session")
def client(glance):
    return Client(glance)


@pytest.fixture(scope="session")
def uploads(tmp_path_factory, qemu_img, program):
    """uploads.path(name) makes a file; see tests/tools/build_uploads.py."""
    from build_uploads import Uploads

    for name in ("sfdisk", "sgdisk", "parted", "mkfs.ext4", "mkfs.vfat", "mkntfs", "mksquashfs", "mkudffs", "xorriso", "grub-mkrescue", "xz"):
        program(name)
    return Uploads(tmp_path_factory.mktemp("uploads"), qemu_img)

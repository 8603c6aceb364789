# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of the files of test_uploads.py when a real Glance imports them with its plugins, and that our verdict says so before."""

from __future__ import annotations

import concurrent.futures
import json
import re
import subprocess
import time
import types

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.openstack.verdict import judge

from .conftest import words
from .test_uploads import ANSWERS

# Why the plugin image_conversion refuses what is accepted as an upload (its log, in the words of REASONS); it takes all the others.
REFUSED = {
    ("our-vhd", "vhd", "bare"): "qemu-img",
    ("our-vhd-rounded", "vhd", "bare"): "qemu-img",
    ("our-vhd-512k", "vhd", "bare"): "qemu-img",
    ("our-vhdx-4k", "vhdx", "bare"): "qemu-img",
    ("qcow2", "raw", "bare"): "mismatch",
    ("vmdk", "raw", "bare"): "mismatch",
    ("vmdk-stream", "raw", "bare"): "mismatch",
    ("vdi", "raw", "bare"): "mismatch",
    ("vhd", "vhd", "bare"): "qemu-img",
    ("vhd", "raw", "bare"): "mismatch",
    ("vhd-rounded", "vhd", "bare"): "qemu-img",
    ("vhdx", "raw", "bare"): "mismatch",
    ("parallels", "ploop", "bare"): "mismatch",
    ("luks", "raw", "bare"): "mismatch",
    ("qcow2-luks", "qcow2", "bare"): "qemu-img",
    ("qcow2-luks", "raw", "bare"): "mismatch",
    ("vmdk-child", "vmdk", "bare"): "backing",
    ("vmdk-child", "raw", "bare"): "mismatch",
    ("vhdx-no-region", "vhdx", "bare"): "qemu-img",
    ("qcow2-of-qcow2", "qcow2", "bare"): "unexpected",
    ("qcow2-of-iso", "qcow2", "bare"): "unexpected",
    ("qcow2-of-iso-mbr", "qcow2", "bare"): "several",
    ("qcow2-of-bad-mbr", "qcow2", "bare"): "disallowed",
    ("vmdk-of-luks", "vmdk", "bare"): "unexpected",
    ("iso", "raw", "bare"): "disallowed",
    ("iso-mbr", "iso", "bare"): "several",
    ("iso-gpt", "iso", "bare"): "several",
    ("iso-grub", "iso", "bare"): "several",
    ("kernel", "aki", "aki"): "disallowed",
    ("ramdisk", "ari", "ari"): "mismatch",
    ("ext4", "ami", "ami"): "mismatch",
    ("gpt", "ami", "ami"): "mismatch",
    ("qcow2", "ami", "ami"): "mismatch",
    ("qcow2-backing", "ami", "ami"): "disallowed",
    ("ramdisk", "ari", "bare"): "mismatch",
    ("ramdisk", "aki", "bare"): "mismatch",
    ("ext4", "ami", "bare"): "mismatch",
    ("ext4", "aki", "bare"): "mismatch",
    ("ext4", "ami", "aki"): "mismatch",
    ("kernel", "ami", "ami"): "disallowed",
    ("kernel", "qcow2", "aki"): "disallowed",
    ("zeros", "ami", "bare"): "mismatch",
    ("ova", "vmdk", "ova"): "mismatch",
    ("qcow2.gz", "qcow2", "compressed"): "mismatch",
    ("vmdk-child", "vmdk", "ovf"): "backing",
    ("qcow2-backing", "qcow2", "docker"): "disallowed",
}
REASONS = {
    "mismatch": "Image format mismatch",
    "disallowed": "Image has disallowed configuration",
    "several": "Image format detection failed",
    "unexpected": "Converted image in unexpected format",
    "backing": "QCOW images with backing files are not allowed",
    "qemu-img": "Unexpected error while running command",
}
CHECKS = {
    "mismatch": ("format_match", "disk_format"),
    "disallowed": ("safety", "converted", "format_match", "disk_format"),
    "several": ("multiple_formats", "converted"),
    "unexpected": ("converted",),
    "backing": ("references",),
    "qemu-img": ("qemu_format", "sector_size", "encrypted", "damaged"),
}
"""what our verdict may call it: it names the first thing that is wrong, which need not be what Glance comes upon first"""
UPLOADED = [row[:3] for row in ANSWERS if row[3] == "accepted"]
NOT_UPLOADED = [
    ("mbr", "qcow2", "bare"),
    ("mbr-bad-flag", "raw", "bare"),
    ("qcow2-backing", "qcow2", "bare"),
    ("qcow2-and-iso", "qcow2", "bare"),
    ("vmdk-flat", "vmdk", "bare"),
    ("vmdk-header", "vmdk", "bare"),
    ("iso-mbr", "raw", "bare"),
    ("qed", "raw", "bare"),
]
"""of each kind of refusal one"""
PATIENCE = 300


def bring(client, path, disk_format, container_format):
    """Import a file: its task when that has ended, the image, and its content."""
    status, content = client.create(name=path.name, disk_format=disk_format, container_format=container_format)
    assert status == 201, words(content)
    image = json.loads(content)["id"]
    status, content = client.call("PUT", f"/v2/images/{image}/stage", path.read_bytes(), "application/octet-stream")
    assert status == 204, words(content)
    status, content = client.call("POST", f"/v2/images/{image}/import", json.dumps({"method": {"name": "glance-direct"}}).encode())
    assert status == 202, words(content)
    end = time.monotonic() + PATIENCE
    while True:
        task = client.json("GET", f"/v2/images/{image}/tasks")["tasks"][0]
        if task["status"] in ("success", "failure"):
            break
        assert time.monotonic() < end, task
        time.sleep(0.1)
    shown = client.show(image)
    content = client.download(image) if shown["status"] == "active" else None
    client.delete(image)
    return types.SimpleNamespace(task=task, image=shown, content=content)


@pytest.fixture(scope="module")
def imports(client, uploads):
    """All imports, some at a time, as most of an import is waiting."""
    rows = UPLOADED + NOT_UPLOADED
    paths = [uploads.path(name) for name, _disk_format, _container_format in rows]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        done = pool.map(lambda path, row: bring(client, path, *row[1:]), paths, rows)
    return dict(zip(rows, done))


@pytest.fixture(scope="module")
def reason(imports, glance_folder):
    """reason(task) is why an import failed, which only the log knows."""
    log = (glance_folder / "glance.log").read_text(errors="replace")
    return lambda task: re.search(rf"Failed to execute task {task['id']}: (.*)", log)[1]


def the_import_gate(path, row):
    verdict = judge(str(path), disk_format=row[1], container_format=row[2])
    return next((gate for gate in verdict.gates if gate.service == "glance_import"), None)


@pytest.mark.parametrize("row", [row for row in UPLOADED if row not in REFUSED], ids="-".join)
def test_what_is_taken(row, imports, uploads, qemu_img):
    taken, path = imports[row], uploads.path(row[0])
    assert taken.task["status"] == "success"
    assert the_import_gate(path, row).outcome != "refuse"
    assert (taken.image["status"], taken.image["os_injected_by"]) == ("active", "glance")
    if row[1] in ("raw", "iso"):
        assert (taken.image["disk_format"], taken.image["container_format"], taken.content) == (*row[1:], path.read_bytes())
        return
    assert (taken.image["disk_format"], taken.image["container_format"]) == ("raw", "bare")
    assert taken.image["virtual_size"] == taken.image["size"] == len(taken.content)
    converted = path.with_name("converted")
    converted.write_bytes(taken.content)
    subprocess.run([qemu_img, "compare", "-q", "-f", row[1], "-F", "raw", path, converted], check=True)


@pytest.mark.parametrize("row", REFUSED, ids="-".join)
def test_what_is_refused(row, imports, uploads, reason):
    refused = imports[row]
    assert (refused.task["status"], refused.image["status"]) == ("failure", "queued")
    assert REASONS[REFUSED[row]] in reason(refused.task)
    gate = the_import_gate(uploads.path(row[0]), row)
    assert gate.outcome == "refuse"
    assert gate.check in CHECKS[REFUSED[row]]
    assert "Internal Error" in refused.task["message"]  # all that the user is told


@pytest.mark.parametrize("row", NOT_UPLOADED, ids="-".join)
def test_what_no_upload_takes_no_import_takes(row, imports, uploads):
    assert imports[row].task["status"] == "failure"
    assert the_import_gate(uploads.path(row[0]), row) is None

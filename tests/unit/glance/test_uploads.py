# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a real Glance says of files of all kinds, that our verdict says so before, and that what it takes comes back as it was.

What it said is kept in .cache/glance/answers.tsv, to see what another release changes.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.registry import FORMATS
from ansible_collections.vmimage.prep.plugins.module_utils._engine.openstack.verdict import judge

# The file (see tests/tools/build_uploads.py), what it is uploaded as (disk_format, container_format), what Glance says:
#   accepted             it is stored
#   seen as FORMAT       refused: FORMAT is not what was declared
#   several: FORMATS     refused: it is more than one format at once
#   unsafe               refused: what is found in it fails that format's checks
#   incomplete           refused: it ends before what is to be checked
#   unknown FIELD        there is no such format, and nothing to upload to
ANSWERS = [
    ("our-raw", "raw", "bare", "accepted"),
    ("our-qcow2", "qcow2", "bare", "accepted"),
    ("our-qcow2-compressed", "qcow2", "bare", "accepted"),
    ("our-qcow2-zstd", "qcow2", "bare", "accepted"),
    ("our-qcow2-v2", "qcow2", "bare", "accepted"),
    ("our-qcow2-4k", "qcow2", "bare", "accepted"),
    ("our-qcow2-lazy", "qcow2", "bare", "accepted"),
    ("our-qcow2-refcount64", "qcow2", "bare", "accepted"),
    ("our-qcow2-extended", "qcow2", "bare", "unsafe"),
    ("our-qcow2-metadata", "qcow2", "bare", "accepted"),
    ("our-qcow2-backing", "qcow2", "bare", "unsafe"),
    ("our-vmdk", "vmdk", "bare", "accepted"),
    ("our-vmdk-stream", "vmdk", "bare", "accepted"),
    ("our-vmdk-flat", "vmdk", "bare", "unsafe"),
    ("our-vmdk-split", "vmdk", "bare", "unsafe"),
    ("our-vmdk-splitflat", "vmdk", "bare", "unsafe"),
    ("our-vmdk-v6", "vmdk", "bare", "accepted"),
    ("our-vmdk-zeroed", "vmdk", "bare", "accepted"),
    ("our-vmdk-ide", "vmdk", "bare", "accepted"),
    ("our-vdi", "vdi", "bare", "accepted"),
    ("our-vdi-fixed", "vdi", "bare", "accepted"),
    ("our-vhd", "vhd", "bare", "accepted"),
    ("our-vhd-rounded", "vhd", "bare", "accepted"),
    ("our-vhd-512k", "vhd", "bare", "accepted"),
    ("our-vhd-fixed", "vhd", "bare", "seen as gpt"),
    ("our-vhd-fixed", "raw", "bare", "accepted"),
    ("our-vhdx", "vhdx", "bare", "accepted"),
    ("our-vhdx-4k", "vhdx", "bare", "accepted"),
    ("our-vhdx-fixed", "vhdx", "bare", "accepted"),
    ("qcow2", "qcow2", "bare", "accepted"),
    ("qcow2", "raw", "bare", "accepted"),
    ("qcow2-compressed", "qcow2", "bare", "accepted"),
    ("qcow2-zstd", "qcow2", "bare", "accepted"),
    ("qcow2-v2", "qcow2", "bare", "accepted"),
    ("qcow2-lazy", "qcow2", "bare", "accepted"),
    ("qcow2-extended", "qcow2", "bare", "unsafe"),
    ("qcow2-4k", "qcow2", "bare", "accepted"),
    ("qcow2-2m", "qcow2", "bare", "accepted"),
    ("qcow2-refcount1", "qcow2", "bare", "accepted"),
    ("vmdk", "vmdk", "bare", "accepted"),
    ("vmdk", "raw", "bare", "accepted"),
    ("vmdk-stream", "vmdk", "bare", "accepted"),
    ("vmdk-stream", "raw", "bare", "accepted"),
    ("vmdk-flat", "vmdk", "bare", "seen as raw"),
    ("vmdk-flat", "raw", "bare", "accepted"),
    ("vmdk-split", "vmdk", "bare", "seen as raw"),
    ("vmdk-splitflat", "vmdk", "bare", "seen as raw"),
    ("vmdk-v6", "vmdk", "bare", "accepted"),
    ("vdi", "vdi", "bare", "accepted"),
    ("vdi", "raw", "bare", "accepted"),
    ("vdi-static", "vdi", "bare", "accepted"),
    ("vhd", "vhd", "bare", "accepted"),
    ("vhd", "raw", "bare", "accepted"),
    ("vhd-rounded", "vhd", "bare", "accepted"),
    ("vhd-fixed", "vhd", "bare", "seen as gpt"),
    ("vhd-fixed", "raw", "bare", "accepted"),
    ("vhd-fixed-rounded", "vhd", "bare", "seen as gpt"),
    ("vhdx", "vhdx", "bare", "accepted"),
    ("vhdx", "raw", "bare", "accepted"),
    ("vhdx-fixed", "vhdx", "bare", "accepted"),
    ("qcow1", "qcow2", "bare", "unsafe"),
    ("qcow1", "raw", "bare", "unsafe"),
    ("qed", "raw", "bare", "unsafe"),
    ("parallels", "ploop", "bare", "accepted"),
    ("parallels", "raw", "bare", "accepted"),
    ("luks", "luks", "bare", "unknown disk_format"),
    ("luks", "raw", "bare", "accepted"),
    ("qcow2-luks", "qcow2", "bare", "accepted"),
    ("qcow2-luks", "raw", "bare", "accepted"),
    ("qcow2-backing", "qcow2", "bare", "unsafe"),
    ("qcow2-backing", "raw", "bare", "unsafe"),
    ("qcow2-v2-backing", "qcow2", "bare", "unsafe"),
    ("qcow2-data", "qcow2", "bare", "unsafe"),
    ("qcow2-data", "raw", "bare", "unsafe"),
    ("qcow2-data-raw", "qcow2", "bare", "unsafe"),
    ("vmdk-child", "vmdk", "bare", "accepted"),
    ("vmdk-child", "raw", "bare", "accepted"),
    ("mbr-bad-flag", "raw", "bare", "unsafe"),
    ("mbr-no-partition", "raw", "bare", "unsafe"),
    ("mbr-no-signature", "raw", "bare", "accepted"),
    ("mbr-overlapping", "raw", "bare", "accepted"),
    ("gpt-chs", "raw", "bare", "unsafe"),
    ("gpt-lba", "raw", "bare", "unsafe"),
    ("gpt-active", "raw", "bare", "accepted"),
    ("gpt-second", "raw", "bare", "unsafe"),
    ("gpt-cut", "raw", "bare", "accepted"),
    ("fat-no-signature", "raw", "bare", "accepted"),
    ("qcow2-v4", "qcow2", "bare", "unsafe"),
    ("qcow2-v4", "raw", "bare", "unsafe"),
    ("qcow2-dirty", "qcow2", "bare", "accepted"),
    ("qcow2-corrupt", "qcow2", "bare", "accepted"),
    ("qcow2-bit5", "qcow2", "bare", "unsafe"),
    ("qcow2-bit63", "qcow2", "bare", "unsafe"),
    ("qcow2-autoclear", "qcow2", "bare", "accepted"),
    ("qcow2-and-iso", "qcow2", "bare", "several: iso,qcow2"),
    ("qcow2-and-iso", "raw", "bare", "several: iso,qcow2"),
    ("vdi-and-mbr", "vdi", "bare", "several: gpt,vdi"),
    ("vdi-and-mbr", "raw", "bare", "several: gpt,vdi"),
    ("vhdx-and-iso", "vhdx", "bare", "several: iso,vhdx"),
    ("vhdx-no-region", "vhdx", "bare", "accepted"),
    ("vmdk-footer-descriptor", "vmdk", "bare", "unsafe"),
    ("vmdk-footer-version", "vmdk", "bare", "unsafe"),
    ("vmdk-no-end-marker", "vmdk", "bare", "unsafe"),
    ("luks-v3", "luks", "bare", "unknown disk_format"),
    ("luks-v3", "raw", "bare", "unsafe"),
    ("qcow2-300-bytes", "qcow2", "bare", "seen as raw"),
    ("qcow2-300-bytes", "raw", "bare", "accepted"),
    ("qcow2-512-bytes", "qcow2", "bare", "accepted"),
    ("qcow2-cut", "qcow2", "bare", "accepted"),
    ("vmdk-header", "vmdk", "bare", "incomplete"),
    ("vmdk-header", "raw", "bare", "incomplete"),
    ("vmdk-stream-cut", "vmdk", "bare", "accepted"),
    ("vhdx-head", "vhdx", "bare", "incomplete"),
    ("vhdx-head", "raw", "bare", "incomplete"),
    ("vdi-head", "vdi", "bare", "accepted"),
    ("iso-cut", "iso", "bare", "seen as raw"),
    ("iso-cut", "raw", "bare", "accepted"),
    ("mbr-sector", "raw", "bare", "accepted"),
    ("mbr-511-bytes", "raw", "bare", "accepted"),
    ("vmdk-path", "vmdk", "bare", "unsafe"),
    ("vmdk-path", "raw", "bare", "unsafe"),
    ("vmdk-type", "vmdk", "bare", "unsafe"),
    ("vmdk-type-small", "vmdk", "bare", "accepted"),
    ("vmdk-no-extent", "vmdk", "bare", "unsafe"),
    ("vmdk-strange-line", "vmdk", "bare", "unsafe"),
    ("vmdk-not-ascii", "vmdk", "bare", "unsafe"),
    ("vmdk-remains", "vmdk", "bare", "accepted"),
    ("mbr", "raw", "bare", "accepted"),
    ("mbr-four", "raw", "bare", "accepted"),
    ("mbr-extended", "raw", "bare", "accepted"),
    ("gpt", "raw", "bare", "accepted"),
    ("gpt-empty", "raw", "bare", "accepted"),
    ("gpt-sgdisk", "raw", "bare", "accepted"),
    ("gpt-parted", "raw", "bare", "accepted"),
    ("gpt-hybrid", "raw", "bare", "unsafe"),
    ("ext4", "raw", "bare", "accepted"),
    ("fat", "raw", "bare", "accepted"),
    ("fat-one-copy", "raw", "bare", "unsafe"),
    ("ntfs", "raw", "bare", "unsafe"),
    ("squashfs", "raw", "bare", "accepted"),
    ("udf", "raw", "bare", "accepted"),
    ("zeros", "raw", "bare", "accepted"),
    ("empty", "raw", "bare", "accepted"),
    ("random", "raw", "bare", "accepted"),
    ("text", "raw", "bare", "accepted"),
    ("kernel", "raw", "bare", "unsafe"),
    ("ramdisk", "raw", "bare", "accepted"),
    ("qcow2-snapshot", "qcow2", "bare", "accepted"),
    ("qcow2-of-qcow2", "qcow2", "bare", "accepted"),
    ("qcow2-of-iso", "qcow2", "bare", "accepted"),
    ("qcow2-of-iso-mbr", "qcow2", "bare", "accepted"),
    ("qcow2-of-bad-mbr", "qcow2", "bare", "accepted"),
    ("vmdk-of-luks", "vmdk", "bare", "accepted"),
    ("iso", "iso", "bare", "accepted"),
    ("iso", "raw", "bare", "accepted"),
    ("iso-mbr", "iso", "bare", "accepted"),
    ("iso-mbr", "raw", "bare", "several: gpt,iso"),
    ("iso-gpt", "iso", "bare", "accepted"),
    ("iso-gpt", "raw", "bare", "several: gpt,iso"),
    ("iso-grub", "iso", "bare", "accepted"),
    ("iso-grub", "raw", "bare", "several: gpt,iso"),
    ("ova", "raw", "bare", "accepted"),
    ("mbr.gz", "raw", "bare", "accepted"),
    ("mbr.xz", "raw", "bare", "accepted"),
    ("qcow2.gz", "qcow2", "bare", "seen as raw"),
    ("qcow2.gz", "raw", "bare", "accepted"),
    ("vmdk-flat-flat", "vmdk", "bare", "seen as gpt"),
    ("vmdk-flat-flat", "raw", "bare", "accepted"),
    ("vmdk-split-s001", "vmdk", "bare", "unsafe"),
    ("vmdk-split-s001", "raw", "bare", "unsafe"),
    ("qcow2-data.bin", "qcow2", "bare", "seen as raw"),
    ("qcow2-data.bin", "raw", "bare", "accepted"),
    ("mbr", "qcow2", "bare", "seen as gpt"),
    ("mbr", "vhd", "bare", "seen as gpt"),
    ("qcow2", "vmdk", "bare", "seen as qcow2"),
    ("vhd", "vpc", "bare", "unknown disk_format"),
    ("vhdx", "vhd", "bare", "seen as vhdx"),
    ("vhd", "vhdx", "bare", "seen as vhd"),
    ("vdi", "vmdk", "bare", "seen as vdi"),
    ("iso", "qcow2", "bare", "seen as iso"),
    ("qcow2", "iso", "bare", "seen as qcow2"),
    ("qcow2-and-iso", "iso", "bare", "several: iso,qcow2"),
    ("qed", "qcow2", "bare", "seen as qed"),
    ("qcow2", "ploop", "bare", "seen as qcow2"),
    ("mbr", "ploop", "bare", "seen as gpt"),
    ("kernel", "aki", "aki", "accepted"),
    ("ramdisk", "ari", "ari", "accepted"),
    ("ext4", "ami", "ami", "accepted"),
    ("gpt", "ami", "ami", "accepted"),
    ("qcow2", "ami", "ami", "accepted"),
    ("qcow2-backing", "ami", "ami", "accepted"),
    ("kernel", "aki", "bare", "seen as gpt"),
    ("kernel", "ari", "bare", "seen as gpt"),
    ("kernel", "ami", "bare", "seen as gpt"),
    ("ramdisk", "ari", "bare", "accepted"),
    ("ramdisk", "aki", "bare", "accepted"),
    ("ext4", "ami", "bare", "accepted"),
    ("gpt", "ami", "bare", "seen as gpt"),
    ("mbr", "ami", "bare", "seen as gpt"),
    ("qcow2", "ami", "bare", "seen as qcow2"),
    ("ext4", "aki", "bare", "accepted"),
    ("ext4", "raw", "ami", "accepted"),
    ("ext4", "ami", "aki", "accepted"),
    ("kernel", "ami", "ami", "accepted"),
    ("kernel", "qcow2", "aki", "accepted"),
    ("zeros", "ami", "bare", "accepted"),
    ("ova", "vmdk", "ova", "accepted"),
    ("ova", "raw", "ova", "accepted"),
    ("ova", "vmdk", "bare", "seen as raw"),
    ("ova", "ova", "ova", "unknown disk_format"),
    ("mbr.gz", "raw", "compressed", "accepted"),
    ("qcow2.gz", "qcow2", "compressed", "accepted"),
    ("vmdk-child", "vmdk", "ovf", "accepted"),
    ("qcow2-backing", "qcow2", "docker", "accepted"),
    ("mbr", "gpt", "bare", "unknown disk_format"),
    ("qcow2", "raw", "zip", "unknown container_format"),
]
_REFUSALS = [
    (415, re.compile(r"does not match stream data (\w+)"), "seen as "),
    (415, re.compile(r"Multiple formats detected: ([\w,]+)"), "several: "),
    (415, re.compile(r"failed safety checks()"), "unsafe"),
    (415, re.compile(r"Incomplete file cannot be safety checked()"), "incomplete"),
    (400, re.compile(r"Failed validating 'enum' in schema\['properties'\]\['(\w+)'\]"), "unknown "),
]


def in_our_words(upload):
    """What Glance said, in the words of the table."""
    if upload.status == 204:
        return "accepted"
    for status, pattern, word in _REFUSALS:
        found = pattern.search(upload.said)
        if found and upload.status == status:
            return word + ",".join(sorted(found[1].split(",")))
    return f"{upload.status} {upload.said}"


def check_of(answer):
    """What our verdict calls the check that has this answer."""
    word, _space, rest = answer.partition(" ")
    return {"accepted": None, "seen": "format_match", "several:": "multiple_formats", "unsafe": "safety", "incomplete": "cut", "unknown": rest}[word]


def the_check_that_fails(verdict):
    return next((gate.check for gate in verdict.gates if gate.service == "glance" and gate.outcome == "refuse"), None)


@pytest.fixture(scope="module")
def record():
    """What Glance said, line by line: into a file when all is over."""
    lines = []
    yield lines
    folder = Path(__file__).resolve().parents[3] / ".cache/glance"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "answers.tsv").write_text("".join("\t".join(str(part) for part in line) + "\n" for line in lines), encoding="utf-8")


@pytest.mark.parametrize(("name", "disk_format", "container_format", "answer"), ANSWERS, ids=["-".join(row[:3]) for row in ANSWERS])
def test_what_glance_says(name, disk_format, container_format, answer, client, uploads, record):
    path = uploads.path(name)
    upload = client.upload(path, disk_format=disk_format, container_format=container_format)
    record.append((name, disk_format, container_format, upload.status, upload.image and upload.image["virtual_size"], upload.said))
    assert in_our_words(upload) == answer
    verdict = judge(str(path), disk_format=disk_format, container_format=container_format)
    assert (verdict.accepted, the_check_that_fails(verdict)) == (answer == "accepted", check_of(answer))
    if upload.image is None:
        return
    if answer == "accepted":
        digest = hashlib.sha512(path.read_bytes()).hexdigest()
        assert (upload.image["status"], upload.image["size"]) == ("active", path.stat().st_size)
        assert (upload.image["os_hash_algo"], upload.image["os_hash_value"]) == ("sha512", digest)
        assert hashlib.sha512(client.download(upload.image["id"])).hexdigest() == digest
        client.delete(upload.image["id"])  # the disk may be small
    else:
        assert upload.image["status"] == "queued"


def test_everything_that_we_write_is_in_the_table():
    from build_uploads import OURS

    uploaded = {(name, disk_format) for name, disk_format, container_format, _answer in ANSWERS if container_format == "bare"}
    written = {(form, subformat) for name, (form, subformat, _compress, _options) in OURS.items() if (name, FORMATS[form].disk_format) in uploaded}
    assert written == {(form.name, subformat) for form in FORMATS.values() if form.writable and form.name != "iso" for subformat in form.subformats or (None,)}

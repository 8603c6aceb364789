# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page: what it tells, that it needs nothing else, and that nothing in an image can change what it is."""

from __future__ import annotations

import gzip
import struct
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import AccessError
from ansible_collections.vmimage.prep.plugins.module_utils._engine.openstack.command import create_image
from ansible_collections.vmimage.prep.plugins.module_utils._engine.report.page import Report, page
from ansible_collections.vmimage.prep.plugins.module_utils._engine.report.subject import Subject, look, look_at_prepared
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request

sys.path.insert(0, str(Path(__file__).resolve().parents[5] / "tools"))

from build_ova import build_ova, make_disk, pack  # noqa: E402

MIB = 1 << 20
CLOUD = {"release": "2026.2"}
BODY = "{http://www.w3.org/1999/xhtml}"
LOADS = ("script", "link", "img", "iframe", "object", "embed", "video", "audio", "source", "form", "base", "use", "image", "a")
"""elements that load something, lead elsewhere, or run"""


class Parser(HTMLParser):
    """The elements and attributes as HTML has them: a browser reads the page so."""

    def __init__(self):
        super().__init__()
        self.tags, self.open, self.attributes = set(), [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _value in attrs}
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _value in attrs}

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(text):
    """The page as a tree, after what every page has to be."""
    assert len(text.encode("utf-8")) < 300_000
    parser = Parser()
    parser.feed(text)
    parser.close()
    assert not parser.open
    assert not parser.tags.intersection(LOADS)
    assert not [name for name in parser.attributes if name.startswith("on") or name in ("href", "src", "style", "xlink:href")]
    tree = ElementTree.fromstring(text)
    assert tree.get("lang") == "en"
    assert tree.find(f"{BODY}head/{BODY}title").text
    heads = [int(node.tag[-1]) for node in tree.iter() if node.tag[len(BODY) :] in ("h1", "h2", "h3")]
    assert heads[0] == 1
    assert all(after <= before + 1 for before, after in zip(heads, heads[1:])), "a heading is left out"
    assert all(node.get("aria-label") or node.get("aria-hidden") for node in tree.iter(f"{BODY}svg") if node.get("role") or node.get("viewBox"))
    return tree


def words(tree):
    return " ".join(" ".join(tree.find(f"{BODY}body").itertext()).split())


@pytest.fixture
def disk(tmp_path):
    """A disk with two partitions."""
    path = tmp_path / "disk.raw"
    make_disk(path, 8 * MIB)
    table = b"".join(
        struct.pack("<B3sB3sII", 0, b"\0\x02\0", kind, b"\xff" * 3, start * 2048, length * 2048) for kind, start, length in ((0xEF, 1, 1), (0x83, 2, 4))
    )
    data = bytearray(path.read_bytes())
    data[446:510] = table.ljust(64, b"\0")
    path.write_bytes(data)
    return path


def test_a_disk_alone(disk):
    found = look(Request(str(disk)), {}, guest=True)
    tree = read(page(Report("disk", found)))
    said = words(tree)
    assert "OpenStack takes this image: no service has an objection." in said
    assert "MBR partition table, 8 MiB" in said
    assert "No operating system was found on this disk." in said
    rows = [["".join(cell.itertext()).strip() for cell in row] for row in tree.iter(f"{BODY}tr")]
    assert [*rows][-3:] == [
        ["1", "EFI (FAT-12/16/32)", "—", "1 MiB", "1 MiB", "EFI system partition"],
        ["2", "Linux", "—", "2 MiB", "4 MiB", "—"],
        ["free", "—", "—", "6 MiB", "2 MiB", "—"],
    ]
    picture = next(node for node in tree.iter(f"{BODY}svg") if node.get("role") == "img")
    assert picture.get("aria-label").startswith("The disk in 3 parts: EFI system partition 1 MiB; Linux 4 MiB; free 2 MiB")


def test_the_same_facts_give_the_same_page(disk):
    assert page(Report("disk", look(Request(str(disk)), {}, guest=True))) == page(Report("disk", look(Request(str(disk)), {}, guest=True)))


def entry(path, form="raw", **more):
    plan = {"name": "it's <mine>", "filename": str(path), "disk_format": form, "container_format": "bare", "min_disk": 1, "min_ram": 0, "properties": {}}
    return {**plan, "checksums": {"md5": "0cc1"}, **more}


def test_what_came_out_of_an_ova(tmp_path, disk):
    ova = tmp_path / "appliance.ova"
    build_ova(ova, size=8 * MIB)
    came_in = look(Request(str(ova)), {}, guest=False)
    plan = entry(disk, properties={"hw_disk_bus": "scsi", "mine": "<b>", "os_distro": "debian"})
    proposals = {
        "hw_disk_bus": {"value": "scsi", "source": "controller of the boot disk", "confidence": "high"},
        "os_distro": {"value": "ubuntu", "source": "a guess", "confidence": "medium"},
        "os_type": {"value": "linux", "source": "a feeling", "confidence": "low"},
    }
    report = Report("web", came_in, [look_at_prepared(plan, CLOUD, guest=True)], ["it is <sound>"], ["a note & more"], proposals)
    assert report.accepted
    tree = read(page(report))
    said = words(tree)
    assert "ova (appliance-disk1.vmdk)" in said
    assert "vmdk streamOptimized, compressed" in said
    assert "refused by Glance as it is: it is declared as vmdk, and seen as raw" in said
    assert "it is <sound>" in said
    assert "a note & more" in said
    assert "hw_disk_bus scsi controller of the boot disk high" in said
    assert "mine <b> the upload plan" in said
    assert "os_distro debian given, instead of ubuntu" in said
    assert "not sure enough to be set Property Value From Confidence os_type linux a feeling low" in said
    (command,) = tree.iter(f"{BODY}pre")
    assert "".join(command.itertext()) == create_image(plan)
    assert [node.get("aria-label").split(":")[0] for node in tree.iter(f"{BODY}svg") if node.get("shape-rendering")] == ["What came in", "What came out"]


def overlay(tmp_path):
    """A qcow2 image that names another file. QCOW2 specification, "Header"."""
    path = tmp_path / "overlay.qcow2"
    name = b"/etc/<script>alert(1)</script>"
    head = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 80, len(name), 16, MIB, 0, 1, 65536, 131072, 1, 0, 0)
    path.write_bytes(head.ljust(80, b"\0") + name + bytes(4 * 65536))
    return path


def test_what_is_refused(tmp_path):
    report = Report("overlay", look(Request(str(overlay(tmp_path))), {}, guest=True))
    assert not report.accepted
    said = words(read(page(report)))
    assert "Glance refuses this image: it fails the safety checks: it has a backing file. Convert it to qcow2 or raw." in said
    assert "/etc/<script>alert(1)</script>" in said
    assert "Where the data is" not in said


@pytest.mark.parametrize(
    "content", [b"dear me, this is a letter\n" * 100, b"", b"QFI\xfb" + bytes(600), b"\x1f\x8b" + bytes(100)], ids=["letter", "empty", "damaged", "cut"]
)
def test_what_is_no_image_gets_a_page(tmp_path, content):
    path = tmp_path / "x.img"
    path.write_bytes(content)
    report = Report("x", look(Request(str(path)), {}, guest=True))
    assert report.came_in.problems
    read(page(report))


def test_what_is_not_there_gets_none(tmp_path):
    with pytest.raises(AccessError):
        look(Request(str(tmp_path / "none")), {}, guest=True)


def test_a_compressed_image_is_read_in_order(disk):
    """Its files are told when it was unpacked, and its tables never, as it has none."""
    packed = disk.with_suffix(".gz")
    packed.write_bytes(gzip.compress(disk.read_bytes()))
    found = look(Request(str(packed)), {}, guest=True)
    assert (found.allocation, found.inside) == (None, {})
    said = words(read(page(Report("x", found))))
    assert "Glance accepts this image, though it is declared as raw" in said
    assert "accepted by Glance as it is, though it is declared as raw" in said
    unpacked = look(Request(str(packed), any_order=True, spool_folder=str(disk.parent)), {}, guest=True)
    assert "guest" in unpacked.inside


def test_a_checksum_that_differs_is_told(disk):
    found = look(Request(str(disk)), {}, guest=True, checksum="md5:0123456789abcdef0123456789abcdef")
    assert "0123456789abcdef0123456789abcdef" in found.problems[0]
    assert found.image is not None
    assert found.inside
    said = words(read(page(Report("x", found))))
    assert "Glance accepts this image, but something is wrong with it: " in said
    assert "no service has an objection" not in said


def test_what_does_not_boot_is_not_shown_in_green(disk):
    found = look(Request(str(disk)), {}, guest=True)
    found.inside["guest"]["risks"] = [{"code": "c", "level": "error", "text": "it does not boot", "source": None}]
    assert "something is wrong with it: it does not boot." in words(read(page(Report("x", found))))


def test_a_manifest_that_differs_is_told(tmp_path):
    ova = tmp_path / "x.ova"
    build_ova(ova)
    wrong = ova.read_bytes().replace(b"256 MiB of memory", b"257 MiB of memory")
    ova.write_bytes(wrong)
    found = look(Request(str(ova), manifest="verify"), {}, guest=True)
    assert any("manifest" in problem or "SHA256" in problem or "sha256" in problem for problem in found.problems)


def test_three_files_of_one_system(tmp_path, disk):
    """Kernel and ramdisk are folded up, as most services have nothing to say to them."""
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(bytes(514) + b"HdrS" + bytes(1000))
    plan = [
        entry(kernel, "aki", container_format="aki", name="x-kernel"),
        entry(disk, "ami", container_format="ami", name="x", depends={"kernel_id": "x-kernel"}),
    ]
    report = Report("x", Subject(str(disk)), [look_at_prepared(one, CLOUD, guest=True) for one in plan])
    tree = read(page(report))
    said = words(tree)
    assert "What came out: kernel" in said
    assert "vmlinuz: Glance accepts it" in said
    assert "kernel_id the identifier of x-kernel" in said
    assert ["".join(node.itertext()) for node in tree.iter(f"{BODY}pre")] == [create_image(one) for one in plan]


def poison(value, text):
    """The same facts with every text made hostile, but for those that are words of ours."""
    if isinstance(value, dict):
        return {key: poison(entry, text) if key not in ("kind", "level", "value", "label", "drivers") else entry for key, entry in value.items()}
    if isinstance(value, list):
        return [poison(entry, text) for entry in value]
    return text + value if isinstance(value, str) else value


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "\" onload='x'", "\0\u202e\ud800]]>", "名" * 10_000], ids=["element", "attribute", "unseen", "long"]
)
def test_hostile_texts_everywhere(tmp_path, text):
    """Every text of every fact is replaced: the page has the same elements as before."""
    facts = GUEST
    image = {
        "format": "raw",
        "subformat": None,
        "virtual_size": 8 * MIB,
        "file_size": 8 * MIB,
        "actual_size": 0,
        "cluster_size": None,
        "compressed": False,
        "references": [],
        "snapshots": [{"name": "x"}],
        "format_specific": {"a": {"b": ["c"]}},
        "writer": "me",
        "warnings": ["w"],
        "readable": True,
        "layers": [{"format": "ova", "member": "m"}],
        "matches": [{"description": "d"}],
        "partition_table": {
            "label": "gpt",
            "warnings": ["t"],
            "partitions": [{"number": 1, "start": MIB, "length": 4 * MIB, "type": "x", "type_name": "y", "kind": "primary", "name": "z"}],
        },
    }
    harmless, hostile = (
        read(
            page(
                Report(
                    name,
                    Subject(
                        name, 1, image=change(image), inside={"guest": change(facts)}, problems=[change("p")], notes=[change("n")], proposals=change(PROPOSALS)
                    ),
                )
            )
        )
        for name, change in (("x", lambda value: value), (text, lambda value: poison(value, text)))
    )
    assert [node.tag for node in hostile.iter()] == [node.tag for node in harmless.iter()]


PROPOSALS = {"os_type": {"value": "linux", "source": "s", "confidence": "high"}}
VOLUME = {
    "type": "ext4",
    "version": None,
    "label": "root",
    "uuid": None,
    "length": 4 * MIB,
    "occupied": None,
    "mounts": [],
    "source": None,
    "problem": "p",
    "warnings": ["v"],
}
ENTRY = {"title": "t", "id": None, "kernel": "/k", "initrds": ["/i"], "options": "ro", "line": 1, "source": "/g"}
GUEST = {
    "filesystems": [{**VOLUME, "volume": "vda1", "partition": 1, "use": "/"}, {**VOLUME, "volume": "vg/lv", "partition": None, "use": "swap"}],
    "systems": [{"root": "vda1", "os": {"name": "Debian"}, "source": "s"}, {"root": "vda2", "os": None, "source": "s"}],
    "root": {"volume": "vda1", "subvolume": None, "source": "s"},
    "os": {"name": "Debian", "source": "/etc/os-release"},
    "architecture": {"value": "x86_64", "source": "/bin/sh"},
    "hostname": {"value": "vm", "source": "/etc/hostname"},
    "firmware": {"value": "both", "bios": "GRUB", "uefi": [], "source": ["a", "b"]},
    "kernels": [{"path": "/k", "version": "6.1", "type": "bzImage", "architecture": "x86_64", "length": 1, "default": True}],
    "boot": {"loader": "grub2", "default": ENTRY, "reason": "r", "source": "/g", "entries": [ENTRY]},
    "drivers": {"virtio_blk": "initramfs", "ext4": "modules", "reason": None, "source": ["x"]},
    "preparation": {"cloud_init": {"value": True, "source": "s"}, "datasources": {"value": ["OpenStack"], "source": "s"}, "admin_user": None},
    "risks": [{"code": "c", "level": "warning", "text": "t", "source": None}],
    "warnings": ["w"],
}


def test_a_table_of_very_many_partitions_stays_a_page(disk):
    found = look(Request(str(disk)), {}, guest=False)
    part = found.image["partition_table"]["partitions"][1]
    found.image["virtual_size"] = 1 << 44
    found.image["partition_table"]["partitions"] = [
        {**part, "number": number, "start": number * 4 * MIB, "length": MIB, "name": "n" * 36} for number in range(1, 2000)
    ]
    found.image["partition_table"]["warnings"] = ["w" * 900 + str(number) for number in range(5000)]
    tree = read(page(Report("x", found)))
    assert "more" in words(tree)


def test_names_of_members_do_not_lead_out_of_the_page(tmp_path):
    path = tmp_path / '"><svg onload=alert(1)>.tar'
    make_disk(tmp_path / "d.raw", 2 * MIB)
    pack(path, [('x"><script>.raw', (tmp_path / "d.raw").read_bytes())])
    found = look(Request(str(path)), {}, guest=True)
    assert 'x"><script>.raw' in words(read(page(Report(path.name, found))))

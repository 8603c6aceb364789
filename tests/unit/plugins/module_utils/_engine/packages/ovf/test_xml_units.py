# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guarded XML parser and the units: what they take, and that all else is a clear error."""

from __future__ import annotations

import time

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import InvalidImage, LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.ovf import units, xml

OVF = "http://schemas.dmtf.org/ovf/envelope/1"
VMW = "http://www.vmware.com/schema/ovf"


def parse(text):
    return xml.parse(text if isinstance(text, bytes) else text.encode(), "vm.ovf")


def test_elements_are_found_by_local_name_whatever_the_namespace():
    for start in (f'<Envelope xmlns="{OVF}"', f'<Envelope xmlns="{OVF}/"', "<Envelope", f'<Envelope xmlns="{VMW}/1/envelope"'):
        root = parse(f"{start}><Name> a &amp; b </Name><Name>second</Name></Envelope>").root
        assert (root.tag, root.child_text("Name"), len(list(root.find_all("Name")))) == ("Envelope", "a & b", 2)
        assert root.find("Missing") is None
        assert root.child_text("Missing") == ""


def test_ovf_attributes_come_before_those_of_vendors():
    root = parse(f'<E xmlns:vmw="{VMW}" xmlns:ovf="{OVF}" vmw:id="vendor" ovf:id="ovf" vmw:key="k"/>').root
    assert (root.get("id"), root.get("key"), root.get("none", "x")) == ("ovf", "k", "x")
    assert (root.vendor("id", "vmware"), root.vendor("id", "virtualbox")) == ("vendor", "")


def test_namespaces_are_reported():
    assert parse(f'<E xmlns:vmw="{VMW}"><F xmlns="urn:deep"/></E>').namespaces == {VMW, "urn:deep"}


def test_a_namespace_with_a_space_is_read():
    """Expat refuses it when the separator is a space; one of govmomi's descriptors has it."""
    assert parse('<E xmlns="http://example.com/cim2608 schema"/>').root.namespace == "http://example.com/cim2608 schema"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
def test_encodings(encoding):
    text = f'<?xml version="1.0" encoding="{encoding.replace("-sig", "")}"?><E>Gr\u00f6\u00dfe</E>'
    assert parse(text.encode(encoding)).root.text == "Gr\u00f6\u00dfe"


XXE = '<!DOCTYPE E [<!ENTITY x SYSTEM "file:///etc/hostname">]><E>&x;</E>'
LAUGHS = "<!DOCTYPE E [<!ENTITY a 'ha'><!ENTITY b '&a;&a;'>]><E>&b;</E>"


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (XXE, UnsupportedImage, "document type"),
        (LAUGHS, UnsupportedImage, "document type"),
        ('<!DOCTYPE E SYSTEM "http://example.com/e.dtd"><E/>', UnsupportedImage, "document type"),
        ("", InvalidImage, "no element found"),
        ("<E>", InvalidImage, "not well-formed"),
        ("<E/><F/>", InvalidImage, "not well-formed"),
        ("<E>&undefined;</E>", InvalidImage, "not well-formed"),
        ("<ovf:E/>", InvalidImage, "unbound prefix"),
        (b"\x00\x01\x02", InvalidImage, "not well-formed"),
        (b"<E>\xff</E>", InvalidImage, "not well-formed"),
        ('<?xml version="1.0" encoding="no-such"?><E/>', InvalidImage, "not well-formed"),
        ('<?xml version="1.0" encoding="rot13"?><E/>', InvalidImage, "not well-formed"),
        ('<?xml version="1.0" encoding="big5"?><E/>', InvalidImage, "not well-formed"),
        ("<E>" * 65 + "</E>" * 65, LimitExceeded, "64 deep"),
        ("<E>" + "<F/>" * 100_001 + "</E>", LimitExceeded, "100000 elements"),
        ("<E " + " ".join(f"a{number}=''" for number in range(257)) + "/>", LimitExceeded, "256 attributes"),
        ("<E>" + "".join(f"<F xmlns='urn:{number}'/>" for number in range(1001)) + "</E>", LimitExceeded, "1000 namespaces"),
        (b"<E>" + b" " * (4 << 20) + b"</E>", LimitExceeded, "4194304"),
    ],
)
def test_what_is_refused(text, kind, message):
    start = time.process_time()
    with pytest.raises(kind, match=message) as caught:
        parse(text)
    assert caught.value.path == "vm.ovf"
    assert time.process_time() - start < 2


def test_a_huge_attribute_takes_no_quadratic_time():
    start = time.process_time()
    assert len(parse("<E a='" + "x" * (4_000_000) + "'/>").root.get("a")) == 4_000_000
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("unit", "size"),
    [
        ("byte", 1),
        ("bytes", 1),
        ("byte * 2^20", 1 << 20),
        ("byte*2^30", 1 << 30),
        ("byte * 2 ^ 20", 1 << 20),
        ("BYTE * 2^10", 1 << 10),
        ("byte * 10^9", 10**9),
        ("byte * 3 * 2^10", 3 << 10),
        ("byte*1024*1024", 1 << 20),
        ("MegaBytes", 1 << 20),
        ("Kilobytes", 1 << 10),
        ("GigaBytes", 1 << 30),
        ("MB", 1 << 20),
        ("GiB", 1 << 30),
        ("tebibyte", 1 << 40),
        ("", None),
        ("hertz * 10^6", None),
        ("byte * 0", None),
        ("byte * -2", None),
        ("byte * 2^99", None),
        ("byte * 99999999999999999999^99", None),
        ("byte * \u0662", None),
        ("byte * 2^", None),
        ("MB * 2", None),
        ("Megaparsec", None),
    ],
)
def test_units(unit, size):
    assert units.factor(unit) == size


def test_numbers():
    assert units.integer(" 42 ") == 42
    for text in ("", "-1", "1.5", "4_2", "\u0664", "9" * 21, str(2**63), "${x}"):
        assert units.integer(text) is None, text
    assert units.amount("3", "byte * 2^30") == 3 << 30
    assert units.amount(str(2**62), "MB") is None

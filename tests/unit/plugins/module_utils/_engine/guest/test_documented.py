# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users read about guests: the keys of image_info's RETURN are those of the facts, and the guides name each risk, with its levels."""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.registry import open_reader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest import guest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.facts import guest_facts
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.media import describe_media
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.media_boot import EfiLoader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes.disk import DiskStorage

from .test_media import DISCS
from .test_risks import GOOD

COLLECTION = Path(__file__).resolve().parents[6]
ENGINE = COLLECTION / "plugins/module_utils/_engine"
GUIDES = COLLECTION / "docs/docsite/rst"
_ROW = re.compile(r"^   \* - ``(\w+)``\n     - ([a-z, ]+)\n", re.MULTILINE)


def documented(key):
    """The keys below one of image_info's ``image``, as a dictionary of dictionaries."""
    source = (COLLECTION / "plugins/modules/image_info.py").read_text(encoding="utf-8")
    lines = source.partition("RETURN = ")[2].splitlines()
    return _contents(_block(lines, key, 4), 8)


def _block(lines, key, indent):
    """The lines below a key."""
    start = lines.index(f"{' ' * indent}{key}:") + 1
    end = next((number for number in range(start, len(lines)) if lines[number].strip() and not lines[number].startswith(" " * (indent + 1))), len(lines))
    return lines[start:end]


def _contents(lines, indent):
    there = f"{' ' * (indent - 2)}contains:"
    if there not in lines:
        return {}
    below = _block(lines, "contains", indent - 2)
    keys = [match[1] for match in (re.fullmatch(rf" {{{indent}}}(\w+):", line) for line in below) if match]
    return {key: _contents(_block(below, key, indent), indent + 4) for key in keys}


def compare(found, wanted, where):
    """The keys of what is documented in detail are those that are there, all the way down."""
    assert sorted(found) == sorted(wanted), where
    for key, value in found.items():
        for part in value if isinstance(value, list) else [value]:
            if wanted[key] and part is not None:
                compare(part, wanted[key], f"{where}.{key}")


@pytest.fixture
def facts(monkeypatch, partition):
    """The facts of a guest that is well but for one thing."""
    files = {**GOOD, "/etc/hostname": "vm\n", "/etc/cloud/cloud.cfg": "datasource_list: [OpenStack]\nsystem_info:\n  default_user:\n    name: debian\n"}
    del files["/usr/sbin/qemu-ga"]
    volumes = [partition(1, {"/EFI/BOOT/BOOTX64.EFI": b""}, filesystem="vfat"), partition(2, files)]
    monkeypatch.setattr(guest, "open_volumes", lambda _disk, _table: volumes)
    return guest_facts(guest.inspect_guest(DiskStorage(open_reader("raw", Memory(bytes(1 << 20), "disk.raw"))), None))


def test_the_facts_of_a_guest(facts):
    assert [key for key, value in facts.items() if value in (None, [])] == ["warnings"]
    compare(facts, documented("guest"), "guest")


def test_a_sourced_fact_is_a_value_and_its_source(facts):
    for fact in (facts["hostname"], facts["architecture"], *facts["preparation"].values()):
        assert sorted(fact) == ["source", "value"]


def test_what_a_disc_is_for(guest_tree):
    label, files, _facts, _kernels = DISCS["debian-netinst"]
    media = describe_media(guest_tree(files, "iso9660"), label)
    assert media["kernels"]
    compare({**media, "efi_loaders": []}, documented("media"), "media")
    sample = (COLLECTION / "plugins/modules/image_info.py").read_text(encoding="utf-8").partition("        efi_loaders:\n")[2]
    assert all(f'"{field.name}": ' in sample.partition("sample: ")[2].splitlines()[0] for field in dataclasses.fields(EfiLoader))


def risks_in(*paths):
    """Each code of a risk that is made in these files, with the levels that the source names beside it."""
    found = {}
    for path in paths:
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id not in ("Risk", "_by_kernel_name"):
                continue
            code, level = call.args[0], call.args[1 if call.func.id == "Risk" else -1]
            if isinstance(code, ast.Constant):
                levels = [node.id.lower() for node in ast.walk(level) if isinstance(node, ast.Name) and node.id in ("ERROR", "WARNING", "NOTE")]
                found.setdefault(code.value, set()).update(levels)
    return found


def test_the_guide_names_each_risk():
    guide = {code: set(levels.split(", ")) for code, levels in _ROW.findall((GUIDES / "guide_guest.rst").read_text(encoding="utf-8"))}
    made = risks_in(*(ENGINE / "guest").glob("*.py"))
    assert len(made) > 30
    assert sorted(guide) == sorted(made)
    assert [code for code, levels in made.items() if not levels <= guide[code]] == []


def test_the_guide_names_each_risk_of_an_ami():
    guide = {code: set(levels.split(", ")) for code, levels in _ROW.findall((GUIDES / "guide_ami.rst").read_text(encoding="utf-8"))}
    made = {code: levels for code, levels in risks_in(ENGINE / "ami/risks.py").items() if code not in risks_in(*(ENGINE / "guest").glob("*.py"))}
    assert made
    assert guide == made

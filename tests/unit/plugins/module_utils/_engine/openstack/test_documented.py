# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users read about image properties: the guide names each property that a guest can have, and each note."""

from __future__ import annotations

import re
from pathlib import Path

COLLECTION = Path(__file__).resolve().parents[6]
FOLDER = COLLECTION / "plugins/module_utils/_engine/openstack"
_NOTE = re.compile(r"""note\((?:\s*result,)?\s*"(\w+)\"""")
_PROPERTY = re.compile(r"""propose\(\s*"(\w+)\"""")


def test_the_guide_names_all_notes_and_properties():
    guide = (COLLECTION / "docs/docsite/rst/guide_guest.rst").read_text(encoding="utf-8")
    section = guide.partition("The image properties\n")[2].partition("\nThe risks\n")[0]
    named = set(re.findall(r"``(\w+)``", section))
    sources = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.py"))}
    notes = {code for text in sources.values() for code in _NOTE.findall(text)}
    assert {"guest_not_read", "os_differs", "no_ide", "virtio_card"} <= notes
    properties = {name for file in ("guest_properties.py", "vmware.py") for name in _PROPERTY.findall(sources[file])}
    assert {"hw_disk_bus", "os_admin_user", "vmware_ostype"} <= properties
    assert sorted((notes | properties) - named) == []

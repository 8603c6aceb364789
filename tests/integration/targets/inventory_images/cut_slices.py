# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory as ansible-inventory exports it, cut into slices as AWX does it: by the hosts' names, every second of two.

Each becomes a program that prints it, as AWX hands it to Ansible.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

exported = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
count = int(sys.argv[2])
names = sorted(exported["_meta"]["hostvars"])
for number in range(count):
    kept = names[number::count]
    slice_of_it = {
        group: {**content, "hosts": [name for name in content.get("hosts", []) if name in kept]} for group, content in exported.items() if group != "_meta"
    }
    slice_of_it["_meta"] = {"hostvars": {name: exported["_meta"]["hostvars"][name] for name in kept}}
    script = Path(f"slice{number + 1}")
    script.write_text(f"#!/bin/sh\ncat << 'END'\n{json.dumps(slice_of_it)}\nEND\n", encoding="utf-8")
    script.chmod(0o755)

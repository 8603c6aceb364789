#!/usr/bin/python
# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module of the collection's kind that works until it is told to go on: by a file, so that no test depends on how fast a machine is."""

from __future__ import annotations

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage
from ansible_collections.vmimage.prep.plugins.module_utils._module.run import run


def work(module, progress):
    folder = module.params["folder"]
    with open(os.path.join(folder, "file"), "w", encoding="utf-8") as file:
        file.write(os.environ.get("VMIMAGE_PROGRESS_FILE", "none"))
    progress("convert", 0, 100 << 20)
    for attempt in range(1200):
        if os.path.exists(os.path.join(folder, "go")):
            break
        progress("convert", (25 << 20) + attempt, 100 << 20)
        time.sleep(0.1)
    if module.params["fail"]:
        raise CorruptImage("a table is damaged", path=folder, offset=512)
    return {"changed": True, "msg": f"worked in check mode: {module.check_mode}"}


def main():
    module = AnsibleModule(
        argument_spec={"folder": {"type": "path", "required": True}, "fail": {"type": "bool", "default": False}},
        supports_check_mode=True,
    )
    run(module, work)


if __name__ == "__main__":
    main()

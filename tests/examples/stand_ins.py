# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules that stand in for those of other collections, so that examples with them run without a cloud and without an AWX.

Their arguments are checked as the real ones check theirs, by the documentation of these. Images are remembered, as by a small Glance.
"""

from __future__ import annotations

import json
import subprocess
import typing as t
from pathlib import Path

NAMES = r"\b(?:openstack\.cloud|awx\.awx)\.[a-z_]+"

MODULE = """\
from __future__ import annotations

import hashlib
import json
import os
import uuid

from ansible.module_utils.basic import AnsibleModule

NAME = {name!r}
OPTIONS = json.loads({options!r})
TOLD = ("name", "disk_format", "container_format", "min_disk", "min_ram", "visibility", "tags", "is_protected")


def load():
    try:
        with open(os.environ["STAND_IN_STATE"], encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return []


def save(images):
    with open(os.environ["STAND_IN_STATE"], "w", encoding="utf-8") as file:
        json.dump(images, file)


def image(options):
    images = load()
    wanted = [entry for entry in images if options.get("id") == entry["id"] or not options.get("id") and entry["name"] == options["name"]]
    if options["state"] == "absent":
        save([entry for entry in images if entry not in wanted])
        return {{"changed": bool(wanted)}}
    told = {{key: options[key] for key in TOLD if options.get(key)}}
    properties = {{**(options.get("properties") or {{}}), **{{key + "_id": options[key] for key in ("kernel", "ramdisk") if options.get(key)}}}}
    if wanted:
        entry = wanted[0]
        before = json.dumps(entry)
        entry.update((key, value) for key, value in told.items() if not key.endswith("_format"))  # these stay what they are
        entry["properties"].update(properties)
        save(images)
        return {{"changed": json.dumps(entry) != before, "image": entry}}
    with open(options["filename"], "rb") as file:
        digest = hashlib.sha512(file.read()).hexdigest()
    entry = {{"id": str(uuid.uuid4()), "status": "active", "hash_algo": "sha512", "hash_value": digest, "size": os.path.getsize(options["filename"])}}
    entry.update({{"visibility": "shared", "tags": [], "is_protected": False, "is_hidden": False, "owner": "us", "min_disk": 0, "min_ram": 0}}, **told)
    entry["properties"] = properties
    save(images + [entry])
    return {{"changed": True, "image": entry}}


def image_info(options):
    return {{"changed": False, "images": [entry for entry in load() if options.get("image") in (None, entry["name"], entry["id"])]}}


def main():
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    act = {{"openstack.cloud.image": image, "openstack.cloud.image_info": image_info}}.get(NAME, lambda options: {{"changed": False, "id": 1}})
    module.exit_json(**act(module.params))


main()
"""


def build(collections: Path, names: set[str]) -> None:
    """Make collections with a stand-in for each of the modules."""
    command = ["ansible-doc", "--json", "--type", "module", *sorted(names)]
    documented = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    for name in names:
        namespace, collection, module = name.split(".")
        folder = collections / "ansible_collections" / namespace / collection / "plugins/modules"
        folder.mkdir(parents=True, exist_ok=True)
        options = {key: _specification(value) for key, value in documented[name]["doc"]["options"].items()}
        (folder / f"{module}.py").write_text(MODULE.format(name=name, options=json.dumps(options)), encoding="utf-8")


def _specification(option: dict[str, t.Any]) -> dict[str, t.Any]:
    """An entry of an argument spec out of one of the documentation."""
    found = {key: option[key] for key in ("type", "required", "choices", "default", "elements", "aliases") if key in option}
    if "suboptions" in option:
        found["options"] = {key: _specification(value) for key, value in option["suboptions"].items()}
    return found

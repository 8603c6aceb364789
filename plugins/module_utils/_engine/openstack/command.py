# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The command of OpenStack's client that uploads an image."""

from __future__ import annotations

import shlex
import typing as t


def create_image(entry: t.Mapping[str, t.Any]) -> str:
    """The command for a shell.

    :param entry: of an upload plan; in ``depends`` are the properties that take the identifier of another image, with its name
    """
    parts = ["openstack", "image", "create", "--file", entry["filename"]]
    parts += ["--disk-format", entry["disk_format"], "--container-format", entry["container_format"], "--min-disk", str(entry["min_disk"])]
    if entry.get("min_ram"):
        parts += ["--min-ram", str(entry["min_ram"])]
    for name, value in sorted(entry["properties"].items()):
        parts += ["--property", f"{name}={value}"]
    command = shlex.join(parts)
    for name, other in sorted(entry.get("depends", {}).items()):
        command += f' --property {name}="$(openstack image show -f value -c id {shlex.quote(other)})"'
    return f"{command} {shlex.quote(entry['name'])}"

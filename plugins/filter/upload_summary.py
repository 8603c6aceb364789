# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: upload_summary
short_description: Tell a person what was prepared and how to upload it
version_added: 0.1.0
author: vmimage.prep contributors (@vmimage)
description:
  - Makes the result of the roles P(vmimage.prep.prepare_image#role) or P(vmimage.prep.build_ami#role), or one of the disks in that of
    P(vmimage.prep.import_ovf#role), into lines for a person to read. They say what came in, what was done, what came out, which checks
    passed, and which commands upload it.
  - Of several images the commands stand in the order in which they have to run. Those that need the identifier of another image ask
    Glance for it.
options:
  _input:
    description: The fact C(prepare_image_result) or C(build_ami_result), or one of the disks in C(import_ovf_result).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what was prepared
  ansible.builtin.debug:
    msg: "{{ prepare_image_result | vmimage.prep.upload_summary }}"

- name: Show what the disks of a package became
  ansible.builtin.debug:
    msg: "{{ item | vmimage.prep.upload_summary }}"
  loop: "{{ import_ovf_result.systems | map(attribute='disks') | flatten }}"
  loop_control:
    label: "{{ item.name }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._engine.openstack.command import create_image


def upload_summary(result: t.Any) -> list[str]:
    """Lines for a person out of a role's result."""
    if not isinstance(result, dict) or not ("filename" in result or "kernel" in result):
        raise AnsibleFilterError("upload_summary takes the fact prepare_image_result of the role vmimage.prep.prepare_image, or build_ami_result of build_ami")
    if "kernel" in result:
        return _of_trio(result)
    done = _row("done", ("change: " if result["changed"] else "no change: ") + result["msg"])
    if "files" in result["source"]:
        return [_row("came in", _tarball(result["source"])), done, *_plan(result)]
    source, image = result["source"], result["image"]
    wrapped = "".join(f"{layer['format']} > " for layer in source["layers"])
    return [
        _row("came in", f"{wrapped}{_format(source)}, {_size(source['virtual_size'])} disk, {_size(source['file_size'])} file"),
        done,
        *(_row("warning", warning) for warning in source["warnings"]),
        _row("came out", result["filename"]),
        _row("", f"{_format(image)}, {_size(image['virtual_size'])} disk" + (f", {_size(image['file_size'])} file" if "file_size" in image else "")),
        *(_row("check passed", check) for check in result["checks"]),
        *(_row(name, digest) for name, digest in result["checksums"].items()),
        _row("upload with", create_image(result)),
    ]


def _of_trio(result: dict[str, t.Any]) -> list[str]:
    """build_ami's result."""
    return [
        _row("done", "change" if result["changed"] else "no change"),
        _row("boots", f"Linux {result['kernel_version'] or 'of unknown version'} with {result['command_line'] or 'no command line'}"),
        *(_row(risk["level"], risk["text"]) for risk in result["risks"]),
        *_plan(result),
        *([_row("came out", result["tarball"])] if result["tarball"] else []),
    ]


def _tarball(source: dict[str, t.Any]) -> str:
    kinds = {"tarball": "UEC tarball", "folder": "folder with the files of a UEC tarball", "bundle": "EC2 bundle"}
    return "".join(f"{layer} > " for layer in source["layers"]) + f"{kinds[source['kind']]}, {len(source['files'])} files"


def _plan(result: dict[str, t.Any]) -> list[str]:
    """Several images, in the order of their uploads."""
    lines = []
    for entry in result["upload_plan"]:
        lines += [_row("came out", entry["filename"]), *(_row(name, digest) for name, digest in entry["checksums"].items())]
    lines += [_row("check passed", check) for check in result.get("checks", [])]
    return lines + [_row("upload with", create_image(entry)) for entry in result["upload_plan"]]


def _row(title: str, text: str) -> str:
    return f"{title:<13}{text}"


def _format(image: dict[str, t.Any]) -> str:
    return image["format"] + (f" {image['subformat']}" if image.get("subformat") else "") + (" compressed" if image.get("compressed") else "")


def _size(number: int) -> str:
    """Bytes in the largest unit that leaves a whole part."""
    for exponent, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if number >= 1024**exponent:
            return f"{number / 1024**exponent:.4g} {unit}"
    return f"{number} bytes"


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"upload_summary": upload_summary}

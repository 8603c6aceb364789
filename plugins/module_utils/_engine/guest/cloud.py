# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""How a guest is prepared for a cloud: cloud-init, the agents, and what a template should not have any more.

Sources: cloud-init's documentation (cloud.cfg, datasource_list, default_user), machine-id(5), repart.d(5).
"""

from __future__ import annotations

import dataclasses
import re

from ..errors import printable
from .files import Files

CLOUD_CFG = "/etc/cloud/cloud.cfg"
_CLOUD_CFG_D = "/etc/cloud/cloud.cfg.d"
MAX_PARTS = 100
_AGENTS = ("/usr/sbin/qemu-ga", "/usr/bin/qemu-ga")
_GROWERS = ("/usr/bin/growpart", "/usr/share/initramfs-tools/scripts/local-bottom/growroot", "/usr/lib/dracut/modules.d/50growroot")
_REPART = ("/etc/repart.d", "/usr/lib/repart.d")
"""where systemd-repart is told what to do; without it, it does nothing"""
NET_RULES = "/etc/udev/rules.d/70-persistent-net.rules"
_IFCFG = "/etc/sysconfig/network-scripts"
_HWADDR = re.compile(r"^[ \t]*HWADDR[ \t]*=[ \t]*[^ \t\n]", re.MULTILINE)
_DATASOURCES = re.compile(r"^datasource_list[ \t]*:[ \t]*(?:\[([^\]]{0,4000})\])?", re.MULTILINE)
_ITEM = re.compile(r"\s*-\s*([A-Za-z0-9]+)")
_DEFAULT_USER = re.compile(r"^(\s+)default_user\s*:\s*$")
_NAME = re.compile(r"^\s+name\s*:\s*[\"']?([a-z_][a-z0-9_.-]{0,31})[\"']?\s*(?:#.*)?$")
_DISABLED = "/etc/cloud/cloud-init.disabled"


@dataclasses.dataclass
class Preparation:
    """What was found; each path is None when there is none of it."""

    hostname: str | None
    cloud_init: str | None
    """the file that shows that it is installed"""
    cloud_init_disabled: bool
    datasources: list[str] | None
    """``datasource_list``; None: nothing is set, and cloud-init looks for all"""
    datasources_source: str | None
    admin_user: str | None
    """the name of cloud-init's default user"""
    guest_agent: str | None
    """QEMU's"""
    grow_root: str | None
    """what makes the root partition as large as the flavour's disk"""
    machine_id: str
    """``absent``, ``empty``, ``uninitialized`` or ``set``"""
    ssh_host_keys: list[str]
    network_rules: list[str]
    """files that bind names or settings to MAC addresses"""


def examine_preparation(files: Files) -> Preparation:
    """What of it a guest has."""
    datasources, source = _datasources(files)
    return Preparation(
        hostname=_hostname(files),
        cloud_init=files.first("/usr/bin/cloud-init", CLOUD_CFG),
        cloud_init_disabled=files.tree.exists(_DISABLED),
        datasources=datasources,
        datasources_source=source,
        admin_user=_default_user(files.text(CLOUD_CFG) or ""),
        guest_agent=files.first(*_AGENTS),
        grow_root=files.first(*_GROWERS) or next((folder for folder in _REPART if files.names(folder)), None),
        machine_id=_machine_id(files),
        ssh_host_keys=[f"/etc/ssh/{name}" for name in files.names("/etc/ssh") if name.startswith("ssh_host_") and name.endswith("_key")],
        network_rules=_network_rules(files),
    )


def _hostname(files: Files) -> str | None:
    text = files.text("/etc/hostname") or ""
    return next((printable(line.strip()) for line in text.splitlines() if line.strip() and not line.startswith("#")), None)


def _machine_id(files: Files) -> str:
    text = files.text("/etc/machine-id")
    if text is None:
        return "absent"
    return {"": "empty", "uninitialized": "uninitialized"}.get(text.strip(), "set")


def _datasources(files: Files) -> tuple[list[str] | None, str | None]:
    """The last setting counts: the files of cloud.cfg.d come behind cloud.cfg, by name."""
    found: tuple[list[str] | None, str | None] = (None, None)
    parts = [f"{_CLOUD_CFG_D}/{name}" for name in files.names(_CLOUD_CFG_D)[:MAX_PARTS] if name.endswith(".cfg")]
    for path in (CLOUD_CFG, *parts):
        text = files.text(path) or ""
        match = _DATASOURCES.search(text)
        if match is None:
            continue
        if match[1] is not None:
            found = [name.strip(" \t\r\n\"'") for name in match[1].split(",") if name.strip()], path
        else:  # a list of lines
            names = []
            for line in text[match.end() :].splitlines()[1:]:
                item = _ITEM.match(line)
                if item is None:
                    break
                names.append(item[1])
            found = names, path
    return found


def _default_user(text: str) -> str | None:
    """``system_info: default_user: name:`` of a file that is laid out as distributions do it; YAML can do more."""
    indent: int | None = None
    for line in text.splitlines():
        match = _DEFAULT_USER.match(line)
        if match is not None:
            indent = len(match[1])
        elif indent is not None and line.strip() and not line.lstrip().startswith("#"):
            if len(line) - len(line.lstrip()) <= indent:
                return None
            name = _NAME.match(line)
            if name is not None:
                return name[1]
    return None


def _network_rules(files: Files) -> list[str]:
    found = []
    rules = files.text(NET_RULES) or ""
    if any(line.strip() and not line.lstrip().startswith("#") for line in rules.splitlines()):
        found.append(NET_RULES)
    for name in files.names(_IFCFG)[:MAX_PARTS]:
        if name.startswith("ifcfg-") and _HWADDR.search(files.text(f"{_IFCFG}/{name}") or ""):
            found.append(f"{_IFCFG}/{name}")
    return found

# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What a platform takes: the format, its variant and options, and the sizes that it allows.

Sources: Azure, "Prepare a Windows VHD or VHDX" (fixed, whole MiB, at least 20 MiB); Google Compute Engine, "Manually
import boot disks" (disk.raw, whole GiB); AWS VM Import/Export, "Image formats"; XenServer's storage manager (whole
2 MiB blocks); VMware, "Virtual Disk Format 5.0", section "Compressed Disks"; OpenStack Image Guide, "Image formats".
"""

from __future__ import annotations

import dataclasses
import typing as t

from .errors import UnsupportedImage
from .formats.base import Target
from .formats.registry import canonical, target
from .limits import GIB, MIB


@dataclasses.dataclass(frozen=True)
class Profile:
    """The image that one platform takes. Sizes in bytes of the guest's disk."""

    name: str
    format: str
    subformat: str | None = None
    options: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    align: int = 1
    minimum: int = 0


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("openstack", "qcow2", options={"extended_l2": "off"}),
        Profile("ceph", "raw"),
        Profile("azure", "vhd", "fixed", {"force_size": "on"}, align=MIB, minimum=20 * MIB),
        Profile("hyperv", "vhdx", "dynamic"),
        Profile("ironic", "raw"),
        Profile("esxi", "vmdk", "streamOptimized", {"adapter_type": "lsilogic"}),
        Profile("virtualbox", "vdi", "dynamic"),
        Profile("gce", "raw", align=GIB),
        Profile("aws", "vmdk", "streamOptimized", {"adapter_type": "lsilogic"}),
        Profile("xen", "vhd", "dynamic", {"force_size": "on"}, align=2 * MIB),
    )
}
NONE = Profile("", "qcow2")
"""What holds when no platform is named"""


def profile(name: str | None) -> Profile:
    """:raises UnsupportedImage: no platform is called so"""
    if name is None:
        return NONE
    if name not in PROFILES:
        raise UnsupportedImage(f"no profile is called {name!r} (there are: {', '.join(PROFILES)})")
    return PROFILES[name]


def target_for(
    wanted: Profile,
    form: str | None = None,
    subformat: str | None = None,
    compress: bool = False,
    options: t.Mapping[str, str] | None = None,
    compressor: str = "zlib",
) -> Target:
    """What to write for a platform; options may be added to what it demands, not changed.

    :param form: format, None for the profile's; ``subformat`` likewise
    :raises UnsupportedImage: something is asked for that the platform does not take, or that does not exist
    """
    options = dict(options or {})
    if wanted is NONE:
        return target(form or NONE.format, subformat, compress, options, compressor)
    asked = {"format": form and canonical(form), "subformat": subformat, **{key: options.get(key) for key in wanted.options}}
    demanded = {"format": wanted.format, "subformat": wanted.subformat, **wanted.options}
    for name, value in asked.items():
        if value is not None and value.lower() != str(demanded[name]).lower():
            raise UnsupportedImage(f"the profile {wanted.name} needs {name} {demanded[name]}, not {value}", hint="Leave one of the two out")
    return target(wanted.format, wanted.subformat, compress, {**options, **wanted.options}, compressor)

# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This doc fragment is PRIVATE to the collection. It can have breaking changes at any time.

from __future__ import annotations


class ModuleDocFragment:
    """The option of modules that judge an upload (mirrors UPLOAD in plugins/module_utils/_module/upload.py)."""

    DOCUMENTATION = r"""
options:
  upload:
    description:
      - How O(src), as it lies there, would be uploaded to OpenStack. Nothing is uploaded.
      - An empty dictionary stands for the format that the image has, in the newest release.
    type: dict
    suboptions:
      disk_format:
        description:
          - What the upload is declared as, in the words of Glance.
          - Without it that is the format of the image, also of one inside a package or a compressed file, or V(raw) where Glance has no name for it.
        type: str
      container_format:
        description: What the image lies in, in the words of Glance.
        type: str
        default: bare
      release:
        description:
          - The cloud's release of OpenStack. Those before V(2025.1) do not look at what is uploaded.
          - Glance accepts a hybrid ISO image, which is also a disk, from V(2026.1) on, and refuses a disk with an unsafe boot record from V(2026.2) on.
        type: str
        choices: ["2025.1", "2025.2", "2026.1", "2026.2"]
        default: "2026.2"
      profile:
        description:
          - What the cloud consists of. Besides Glance, only the services of it are asked then, and all of them without it.
          - V(openstack) is Nova with libvirt, and Cinder. V(ceph) is the same on Ceph, with a Glance that converts imports to raw; of images
            that are not raw it says that each use copies them. V(esxi) is Nova with VMware, and V(ironic) is Ironic.
        type: str
        choices: [openstack, ceph, esxi, ironic]
"""

#!/usr/bin/python
# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_info
short_description: Detect and describe a virtual machine image
version_added: 0.1.0
description:
  - Finds out by content what an image is, and describes it in the words of C(qemu-img info).
  - Reads raw, qcow2, VMDK, VDI, VHD, VHDX and ISO images, also compressed or inside an OVA, without C(qemu-img).
author:
  - vmimage.prep contributors (@vmimage)
extends_documentation_fragment:
  - vmimage.prep._source
  - vmimage.prep._attributes.info_module
options:
  check:
    description:
      - Walk all structures of the image as C(qemu-img check) does, and count what is allocated.
      - For an OVF package this verifies the manifest, too.
    type: bool
    default: false
seealso:
  - module: vmimage.prep.image_convert
"""

EXAMPLES = r"""
- name: What is this file?
  vmimage.prep.image_info:
    src: /srv/images/appliance.ova
  register: result

- name: Show its format and size
  ansible.builtin.debug:
    msg: "{{ result.image.format }}, {{ result.image.virtual_size }} bytes"

- name: Make sure that an image is sound before it is uploaded
  vmimage.prep.image_info:
    src: /srv/images/debian.qcow2
    check: true
  register: result
  failed_when: not result.image.check.clean
"""

RETURN = r"""
image:
  description: The image.
  returned: success
  type: dict
  contains:
    format:
      description: Format of the image, by content.
      type: str
      sample: vmdk
    subformat:
      description: Variant of the format, where it has any.
      type: str
      sample: streamOptimized
    virtual_size:
      description: Size of the disk that the guest sees, in bytes.
      type: int
      sample: 2147483648
    file_size:
      description: Length of the image in bytes; for a disk inside a package, of that disk's file.
      type: int
    actual_size:
      description: Bytes that the image occupies on its file system.
      type: int
    cluster_size:
      description: Unit of allocation in bytes (cluster, grain, block), where the format has one.
      type: int
      sample: 65536
    compressed:
      description: Whether content is stored compressed.
      type: bool
    encrypted:
      description: Whether the content is encrypted.
      type: bool
    dirty_flag:
      description: Whether the last writer did not close the image cleanly.
      type: bool
    backing_filename:
      description: The file that holds the rest of the data, as named in the image.
      type: str
    backing_filename_format:
      description: The format that the image declares for RV(image.backing_filename).
      type: str
    references:
      description: All other files that the image names. They were not opened.
      type: list
      elements: dict
      contains:
        role:
          description: One of V(backing), V(data_file), V(extent), V(parent).
          type: str
        name:
          description: The name as stored in the image.
          type: str
        format:
          description: The format that the image declares for it.
          type: str
    snapshots:
      description: Internal snapshots.
      type: list
      elements: dict
    format_specific:
      description: What only this format has, in the words of its specification or of C(qemu-img info).
      type: dict
      sample: {"compat": "1.1", "compression_type": "zlib", "refcount_bits": 16}
    writer:
      description: The program that wrote the image, where the bytes show it.
      type: str
    warnings:
      description: What is unusual about the image but does not keep it from being read.
      type: list
      elements: str
    readable:
      description: Whether the image can be converted.
      type: bool
    unreadable_reason:
      description: Why it can not, if so.
      type: str
    layers:
      description: What the image was wrapped in, outermost first.
      type: list
      elements: dict
      sample: [{"format": "ova", "member": "disk1.vmdk"}]
    matches:
      description: All formats that the content answers to, the best first.
      type: list
      elements: dict
    ambiguous:
      description: Formats that contradict each other, when the content is more than one at once.
      type: list
      elements: str
    disk_format:
      description: Glance's name of the format.
      type: str
    check:
      description: What the check found.
      returned: when O(check=true) and the image is readable
      type: dict
      contains:
        clean:
          description: Whether nothing was found.
          type: bool
        corruptions:
          description: What would make the guest read wrong data.
          type: list
          elements: str
        leaks:
          description: Space in the image that nothing uses.
          type: list
          elements: str
    allocation:
      description: What the disk is made of, in guest bytes; C(stored) in bytes of the image.
      returned: when O(check=true) and the image is sound
      type: dict
      sample: {"compressed": 0, "data": 671088640, "hole": 1476395008, "stored": 671088640, "zero": 0}
package:
  description: The OVF package that O(src) is.
  returned: when O(src) is a package
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._module.image import describe_image
from ..module_utils._module.run import SOURCE, run


def main() -> None:
    module = AnsibleModule(
        argument_spec={**SOURCE, "check": {"type": "bool", "default": False}},
        supports_check_mode=True,
    )
    run(module, describe_image)


if __name__ == "__main__":
    main()

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
  - Reads raw, qcow2, VMDK, VDI, VHD, VHDX and ISO images, also compressed or inside an OVA, without C(qemu-img). Also qcow
    (version 1), QED, Parallels, DMG, Bochs and cloop images.
  - LUKS volumes are described, but not read, as that takes their key. What else is recognised is named with the program that
    reads it.
author:
  - vmimage.prep contributors (@vmimage)
extends_documentation_fragment:
  - vmimage.prep._source
  - vmimage.prep._attributes.info_module
options:
  check:
    description:
      - Walk all structures of the image as C(qemu-img check) does, and count what is allocated.
      - For an OVF package this verifies the manifest, too, as far as the disk is concerned.
    type: bool
    default: false
  content_checksums:
    description:
      - Checksums to return of what the guest sees, from the first to the last byte of the disk.
      - They are those of the disk as a raw file, and the same whatever the format of the image. The time goes by the size of the disk.
    type: list
    elements: str
    choices: [md5, sha1, sha256, sha512]
    default: []
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
      description: Internal snapshots, in the words of C(qemu-img info); O(snapshot) takes their C(name) or C(id).
      type: list
      elements: dict
      sample: [{"date_nsec": 0, "date_sec": 1764000000, "disk_size": 2147483648, "id": "1", "name": "before-upgrade", "vm_state_size": 0}]
    partition_table:
      description:
        - The partition table of the disk, as its guest sees it. All offsets and lengths are bytes.
        - Null when the disk has none, when the image is not readable, and when the image is damaged where the table lies,
          which RV(image.warnings) then tells.
      type: dict
      contains:
        label:
          description: V(dos) for an MBR, or V(gpt).
          type: str
          sample: gpt
        sector_size:
          description: The logical sector in which the table counts, 512 or 4096.
          type: int
          sample: 512
        id:
          description: The disk's identifier, as C(sfdisk) shows it.
          type: str
          sample: CBADF7F2-10E3-2643-BAED-7881B6FB38E7
        partitions:
          description: The partitions, primary ones first.
          type: list
          elements: dict
          contains:
            number:
              description: Number of the partition as Linux counts, logical partitions from 5.
              type: int
            start:
              description: Where it begins.
              type: int
            length:
              description: How long it is.
              type: int
            type:
              description: Its type, a hexadecimal number in an MBR, a GUID in a GPT.
              type: str
              sample: C12A7328-F81F-11D2-BA4B-00A0C93EC93B
            type_name:
              description: The type in the words of C(sfdisk), where it has any.
              type: str
              sample: EFI System
            kind:
              description: V(primary), V(extended) or V(logical).
              type: str
            name:
              description: The partition's name in a GPT.
              type: str
            uuid:
              description: What Linux knows as the PARTUUID, a GPT's in capitals as C(sfdisk) has it.
              type: str
            bootable:
              description: The boot flag of an MBR, C(LegacyBIOSBootable) of a GPT.
              type: bool
            attributes:
              description: The attributes in a GPT, in the words of C(sfdisk).
              type: list
              elements: str
        protective_mbr:
          description:
            - What stands in the MBR of a disk with a GPT, V(protective), V(missing), or V(hybrid) when it has partitions of its own.
          type: str
        mbr_partitions:
          description: The partitions of a hybrid MBR, with the keys of RV(image.partition_table.partitions).
          type: list
          elements: dict
        usable_start:
          description: Where the first partition of a GPT may begin.
          type: int
        usable_end:
          description: Where the last partition of a GPT has to end.
          type: int
        used_backup:
          description: Whether the first GPT is damaged, so that its backup was read.
          type: bool
        warnings:
          description: What is wrong with the table, such as a damaged copy, or partitions that overlap or reach beyond the end of the disk.
          type: list
          elements: str
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
    content_checksums:
      description: Checksums of what the guest sees, by algorithm.
      returned: when O(content_checksums) asks for any
      type: dict
      sample: {"sha256": "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9"}
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
      description:
        - What the disk is made of, in guest bytes. C(data) and C(compressed), together C(allocated), is what may be something else than
          zeros; C(zero) and C(hole) read as zeros.
        - C(stored) is what that takes in the image, and C(upload) what an upload of the image takes, in bytes.
      returned: when O(check=true) and the image is sound
      type: dict
      sample: {"allocated": 671088640, "compressed": 0, "data": 671088640, "hole": 1476395008, "stored": 671088640, "upload": 671481856, "zero": 0}
package:
  description: The package that O(src) is, as M(vmimage.prep.ovf_info) describes it.
  returned: when O(src) is a package
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._module.image import describe_image
from ..module_utils._module.run import CHECKSUMS, SOURCE, run


def main() -> None:
    module = AnsibleModule(
        argument_spec={**SOURCE, "check": {"type": "bool", "default": False}, "content_checksums": CHECKSUMS},
        supports_check_mode=True,
    )
    run(module, describe_image)


if __name__ == "__main__":
    main()

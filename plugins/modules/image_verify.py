#!/usr/bin/python
# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_verify
short_description: Fail unless a virtual machine image is what it is expected to be
version_added: 0.1.0
description:
  - A gate for playbooks and for the verify step of molecule tests. Fails with the first thing about the image that is not as
    expected; everything that is not asked for does not matter.
  - Nothing is changed. Images are compared by what the guest sees, so a qcow2 image can be held against an OVA without
    converting either.
author:
  - vmimage.prep contributors (@vmimage)
extends_documentation_fragment:
  - vmimage.prep._source
  - vmimage.prep._upload
  - vmimage.prep._attributes.info_module
options:
  format:
    description: The format that the image must have.
    type: str
  subformat:
    description: The variant of the format, as V(streamOptimized) or V(fixed).
    type: str
  virtual_size:
    description:
      - The size of the disk that the guest sees, exactly.
      - A number of bytes, or a number with a unit such as V(20G).
    type: bytes
  content_checksum:
    description:
      - Checksum of what the guest sees, from the first to the last byte of the disk, as C(<algorithm>:<hexadecimal digest>).
      - It is the checksum of the disk as a raw file, and the same whatever the format of the image.
    type: str
  same_as:
    description:
      - Path of another image, of any format, that must have a disk of the same size with the same content.
      - It may be compressed, or a package with one disk. Other files that it names may be read in the folder O(references), too.
    type: path
  sound:
    description: All structures of the image are walked as C(qemu-img check) does, and nothing may be found that would make the
      guest read wrong data.
    type: bool
    default: true
  clean:
    description: The same, and nothing in the image may take space without use either (leaks).
    type: bool
    default: false
  standalone:
    description: The image must not name any other file (backing file, data file, extents, parent).
    type: bool
    default: false
  openstack:
    description:
      - Glance must accept an upload of O(src), as O(upload) describes it. This goes by the rules of oslo.utils' image format inspector and
        Glance's default configuration.
      - With O(upload.profile) the other services of the cloud must be able to use the image, too.
      - What a service accepts and should not is refused, too. This is a compressed file that passes for a raw disk, an image with a parent of its own,
        one that is cut off, or an encrypted one.
      - All that each service says is returned by M(vmimage.prep.image_info), which has the option O(vmimage.prep.image_info#module:upload), too.
    type: bool
    default: false
seealso:
  - module: vmimage.prep.image_info
  - module: vmimage.prep.image_convert
"""

EXAMPLES = r"""
- name: The image that is about to be uploaded is sound, stands alone, and OpenStack will take it
  vmimage.prep.image_verify:
    src: /srv/images/debian.qcow2
    format: qcow2
    standalone: true
    openstack: true
    upload:
      profile: openstack

- name: The converted disk is the one in the appliance (in a molecule verify step)
  vmimage.prep.image_verify:
    src: /srv/images/appliance.qcow2
    virtual_size: 10G
    same_as: /srv/images/appliance.ova

- name: The download is what its publisher says
  vmimage.prep.image_verify:
    src: /srv/images/debian.qcow2
    checksum: sha256:5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9
    sound: false
"""

RETURN = r"""
msg:
  description: The first difference, or that there is none.
  returned: always
  type: str
  sample: virtual_size is 2147483648, 10737418240 was expected
checks:
  description: What was found as expected, in the order of looking.
  returned: always, unless the image cannot be opened
  type: list
  elements: str
  sample: [format is qcow2, it names no other file]
difference:
  description: In what the image is not as expected.
  returned: when it is not
  type: dict
  contains:
    aspect:
      description: The option that does not hold.
      type: str
      sample: virtual_size
    expected:
      description: What was expected.
      type: raw
    found:
      description: What was found; of a difference in content, the guest offset of its first byte.
      type: raw
image:
  description: The image, as M(vmimage.prep.image_info) describes it.
  returned: always, unless the image cannot be opened
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._module.image import verify_image
from ..module_utils._module.run import SOURCE, run
from ..module_utils._module.upload import UPLOAD


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **SOURCE,
            "format": {"type": "str"},
            "subformat": {"type": "str"},
            "virtual_size": {"type": "bytes"},
            "content_checksum": {"type": "str"},
            "same_as": {"type": "path"},
            "sound": {"type": "bool", "default": True},
            "clean": {"type": "bool", "default": False},
            "standalone": {"type": "bool", "default": False},
            "openstack": {"type": "bool", "default": False},
            "upload": UPLOAD,
        },
        supports_check_mode=True,
    )
    run(module, verify_image)


if __name__ == "__main__":
    main()

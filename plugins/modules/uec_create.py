#!/usr/bin/python
# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uec_create
short_description: Create a UEC tarball
version_added: 0.1.0
description:
  - Creates a tarball with a kernel, a ramdisk and the image of a root file system, as devstack and C(cloud-publish-tarball) take it.
  - Each file is looked at, and the module fails if it is not what it is given as.
  - The image may be of any supported format. Its content is written to the tarball as it is read, without a temporary copy.
  - The same files and options give the same bytes on every node that has the same zlib.
  - The module is changed only if O(dest) is missing, or something else comes out of it than would be written.
author:
  - vmimage.prep contributors (@vmimage)
extends_documentation_fragment:
  - ansible.builtin.files
  - vmimage.prep._dest
  - vmimage.prep._attributes
  - vmimage.prep._attributes.files
options:
  dest:
    description:
      - Path of the tarball to write on the managed node. Its folder must exist.
      - Its name must end with C(.tar.gz) or C(.tgz), by which other programs know a tarball.
      - The file is written beside it under another name, verified, and takes the name in one step. When anything goes
        wrong, what was there before stays, and nothing else is left.
  image:
    description:
      - Path of the image of the root file system on the managed node, in any format that M(vmimage.prep.image_convert) reads.
      - It is a file system without a partition table, or nothing but zeros where the system lives in the ramdisk. Of a whole disk
        M(vmimage.prep.ami_build) takes out what is needed.
    type: path
    required: true
  kernel:
    description: Path of the Linux kernel on the managed node.
    type: path
    required: true
  ramdisk:
    description: Path of the initial RAM file system on the managed node, for a kernel that needs one.
    type: path
  prefix:
    description:
      - What the names of the files in the tarball begin with.
      - When it is not set, it is the name of O(dest) without C(.tar.gz) or C(.tgz), and without C(-uec).
    type: str
  flavour:
    description: What the names of kernel and ramdisk end with, such as V(virtual) or V(generic). Not used with O(style=ec2).
    type: str
  style:
    description: How the files in the tarball are called.
    type: str
    choices:
      ubuntu: C(<prefix>-vmlinuz), C(<prefix>-initrd) and C(<prefix>.img), the former two with C(-<flavour>), if there is one.
      cirros: The same, but C(<prefix>-blank.img).
      ec2: C(aki-<prefix>/image), C(ari-<prefix>/image) and C(ami-<prefix>/image).
    default: ubuntu
  timestamp:
    description:
      - The time that all files in the tarball have, in seconds since 1970.
      - When it is not set, it is that of the environment variable E(SOURCE_DATE_EPOCH), or V(0).
    type: int
notes:
  - Needs nothing but Python 3.9 or newer on the managed node.
seealso:
  - ref: ansible_collections.vmimage.prep.docsite.guide_ami
    description: From a disk to AMI, AKI and ARI, and UEC tarballs.
  - module: vmimage.prep.uec_extract
  - module: vmimage.prep.ami_build
"""

EXAMPLES = r"""
- name: Pack kernel, ramdisk and root file system
  vmimage.prep.uec_create:
    image: /srv/images/server-root.img
    kernel: /srv/images/vmlinuz-6.1.0
    ramdisk: /srv/images/initrd.img-6.1.0
    dest: /srv/images/server-amd64.tar.gz
    flavour: virtual
    mode: "0644"

- name: Pack the files under names as EC2 has them
  vmimage.prep.uec_create:
    image: /srv/images/server-root.qcow2
    kernel: /srv/images/vmlinuz-6.1.0
    dest: /srv/images/server.tar.gz
    style: ec2
"""

RETURN = r"""
msg:
  description: Why O(dest) was written, or that nothing had to be done.
  returned: success
  type: str
  sample: dest does not exist
dest:
  description: The tarball.
  returned: success
  type: str
files:
  description: A list of one path, that of the tarball.
  returned: success
  type: list
  elements: str
members:
  description: The files in the tarball, in their order.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name in the tarball.
      type: str
      sample: server-amd64-vmlinuz-virtual
    role:
      description: V(kernel), V(ramdisk) or V(image).
      type: str
    length:
      description: Length in bytes.
      type: int
    description:
      description: What the file is by its content.
      type: str
      sample: a file system (ext4)
checks:
  description: What was verified when the tarball was written.
  returned: success
  type: list
  elements: str
backup_file:
  description: Where the replaced file was kept.
  returned: changed and if O(backup=true)
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._module.run import DESTINATION, run
from ..module_utils._module.uec import create_tarball


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **DESTINATION,
            "image": {"type": "path", "required": True},
            "kernel": {"type": "path", "required": True},
            "ramdisk": {"type": "path"},
            "prefix": {"type": "str"},
            "flavour": {"type": "str"},
            "style": {"type": "str", "choices": ["ubuntu", "cirros", "ec2"], "default": "ubuntu"},
            "timestamp": {"type": "int"},
        },
        add_file_common_args=True,
        supports_check_mode=True,
    )
    run(module, create_tarball)


if __name__ == "__main__":
    main()

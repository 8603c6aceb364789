#!/usr/bin/python
# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uec_extract
short_description: Extract a UEC tarball or an EC2 bundle
version_added: 0.1.0
description:
  - Extracts kernel, ramdisk, image and what else is in a UEC tarball into a folder, and says what each file is and how the files are
    uploaded to OpenStack.
  - What a file is, is found out by its content. Names only count where several files could be meant.
  - The layouts of Ubuntu (C(X.img), C(X-vmlinuz-virtual), C(X-initrd-virtual) and others), cirros (C(X-blank.img)) and EC2
    (C(aki-X/image), C(ari-X/image), C(ami-X/image)) are known. The files keep their names.
  - Nothing is written to a place outside of O(dest), and links and devices are left out.
author:
  - vmimage.prep contributors (@vmimage)
extends_documentation_fragment:
  - ansible.builtin.files
  - vmimage.prep._attributes
  - vmimage.prep._attributes.files
options:
  src:
    description:
      - Path of the tarball on the managed node. It may be compressed with gzip, xz, bzip2 or zstd, or not at all.
      - It may also be a folder with the files of one, or the C(.manifest.xml) of an EC2 bundle, whose parts lie beside it.
    type: path
    required: true
  dest:
    description: Folder on the managed node to extract to. It must exist.
    type: path
    required: true
  name:
    description:
      - Write the kernel, the ramdisk and the image only, as O(name) with C(-vmlinuz), C(-initrd) and C(.img).
      - When it is not set, all files are written under their own names.
    type: str
  private_key:
    description:
      - Path of the RSA private key of the user whom an EC2 bundle was made for, on the managed node. A PEM file without a password.
      - Needs the Python package C(cryptography) on the managed node.
    type: path
  include:
    description: Names or shell patterns of the files to extract. All when empty.
    type: list
    elements: str
    default: []
  exclude:
    description: Names or shell patterns of files not to extract.
    type: list
    elements: str
    default: []
  checksum:
    description:
      - Checksum that the file O(src) must have, as C(<algorithm>:<hexadecimal digest>).
      - It is verified before anything is written.
    type: str
  properties:
    description:
      - Image properties for OpenStack, for the image in RV(upload_plan). They win over those that are there by themselves, and one without a
        value takes such a one away.
      - Names and values are checked as in O(vmimage.prep.image_convert#module:properties).
    type: dict
    default: {}
  checksums:
    description: Checksums to return of each file.
    type: list
    elements: str
    choices: [md5, sha1, sha256, sha512]
    default: []
  max_size:
    description:
      - How much may come out of a compressed tarball.
      - A number of bytes, or a number with a unit such as V(20G).
      - When it is not set, no more than 250 times the size of the tarball is taken.
    type: bytes
  creates:
    description: If this path exists, nothing is done.
    type: path
  force:
    description:
      - Write all files even if they are what they should be.
      - With V(true) the module is always changed.
    type: bool
    default: false
notes:
  - A tarball does not say by which command line the kernel boots. Unless Nova's own does (C(root=/dev/vda)), add the property
    C(os_command_line) to the image when it is uploaded.
  - Needs nothing but Python 3.9 or newer on the managed node, but for EC2 bundles.
  - A small hidden file in O(dest) notes what was extracted. It lets the next run know without opening the tarball that nothing
    is to be done. It may be deleted at any time; then the contents are compared.
  - Lists of checksums in the tarball, such as C(SHA256SUMS) or C(X.img.md5), are compared with the files that are written. When a
    file disagrees with one, nothing is written.
  - Of an EC2 bundle the digests of its parts and of its content are verified. Its signature is not.
  - A file that was removed or altered in O(dest) is restored.
seealso:
  - ref: ansible_collections.vmimage.prep.docsite.guide_ami
    description: From a disk to AMI, AKI and ARI, and UEC tarballs.
  - module: vmimage.prep.uec_create
  - module: openstack.cloud.image
    description: Uploads the files.
"""

EXAMPLES = r"""
- name: Extract a tarball
  vmimage.prep.uec_extract:
    src: /srv/incoming/cirros-0.6.2-x86_64-uec.tar.gz
    dest: /srv/images/cirros
  register: result

- name: Upload the kernel, the ramdisk and then the image, which needs the identifiers of the former two
  openstack.cloud.image:
    name: "{{ item.name }}"
    filename: "{{ item.path }}"
    disk_format: "{{ item.disk_format }}"
    container_format: "{{ item.container_format }}"
    min_disk: "{{ item.min_disk }}"
    kernel: "{{ item.depends.kernel_id | default(omit) }}"
    ramdisk: "{{ item.depends.ramdisk_id | default(omit) }}"
    properties: "{{ item.properties }}"
  loop: "{{ result.upload_plan }}"

- name: Take the image out of an old EC2 bundle
  vmimage.prep.uec_extract:
    src: /srv/archive/server.img.manifest.xml
    dest: /srv/images/server
    private_key: /srv/keys/pk.pem
"""

RETURN = r"""
files:
  description: The files that were asked for.
  returned: success, but not if O(creates) exists
  type: list
  elements: dict
  contains:
    name:
      description: Name in the tarball.
      type: str
      sample: server-amd64-vmlinuz-virtual
    path:
      description: Path on the managed node.
      type: str
      sample: /srv/images/server-amd64-vmlinuz-virtual
    role:
      description:
        - V(kernel), V(ramdisk), V(image) (a file system without a partition table, or nothing but zeros),
          V(disk) (a whole disk, or one in a format other than raw), V(loader), V(checksums) or V(other).
      type: str
    description:
      description: What the file is by its content.
      type: str
      sample: a file system (ext4)
    length:
      description: Length in bytes.
      type: int
    reason:
      description: Why the file was written. Not set if it was there as it should be.
      type: str
      sample: does not exist
    checksums:
      description: Checksums, by algorithm.
      returned: when O(checksums) asks for any, and the file is there
      type: dict
kernel:
  description: Path of the kernel, if there is one.
  returned: success, but not if O(creates) exists
  type: str
ramdisk:
  description: Path of the initial RAM file system, if there is one.
  returned: success, but not if O(creates) exists
  type: str
image:
  description: Path of the image of the root file system, if there is one.
  returned: success, but not if O(creates) exists
  type: str
disk:
  description: Path of the whole disk, if there is one.
  returned: success, but not if O(creates) exists
  type: str
upload_plan:
  description: What to upload to Glance, in this order. Empty if there is no image of a file system.
  returned: success, but not if O(creates) exists
  type: list
  elements: dict
  contains:
    name:
      description: Name of the image in Glance.
      type: str
      sample: server-amd64-kernel
    path:
      description: The file.
      type: str
    disk_format:
      description: V(aki), V(ari) or V(ami).
      type: str
    container_format:
      description: The same. Glance refuses a kernel in a container V(bare).
      type: str
    min_disk:
      description: Smallest disk in GiB that a flavor needs.
      type: int
    properties:
      description: Image properties.
      type: dict
      sample: {"architecture": "x86_64"}
    depends:
      description: The properties that are still to be set, each with the name of the entry of this plan whose identifier it takes.
      type: dict
      sample: {"kernel_id": "server-amd64-kernel", "ramdisk_id": "server-amd64-ramdisk"}
verified:
  description: The files that were compared with a checksum when they were extracted.
  returned: success, but not if O(creates) exists
  type: list
  elements: str
tarball:
  description:
    - What all is in the tarball, C(files), and the names that are C(ignored) (links, devices, hidden files, and what would lead out of O(dest)).
    - Its C(kind), V(tarball), V(folder) or V(bundle), and its C(layers) of compression.
    - What the manifest of a C(bundle) says.
  returned: success, but not if O(creates) exists
  type: dict
msg:
  description: What was done.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._module.run import CHECKSUMS, PACKAGE, run
from ..module_utils._module.uec import extract_tarball


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **PACKAGE,
            "dest": {"type": "path", "required": True},
            "name": {"type": "str"},
            "checksum": {"type": "str"},
            "properties": {"type": "dict", "default": {}},
            "checksums": CHECKSUMS,
            "private_key": {"type": "path", "no_log": False},
            "include": {"type": "list", "elements": "str", "default": []},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "creates": {"type": "path"},
            "force": {"type": "bool", "default": False},
        },
        add_file_common_args=True,
        supports_check_mode=True,
    )
    run(module, extract_tarball)


if __name__ == "__main__":
    main()

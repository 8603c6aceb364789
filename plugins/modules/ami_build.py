#!/usr/bin/python
# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ami_build
short_description: Build an AMI, AKI and ARI out of a disk image
version_added: 0.1.0
description:
  - Takes a disk apart into the three images by which OpenStack boots a kernel directly, the root file system as a raw image (AMI), the
    kernel (AKI), and its ramdisk (ARI).
  - Takes any disk image or package that M(vmimage.prep.image_convert) takes, with MBR or GPT, LVM, ext2, ext3, ext4, XFS or btrfs.
    Nothing is mounted, and no privileges are needed.
  - The kernel is the one that the guest's own boot loader boots by default. GRUB, systemd-boot, the Boot Loader Specification,
    EXTLINUX, SYSLINUX, GRUB Legacy and unified kernel images are understood.
  - The command line is the guest's own, adapted to a root file system without a disk around it.
  - Of an ISO with an installer or a live system, the kernel and the ramdisk are taken, and no image.
author:
  - vmimage.prep contributors (@vmimage)
extends_documentation_fragment:
  - ansible.builtin.files
  - vmimage.prep._source
  - vmimage.prep._attributes
  - vmimage.prep._attributes.files
options:
  dest:
    description:
      - Folder on the managed node to write the files to. It must exist.
      - They are called O(name) with C(.img), C(-vmlinuz) and C(-initrd), as programs that read UEC tarballs expect it.
    type: path
    required: true
  name:
    description:
      - What the names of the files begin with, and what the images are called in RV(upload_plan).
      - When it is not set, it is the name of O(src) without its ending.
    type: str
  root:
    description:
      - The volume with the root file system. A partition as V(vda2), a logical volume as V(group/volume), or a UUID or label.
        Of btrfs with the subvolume behind a colon, as V(vda2:root).
      - Needed only when the disk has more than one operating system, or none that is recognised.
    type: str
  guest_kernel:
    description:
      - The kernel of the guest that is meant, by its version, its path in the guest, or the title of its boot entry.
      - When it is not set, it is the one that boots by default.
    type: str
  kernel:
    description: Path of a kernel on the managed node that is taken instead of one of the guest's.
    type: path
  ramdisk:
    description: Path of a ramdisk on the managed node that is taken instead of the guest's.
    type: path
  with_ramdisk:
    description:
      - Whether to have a ramdisk. A kernel that has all drivers built in does without.
      - When the boot entry has none, the one that belongs to the kernel by its name is taken, if it is there.
      - With O(kernel) there is a ramdisk only if O(ramdisk) is set.
    type: bool
    default: true
  command_line:
    description:
      - The whole command line of the kernel.
      - When it is not set, it is the one of the boot entry. The root file system is then named by its UUID, or as C(/dev/vda) without
        a ramdisk; what names volumes that are not in the image is left out, and so is C(systemd.machine_id), which is of one machine only;
        and consoles are added when there are none.
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
  force:
    description:
      - Write all files even if they are what they should be.
      - With V(true) the module is always changed.
    type: bool
    default: false
notes:
  - A small hidden file in O(dest) notes what was made. It lets the next run know without opening the disk that nothing
    is to be done. It may be deleted at any time; then the contents are compared.
  - The image has exactly the size of its file system. Holes stay holes.
  - Other volumes of the disk are not in the image. When the guest counts on one, RV(risks) tells.
  - A compressed image is unpacked first, into a temporary file without a name in O(dest), as a disk is not read from its start to its end.
  - Glance refuses a kernel in a container of the format C(bare). RV(upload_plan) has what it takes.
seealso:
  - ref: ansible_collections.vmimage.prep.docsite.guide_ami
    description: From a disk to AMI, AKI and ARI, and UEC tarballs.
  - module: vmimage.prep.uec_create
    description: Packs the files into a tarball.
  - module: vmimage.prep.image_info
    description: Tells what is inside a guest, with O(vmimage.prep.image_info#module:guest=true).
  - module: openstack.cloud.image
    description: Uploads the files.
"""

EXAMPLES = r"""
- name: Take a disk apart
  vmimage.prep.ami_build:
    src: /srv/images/debian.qcow2
    dest: /srv/images/trio
  register: trio

- name: Show how it boots
  ansible.builtin.debug:
    msg: "{{ trio.kernel_version }} with {{ trio.command_line }}"

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
  loop: "{{ trio.upload_plan }}"

- name: Refuse what would not boot
  ansible.builtin.assert:
    that: risks | length == 0
    fail_msg: "{{ risks | map(attribute='text') | join('; ') }}"
  vars:
    risks: "{{ trio.risks | selectattr('level', 'eq', 'error') }}"

- name: Boot another kernel of the guest, by a command line of our own
  vmimage.prep.ami_build:
    src: /srv/images/debian.qcow2
    dest: /srv/images/trio
    name: debian-rescue
    guest_kernel: 6.1.0-18-cloud-amd64
    command_line: root=/dev/vda ro console=ttyS0 single

- name: Take kernel and ramdisk out of an installer, to boot it over the network
  vmimage.prep.ami_build:
    src: /srv/images/debian-12-netinst.iso
    dest: /srv/tftp
    name: debian-12-installer
"""

RETURN = r"""
image:
  description: Path of the image of the root file system. Null of an ISO.
  returned: success
  type: str
  sample: /srv/images/trio/debian.img
kernel:
  description: Path of the kernel.
  returned: success
  type: str
  sample: /srv/images/trio/debian-vmlinuz
ramdisk:
  description: Path of the ramdisk. Null if there is none.
  returned: success
  type: str
  sample: /srv/images/trio/debian-initrd
command_line:
  description: The kernel's command line.
  returned: success
  type: str
  sample: root=UUID=2d1b1a3c-4ad0-4d52-a29d-ae47f8b0e2a5 ro console=tty0 console=ttyS0
command_line_changes:
  description: How it differs from the guest's own.
  returned: success
  type: list
  elements: str
kernel_version:
  description: Version of the kernel.
  returned: success
  type: str
  sample: 6.1.0-18-cloud-amd64
kernel_source:
  description: Path of the kernel in the guest, or on the managed node if it was given.
  returned: success
  type: str
  sample: /boot/vmlinuz-6.1.0-18-cloud-amd64
ramdisk_sources:
  description: Path of the ramdisk in the guest, or on the managed node if it was given. When the boot loader loads several, they are joined.
  returned: success
  type: list
  elements: str
architecture:
  description: Architecture of the kernel, in Glance's words.
  returned: success
  type: str
  sample: x86_64
root:
  description: The root file system. Null of an ISO.
  returned: success
  type: dict
  contains:
    volume:
      description: Where it lies on the disk.
      type: str
      sample: vda2
    subvolume:
      description: Of btrfs, the subvolume with the operating system, if it is not the default one.
      type: str
    type:
      description: Its type.
      type: str
      sample: ext4
    label:
      description: Its label.
      type: str
    uuid:
      description: Its UUID.
      type: str
    length:
      description: Its size in bytes, which is the length of the image.
      type: int
risks:
  description: What may keep the three from booting or working in OpenStack.
  returned: success
  type: list
  elements: dict
  contains:
    code:
      description: For programs.
      type: str
      sample: volume_left_out
    level:
      description:
        - V(error), it will not boot or not be reached; V(warning), something will not work; or V(note).
      type: str
    text:
      description: For people, with what to do.
      type: str
    source:
      description: What shows it.
      type: str
upload_plan:
  description: What to upload to Glance, in this order.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the image in Glance.
      type: str
      sample: debian-kernel
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
      sample: {"architecture": "x86_64", "os_command_line": "root=UUID=2d1b1a3c-4ad0-4d52-a29d-ae47f8b0e2a5 ro console=tty0 console=ttyS0"}
    depends:
      description: The properties that are still to be set, each with the name of the entry of this plan whose identifier it takes.
      type: dict
      sample: {"kernel_id": "debian-kernel", "ramdisk_id": "debian-ramdisk"}
files:
  description: The files.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name in O(dest).
      type: str
      sample: debian-vmlinuz
    path:
      description: Path on the managed node.
      type: str
    role:
      description: V(image), V(kernel) or V(ramdisk).
      type: str
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
verified:
  description: The files of a package that were compared with its manifest when the disk was taken apart.
  returned: success
  type: list
  elements: str
guest:
  description: What is inside the guest, as RV(vmimage.prep.image_info#module:image.guest). Null of an ISO.
  returned: success
  type: dict
msg:
  description: What was done.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._module.ami import build_trio
from ..module_utils._module.run import CHECKSUMS, SOURCE, run


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **SOURCE,
            "dest": {"type": "path", "required": True},
            "name": {"type": "str"},
            "root": {"type": "str"},
            "guest_kernel": {"type": "str"},
            "kernel": {"type": "path"},
            "ramdisk": {"type": "path"},
            "with_ramdisk": {"type": "bool", "default": True},
            "command_line": {"type": "str"},
            "properties": {"type": "dict", "default": {}},
            "checksums": CHECKSUMS,
            "force": {"type": "bool", "default": False},
        },
        mutually_exclusive=[("guest_kernel", "kernel")],
        add_file_common_args=True,
        supports_check_mode=True,
    )
    run(module, build_trio)


if __name__ == "__main__":
    main()

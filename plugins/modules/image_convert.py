#!/usr/bin/python
# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_convert
short_description: Convert a virtual machine image to another format
version_added: 0.1.0
description:
  - Converts a disk image, a compressed disk image, or a disk inside a package, to another format.
  - Needs no C(qemu-img) on the managed node.
  - The same content and options give the same bytes on every node; identifiers in the image are derived from its content.
  - The module is changed only if O(dest) is missing, is of another format, variant or size, or shows the guest other bytes
    than O(src). A file that was made by another tool but is what it should be is left alone.
author:
  - vmimage.prep contributors (@vmimage)
extends_documentation_fragment:
  - ansible.builtin.files
  - vmimage.prep._source
  - vmimage.prep._dest
  - vmimage.prep._attributes
  - vmimage.prep._attributes.files
options:
  format:
    description: Format of O(dest).
    type: str
    choices:
      raw: The guest's bytes as they are, in a sparse file.
      qcow2: QEMU's format, version 3 unless O(options) say otherwise.
      vmdk: VMware's format.
      vdi: VirtualBox's format.
      vhd: Virtual PC's format, used by Azure, Hyper-V and XenServer.
      vpc: The same as V(vhd); C(qemu-img) calls it so.
      vhdx: Hyper-V's format.
      iso: An ISO 9660 image. It is copied as it is, and O(src) must be one.
  profile:
    description:
      - The platform that O(dest) is for. It decides on O(format) and O(subformat), which need not be given then, and on the
        sizes that the platform takes.
      - Without O(format) and O(profile) the format is V(qcow2).
    type: str
    choices:
      openstack: qcow2.
      ceph: raw, for Glance and Nova on Ceph, LVM and other block storage.
      azure: VHD, V(fixed), a whole number of MiB, at least 20 MiB.
      hyperv: VHDX, V(dynamic).
      ironic: raw, which Ironic writes to the disk as it comes.
      esxi: VMDK, V(streamOptimized), with an LSI Logic adapter.
      virtualbox: VDI, V(dynamic).
      gce: raw, a whole number of GiB. Compute Engine wants it named C(disk.raw) in a C(tar.gz) archive.
      aws: VMDK, V(streamOptimized), for VM Import.
      xen: VHD, V(dynamic), a multiple of 2 MiB, for XenServer and XCP-ng.
  virtual_size:
    description:
      - Size of the disk in O(dest).
      - A larger disk than that of O(src) reads as zeros behind the old end; partitions and file systems are not changed. A smaller
        one is refused unless everything behind the new end is zeros.
      - A number of bytes, or a number with a unit such as V(20G).
      - Not for an ISO image.
    type: bytes
  align:
    description:
      - The size of the disk is rounded up to a multiple of this.
      - A number of bytes, or a number with a unit such as V(1M).
    type: bytes
  subformat:
    description:
      - Variant of O(format).
      - For V(vdi), V(vhd) and V(vhdx) V(dynamic) (the default) or V(fixed).
      - For V(vmdk) V(monolithicSparse) (the default) or V(streamOptimized), which are one file; or V(monolithicFlat),
        V(twoGbMaxExtentSparse) or V(twoGbMaxExtentFlat), where O(dest) is a small text that names the files with the data.
        They lie beside O(dest) and are called as C(qemu-img) calls them, C(disk-flat.vmdk), C(disk-s001.vmdk) or
        C(disk-f001.vmdk) for a O(dest) named C(disk.vmdk). The split ones have 2 GiB of the disk in each file.
      - Of an image in several files all are written before the first one takes its name, and O(dest) is the last. All get
        the same attributes, all are kept with O(backup), and what a former variant of O(dest) had and this one does not is
        removed. A file that has the name of one of them and does not belong to O(dest) is only replaced with O(force).
    type: str
  compress:
    description:
      - Store the content compressed.
      - Possible with O(format=qcow2). V(streamOptimized) always is.
    type: bool
    default: false
  options:
    description:
      - Further options of the format, with the names and meanings they have for C(qemu-img).
      - For V(qcow2) C(compat) (V(1.1) or V(0.10)), C(cluster_size) (V(512) to V(2M)), C(compression_type) (V(zlib) or V(zstd); the
        latter only where the node has a zstd library), C(refcount_bits), C(extended_l2) (which OpenStack does not take),
        C(lazy_refcounts), and C(preallocation) (V(off), V(metadata), V(falloc) or V(full)).
      - Also for V(qcow2) C(backing_file) and C(backing_fmt), for an overlay that holds only what the backing file does not. Its
        name is relative to the folder of O(dest), and O(references) must allow it.
      - For V(vhdx) C(block_size) (V(1M) to V(256M); V(0), the default, chooses it by the size of the disk), C(log_size) (V(1M)
        unless given), C(block_state_zero) (V(off) unless given, as in what Hyper-V creates; V(on) marks what holds no data as
        zeros, which C(qemu-img) does unless told otherwise) and C(logical_sector_size) (V(512) unless given; V(4096) for a
        disk whose size and partition table are in such sectors, which C(qemu-img) cannot read). Hyper-V opens no file that is
        sparse on its own host; a copy over the network is not.
      - For V(vhd) C(force_size) (V(on) unless given, the disk keeps its exact size; V(off) lets it grow to what cylinders,
        heads and sectors cover, as C(qemu-img) does unless told otherwise, and Azure refuses) and C(block_size) (V(2M) unless
        given, or V(512K)).
      - For V(vdi) C(static), V(on) for the O(subformat=fixed).
      - For V(raw) C(preallocation), V(off) (the default; zeros are holes), V(falloc) (room for the whole disk is reserved)
        or V(full) (zeros are written).
      - For V(vmdk) C(adapter_type) (V(lsilogic), the default, V(ide), V(buslogic), V(legacyESX) or V(pvscsi)),
        C(hwversion) (V(7) unless given), C(compat6) (the same as hardware version 6), C(toolsversion), and C(zeroed_grain)
        (V(on) for an image in which a virtual machine is to be able to discard data cheaply; with V(monolithicSparse) and
        V(twoGbMaxExtentSparse)).
    type: dict
    default: {}
  compressor:
    description:
      - What compresses with O(compress=true) and V(streamOptimized).
      - V(isal) and V(zlib_ng) are several times faster than V(zlib), and make the image 4 to 10 percent larger.
    type: str
    choices:
      zlib: Python's own. The same bytes on every node.
      isal: The Python package isal, which the node must have.
      zlib_ng: The Python package zlib-ng, which the node must have.
    default: zlib
  dest_device:
    description:
      - O(dest) is a block device, such as an LVM volume or a mapped Ceph RBD.
      - It is overwritten in place with a V(raw) disk, and what is on it is lost. Only what differs is written; a device that has the
        content already is left alone. What lies behind the end of the disk stays.
      - The result is always compared with O(src). There is no backup, and a run that is stopped leaves a part.
    type: bool
    default: false
  iso:
    description:
      - What to do when O(src) is an ISO image and another O(format) is wanted. An ISO is install media, which OpenStack takes as such.
    type: str
    choices:
      refuse: The module fails.
      keep: It is copied as it is, whatever O(format) says.
      disk: It becomes a disk, if it is a hybrid that boots as one. Otherwise the module fails.
    default: refuse
  verify:
    description: How the result is verified before it takes its name.
    type: str
    choices:
      structure: It is opened again, and all of its structures are walked.
      content: All guest bytes are compared with O(src), too.
    default: structure
  properties:
    description:
      - Image properties for OpenStack, which win over those that are proposed. A property without a value takes a proposed one away.
      - The module fails before it writes anything when a name is nearly one that Nova knows, as C(hw_disk_buss), or when Nova does not take
        a value. Other names are yours, and pass.
      - They have no influence on O(dest), and are part of RV(openstack).
    type: dict
    default: {}
  checksums:
    description: Checksums of O(dest) to return; of an image in several files, of the file O(dest) alone.
    type: list
    elements: str
    choices: [md5, sha1, sha256, sha512]
    default: []
seealso:
  - module: vmimage.prep.image_info
  - module: openstack.cloud.image
    description: Uploads the result.
"""

EXAMPLES = r"""
- name: Make a raw disk into a qcow2 image
  vmimage.prep.image_convert:
    src: /srv/images/disk.raw
    dest: /srv/images/disk.qcow2

- name: Take the disk out of an OVA, compressed, with the checksums that Glance will show
  vmimage.prep.image_convert:
    src: /srv/images/appliance.ova
    dest: /srv/images/appliance.qcow2
    compress: true
    verify: content
    checksums: [md5, sha512]
    mode: "0644"

- name: Make an image for vSphere
  vmimage.prep.image_convert:
    src: /srv/images/disk.qcow2
    dest: /srv/images/disk.vmdk
    profile: esxi

- name: Make a disk for a folder of VMware Workstation, in files of 2 GiB
  vmimage.prep.image_convert:
    src: /srv/images/disk.qcow2
    dest: /srv/vm/disk.vmdk
    format: vmdk
    subformat: twoGbMaxExtentSparse
    options:
      adapter_type: pvscsi

- name: Make an image for Azure, with a larger disk
  vmimage.prep.image_convert:
    src: /srv/images/disk.qcow2
    dest: /srv/images/disk.vhd
    profile: azure
    virtual_size: 30G

- name: Take the state before an upgrade out of an image with snapshots
  vmimage.prep.image_convert:
    src: /srv/images/server.qcow2
    snapshot: before-upgrade
    dest: /srv/images/server-before.qcow2

- name: Fill an LVM volume
  vmimage.prep.image_convert:
    src: /srv/images/disk.qcow2
    dest: /dev/vg0/disk
    dest_device: true
    format: raw

- name: Merge an overlay and its backing file, which lies in the same folder
  vmimage.prep.image_convert:
    src: /srv/images/overlay.qcow2
    references: /srv/images
    dest: /srv/images/merged.qcow2
"""

RETURN = r"""
msg:
  description: Why O(dest) was written, or that nothing had to be done.
  returned: success
  type: str
  sample: dest is vmdk, qcow2 wanted
src:
  description: The source.
  returned: success
  type: str
dest:
  description: The file.
  returned: success
  type: str
files:
  description: All files that the image at O(dest) consists of, O(dest) first.
  returned: success
  type: list
  elements: str
  sample: [/srv/images/disk.vmdk, /srv/images/disk-flat.vmdk]
image:
  description: The image at O(dest), as M(vmimage.prep.image_info) describes it. In check mode what is known beforehand.
  returned: success
  type: dict
source:
  description: The image at O(src), as M(vmimage.prep.image_info) describes it.
  returned: success
  type: dict
package:
  description: The package that O(src) is, as M(vmimage.prep.ovf_info) describes it.
  returned: when O(src) is a package
  type: dict
openstack:
  description: What an upload of O(dest) to Glance has to say, as far as the image, its package, and what is installed on it tell.
  returned: success
  type: dict
  contains:
    disk_format:
      description: Glance's disk format.
      type: str
      sample: qcow2
    container_format:
      description: Glance's container format.
      type: str
      sample: bare
    min_disk:
      description: Smallest disk in GiB that a flavor needs.
      type: int
    min_ram:
      description: Memory in MiB that the package asks for, if there is one.
      type: int
    properties:
      description:
        - Image properties, as texts. Those of RV(openstack.proposals) whose confidence is not V(low), with those of O(properties).
      type: dict
      sample: {"architecture": "x86_64", "hw_firmware_type": "uefi", "hw_machine_type": "q35", "os_distro": "debian", "os_type": "linux"}
    proposals:
      description:
        - Image properties that follow from the package's virtual hardware and from what is installed on the disk, each with C(value), C(source),
          what says so, and C(confidence), V(high), V(medium) or V(low).
        - An instance gets virtio for its disk and network card when there are no properties for them. So there are only when the guest has no
          drivers for that, or when a package says what it had. R(The guide, ansible_collections.vmimage.prep.docsite.guide_guest) tells more.
        - Of a package's disk from which its system does not boot there are none.
      type: dict
      sample: {"hw_firmware_type": {"confidence": "high", "source": "vda1:EFI/BOOT/BOOTX64.EFI, and no boot code that a BIOS starts", "value": "uefi"}}
    notes:
      description: What no property says, and where package and guest contradict each other, each with C(code) and C(message).
      type: list
      elements: dict
      sample: [{"code": "virtio_disk", "message": "the guest has drivers for disks on virtio, which is faster than lsilogic"}]
checks:
  description: What was verified on the way.
  returned: success
  type: list
  elements: str
checksums:
  description: Checksums of O(dest), by algorithm.
  returned: when O(checksums) asks for any, not in check mode if O(dest) is to be written
  type: dict
  sample: {"md5": "0cc175b9c0f1b6a831c399e269772661"}
backup_file:
  description: Where the replaced file was kept. Of an image in several files, this one names the others that were kept.
  returned: changed and if O(backup=true)
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._module.convert import convert_image
from ..module_utils._module.run import CHECKSUMS, DESTINATION, SOURCE, run


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **SOURCE,
            **DESTINATION,
            "format": {"type": "str", "choices": ["raw", "qcow2", "vmdk", "vdi", "vhd", "vpc", "vhdx", "iso"]},
            "profile": {"type": "str", "choices": ["openstack", "ceph", "azure", "hyperv", "ironic", "esxi", "virtualbox", "gce", "aws", "xen"]},
            "virtual_size": {"type": "bytes"},
            "align": {"type": "bytes"},
            "subformat": {"type": "str"},
            "compress": {"type": "bool", "default": False},
            "options": {"type": "dict", "default": {}},
            "compressor": {"type": "str", "choices": ["zlib", "isal", "zlib_ng"], "default": "zlib"},
            "dest_device": {"type": "bool", "default": False},
            "iso": {"type": "str", "choices": ["refuse", "keep", "disk"], "default": "refuse"},
            "verify": {"type": "str", "choices": ["structure", "content"], "default": "structure"},
            "properties": {"type": "dict", "default": {}},
            "checksums": CHECKSUMS,
        },
        add_file_common_args=True,
        supports_check_mode=True,
    )
    run(module, convert_image)


if __name__ == "__main__":
    main()

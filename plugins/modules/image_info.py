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
  - With O(guest=true) it also tells what is inside, the file systems, the operating system, what boots how, and what would keep it from
    booting in OpenStack.
author:
  - vmimage.prep contributors (@vmimage)
extends_documentation_fragment:
  - vmimage.prep._source
  - vmimage.prep._upload
  - vmimage.prep._attributes.info_module
options:
  check:
    description:
      - Walk all structures of the image as C(qemu-img check) does, and count what is allocated.
      - For an OVF package this verifies the manifest, too, as far as the disk is concerned.
    type: bool
    default: false
  guest:
    description:
      - Look into the file systems of the disk, and return as RV(image.guest) which operating system is installed, with which kernels and
        which boot loader, and what keeps it from booting, or from working, in OpenStack with KVM. Each fact says where it is from.
      - Of an ISO image, return as RV(image.media) what the disc is for, and the kernels on it.
      - Nothing is mounted, nothing in the image is run, and no privileges are needed. Only what is needed is read, tables, configurations,
        kernels and ramdisks; these are some tens of MiB of an image of any size.
      - A compressed image cannot be read so, as one has to begin at its start. It is unpacked first, into a file that has no name
        in Ansible's temporary folder on the managed node (C(remote_tmp)), which needs room for the unpacked image. The same holds for a disk
        in a compressed package.
      - Of a disk with several operating systems only what they are is returned. M(vmimage.prep.ami_build) returns the other facts of the one
        that is named there.
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
  - module: vmimage.prep.ami_build
  - ref: ansible_collections.vmimage.prep.docsite.guide_guest
    description: What is inside an image, and what the risks mean.
  - ref: ansible_collections.vmimage.prep.docsite.guide_safety
    description: What OpenStack checks when an image is uploaded.
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

- name: Look inside
  vmimage.prep.image_info:
    src: /srv/images/debian.qcow2
    guest: true
  register: result

- name: Show the operating system, and how it boots
  ansible.builtin.debug:
    msg:
      - "{{ result.image.guest.os.name }} for {{ result.image.guest.architecture.value }}, firmware: {{ result.image.guest.firmware.value }}"
      - "{{ result.image.guest.boot.default.kernel }} {{ result.image.guest.boot.default.options }}"

- name: Refuse what would not boot in OpenStack, or could not be reached there
  ansible.builtin.assert:
    that: risks | length == 0
    fail_msg: "{{ risks | map(attribute='text') | join('; ') }}"
  vars:
    risks: "{{ result.image.guest.risks | selectattr('level', 'eq', 'error') }}"

- name: Will Glance accept this file as it is, and what will Nova and Cinder do with it?
  vmimage.prep.image_info:
    src: /srv/images/appliance.vhd
    upload:
      disk_format: vhd
  register: result

- name: Show what speaks against it, and what to do
  ansible.builtin.debug:
    msg: "{{ item.service }}: {{ item.text }}. {{ item.cure | default('', true) }}"
  loop: "{{ result.image.verdict.gates | rejectattr('outcome', 'eq', 'accept') }}"

- name: What is on this disc?
  vmimage.prep.image_info:
    src: /srv/images/debian-12-netinst.iso
    guest: true
  register: disc

- name: Show what it is for, and which kernels can be taken out of it
  ansible.builtin.debug:
    msg: "{{ disc.image.media.kind }}, {{ disc.image.media.name }}: {{ disc.image.media.kernels | map(attribute='kernel') }}"
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
    verdict:
      description:
        - What OpenStack will say to the upload. The services have their default configuration, and their own answers are final.
        - What Glance says, also to an import, was compared with real ones of all these releases, and what the others say with what their code does.
      returned: when O(upload) is given
      type: dict
      contains:
        accepted:
          description: Whether Glance accepts the upload. It also accepts what it should not; the gates with the outcome V(warn) tell.
          type: bool
        disk_format:
          description: What the upload is declared as.
          type: str
          sample: vhd
        container_format:
          description: What it is declared to lie in.
          type: str
          sample: bare
        release:
          description: The release that is judged.
          type: str
          sample: "2026.2"
        profile:
          description: What the cloud consists of, as given.
          type: str
        seen_as:
          description:
            - Formats that the services' inspector sees in the file. V(raw) is what it does not know, V(gpt) a disk with any partition table.
          type: list
          elements: str
          sample: [vhd]
        gates:
          description: What each service says. If Glance refuses the upload only that.
          type: list
          elements: dict
          contains:
            service:
              description:
                - V(glance) at the upload, V(glance_import) for an import that converts to raw with the plugin C(image_conversion), V(nova) for an
                  instance, V(cinder) for a volume, or V(ironic) for a bare machine.
              type: str
              sample: nova
            check:
              description:
                - What decides. V(disk_format) and V(container_format), one that the service does not have. V(format_match), what is declared
                  against what is seen. V(multiple_formats). V(safety), the safety checks. V(container), nothing is inspected in it. V(cut),
                  V(damaged), V(encrypted) and V(references), what the image is. V(qemu_format), what C(qemu-img) takes it for. V(converted),
                  what the conversion makes of it. V(sector_size), sectors that C(qemu-img) does not read. V(not_raw), what Ceph cannot clone.
                  V(no_disk), what a machine finds on its disk. V(uninspected), the inspection fails. V(file), a folder.
              type: str
              sample: qemu_format
            outcome:
              description: V(accept), V(refuse), or V(warn) for what is accepted, but is of no use or not safe.
              type: str
              sample: refuse
            text:
              description: For people.
              type: str
              sample: qemu-img takes it for vpc, and vhd was expected
            cure:
              description: What to do about it, where anything helps.
              type: str
              sample: Convert it to qcow2 or raw
    guest:
      description:
        - What is inside the image.
        - What is a dictionary with C(value) and C(source), or has a C(source) beside other keys, is known from there. It is a file of the
          guest, with the number of the line where that helps, or words such as V(type of the partition).
        - C(root), C(architecture), C(hostname), C(kernels), C(boot), C(drivers) and C(preparation) are those of the one operating system that
          was found. They are null, and C(kernels) is empty, when there are none or several.
      returned: O(guest) is true, the image is readable, and it is no ISO
      type: dict
      contains:
        filesystems:
          description: All volumes of the disk. Its partitions, then its logical volumes, or the disk itself when it has no partition table.
          type: list
          elements: dict
          contains:
            volume:
              description: Its name. A partition as the first disk on virtio has it, a logical volume with that of its group.
              type: str
              sample: vda2
            partition:
              description: Number of the partition. Null of a logical volume, and of a disk without a partition table.
              type: int
              sample: 2
            type:
              description: What it holds, in the words of C(blkid). Null when nothing is recognised.
              type: str
              sample: ext4
            version:
              description: Its version, as C(blkid) shows it.
              type: str
              sample: "1.0"
            label:
              description: Its label.
              type: str
              sample: boot
            uuid:
              description: Its UUID, as C(blkid) shows it.
              type: str
              sample: 2d1b1a3c-4ad0-4d52-a29d-ae47f8b0e2a5
            length:
              description: Size of the volume in bytes. Null of a logical volume that is not read.
              type: int
              sample: 125829120
            occupied:
              description: How much of it the file system says it has, in bytes.
              type: int
              sample: 125829120
            use:
              description:
                - Where the system mounts it, first of all places.
                - Of what is not mounted V(esp), V(xbootldr), V(bios_boot) or V(prep) by the type of the partition, or V(swap), V(lvm), V(luks) or
                  V(raid) by what it holds. Otherwise null.
              type: str
              sample: /boot
            mounts:
              description:
                - All places where it is mounted, with C(path), the C(subvolume) of btrfs (null is the default one), and the C(source) that says so.
              type: list
              elements: dict
              sample: [{"path": "/boot", "source": "/etc/fstab:2", "subvolume": null}]
            source:
              description: How RV(image.guest.filesystems[].use) is known.
              type: str
              sample: "/etc/fstab:2"
            problem:
              description: Why it cannot be read, if it should be.
              type: str
            warnings:
              description: What is not as it should be, such as a journal that was not replayed.
              type: list
              elements: str
        systems:
          description: The operating systems on the disk, each with its C(root) (a volume, or one with the subvolume behind a colon), C(os) and C(source).
          type: list
          elements: dict
        root:
          description: The root file system.
          type: dict
          contains:
            volume:
              description: The volume that it lies on.
              type: str
              sample: vda2
            subvolume:
              description: Of btrfs, the subvolume with the operating system, if it is not the default one.
              type: str
            source:
              description: How it is known.
              type: str
              sample: /etc/os-release
        os:
          description: The operating system. Also that of a Windows disk, whose files are not read. Null when it is not known.
          type: dict
          contains:
            os_type:
              description: V(linux) or V(windows). A value for the image property of this name.
              type: str
              sample: linux
            os_distro:
              description: The distribution, in the vocabulary of the image property of this name.
              type: str
              sample: debian
            os_version:
              description: The version, as the distributor counts.
              type: str
              sample: "12"
            codename:
              description: Name of the version.
              type: str
              sample: bookworm
            name:
              description: All of it, for people.
              type: str
              sample: Debian GNU/Linux 12 (bookworm)
            confidence:
              description: V(high) where a file of the system says so, V(medium) or V(low) where it is concluded.
              type: str
              sample: high
            source:
              description: The file that says so.
              type: str
              sample: /etc/os-release
        architecture:
          description: Architecture of the guest's programs, as Glance calls it.
          type: dict
          contains:
            value:
              description: The architecture.
              type: str
              sample: x86_64
            source:
              description: The program that was looked at.
              type: str
              sample: /bin/sh
        hostname:
          description: The host's name, if the image has one, as C(value) with C(source).
          type: dict
          sample: {"source": "/etc/hostname", "value": "vm"}
        firmware:
          description: What the disk boots with. Only what a new instance finds counts, as no entry in the firmware's memory comes along.
          type: dict
          contains:
            value:
              description: V(bios), V(uefi), V(both), or null when it is neither.
              type: str
              sample: both
            bios:
              description: The boot code that a BIOS starts.
              type: str
              sample: GRUB
            uefi:
              description: The programs that UEFI starts.
              type: list
              elements: str
              sample: ["vda1:EFI/BOOT/BOOTX64.EFI"]
            source:
              description: How this is known, in words.
              type: list
              elements: str
              sample: ["boot code in the first sector: GRUB", "a program for UEFI of x86_64: EFI/BOOT/BOOTX64.EFI on vda1"]
        kernels:
          description: The Linux kernels that are installed.
          type: list
          elements: dict
          contains:
            path:
              description: Path in the guest.
              type: str
              sample: /boot/vmlinuz-6.1.0-18-cloud-amd64
            version:
              description: Its version, as C(uname -r) shows it.
              type: str
              sample: 6.1.0-18-cloud-amd64
            type:
              description:
                - V(bzImage), V(zImage), V(Image) (arm64 and RISC-V), V(vmlinux) (ELF), V(s390), or for EFI V(zboot) (compressed), or V(uki) (with ramdisk and
                  command line in the same file).
              type: str
              sample: bzImage
            compression:
              description: What the file is compressed with as a whole, as arm64 has it.
              type: str
              sample: gzip
            architecture:
              description: Architecture that it is for.
              type: str
              sample: x86_64
            length:
              description: Length of the file in bytes.
              type: int
              sample: 8152192
            initrds:
              description: The ramdisks that belong to it.
              type: list
              elements: str
              sample: [/boot/initrd.img-6.1.0-18-cloud-amd64]
            modules:
              description: The folder with its modules, if they are installed.
              type: str
              sample: /usr/lib/modules/6.1.0-18-cloud-amd64
            default:
              description: Whether it boots by default.
              type: bool
            source:
              description: The file that tells all this, the kernel itself.
              type: str
              sample: /boot/vmlinuz-6.1.0-18-cloud-amd64
        boot:
          description: What the boot loader does.
          type: dict
          contains:
            loader:
              description:
                - V(grub2), V(grub-legacy), V(systemd-boot), V(extlinux), V(syslinux), V(isolinux), V(uki) (a unified kernel image that the
                  firmware starts), V(bls) (entries of the Boot Loader Specification that no other configuration leads to), or V(none) when
                  the kernel was chosen by its version.
              type: str
              sample: grub2
            default:
              description: The entry that boots by default, with the keys of RV(image.guest.boot.entries). Null when none does.
              type: dict
            reason:
              description: Why it is this entry.
              type: str
              sample: default in /boot/grub/grub.cfg is '0'
            root:
              description: What the kernel's command line names as root file system.
              type: str
              sample: UUID=2d1b1a3c-4ad0-4d52-a29d-ae47f8b0e2a5
            consoles:
              description: The consoles on the command line.
              type: list
              elements: str
              sample: [tty0, "ttyS0,115200n8"]
            entries:
              description: The entries of the menu, as many as 100.
              type: list
              elements: dict
              contains:
                title:
                  description: Its title.
                  type: str
                  sample: Debian GNU/Linux
                id:
                  description: Its name for programs.
                  type: str
                  sample: gnulinux-simple-2d1b1a3c-4ad0-4d52-a29d-ae47f8b0e2a5
                kernel:
                  description: Path of the kernel in the guest. Null of what boots none, such as another loader.
                  type: str
                  sample: /boot/vmlinuz-6.1.0-18-cloud-amd64
                initrds:
                  description: Paths of the ramdisks, in the order in which they are loaded.
                  type: list
                  elements: str
                  sample: [/boot/initrd.img-6.1.0-18-cloud-amd64]
                options:
                  description: The kernel's command line.
                  type: str
                  sample: root=UUID=2d1b1a3c-4ad0-4d52-a29d-ae47f8b0e2a5 ro console=tty0 console=ttyS0
                line:
                  description: Number of the line where it begins.
                  type: int
                source:
                  description: The file that it stands in.
                  type: str
                  sample: /boot/grub/grub.cfg
            source:
              description: The file that was read.
              type: str
              sample: /boot/grub/grub.cfg
            warnings:
              description: What in it could not be followed.
              type: list
              elements: str
        drivers:
          description:
            - Where the drivers are that the default kernel needs to boot on KVM.
            - V(builtin), in the kernel; V(initramfs), in its ramdisk; V(modules), on the root file system, which is too late to find it;
              V(missing); or V(unknown).
          type: dict
          contains:
            virtio_blk:
              description: Disks on virtio, Nova's default.
              type: str
              sample: initramfs
            virtio_pci:
              description: All of virtio on PCI.
              type: str
              sample: builtin
            virtio_scsi:
              description: Disks on virtio-scsi.
              type: str
            virtio_net:
              description: Network cards on virtio.
              type: str
            nvme:
              description: NVMe disks.
              type: str
            ahci:
              description: SATA disks.
              type: str
            ata_piix:
              description: IDE disks.
              type: str
            mptspi:
              description: SCSI disks on LSI Logic's parallel controller.
              type: str
            mptsas:
              description: SCSI disks on LSI Logic's SAS controller.
              type: str
            vmw_pvscsi:
              description: SCSI disks on VMware's own controller.
              type: str
            e1000:
              description: Network cards of this name.
              type: str
            e1000e:
              description: Network cards of this name.
              type: str
            rtl8139:
              description: Network cards of this name; the module is 8139cp.
              type: str
            vmxnet3:
              description: VMware's network cards.
              type: str
            dm_mod:
              description: The device mapper, for LVM.
              type: str
            ext4:
              description: The file system of this name.
              type: str
            xfs:
              description: The file system of this name.
              type: str
            btrfs:
              description: The file system of this name.
              type: str
            reason:
              description: Why something is unknown.
              type: str
            source:
              description: The files that were looked at.
              type: list
              elements: str
        preparation:
          description: How the system is prepared for a cloud. Each fact is a dictionary with C(value) and C(source).
          type: dict
          contains:
            cloud_init:
              description: Whether cloud-init is installed.
              type: dict
              sample: {"source": "/usr/bin/cloud-init", "value": true}
            datasources:
              description: Which data sources cloud-init asks. Null when it looks for all.
              type: dict
              sample: {"source": "/etc/cloud/cloud.cfg.d/90_dpkg.cfg", "value": ["OpenStack", "ConfigDrive"]}
            admin_user:
              description: The user whom cloud-init creates. A value for the image property C(os_admin_user).
              type: dict
              sample: {"source": "/etc/cloud/cloud.cfg", "value": "debian"}
            guest_agent:
              description: Whether QEMU's guest agent is installed.
              type: dict
            grow_root:
              description: Whether something makes the root partition as large as the disk.
              type: dict
            machine_id:
              description: V(absent), V(empty), V(uninitialized), or V(set), which should not be in an image.
              type: dict
            ssh_host_keys:
              description: The private keys of its SSH server, which should not be in an image.
              type: dict
            network_rules:
              description: Files that name or configure network cards by the MAC address of a former machine.
              type: dict
        risks:
          description:
            - What keeps the guest from booting, or from working, in OpenStack with KVM. Errors first, then warnings, then notes.
            - All codes are in R(the guide, ansible_collections.vmimage.prep.docsite.guide_guest).
          type: list
          elements: dict
          contains:
            code:
              description: For programs.
              type: str
              sample: no_virtio_in_initramfs
            level:
              description: V(error), it will not boot, or not be reached; V(warning), something will not work; or V(note).
              type: str
              sample: error
            text:
              description: For people, with what to do.
              type: str
            source:
              description: The file or structure that shows it.
              type: str
              sample: /boot/initrd.img-6.1.0-18-cloud-amd64
        warnings:
          description: What could not be read, or followed.
          type: list
          elements: str
    openstack:
      description:
        - What an upload to Glance has to say, as far as the image, its package, and what is installed on it tell.
        - The keys are those of RV(vmimage.prep.image_convert#module:openstack).
      returned: O(guest) is true, and the image can be read
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
          description: Image properties, as texts. Those of RV(image.openstack.proposals) whose confidence is not V(low).
          type: dict
          sample: {"architecture": "x86_64", "os_distro": "debian", "os_type": "linux", "os_version": "12"}
        proposals:
          description: Image properties, each with C(value), C(source), what says so, and C(confidence), V(high), V(medium) or V(low).
          type: dict
          sample: {"os_distro": {"confidence": "high", "source": "/etc/os-release in the guest", "value": "debian"}}
        notes:
          description: What no property says, and where package and guest contradict each other, each with C(code) and C(message).
          type: list
          elements: dict
    media:
      description: What the disc is for. A guess by the files by which distributions mark their discs, and by the volume's label.
      returned: O(guest) is true, and the image is an ISO
      type: dict
      contains:
        kind:
          description: V(installer), V(live), V(rescue), V(drivers) (for a guest), V(config) (for cloud-init), or V(data).
          type: str
          sample: installer
        distro:
          description: The distribution, in the vocabulary of the image property C(os_distro).
          type: str
          sample: debian
        version:
          description: Its version.
          type: str
          sample: 12.5.0
        architecture:
          description: The architecture that it is for, as Glance calls it.
          type: str
          sample: x86_64
        name:
          description: What the disc says it is.
          type: str
          sample: Debian GNU/Linux 12.5.0 "Bookworm" - Official amd64 NETINST with firmware 20240210-11:27
        source:
          description: The file that says so, or V(the volume's label).
          type: str
          sample: /.disk/info
        kernels:
          description: The kernels that the disc boots. M(vmimage.prep.ami_build) takes the first, or the one that is named, out of it.
          type: list
          elements: dict
          contains:
            kernel:
              description: Path on the disc.
              type: str
              sample: /install.amd/vmlinuz
            ramdisks:
              description: Paths of its ramdisks, in the order in which they are loaded.
              type: list
              elements: str
              sample: [/install.amd/initrd.gz]
            command_line:
              description: The command line that the disc's boot loader gives it. Null when the kernel was found by its place.
              type: str
              sample: vga=788 --- quiet
            title:
              description: Title of the menu's entry.
              type: str
              sample: Install
            version:
              description: Version of the kernel.
              type: str
              sample: 6.1.0-18-amd64
            architecture:
              description: Architecture of the kernel.
              type: str
              sample: x86_64
            source:
              description: The configuration that names it, or its folder.
              type: str
              sample: /isolinux/txt.cfg
        efi_loaders:
          description: The boot loaders that UEFI finds, with their C(architecture), C(path), and C(place), V(el_torito) or a partition.
          type: list
          elements: dict
          sample: [{"architecture": "x86_64", "path": "/EFI/BOOT/BOOTX64.EFI", "place": "el_torito"}]
        warnings:
          description: What could not be read.
          type: list
          elements: str
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

from ..module_utils._module.info import describe_image
from ..module_utils._module.run import CHECKSUMS, SOURCE, run
from ..module_utils._module.upload import UPLOAD


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **SOURCE,
            "check": {"type": "bool", "default": False},
            "guest": {"type": "bool", "default": False},
            "upload": UPLOAD,
            "content_checksums": CHECKSUMS,
        },
        supports_check_mode=True,
    )
    run(module, describe_image)


if __name__ == "__main__":
    main()

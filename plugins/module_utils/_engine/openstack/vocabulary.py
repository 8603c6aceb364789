# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The image properties that Nova and Glance know, and the values that they take. Glance stores any, so that a typing error stays unseen.

Source: Nova 34 (October 2026), nova/objects/image_meta.py (ImageMetaProps, version 1.44, and its older names) and nova/objects/fields.py;
nova/virt/vmwareapi/constants.py; what only Glance has: its metadefs, and glance/api/v2/images.py.
"""

from __future__ import annotations

import difflib
import re
import typing as t

from ..errors import InvalidImage, printable

_INTEGER = re.compile(r"[0-9]{1,9}", re.ASCII)
_BOOLEANS = ("true", "false", "yes", "no", "on", "off", "1", "0", "t", "f", "y", "n")

_BUSES = ("fdc", "ide", "sata", "scsi", "usb", "virtio", "xen", "lxc", "uml")
_MACHINES = ("hvm", "xen", "uml", "exe")
_ARCHITECTURES = (
    *"aarch64 alpha armv6 armv7b armv7l cris i686 ia64 lm32 m68k microblaze microblazeel mips mips64 mips64el mipsel openrisc parisc".split(),
    *"parisc64 ppc ppc64 ppc64le ppcemb ppcle s390 s390x sh4 sh4eb sparc sparc64 unicore32 x86_64 xtensa xtensaeb".split(),
)
_HYPERVISORS = (*"baremetal bhyve docker fake hyperv ironic kqemu kvm lxc lxd openvz parallels phyp qemu test uml vbox vz vmware xen zvm prsm".split(),)
_VIF_MODELS = (*"virtio ne2k_pci pcnet rtl8139 e1000 e1000e netfront spapr-vlan lan9118 sriov vmxnet vmxnet3 igb".split(),)
_SCSI_MODELS = ("buslogic", "ibmvscsi", "lsilogic", "lsisas1068", "lsisas1078", "virtio-scsi", "vmpvscsi")

ENUMERATIONS: dict[str, tuple[str, ...]] = {
    "architecture": _ARCHITECTURES,
    "hw_architecture": _ARCHITECTURES,
    "hw_cdrom_bus": _BUSES,
    "hw_cpu_policy": ("dedicated", "shared", "mixed"),
    "hw_cpu_thread_policy": ("prefer", "isolate", "require"),
    "hw_disk_bus": _BUSES,
    "hw_emulation_architecture": _ARCHITECTURES,
    "hw_ephemeral_encryption_format": ("plain", "luks", "luksv2"),
    "hw_firmware_type": ("uefi", "bios"),
    "hw_floppy_bus": _BUSES,
    "hw_input_bus": ("usb", "virtio"),
    "hw_maxphysaddr_mode": ("passthrough", "emulate"),
    "hw_mem_encryption_model": ("amd-sev", "amd-sev-es", "amd-sev-snp", "intel-tdx"),
    "hw_pci_numa_affinity_policy": ("required", "legacy", "preferred", "socket"),
    "hw_pointer_model": ("usbtablet",),
    "hw_rescue_bus": _BUSES,
    "hw_rescue_device": ("cdrom", "disk", "floppy", "fs", "lun"),
    "hw_rng_model": ("virtio",),
    "hw_scsi_model": _SCSI_MODELS,
    "hw_sound_model": ("sb16", "es1370", "pcspk", "ac97", "ich6", "ich9", "usb", "virtio"),
    "hw_tpm_model": ("tpm-tis", "tpm-crb"),
    "hw_tpm_version": ("1.2", "2.0"),
    "hw_usb_model": ("none", "nec-xhci", "qemu-xhci"),
    "hw_video_model": ("cirrus", "qxl", "vga", "vmvga", "xen", "virtio", "gop", "none", "bochs"),
    "hw_vif_model": _VIF_MODELS,
    "hw_viommu_model": ("intel", "smmuv3", "virtio", "auto"),
    "hw_vm_mode": _MACHINES,
    "hw_watchdog_action": ("none", "pause", "poweroff", "reset", "disabled"),
    "hypervisor_type": _HYPERVISORS,
    "img_config_drive": ("optional", "mandatory"),
    "img_hv_type": _HYPERVISORS,
    "img_signature_hash_method": ("SHA-224", "SHA-256", "SHA-384", "SHA-512"),
    "img_signature_key_type": (*"DSA ECC_SECP384R1 ECC_SECP521R1 ECC_SECT409K1 ECC_SECT409R1 ECC_SECT571K1 ECC_SECT571R1 RSA-PSS".split(),),
    "os_secure_boot": ("required", "disabled", "optional"),
    "os_type": ("linux", "windows"),
    "vm_mode": _MACHINES,
    "vmware_adaptertype": ("ide", "lsiLogic", "lsiLogicsas", "busLogic", "paraVirtual"),
    "vmware_disktype": ("streamOptimized", "sparse", "preallocated", "thin", "thick", "eagerZeroedThick"),
}
"""property → all its values"""

_ARCHITECTURE_ALIASES = {"amd64": "x86_64", **dict.fromkeys(("i386", "i486", "i586", "x86_32", "x86_32p"), "i686")}
_MODE_ALIASES = {"pv": "xen", "hv": "hvm", "baremetal": "hvm"}
_SCSI_ALIASES = {"lsilogicsas": "lsisas1068", "paravirtual": "vmpvscsi"}
ALIASES: dict[str, dict[str, str]] = {
    **dict.fromkeys(("architecture", "hw_architecture", "hw_emulation_architecture"), _ARCHITECTURE_ALIASES),
    **dict.fromkeys(("hypervisor_type", "img_hv_type"), {"xapi": "xen"}),
    **dict.fromkeys(("hw_vm_mode", "vm_mode"), _MODE_ALIASES),
    "hw_scsi_model": _SCSI_ALIASES,
    "hw_vif_model": {
        "virtuale1000": "e1000",
        "virtuale1000e": "e1000e",
        "virtualpcnet32": "pcnet",
        "virtualsriovethernetcard": "sriov",
        "virtualvmxnet": "vmxnet",
        "virtualvmxnet3": "vmxnet3",
    },
    "os_type": {},
    "vmware_adaptertype": {name: name for name in (*_SCSI_MODELS, *_SCSI_ALIASES)},
}
"""properties whose values can be in capital letters, with other words that Nova takes for them"""

INTEGERS = (
    "hw_cpu_cores",
    "hw_cpu_max_cores",
    "hw_cpu_max_sockets",
    "hw_cpu_max_threads",
    "hw_cpu_sockets",
    "hw_cpu_threads",
    "hw_device_id",
    "hw_maxphysaddr_bits",
    "hw_numa_nodes",
    "hw_redirected_usb_ports",
    "hw_serial_port_count",
    "hw_video_ram",
    "img_compression_level",
    "img_version",
    "os_shutdown_timeout",
    "vmware_image_version",
    "xenapi_device_id",
    "xenapi_image_compression_level",
)
BOOLEANS = (
    "bdm_v2",
    "bittorrent",
    "cache_in_nova",
    "hw_boot_menu",
    "hw_ephemeral_encryption",
    "hw_firmware_stateless",
    "hw_ipxe_boot",
    "hw_locked_memory",
    "hw_mem_encryption",
    "hw_pmu",
    "hw_qemu_guest_agent",
    "hw_time_hpet",
    "hw_vif_multiqueue_enabled",
    "hw_virtio_packed_ring",
    "img_bdm_v2",
    "img_bittorrent",
    "img_cache_in_nova",
    "img_hide_hypervisor_id",
    "img_linked_clone",
    "img_use_agent",
    "ipxe_boot",
    "os_require_quiesce",
    "os_skip_agent_inject_files_at_boot",
    "os_skip_agent_inject_ssh",
    "vmware_linked_clone",
    "xenapi_skip_agent_inject_files_at_boot",
    "xenapi_skip_agent_inject_ssh",
    "xenapi_use_agent",
)
TEXTS = (
    "auto_disk_config",
    "block_device_mapping",
    "cinder_encryption_key_deletion_policy",
    "cinder_encryption_key_id",
    "cinder_img_volume_type",
    "hw_auto_disk_config",
    "hw_cpu_realtime_mask",
    "hw_disk_type",
    "hw_ephemeral_encryption_secret_uuid",
    "hw_machine_type",
    "hw_mem_page_size",
    "hypervisor_version_requires",
    "img_block_device_mapping",
    "img_hv_requested_version",
    "img_mappings",
    "img_owner_id",
    "img_root_device_name",
    "img_signature",
    "img_signature_certificate_uuid",
    "kernel_id",
    "mappings",
    "os_admin_user",
    "os_command_line",
    "os_distro",
    "os_version",
    "owner_id",
    "ramdisk_id",
    "root_device_name",
    "vmware_ostype",
)
KNOWN = (*ENUMERATIONS, *INTEGERS, *BOOLEANS, *TEXTS)
PREFIXES = ("hw_", "img_", "os_", "vmware_")
"""of most of them"""
NUMA = re.compile(r"hw_numa_(?:cpus|mem)\.\d{1,3}", re.ASCII)
"""properties of each node"""
TRAIT = "trait:"
"""begins a property that names what a host must have"""

ATTRIBUTES = (
    *"checksum container_format created_at direct_url disk_format file id locations min_disk min_ram name os_hash_algo os_hash_value".split(),
    *"os_hidden owner protected schema self size status stores tags updated_at virtual_size visibility".split(),
)
"""what Glance knows of an image beside its properties"""
RESERVED = ("deleted", "deleted_at", "location")
RESERVED_PREFIX = "os_glance"
"""what Glance takes from nobody"""


def objection(name: str, value: str) -> str | None:
    """What is wrong with a property's value for Nova, as a sentence; None when it takes it.

    :param value: as Glance has it, a text
    """
    if name in ENUMERATIONS:
        return _outside(name, value)
    if name in INTEGERS:
        return None if _INTEGER.fullmatch(value) else f"{name} is a number, which {printable(value)!r} is not"
    if name in BOOLEANS:
        return None if value.lower() in _BOOLEANS else f"{name} is true or false, which {printable(value)!r} is not"
    if name.startswith(TRAIT):
        return None if value == "required" else f"{printable(name)} can only be required, and Nova passes over {printable(value)!r}"
    return None if name in TEXTS or NUMA.fullmatch(name) else f"{printable(name)} is no property that is known here"


def _outside(name: str, value: str) -> str | None:
    """Why a value is none of those of its property."""
    values = ENUMERATIONS[name]
    plain = value.lower()
    if value in values or (name in ALIASES and (plain in values or plain in ALIASES[name])):
        return None
    near = next(iter(difflib.get_close_matches(plain, [*values, *ALIASES.get(name, ())], 1)), None)
    meant = f"; did you mean {ALIASES.get(name, {}).get(near, near)}?" if near is not None and len(values) > 1 else ""
    return f"{name} cannot be {printable(value)!r}, only {_any_of(values)}{meant}"


def require_known(name: str, value: str) -> None:
    """Let pass what Nova takes.

    :raises InvalidImage: the property is not known, or it cannot have that value
    """
    reason = objection(name, value)
    if reason is not None:
        raise InvalidImage(reason)


def _any_of(values: t.Sequence[str]) -> str:
    return ", ".join(values[:-1]) + f" or {values[-1]}" if len(values) > 1 else values[0]

# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Nova starts an instance of an image, as far as an image's properties have a say in it: as a QEMU command line.

What Nova makes of the properties is in nova/virt/libvirt: blockinfo.py (buses), driver.py (firmware, kernel, SCSI controller) and utils.py
(machine type); which devices these are in QEMU is in libvirt's src/qemu/qemu_command.c. Nothing here is of our code.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

OVMF = ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd")
"""firmware and its empty variables, which libvirt copies for each new instance"""
DRIVERS = {"raw": "raw", "iso": "raw", "ami": "raw", "qcow2": "qcow2", "vmdk": "vmdk", "vdi": "vdi", "vhd": "vpc", "vhdx": "vhdx"}
"""Glance's disk_format → QEMU's name"""
SCSI_CONTROLLERS = {
    "lsilogic": "lsi",
    "lsisas1068": "mptsas1068",
    "lsisas1078": "megasas",
    "virtio-scsi": "virtio-scsi-pci",
    "vmpvscsi": "pvscsi",
}
"""hw_scsi_model, which libvirt has under the same names → QEMU's device"""
CARDS = {"virtio": "virtio-net-pci"}
"""hw_vif_model → QEMU's device, where it is called otherwise"""
CONSOLE = "console=tty0 console=ttyS0 console=hvc0"
FLAVOR_RAM = 256
"""MiB of the smallest flavor"""


class NotStarted(ValueError):
    """Nova or libvirt refuse to start such an instance."""


def qemu_arguments(upload: t.Mapping[str, t.Any], kernel: str | None = None, ramdisk: str | None = None, ram: int = FLAVOR_RAM) -> list[str]:
    """What starts an instance on x86_64, with the settings that a cloud has by default.

    :param upload: ``filename``, ``disk_format``, ``min_ram`` and ``properties`` of the image, as roles of ours leave them
    :param kernel: what the property kernel_id leads to
    :param ramdisk: what ramdisk_id leads to
    :param ram: MiB of the flavor, which is raised to what the image wants at least
    :raises NotStarted: the properties ask for what there is not
    """
    properties = upload["properties"]
    # utils.py, get_default_machine_type()
    machine = properties.get("hw_machine_type", "pc")
    arguments = ["-machine", machine, "-m", str(max(ram, int(upload["min_ram"] or 0))), "-vga", "std"]
    arguments += _firmware(properties, machine) + _root_device(upload, machine) + _card(properties)
    if kernel is not None:
        # driver.py, _set_guest_for_inst_kernel()
        arguments += ["-kernel", kernel, "-append", properties.get("os_command_line") or f"root=/dev/vda {CONSOLE} no_timer_check"]
        arguments += ["-initrd", ramdisk] if ramdisk is not None else []
    return arguments


def _firmware(properties: t.Mapping[str, str], machine: str) -> list[str]:
    """driver.py, _configure_guest_by_virt_type(): UEFI only when the image wants it, and secure boot only with q35."""
    if properties.get("hw_firmware_type", "bios") == "bios":
        return []
    if properties.get("os_secure_boot") == "required" and "q35" not in machine:
        raise NotStarted(f"no secure boot with the machine type {machine}")
    code, variables = OVMF
    return ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}", "-drive", f"if=pflash,unit=1,format=raw,file={variables}"]


def _root_device(upload: t.Mapping[str, t.Any], machine: str) -> list[str]:
    """blockinfo.py, get_root_info() and get_disk_bus_for_device_type()."""
    properties, is_disc = upload["properties"], upload["disk_format"] == "iso"
    has_ide = "q35" not in machine
    if is_disc:
        bus, device = properties.get("hw_cdrom_bus", "ide" if has_ide else "sata"), "cd"
    else:
        bus, device = properties.get("hw_disk_bus", "virtio"), "hd"
    source = f"if=none,id=root,format={DRIVERS[upload['disk_format']]},file={str(Path(upload['filename'])).replace(',', ',,')}"
    arguments = ["-drive", source]
    if bus == "virtio" and not is_disc:
        return [*arguments, "-device", "virtio-blk-pci,drive=root,bootindex=1"]
    if bus == "scsi":
        # driver.py, _get_scsi_controller(); without a model libvirt takes lsilogic (qemu_domain.c, qemuDomainDefaultSCSIControllerModel())
        controller = SCSI_CONTROLLERS[properties.get("hw_scsi_model", "lsilogic")]
        return [*arguments, "-device", f"{controller},id=scsi0", "-device", f"scsi-{device},bus=scsi0.0,drive=root,bootindex=1"]
    if bus == "ide" and has_ide:
        return [*arguments, "-device", f"ide-{device},bus=ide.0,drive=root,bootindex=1"]
    if bus == "sata":
        # q35 comes with the controller, to pc libvirt adds it.
        controller = ["-device", "ich9-ahci,id=sata0"] if has_ide else []
        return [*arguments, *controller, "-device", f"ide-{device},bus={'sata0.0' if controller else 'ide.0'},drive=root,bootindex=1"]
    raise NotStarted(f"no {bus} bus for a {'CD-ROM drive' if is_disc else 'disk'} with the machine type {machine}")


def _card(properties: t.Mapping[str, str]) -> list[str]:
    """vif.py, get_base_config(): a network card of the image's model; here without a network to start from."""
    model = properties.get("hw_vif_model", "virtio")
    return ["-netdev", "hubport,id=net0,hubid=0", "-device", f"{CARDS.get(model, model)},netdev=net0,romfile="]

#!/usr/bin/python
# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ovf_info
short_description: Describe an OVA, OVF or Vagrant package, and what is wrong with it
version_added: 0.1.0
description:
  - Describes a package without unpacking it. Its virtual systems with processors, memory, firmware, operating system, networks and
    disks, and the OpenStack image properties that follow from them.
  - Reports what is wrong with the package as a list of coded warnings, and can fail on them.
  - Verifies its manifest, if asked to.
author:
  - vmimage.prep contributors (@vmimage)
extends_documentation_fragment:
  - vmimage.prep._attributes
  - vmimage.prep._attributes.info_module
  - vmimage.prep._package
options:
  configuration:
    description:
      - Which deployment configuration of an OVF package is meant, by its id. It decides on processors, memory and attached disks.
      - When it is not set, the default of the package is taken.
    type: str
  inspect_disks:
    description:
      - Whether the headers of the disks are read, too. They tell the true format and size, which the descriptor may have wrong.
      - This costs little, but for compressed packages, of which much may have to be decompressed for it.
    type: bool
    default: true
  manifest:
    description:
      - What to do with the manifest of an OVF package.
      - All other values than V(ignore) have all files read that the manifest lists.
    type: str
    choices:
      require: There must be one that covers every file, and all checksums must agree.
      verify: If there is one, all of its checksums must agree.
      ignore: The files are not compared with it.
    default: ignore
  fail_on:
    description:
      - Codes of warnings on which the module fails. V(errors) stands for all that is against the standard or against the package
        itself, V(all) for all of them.
      - The codes are listed in R(the guide to packages,ansible_collections.vmimage.prep.docsite.guide_packages).
    type: list
    elements: str
    default: []
notes:
  - Values of properties that are marked as passwords are never returned.
seealso:
  - module: vmimage.prep.ovf_extract
  - module: vmimage.prep.image_convert
  - module: vmimage.prep.image_info
"""

EXAMPLES = r"""
- name: Look into an appliance
  vmimage.prep.ovf_info:
    src: /srv/incoming/appliance.ova
  register: result

- name: Show its disks in boot order
  ansible.builtin.debug:
    msg: "{{ item.file }} on {{ item.bus }}, {{ item.virtual_size }} bytes"
  loop: "{{ result.package.systems[0].disks }}"
  loop_control:
    label: "{{ item.disk_id }}"

- name: Accept only a package that keeps to the standard and is complete
  vmimage.prep.ovf_info:
    src: /srv/incoming/appliance.ova
    manifest: require
    fail_on: [errors]

- name: Accept what importers cope with, but no missing or changed files
  vmimage.prep.ovf_info:
    src: /srv/incoming/appliance.ova
    manifest: verify
    fail_on: [missing_file, file_size_mismatch, capacity_mismatch]
"""

RETURN = r"""
package:
  description: The package.
  returned: success, and when it fails on warnings
  type: dict
  contains:
    kind:
      description: V(ova), V(ovf) (not in a tar archive), V(vagrant), or V(archive), which has disk images and no description.
      type: str
      sample: ova
    layers:
      description: What is around it, outermost first, as V(gzip) or V(zip).
      type: list
      elements: str
    name:
      description: Name of the descriptor without its ending.
      type: str
      sample: appliance
    descriptor:
      description: The file that describes the package.
      type: str
      sample: appliance.ovf
    writer:
      description: The program whose vocabulary the descriptor uses, if known.
      type: str
      sample: VMware
    ovf_version:
      description: The version of OVF, V(0.9), V(1.x) or V(2.x).
      type: str
      sample: 1.x
    manifest:
      description:
        - The manifest. Its C(file), whether it was C(verified), by which C(algorithms), for which C(files), and which files
          are C(missing) or C(unlisted).
      type: dict
    signed:
      description: Whether there is a certificate.
      type: bool
    signature:
      description:
        - The signature of the manifest, if there is one. The C(certificates) with subject, issuer, validity and fingerprint, and
          whether the manifest was C(verified) to be signed with the key of the first one, which is not set when it could not be
          tried; the C(reason) says why. Whether a certificate is to be trusted, only you know.
      type: dict
    systems:
      description: The virtual systems.
      type: list
      elements: dict
      contains:
        id:
          description: Its id, which the option O(vmimage.prep.image_convert#module:system) takes.
          type: str
        name:
          description: Its name.
          type: str
        cpus:
          description: Number of virtual processors.
          type: int
        memory_mib:
          description: Memory in MiB.
          type: int
        firmware:
          description: V(bios) or V(uefi), if the descriptor says.
          type: str
        secure_boot:
          description: Whether secure boot is on, if the descriptor says.
          type: bool
        tpm:
          description: Whether there is a TPM.
          type: bool
        os:
          description:
            - The operating system, C(type), C(distro), C(version) and C(architecture) in Glance's words, with the C(confidence) and
              the C(source) of that, and what the descriptor says itself.
          type: dict
        networks:
          description: The network adapters, with C(models), C(network) and C(mac).
          type: list
          elements: dict
        disks:
          description: The disks in boot order.
          type: list
          elements: dict
          contains:
            disk_id:
              description: Its id, which the option O(vmimage.prep.image_convert#module:disk) takes.
              type: str
            file:
              description: Its file. Not set for an empty disk, which is to be made new.
              type: str
            capacity:
              description: Its size in bytes, as the descriptor has it.
              type: int
            virtual_size:
              description: Its size in bytes, as the image itself has it, which counts.
              type: int
            format:
              description: Its format by its content, as M(vmimage.prep.image_info) names it.
              type: str
            bus:
              description: V(ide), V(scsi), V(sata), V(nvme) or V(virtio), if the descriptor says.
              type: str
            controller:
              description: Model of the controller.
              type: str
            boot:
              description: Whether the system boots from it.
              type: bool
            problem:
              description: Why it cannot be used, if it cannot.
              type: str
        min_ram:
          description: Memory in MiB, for the upload.
          type: int
        min_disk:
          description: Smallest disk in GiB that the boot disk fits on, for the upload.
          type: int
        properties:
          description: OpenStack image properties by name, each with C(value), C(source) and C(confidence).
          type: dict
        notes:
          description: What of the virtual hardware no image property keeps, each with C(code) and C(message).
          type: list
          elements: dict
    settings:
      description: The properties that a guest takes its settings from. The value of a password is never set.
      type: list
      elements: dict
    warnings:
      description: What is wrong with the package, each with C(code), C(message), C(location) and C(severity).
      type: list
      elements: dict
nonconformities:
  description: The warnings on which the module failed.
  returned: when it fails on warnings
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._module.package import package_info
from ..module_utils._module.run import PACKAGE, run


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **PACKAGE,
            "configuration": {"type": "str"},
            "inspect_disks": {"type": "bool", "default": True},
            "manifest": {"type": "str", "choices": ["require", "verify", "ignore"], "default": "ignore"},
            "fail_on": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    run(module, package_info)


if __name__ == "__main__":
    main()

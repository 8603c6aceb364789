#!/usr/bin/python
# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ovf_extract
short_description: Extract an OVA, OVF or Vagrant package
version_added: 0.1.0
description:
  - Extracts the files of a package into a folder, and compares them with the manifest while it does so.
  - Only what belongs to the package is extracted (its descriptor, manifest, certificate, and the files that the descriptor names),
    and never to a place outside of O(dest).
  - To get at the disk only, M(vmimage.prep.image_convert) reads it inside the package, without extracting it.
author:
  - vmimage.prep contributors (@vmimage)
extends_documentation_fragment:
  - ansible.builtin.files
  - vmimage.prep._attributes
  - vmimage.prep._attributes.files
  - vmimage.prep._package
options:
  dest:
    description: Folder on the managed node to extract to. It must exist.
    type: path
    required: true
  manifest:
    description:
      - What to do with the manifest of the package. When a file disagrees with it, nothing is written.
      - Files that are there already as they should be, or that are not wanted, are not read for it.
    type: str
    choices:
      require: There must be one that covers every file of the package, and the checksums of those that are extracted must agree.
      verify: If there is one, the checksums of those files that are extracted must agree.
      ignore: It is not read.
    default: verify
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
  list_files:
    description: Whether to return the names of all files in the package, too.
    type: bool
    default: false
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
  - A small hidden file in O(dest) notes what was extracted. It lets the next run know without opening the package that nothing
    is to be done. It may be deleted at any time; then the contents are compared.
  - Files are extracted as they are stored. What is compressed in the package, or in pieces, stays so;
    M(vmimage.prep.image_convert) reads it as it is.
  - A file that was removed or altered in O(dest) is restored.
seealso:
  - module: vmimage.prep.ovf_info
  - module: vmimage.prep.image_convert
  - module: ansible.builtin.unarchive
"""

EXAMPLES = r"""
- name: Extract an appliance
  vmimage.prep.ovf_extract:
    src: /srv/incoming/appliance.ova
    dest: /srv/appliance
  register: result

- name: Show what is in it
  ansible.builtin.debug:
    var: result.package.systems

- name: Extract the descriptor only, and insist on a manifest
  vmimage.prep.ovf_extract:
    src: /srv/incoming/appliance.ova
    dest: /srv/appliance
    manifest: require
    include: ["*.ovf"]
"""

RETURN = r"""
files:
  description: The files that were asked for.
  returned: success, but not if O(creates) exists
  type: list
  elements: dict
  contains:
    name:
      description: Name in the package.
      type: str
      sample: disk1.vmdk
    path:
      description: Path on the managed node.
      type: str
      sample: /srv/appliance/disk1.vmdk
    length:
      description: Length in bytes.
      type: int
    reason:
      description: Why the file was written. Not set if it was there as it should be.
      type: str
      sample: does not exist
contained_files:
  description: The names of all files in the package, also of those that do not belong to it or are not wanted.
  returned: if O(list_files) is true
  type: list
  elements: str
manifest_verified:
  description: The files that were compared with the manifest when they were extracted. Empty if there is no manifest or it is ignored.
  returned: success, but not if O(creates) exists
  type: list
  elements: str
package:
  description: The package, as M(vmimage.prep.ovf_info) describes it.
  returned: success, but not if O(creates) exists
  type: dict
msg:
  description: What was done.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._module.package import extract_package
from ..module_utils._module.run import PACKAGE, run


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **PACKAGE,
            "dest": {"type": "path", "required": True},
            "manifest": {"type": "str", "choices": ["require", "verify", "ignore"], "default": "verify"},
            "include": {"type": "list", "elements": "str", "default": []},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "list_files": {"type": "bool", "default": False},
            "creates": {"type": "path"},
            "force": {"type": "bool", "default": False},
        },
        add_file_common_args=True,
        supports_check_mode=True,
    )
    run(module, extract_package)


if __name__ == "__main__":
    main()

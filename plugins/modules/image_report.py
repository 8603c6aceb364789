#!/usr/bin/python
# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_report
short_description: Write a page about a virtual machine image
version_added: 0.1.0
description:
  - Writes one HTML page about an image, to look at, to print, or to attach to a job.
  - It tells what OpenStack will say to the upload, what came in and what came out, what is on the disk and where its data lies, with pictures,
    which guest is installed, which properties the image gets, what is worth knowing, and the commands that upload it.
  - The page is complete in itself. It has no script, and nothing in it is loaded from elsewhere. All texts that come from the image are
    shown as text, whatever they hold.
  - An image that OpenStack refuses, or that is damaged, gets a page, too, which tells why. The module only fails if O(src) cannot be read
    at all.
  - It is changed only if the page would be another one. A second run reads no image data.
author:
  - vmimage.prep contributors (@vmimage)
extends_documentation_fragment:
  - ansible.builtin.files
  - vmimage.prep._source
  - vmimage.prep._dest
  - vmimage.prep._upload
  - vmimage.prep._attributes
  - vmimage.prep._attributes.files
options:
  src:
    description:
      - Path of the image on the managed node, or of the file that it was made from if there is O(prepared). It may be whatever
        M(vmimage.prep.image_convert) reads, or a UEC tarball.
      - A compressed image, or a compressed disk in a package, is decompressed once. To look into it, which is done without O(prepared) only, it is unpacked
        into a file that has no name, beside O(dest).
  checksum:
    description:
      - Checksum that the file O(src) must have, as C(<algorithm>:<hexadecimal digest>).
      - If it has another one the page says so. With O(prepared) it is not looked at, as that was verified when it was made.
  manifest:
    description:
      - What to do with the manifest of an OVF package.
      - The descriptor and the disk are compared. If they differ the page says so. With O(prepared) it is not looked at.
  name:
    description:
      - Name of the image, which is the heading of the page.
      - If not set, that of O(prepared), or the file name of O(src).
    type: str
  prepared:
    description:
      - What became of O(src). This is the fact that a role left, C(prepare_image_result) or C(build_ami_result), or one of the
        disks in C(import_ovf_result).
      - The files in its C(upload_plan) are looked at, and the page tells of them and of the way that led to them.
      - Without it the page is about O(src) as it is.
    type: dict
    default: {}
  problem:
    description: What kept O(src) from being prepared, for the page to tell.
    type: str
seealso:
  - module: vmimage.prep.image_info
  - ref: ansible_collections.vmimage.prep.docsite.guide_prepare
    description: How to get somebody's image into OpenStack.
"""

EXAMPLES = r"""
- name: Write a page about an image that somebody sent
  vmimage.prep.image_report:
    src: /srv/images/appliance.ova
    dest: /srv/images/appliance.html
    mode: "0644"

- name: Prepare it for OpenStack
  ansible.builtin.include_role:
    name: vmimage.prep.prepare_image
  vars:
    prepare_image_src: /srv/images/appliance.ova
    prepare_image_dest: /srv/images/appliance.qcow2

- name: Write a page about what was made of it
  vmimage.prep.image_report:
    src: /srv/images/appliance.ova
    prepared: "{{ prepare_image_result }}"
    dest: /srv/images/appliance-prepared.html
"""

RETURN = r"""
msg:
  description: Why O(dest) was written, or that nothing had to be done.
  returned: success
  type: str
  sample: dest does not exist
dest:
  description: The page.
  returned: success
  type: str
files:
  description: A list of one path, that of the page.
  returned: success
  type: list
  elements: str
accepted:
  description: Whether Glance accepts what would be uploaded, that is all files of O(prepared), or O(src).
  returned: success, but not in check mode when the files of O(prepared) are not written yet
  type: bool
backup_file:
  description: Where the replaced file was kept.
  returned: changed and if O(backup=true)
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._module.report import write_report
from ..module_utils._module.run import DESTINATION, SOURCE, run
from ..module_utils._module.upload import UPLOAD


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **SOURCE,
            **DESTINATION,
            "name": {"type": "str"},
            "prepared": {"type": "dict", "default": {}},
            "problem": {"type": "str"},
            "upload": UPLOAD,
        },
        add_file_common_args=True,
        supports_check_mode=True,
    )
    run(module, write_report)


if __name__ == "__main__":
    main()

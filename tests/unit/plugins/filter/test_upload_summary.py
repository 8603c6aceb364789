# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines for a person."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.vmimage.prep.plugins.filter.upload_summary import upload_summary

IMAGE = {"format": "qcow2", "subformat": None, "compressed": True, "virtual_size": 5 << 30, "file_size": 1536, "layers": [], "warnings": []}
RESULT = {
    "name": "it's mine",
    "filename": "/srv/my images/x.qcow2",
    "disk_format": "qcow2",
    "container_format": "bare",
    "min_disk": 5,
    "min_ram": 0,
    "properties": {"hw_disk_bus": "scsi", "os_distro": "debian; reboot"},
    "checksums": {"md5": "0cc1"},
    "source": {**IMAGE, "format": "vmdk", "subformat": "streamOptimized", "layers": [{"format": "ova", "member": "d.vmdk"}], "warnings": ["odd"]},
    "image": IMAGE,
    "checks": ["it is sound"],
    "msg": "dest does not exist",
    "changed": True,
}


def test_all_of_it():
    assert upload_summary(RESULT) == [
        "came in      ova > vmdk streamOptimized compressed, 5 GiB disk, 1.5 KiB file",
        "done         change: dest does not exist",
        "warning      odd",
        "came out     /srv/my images/x.qcow2",
        "             qcow2 compressed, 5 GiB disk, 1.5 KiB file",
        "check passed it is sound",
        "md5          0cc1",
        "upload with  openstack image create --file '/srv/my images/x.qcow2' --disk-format qcow2 --container-format bare --min-disk 5"
        """ --property hw_disk_bus=scsi --property 'os_distro=debian; reboot' 'it'"'"'s mine'""",
    ]


def test_in_check_mode_there_is_no_file_yet():
    image = {"format": "raw", "subformat": None, "virtual_size": 512}
    lines = upload_summary({**RESULT, "image": image, "checksums": {}, "min_ram": 256})
    assert "             raw, 512 bytes disk" in lines
    assert "--min-ram 256" in lines[-1]


@pytest.mark.parametrize("wrong", [None, "text", {}, {"changed": True}])
def test_something_else(wrong):
    with pytest.raises(AnsibleFilterError, match="prepare_image_result"):
        upload_summary(wrong)

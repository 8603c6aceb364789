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


PLAN = [
    {
        "name": f"it's{suffix}",
        "filename": f"/srv/x{ending}",
        "disk_format": kind,
        "container_format": kind,
        "min_disk": 0,
        "properties": {"architecture": "x86_64"},
        "checksums": {"md5": kind},
        "depends": depends,
    }
    for suffix, ending, kind, depends in (("-kernel", "-vmlinuz", "aki", {}), ("", ".img", "ami", {"kernel_id": "it's-kernel"}))
]
COMMANDS = [
    "upload with  openstack image create --file /srv/x-vmlinuz --disk-format aki --container-format aki --min-disk 0"
    """ --property architecture=x86_64 'it'"'"'s-kernel'""",
    "upload with  openstack image create --file /srv/x.img --disk-format ami --container-format ami --min-disk 0"
    """ --property architecture=x86_64 --property kernel_id="$(openstack image show -f value -c id 'it'"'"'s-kernel')" 'it'"'"'s'""",
]


def test_a_uec_tarball():
    source = {"path": "/srv/x.tar.gz", "kind": "tarball", "layers": ["gzip"], "files": [{}, {}, {}], "ignored": [], "bundle": None}
    result = {**PLAN[-1], "upload_plan": PLAN, "source": source, "image": {}, "checks": ["it agrees"], "msg": "2 of 2 files written", "changed": True}
    assert upload_summary(result) == [
        "came in      gzip > UEC tarball, 3 files",
        "done         change: 2 of 2 files written",
        "came out     /srv/x-vmlinuz",
        "md5          aki",
        "came out     /srv/x.img",
        "md5          ami",
        "check passed it agrees",
        *COMMANDS,
    ]


def test_an_ami():
    risks = [{"code": "no_cloud_init", "level": "warning", "text": "no cloud-init", "source": None}]
    result = {"kernel": "/srv/x-vmlinuz", "kernel_version": "6.1", "command_line": "root=/dev/vda", "tarball": "/srv/x.tgz", "changed": False}
    assert upload_summary({**result, "risks": risks, "upload_plan": PLAN}) == [
        "done         no change",
        "boots        Linux 6.1 with root=/dev/vda",
        "warning      no cloud-init",
        "came out     /srv/x-vmlinuz",
        "md5          aki",
        "came out     /srv/x.img",
        "md5          ami",
        *COMMANDS,
        "came out     /srv/x.tgz",
    ]


@pytest.mark.parametrize("wrong", [None, "text", {}, {"changed": True}])
def test_something_else(wrong):
    with pytest.raises(AnsibleFilterError, match="prepare_image_result"):
        upload_summary(wrong)

# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a guest is prepared for a cloud."""

from __future__ import annotations

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.cloud import examine_preparation
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.files import Files

CLOUD_CFG = """
users:
   - default
disable_root: true
datasource_list: [ NoCloud, ConfigDrive, "OpenStack" ]
system_info:
   distro: debian
   default_user:
     # the user
     gecos: Debian
     groups: [adm, audio]
     name: debian
     shell: /bin/bash
   paths:
      name: nobody
"""


def test_nothing(guest_tree):
    found = examine_preparation(Files(guest_tree({"/etc/fstab": ""})))
    assert found.cloud_init is None
    assert found.datasources is None
    assert found.admin_user is None
    assert found.guest_agent is None
    assert found.grow_root is None
    assert found.machine_id == "absent"
    assert found.ssh_host_keys == []
    assert found.network_rules == []
    assert found.hostname is None


def test_cloud_init(guest_tree):
    files = {"/usr/bin/cloud-init": b"", "/etc/cloud/cloud.cfg": CLOUD_CFG, "/usr/bin/growpart": b"", "/usr/sbin/qemu-ga": b""}
    found = examine_preparation(Files(guest_tree(files)))
    assert found.cloud_init == "/usr/bin/cloud-init"
    assert found.datasources == ["NoCloud", "ConfigDrive", "OpenStack"]
    assert found.datasources_source == "/etc/cloud/cloud.cfg"
    assert found.admin_user == "debian"
    assert found.grow_root == "/usr/bin/growpart"
    assert found.guest_agent == "/usr/sbin/qemu-ga"


def test_the_last_setting_counts(guest_tree):
    files = {
        "/etc/cloud/cloud.cfg": CLOUD_CFG,
        "/etc/cloud/cloud.cfg.d/90_dpkg.cfg": "# written by dpkg\ndatasource_list: [ Azure, None ]\n",
        "/etc/cloud/cloud.cfg.d/91_lines.cfg": "datasource_list:\n  - OpenStack\n  - None\nother: 1\n",
        "/etc/cloud/cloud.cfg.d/92_not.txt": "datasource_list: [ Ec2 ]\n",
    }
    found = examine_preparation(Files(guest_tree(files)))
    assert found.datasources == ["OpenStack", "None"]
    assert found.datasources_source == "/etc/cloud/cloud.cfg.d/91_lines.cfg"


@pytest.mark.parametrize("text", ["default_user:\n", "  default_user:\n  name: other\n", "  default_user: {name: x}\n", "  default_user:\n    name: 'a b'\n"])
def test_a_default_user_that_is_written_otherwise(guest_tree, text):
    assert examine_preparation(Files(guest_tree({"/etc/cloud/cloud.cfg": text}))).admin_user is None


@pytest.mark.parametrize(("text", "state"), [("", "empty"), ("uninitialized\n", "uninitialized"), ("1234\n", "set")])
def test_machine_id(guest_tree, text, state):
    assert examine_preparation(Files(guest_tree({"/etc/machine-id": text}))).machine_id == state


def test_what_a_template_should_not_have(guest_tree):
    files = {
        "/etc/ssh/ssh_host_rsa_key": b"",
        "/etc/ssh/ssh_host_rsa_key.pub": b"",
        "/etc/udev/rules.d/70-persistent-net.rules": '# comment\nSUBSYSTEM=="net", ATTR{address}=="52:54:00:00:00:01", NAME="eth0"\n',
        "/etc/sysconfig/network-scripts/ifcfg-eth0": "DEVICE=eth0\nHWADDR=52:54:00:00:00:01\n",
        "/etc/sysconfig/network-scripts/ifcfg-lo": "DEVICE=lo\n",
        "/etc/hostname": "# name\ntemplate\n",
    }
    found = examine_preparation(Files(guest_tree(files)))
    assert found.ssh_host_keys == ["/etc/ssh/ssh_host_rsa_key"]
    assert found.network_rules == ["/etc/udev/rules.d/70-persistent-net.rules", "/etc/sysconfig/network-scripts/ifcfg-eth0"]
    assert found.hostname == "template"


def test_rules_of_comments_only(guest_tree):
    assert examine_preparation(Files(guest_tree({"/etc/udev/rules.d/70-persistent-net.rules": "# nothing\n\n"}))).network_rules == []

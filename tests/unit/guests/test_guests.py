# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real guests: every file as the kernel that wrote it read it, and a trio out of each that boots.

They are made by tests/tools/build_guests, which needs root. What is tested here has no privileges.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.tree import Tree
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.guest import guest_on, inspect_guest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.openstack.proposals import applied
from ansible_collections.vmimage.prep.plugins.module_utils._engine.openstack.upload import image_proposals
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes.disk import DiskStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes.partitions import read_partition_table

LAYOUTS = {
    "gpt-ext4": {"volume": "vda3", "type": "ext4", "loader": "grub2", "distro": "debian", "version": "12", "firmware": "both", "check": ["e2fsck", "-fn"]},
    "mbr-ext4": {"volume": "vda1", "type": "ext4", "loader": "grub2", "distro": "debian", "version": "12", "firmware": "bios", "check": ["e2fsck", "-fn"]},
    "lvm-ext4": {
        "volume": "debian-vg/root",
        "type": "ext4",
        "loader": "grub2",
        "distro": "debian",
        "version": "12",
        "firmware": "bios",
        "check": ["e2fsck", "-fn"],
    },
    "gpt-xfs": {
        "volume": "vda3",
        "type": "xfs",
        "loader": "systemd-boot",
        "distro": "debian",
        "version": "13",
        "firmware": "uefi",
        "check": ["xfs_repair", "-n"],
    },
    "gpt-btrfs": {"volume": "vda2", "type": "btrfs", "loader": "grub2", "distro": "debian", "version": "13", "firmware": "uefi", "check": ["btrfs", "check"]},
}
DATA = "dc47858d9a90a014a8bfe4ea707a5e95d102d08273278460eac1471a8c6320a8"
"""hash of the file that each guest hashes when it boots"""

PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  become: true
  become_method: ansible.builtin.su
  become_user: nobody
  become_flags: -s /bin/sh
  tasks:
    - vmimage.prep.ami_build: &task
        src: "{{ folder }}/source.qcow2"
        dest: "{{ folder }}/out"
        name: trio
        checksums: [sha256]
      check_mode: true
      register: predicted
    - vmimage.prep.ami_build: *task
      register: made
    - vmimage.prep.ami_build: *task
      register: again
    - ansible.builtin.command: id -u
      register: who
    - ansible.builtin.copy:
        content: "{{ {'predicted': predicted, 'made': made, 'again': again, 'uid': who.stdout} | to_json }}"
        dest: "{{ folder }}/out/result.json"
        mode: "0644"
"""


@pytest.fixture(params=LAYOUTS)
def layout(request):
    return request.param


@pytest.fixture
def place():
    """A folder that others can enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="guest "))
    folder.chmod(0o755)
    (folder / "out").mkdir()
    (folder / "out").chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def test_every_file_of_the_root_file_system_is_read(layout, guests):
    with open_source(Request(str(guests / f"{layout}.raw"))) as source:
        guest = inspect_guest(DiskStorage(source.reader), read_partition_table(source.reader))
        filesystem = guest.require_system().root.filesystem
        found = {}
        for place in Tree(filesystem).walk():
            if place.node.kind == "file":
                storage = filesystem.content(place.node)
                digest = hashlib.sha256()
                for at in range(0, storage.size, 1 << 20):
                    digest.update(storage.read_exact(at, min(1 << 20, storage.size - at), place.path))
                found[place.path[1:]] = digest.hexdigest()
            elif place.node.kind == "symlink":
                found[place.path[1:]] = f"-> {os.fsdecode(filesystem.target(place.node))}"
    lines = (guests / f"{layout}.tsv").read_text(encoding="utf-8").splitlines()
    wanted = {name: what for what, _tab, name in (line.partition("\t") for line in lines)}
    assert len(wanted) > 5000
    assert found == wanted


def test_the_image_properties(layout, guests):
    """The distribution's own names and virtio, which need no property; the firmware that boots it, if there is but one."""
    expected = LAYOUTS[layout]
    with open_source(Request(str(guests / f"{layout}.raw"))) as source:
        found = image_proposals(source, guest_on(source.reader))
    firmware = {"uefi": {"hw_firmware_type": "uefi", "hw_machine_type": "q35"}, "bios": {"hw_firmware_type": "bios"}, "both": {}}
    system = {"architecture": "x86_64", "os_type": "linux", "os_distro": expected["distro"], "os_version": expected["version"]}
    assert applied(found.found) == {**system, **firmware[expected["firmware"]]}
    assert found.notes == []


def test_a_trio_out_of_it_boots(layout, guests, place, qemu_img, boot_kernel, program):
    expected = LAYOUTS[layout]
    subprocess.run([qemu_img, "convert", "-q", "-O", "qcow2", guests / f"{layout}.raw", place / "source.qcow2"], check=True)
    (place / "playbook.yml").write_text(PLAYBOOK)
    command = ["ansible-playbook", "-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={program('python3', first='/usr/bin')}"]
    environment = {**os.environ, "ANSIBLE_PIPELINING": "1", "ANSIBLE_REMOTE_TMP": f"{place}/out/.ansible"}
    done = subprocess.run(
        [*command, "-e", json.dumps({"folder": str(place)}), place / "playbook.yml"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    result = json.loads((place / "out/result.json").read_text())
    assert result["uid"] != "0"
    made = result["made"]
    assert [result[run]["changed"] for run in ("predicted", "made", "again")] == [True, True, False]
    assert {key: made["root"][key] for key in ("volume", "type")} == {key: expected[key] for key in ("volume", "type")}
    assert made["guest"]["boot"]["loader"] == expected["loader"]
    assert (made["guest"]["os"]["os_distro"], made["guest"]["os"]["os_version"]) == (expected["distro"], expected["version"])
    assert made["guest"]["firmware"]["value"] == expected["firmware"]
    assert [entry["disk_format"] for entry in made["upload_plan"]] == ["aki", "ari", "ami"]
    for file in made["files"]:
        assert file["checksums"]["sha256"] == hashlib.sha256(Path(file["path"]).read_bytes()).hexdigest()
    (loaded,) = (guests / f"root-{'bookworm' if expected['version'] == '12' else 'trixie'}/boot").glob("vmlinuz-*")
    assert Path(made["kernel"]).read_bytes() == loaded.read_bytes()
    check = subprocess.run([program(expected["check"][0]), *expected["check"][1:], made["image"]], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stdout + check.stderr
    boot_kernel(made["kernel"], made["ramdisk"], made["image"], made["command_line"], f"GUEST {layout} {DATA}")

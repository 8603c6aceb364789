# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role prepare_image makes of every input format boots with the properties that it proposes, as an instance of Nova's would.

Each firmware has its own disks; what is told to QEMU is made of the role's result alone (tests/tools/nova_like.py).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.registry import FORMATS

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests/tools"))

import nova_like  # noqa: E402
from build_boots import BIOS, BUILT, MARKER, NAMES, OTHERS, QEMU, UEFI, Boots, make_disc, make_tarball  # noqa: E402

PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: vmimage.prep.prepare_image
    - ansible.builtin.copy:
        content: "{{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars, 'prepare_image_result'))) | to_json }}"
        dest: "{{ results }}"
        mode: "0644"
      run_once: true
"""
NO_DISKS = {"iso", "luks", "dmg"}
"""a disc has a test of its own, LUKS is closed, and a DMG is for Macintoshes, whose systems no cloud starts"""
SETS = {
    "bios": (BIOS, NAMES),
    "uefi": (
        UEFI,
        ("raw", "raw.gz", *[name for name in QEMU if " " not in name], "qcow2 compressed", "vmdk monolithicSparse", "vmdk streamOptimized", *OTHERS),
    ),
    "uefi packages": (UEFI, tuple(BUILT)),
}
"""firmware, and what boots with it; of near relatives only one with UEFI, which takes 3 s to start"""
SEVERAL_FILES = {"vmdk monolithicFlat", "vmdk twoGbMaxExtentSparse", "vmdk twoGbMaxExtentFlat"}
GUESTS = [
    ("gpt-ext4", "vmdk", BIOS),
    ("gpt-ext4", "vhdx", UEFI),
    ("mbr-ext4", "vdi", BIOS),
    ("lvm-ext4", "vpc", BIOS),
    ("gpt-xfs", "vhdx", UEFI),
    ("gpt-btrfs", "qcow2", UEFI),
]
DATA = "dc47858d9a90a014a8bfe4ea707a5e95d102d08273278460eac1471a8c6320a8"
"""hash of the file that each guest hashes when it boots"""
GUEST_RAM = 768
"""MiB of the flavor for a Debian"""
COMMAND_LINE = {"os_command_line": "console=ttyS0 root=/dev/vda ro quiet"}


@pytest.fixture
def prepare(tmp_path, program):
    """prepare({name: variables}) runs the role for each at once, and returns its results by name."""

    def prepare(wanted):
        names = {f"machine{number}": name for number, name in enumerate(wanted)}
        hosts = {}
        for host, name in names.items():
            (tmp_path / host).mkdir()
            hosts[host] = {"prepare_image_dest": str(tmp_path / host / "prepared.img"), "prepare_image_checksums": [], **wanted[name]}
        common = {"ansible_connection": "local", "ansible_python_interpreter": program("python3", first="/usr/bin"), "results": str(tmp_path / "results.json")}
        (tmp_path / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": common}}))
        (tmp_path / "playbook.yml").write_text(PLAYBOOK)
        command = ["ansible-playbook", "--forks=2", "-i", tmp_path / "inventory.json", tmp_path / "playbook.yml"]
        environment = {**os.environ, "ANSIBLE_PIPELINING": "1", "ANSIBLE_REMOTE_TMP": str(tmp_path / "remote"), "ANSIBLE_DISPLAY_OK_HOSTS": "0"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[:3000] + done.stderr[-1000:]
        return {names[host]: result for host, result in json.loads((tmp_path / "results.json").read_text()).items()}

    return prepare


@pytest.fixture
def start(listen, program, installed):
    """start(result, marker) starts an instance of what the role has prepared, and returns what it says."""
    for path in nova_like.OVMF:
        installed(path)

    def start(result, marker=MARKER, timeout=60, **more):
        return listen(nova_like.qemu_arguments(result, **more), marker, timeout)

    return start


@pytest.fixture(scope="session")
def record():
    """What booted how, line by line: into a file of each test process, when all is over."""
    lines = []
    yield lambda name, firmware, result: lines.append((name, firmware, result["disk_format"], json.dumps(result["properties"], sort_keys=True)))
    folder = ROOT / ".cache/boots"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{os.environ.get('PYTEST_XDIST_WORKER', 'all')}.tsv").write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")


def allow_parts(name, path):
    """The variable for an image in several files, which are named in the first and not read unasked."""
    return {"prepare_image_references": str(path.parent)} if name in SEVERAL_FILES else {}


@pytest.mark.parametrize("chosen", SETS)
def test_disks_of_every_format(chosen, guests, tmp_path, qemu_img, prepare, start, record):
    firmware, names = SETS[chosen]
    boots = Boots(tmp_path / "sources", qemu_img, firmware)
    sources = {name: boots.path(name) for name in names}
    results = prepare({name: {"prepare_image_src": str(path), **allow_parts(name, path)} for name, path in sources.items()})
    assert {name: result["properties"].get("hw_firmware_type", BIOS) for name, result in results.items()} == dict.fromkeys(names, firmware)
    said = {name: start(result) for name, result in results.items()}
    assert {name: text[-300:] for name, text in said.items() if MARKER not in text} == {}
    for name, result in results.items():
        record(name, firmware, result)


def test_every_format_that_we_read_is_among_them():
    for _firmware, names in (SETS["bios"], SETS["uefi"]):
        written = {QEMU[name][0] for name in names if name in QEMU}
        assert set(FORMATS) - NO_DISKS == {"raw", "vhd", *OTHERS} | written - {"vpc"}
        assert "vpc" in written


@pytest.fixture(scope="module")
def disc(tmp_path_factory, program):
    path = tmp_path_factory.mktemp("disc") / "disc.iso"
    program("grub-mkrescue")
    make_disc(path)
    return path


@pytest.mark.parametrize("drive", ["CD-ROM drive", "disk"])
def test_a_disc(drive, guests, disc, prepare, start, record):
    """Both firmwares boot it; so nothing is proposed, and who wants UEFI says so."""
    source = {"prepare_image_src": str(disc), "prepare_image_iso": "keep" if drive == "CD-ROM drive" else "disk"}
    wish = {"hw_firmware_type": "uefi", "hw_machine_type": "q35"}
    results = prepare({BIOS: source, UEFI: {**source, "prepare_image_properties": wish}})
    assert {result["disk_format"] for result in results.values()} == {"iso" if drive == "CD-ROM drive" else "qcow2"}
    for firmware, result in results.items():
        assert result["properties"].get("hw_firmware_type", BIOS) == firmware
        said = start(result)
        assert MARKER in said
        record(f"iso in a {drive}", firmware, result)


def test_a_uec_tarball(guests, tmp_path, prepare, start, record, program):
    """Its kernel is started directly, with the command line that the image has."""
    program("mke2fs")
    make_tarball(tmp_path / "machine.tar.gz", guests / "root-bookworm")
    (result,) = prepare({"tarball": {"prepare_image_src": str(tmp_path / "machine.tar.gz"), "prepare_image_properties": COMMAND_LINE}}).values()
    files = {entry["name"]: entry["filename"] for entry in result["upload_plan"]}
    depends = result["upload_plan"][-1]["depends"]
    trio = {"kernel": files[depends["kernel_id"]], "ramdisk": files[depends["ramdisk_id"]]}
    said = start(result, f"{MARKER}: {COMMAND_LINE['os_command_line']}", timeout=300, ram=GUEST_RAM, **trio)
    assert f"{MARKER}: {COMMAND_LINE['os_command_line']}" in said
    record("uec tarball", "kernel", result)


def test_without_the_proposed_firmware_it_does_not_boot(guests, tmp_path, qemu_img, prepare, listen):
    """What a disk for UEFI does where nobody has told Nova so; with the property it boots above."""
    boots = Boots(tmp_path / "sources", qemu_img, UEFI)
    (result,) = prepare({"raw": {"prepare_image_src": str(boots.path("raw"))}}).values()
    assert result["properties"].pop("hw_firmware_type") == UEFI
    arguments = nova_like.qemu_arguments(result)
    arguments[arguments.index("-machine") + 1] += ",graphics=off"  # what the firmware shows goes to the serial line
    said = listen(arguments, MARKER, 5)
    assert "Booting from Hard Disk" in said
    assert MARKER not in said


@pytest.mark.parametrize(("name", "form", "firmware"), GUESTS)
def test_a_debian(name, form, firmware, guests, tmp_path, qemu_img, prepare, start, record):
    """Where the disk boots with both, the second firmware is for who asks for it."""
    subprocess.run([qemu_img, "convert", "-q", "-f", "raw", "-O", form, guests / f"{name}.raw", tmp_path / "source"], check=True)
    wish = {"hw_firmware_type": "uefi"} if (name, firmware) == ("gpt-ext4", UEFI) else {}
    (result,) = prepare({name: {"prepare_image_src": str(tmp_path / "source"), "prepare_image_properties": wish}}).values()
    (tmp_path / "source").unlink()
    assert result["properties"].get("hw_firmware_type", BIOS) == firmware
    said = start(result, f"GUEST {name} {DATA}", timeout=300, ram=GUEST_RAM)
    assert f"GUEST {name} {DATA}" in said
    record(f"Debian {name}, {form}", firmware, result)
    Path(result["filename"]).unlink()  # some hundred MB

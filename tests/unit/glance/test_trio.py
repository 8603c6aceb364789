# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ami_build and uec_extract say is to be uploaded: a real Glance takes it in that order, with what they say of it."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

MIB = 1 << 20
UUID = "2d1b1a3c-4ad0-4d52-a29d-ae47f8b0e2a5"
VERSION = "6.1.0-1-test"
MENU = f"""\
set default=0
menuentry 'Debian' {{
        search --no-floppy --fs-uuid --set=root {UUID}
        linux /boot/vmlinuz-{VERSION} root=UUID={UUID} ro quiet
        initrd /boot/initrd.img-{VERSION}
}}
"""
PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - vmimage.prep.ami_build:
        src: "{{ folder }}/guest.raw"
        dest: "{{ folder }}/ami"
      register: ami
    - vmimage.prep.uec_extract:
        src: "{{ folder }}/guest.tar.gz"
        dest: "{{ folder }}/uec"
      register: uec
    - ansible.builtin.copy:
        content: "{{ {'ami': ami.upload_plan, 'uec': uec.upload_plan} | to_json }}"
        dest: "{{ folder }}/plans.json"
        mode: "0644"
"""


@pytest.fixture(scope="module")
def plans(tmp_path_factory, program):
    """The plans of both modules: of a disk with a system, and of a tarball."""
    from build_uec import build_kernel, build_ramdisk, layouts, pack, write_files

    folder = tmp_path_factory.mktemp("trio")
    files = {
        "etc/os-release": b'ID=debian\nVERSION_ID="12"\nNAME=Debian\n',
        "etc/fstab": f"UUID={UUID} / ext4 errors=remount-ro 0 1\n".encode(),
        "sbin/init": b"#!/bin/sh\n",
        "boot/grub/grub.cfg": MENU.encode(),
        f"boot/vmlinuz-{VERSION}": build_kernel(),
        f"boot/initrd.img-{VERSION}": build_ramdisk(),
    }
    write_files(folder / "root", files)
    subprocess.run([program("mkfs.ext4"), "-q", "-F", "-U", UUID, "-d", folder / "root", folder / "root.fs", "8M"], check=True)
    disk = folder / "guest.raw"
    with disk.open("wb") as file:
        file.truncate(10 * MIB)
    subprocess.run([program("sfdisk"), "-q", disk], input=b"label: dos\nstart=2048, size=8MiB, type=83, bootable\n", check=True)
    with disk.open("r+b") as file:
        file.seek(MIB)
        file.write((folder / "root.fs").read_bytes())
    write_files(folder / "tar", layouts()["ubuntu-initrd"])
    pack(folder / "tar", folder / "guest.tar.gz")
    for name in ("ami", "uec"):
        (folder / name).mkdir()
    (folder / "playbook.yml").write_text(PLAYBOOK)
    command = ["ansible-playbook", "-i", "localhost,", "-c", "local", "-e", json.dumps({"folder": str(folder)}), folder / "playbook.yml"]
    done = subprocess.run(command, env={**os.environ, "ANSIBLE_PIPELINING": "1"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    return json.loads((folder / "plans.json").read_text())


def fields(entry, ids, **others):
    """What is told to Glance of an entry of a plan."""
    links = {name: ids[other] for name, other in entry["depends"].items()}
    return {**{key: entry[key] for key in ("disk_format", "container_format", "min_disk")}, **entry["properties"], **links, **others}


@pytest.mark.parametrize("module", ["ami", "uec"])
def test_the_plan_is_taken_in_its_order(module, plans, client, tmp_path):
    ids = {}
    for entry in plans[module]:
        path = tmp_path / entry["name"]
        path.symlink_to(entry["path"])
        wanted = fields(entry, ids)
        upload = client.upload(path, **wanted)
        assert upload.status == 204, upload.said
        ids[entry["name"]] = upload.image["id"]
        assert {name: upload.image[name] for name in wanted} == wanted
        assert upload.image["status"] == "active"
        assert client.download(upload.image["id"]) == path.read_bytes()
    assert [entry["disk_format"] for entry in plans[module]] == ["aki", "ari", "ami"]
    identifiers = list(ids.values())
    shown = client.show(identifiers[-1])
    assert [shown["kernel_id"], shown["ramdisk_id"]] == identifiers[:2]
    for identifier in identifiers:
        client.delete(identifier)


def test_a_kernel_in_a_bare_container_is_refused(plans, client, tmp_path):
    entry = plans["ami"][0]
    path = tmp_path / "kernel"
    path.symlink_to(entry["path"])
    upload = client.upload(path, **fields(entry, {}, container_format="bare"))
    assert (upload.status, upload.image["status"]) == (415, "queued")
    assert "disk_format aki does not match stream data gpt" in upload.said
    client.delete(upload.image["id"])


def test_an_image_names_its_kernel_by_identifier_only(plans, client):
    """What the plan calls the kernel is not enough: it is to be replaced by what Glance calls it."""
    entry = plans["ami"][-1]
    status, content = client.create(name="image", **fields(entry, {name: name for name in entry["depends"].values()}))
    assert status == 400
    assert b"'guest-kernel' does not match '^([0-9a-fA-F])" in content or b"'guest-ramdisk' does not match '^([0-9a-fA-F])" in content

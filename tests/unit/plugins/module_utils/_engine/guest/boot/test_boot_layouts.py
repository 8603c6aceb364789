# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the files of a boot loader lie in the guest: separate /boot, EFI system partition, btrfs subvolumes, and the ways of other distributions."""

from __future__ import annotations

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.boot.boot import boot_configurations, boot_entries

ROOT = "aaaaaaaa-0000-0000-0000-000000000001"
BOOT = "aaaaaaaa-0000-0000-0000-000000000002"
MACHINE = "0123456789abcdef0123456789abcdef"
GRUBENV = "# GRUB Environment Block\nsaved_entry=%s\nkernelopts=root=UUID=" + ROOT + " ro console=ttyS0\n"
FEDORA = f"""
set pager=1
if [ -f ${{config_directory}}/grubenv ]; then
  load_env -f ${{config_directory}}/grubenv
elif [ -s $prefix/grubenv ]; then
  load_env
fi
if [ "${{next_entry}}" ] ; then
   set default="${{next_entry}}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="${{saved_entry}}"
fi
if [ x"${{feature_menuentry_id}}" = xy ]; then
  menuentry_id_option="--id"
else
  menuentry_id_option=""
fi
export menuentry_id_option
insmod part_gpt
insmod xfs
set root='hd0,gpt2'
if [ x$feature_platform_search_hint = xy ]; then
  search --no-floppy --fs-uuid --set=root --hint='hd0,gpt2'  {BOOT}
else
  search --no-floppy --fs-uuid --set=root {BOOT}
fi
insmod xfs
set boot='hd0,gpt2'
search --no-floppy --fs-uuid --set=boot --hint='hd0,gpt2' {BOOT}
if [ -z "${{kernelopts}}" ]; then
  set kernelopts="root=wrong "
fi
insmod blscfg
blscfg
if [ "$grub_platform" = "efi" ]; then
    menuentry 'UEFI Firmware Settings' $menuentry_id_option 'uefi-firmware' {{
        fwsetup
    }}
fi
"""


def snippet(version, options="$kernelopts $tuned_params", folder=""):
    return (
        f"title Red Hat Enterprise Linux ({version}) 9.4 (Plow)\nversion {version}\nlinux {folder}/vmlinuz-{version}\n"
        f"initrd {folder}/initramfs-{version}.img $tuned_initrd\noptions {options}\ngrub_users $grub_users\ngrub_arg --unrestricted\ngrub_class rhel\n"
    )


VERSIONS = ("5.14.0-427.9.1.el9_4.x86_64", "5.14.0-427.13.1.el9_4.x86_64", "5.14.0-70.el9.x86_64", "0-rescue")


def snippets(place="/loader/entries", **form):
    return {f"{place}/{MACHINE}-{version}.conf": snippet(version, **form) for version in VERSIONS}


@pytest.mark.parametrize(
    ("saved", "version"),
    [
        (f"{MACHINE}-5.14.0-70.el9.x86_64", "5.14.0-70.el9.x86_64"),
        ("", "5.14.0-427.13.1.el9_4.x86_64"),
        ("1", "5.14.0-427.9.1.el9_4.x86_64"),
        ("gone", "5.14.0-427.13.1.el9_4.x86_64"),
    ],
)
def test_fedora_with_its_own_boot(guest_tree, dict_filesystem, saved, version):
    boot = dict_filesystem({"/grub2/grub.cfg": FEDORA, "/grub2/grubenv": GRUBENV % saved, "/grub2/i386-pc": None, **snippets()}, "xfs", BOOT)
    found = boot_entries(guest_tree({}, "xfs", ROOT, mounts={"/boot": boot}))
    assert found.loader == "grub2"
    assert found.default.kernel == f"/boot/vmlinuz-{version}"
    assert found.default.initrds == (f"/boot/initramfs-{version}.img",)
    assert found.default.options == f"root=UUID={ROOT} ro console=ttyS0"
    assert found.default.source == f"/boot/loader/entries/{MACHINE}-{version}.conf"
    assert [entry.number for entry in found.entries] == ["0", "1", "2", "3"]
    assert found.entries[-1].kernel == "/boot/vmlinuz-0-rescue"
    assert found.warnings == []


def test_fedora_in_one_file_system(guest_tree, dict_filesystem):
    files = {"/boot/grub2/grub.cfg": FEDORA.replace(BOOT, ROOT), "/boot/grub2/grubenv": GRUBENV % "1", **snippets("/boot/loader/entries", folder="/boot")}
    found = boot_entries(guest_tree({**files, "/boot/vmlinuz-5.14.0-427.9.1.el9_4.x86_64": b""}, "xfs", ROOT))
    assert found.default.kernel == "/boot/vmlinuz-5.14.0-427.9.1.el9_4.x86_64"
    assert [entry.title for entry in found.entries][-1] == "UEFI Firmware Settings"  # without i386-pc it is the platform "efi"


@pytest.mark.parametrize("esp", ["/boot/efi", "/efi"])
def test_from_the_efi_system_partition(guest_tree, dict_filesystem, esp):
    """The small file there leads to the large one, or is it itself, as in RHEL 8."""
    boot = {"/real/grub.cfg": FEDORA, "/real/grubenv": GRUBENV % "", **snippets()}
    stub = f"search.fs_uuid {BOOT} root hd0,gpt2\nset prefix=($root)'/real'\nconfigfile $prefix/grub.cfg\nmenuentry never {{\n linux /never\n}}\n"
    mounts = {esp: dict_filesystem({"/EFI/fedora/grub.cfg": stub}, "vfat", "ABCD-1234"), "/boot": dict_filesystem({"/efi": None, **boot}, "xfs", BOOT)}
    found = boot_entries(guest_tree({"/boot/efi": None, "/efi": None}, "xfs", ROOT, mounts=mounts))
    assert found.default.kernel == "/boot/vmlinuz-5.14.0-427.13.1.el9_4.x86_64"
    assert found.source == "/boot/real/grub.cfg"
    mounts[esp] = dict_filesystem({"/EFI/redhat/grub.cfg": FEDORA, "/EFI/redhat/grubenv": GRUBENV % "2"}, "vfat", "ABCD-1234")
    found = boot_entries(guest_tree({"/boot/efi": None, "/efi": None}, "xfs", ROOT, mounts=mounts))
    assert found.source == f"{esp}/EFI/redhat/grub.cfg"
    assert found.default.kernel == "/boot/vmlinuz-5.14.0-70.el9.x86_64"


def entry(kernel, initrd, root="search --no-floppy --fs-uuid --set=root " + ROOT):
    return f"menuentry 'Linux' {{\n {root}\n linux {kernel} root=UUID={ROOT} ro\n initrd {initrd}\n}}\n"


@pytest.mark.parametrize("subvolume", ["/@", "/@/.snapshots/1/snapshot", "/root"])
def test_btrfs_subvolumes(guest_tree, subvolume):
    """GRUB's paths begin at the top of the file system, the guest's at its subvolume."""
    configuration = entry(f"{subvolume}/boot/vmlinuz-1", f"{subvolume}/boot/initrd-1")
    tree = guest_tree({"/boot/grub2/grub.cfg": configuration, "/boot/vmlinuz-1": b"", "/boot/initrd-1": b""}, "btrfs", ROOT)
    found = boot_entries(tree).default
    assert (found.kernel, found.initrds) == ("/boot/vmlinuz-1", ("/boot/initrd-1",))


def test_btrfs_with_boot_in_a_subvolume_of_its_own(guest_tree, dict_filesystem):
    boot = dict_filesystem({"/grub/grub.cfg": entry("/@boot/vmlinuz", "/@boot/initrd"), "/vmlinuz": b"", "/initrd": b""}, "btrfs", ROOT)
    found = boot_entries(guest_tree({"/vmlinuz": "-> boot/vmlinuz"}, "btrfs", ROOT, mounts={"/boot": boot})).default
    assert (found.kernel, found.initrds) == ("/boot/vmlinuz", ("/boot/initrd",))


@pytest.mark.parametrize(
    "root", ["set root='hd0,msdos1'", "set root='lvm/vg-root'", "search --set=root --label gone", "search --no-floppy --fs-uuid --set=root gone"]
)
@pytest.mark.parametrize("separate", [False, True])
def test_a_device_that_is_not_known(guest_tree, dict_filesystem, root, separate):
    """The files are looked for on all file systems."""
    files = {"/grub/grub.cfg": "unset root\n" + entry("/vmlinuz-1" if separate else "/boot/vmlinuz-1", "($root)/initrd-1", root), "/vmlinuz-1": b""}
    if separate:
        tree = guest_tree({}, mounts={"/boot": dict_filesystem(files)})
    else:
        tree = guest_tree({f"/boot{path}": content for path, content in files.items()})
    found = boot_entries(tree)
    assert found.default.kernel == "/boot/vmlinuz-1"
    assert bool(found.warnings) == root.startswith("search")


def test_label_and_file(guest_tree, dict_filesystem):
    boot = dict_filesystem({"/vmlinuz-1": b"", "/.marker": b""}, label="BOOT")
    configuration = entry("/vmlinuz-1", "/initrd-1", "search --no-floppy --label BOOT --set") + entry(
        "/vmlinuz-1", "/initrd-1", "search --set=root -f /.marker"
    )
    tree = guest_tree({"/boot/grub/grub.cfg": configuration, "/old": None, "/efi": None}, mounts={"/efi": dict_filesystem({}), "/old": boot})
    assert [found.kernel for found in boot_entries(tree).entries] == ["/old/vmlinuz-1", "/old/vmlinuz-1"]


def test_ubuntu_without_initramfs(guest_tree):
    """Its cloud images try without one first."""
    configuration = f"""
menuentry 'Ubuntu' {{
  search --no-floppy --fs-uuid --set=root {ROOT}
  if [ "${{initrdfail}}" = 1 ]; then
    linux /boot/vmlinuz-6.8.0-31-generic root=PARTUUID=1 ro
    initrd /boot/initrd.img-6.8.0-31-generic
  else
    linux /boot/vmlinuz-6.8.0-31-generic root=PARTUUID=1 ro panic=-1
    #Dont initrd
  fi
}}
"""
    files = {"/boot/grub/grub.cfg": configuration, "/boot/vmlinuz-6.8.0-31-generic": b""}
    found = boot_entries(guest_tree(files, uuid=ROOT)).default
    assert (found.initrds, found.options) == ((), "root=PARTUUID=1 ro panic=-1")


def test_several_initramfs_and_xen(guest_tree):
    configuration = "menuentry a {\n linux16 /boot/vmlinuz-linux rw\n initrd16 /boot/intel-ucode.img /boot/initramfs-linux.img\n}\n"
    found = boot_entries(guest_tree({"/boot/grub/grub.cfg": configuration})).default
    assert found.initrds == ("/boot/intel-ucode.img", "/boot/initramfs-linux.img")


def test_a_script_without_menu(guest_tree):
    found = boot_entries(guest_tree({"/boot/grub/grub.cfg": "linux /casper/vmlinuz boot=casper\ninitrd /casper/initrd\nboot\n"}))
    assert (found.default.kernel, found.default.options, found.default.initrds) == ("/casper/vmlinuz", "boot=casper", ("/casper/initrd",))


def test_what_starts_no_linux(guest_tree):
    found = boot_entries(guest_tree({"/boot/grub/grub.cfg": "set default=w\nmenuentry w {\n chainloader +1\n}\n" + entry("/boot/k", "/boot/i")}))
    assert found.default.kernel is None
    assert [one.title for one in found.entries] == ["w", "Linux"]


def test_damaged_configurations_are_told(guest_tree):
    found = boot_configurations(guest_tree({"/boot/grub/grub.cfg": b"\xff\x00\x80{", "/boot/vmlinuz-1": b""}))
    assert [one.loader for one in found] == ["grub2", "none"]
    assert found[0].default is None
    assert found[0].warnings

# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configurations with random damage: whatever is in them, there is an answer, and a kernel in the end."""

from __future__ import annotations

import random

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.boot.boot import boot_configurations, boot_entries

FILES = {
    "/boot/grub/grub.cfg": b"""
if [ -s $prefix/grubenv ]; then
  load_env
fi
function f {
  if [ x$1 = "x${default}" -o ! -e /x ]; then set a='b c'; return 0; fi
}
set default="${saved_entry}"
f 1 "$2"
search --no-floppy --fs-uuid --set=root aaaa
menuentry 'One' --class os $menuentry_id_option 'one' {
  linux ($root)/boot/vmlinuz-1 root=/dev/vda1 ${a}
  initrd /boot/initrd.img-1 /boot/two
}
submenu "Two" --id two {
  menuentry "Three" { linux16 /boot/vmlinuz-1 ; }
  source $prefix/grub.cfg
}
blscfg
configfile /loader/entries/a.conf
""",
    "/boot/grub/grubenv": b"# GRUB Environment Block\nsaved_entry=1>0\nkernelopts=ro\\\\ quiet\n#####",
    "/loader/entries/a-1+3-1.conf": b"title x\nversion 1\nsort-key k\nlinux /boot/vmlinuz-1\ninitrd /boot/initrd.img-1 $x\noptions $kernelopts ${y}\n",
    "/loader/loader.conf": b"default a-*\ntimeout 3\npreferred [!x]*\n",
    "/boot/extlinux/extlinux.conf": b"""
DEFAULT a
MENU INCLUDE x.cfg
LABEL a
  LINUX ../vmlinuz-1 x
  INITRD ../a,b
  APPEND initrd=/c root=d
TEXT HELP
ENDTEXT
INCLUDE extlinux.conf
""",
    "/boot/grub/menu.lst": b"default saved\ntitle a\nroot (hd0,0)\nuuid aaaa\nkernel (hd0,0)/boot/vmlinuz-1 --x ro\nmodule /b\nmodule /c d\ninitrd /e\n",
    "/boot/grub/default": b"0\n",
    "/etc/kernel/cmdline": b"root=x",
}
WORDS = (
    b"$",
    b"{",
    b"}",
    b"'",
    b'"',
    b"\\",
    b"\n",
    b";",
    b">",
    b"if ",
    b"fi",
    b"(",
    b")",
    b"[ ",
    b" ]",
    b"\0",
    b"\xff",
    b"default",
    b"${x}",
    b"../",
    b"*",
    b"99999999999999999999",
)


@pytest.mark.parametrize("seed", range(6))
def test_damage(guest_tree, seed):
    chance = random.Random(seed)
    loaders = set()
    for _number in range(40):
        files = {}
        for path, content in FILES.items():
            data = bytearray(content)
            for _change in range(chance.choice((0, 1, 2, 8, 30))):
                at = chance.randrange(len(data) + 1)
                how = chance.randrange(4)
                if how == 0:
                    data[at : at + 1] = bytes([chance.randrange(256)])
                elif how == 1:
                    data[at:at] = chance.choice(WORDS)
                elif how == 2:
                    del data[at : at + chance.randrange(20)]
                else:
                    data[at:at] = data[chance.randrange(len(data) + 1) :][: chance.randrange(60)]
            if chance.random() < 0.8:
                files[path] = bytes(data)
        tree = guest_tree({**files, "/boot/vmlinuz-1": b"", "/vmlinuz": chance.choice(("-> boot/vmlinuz-1", "-> /vmlinuz", "-> x"))}, uuid="aaaa")
        found = boot_entries(tree)
        assert found.default is not None
        assert found.default in found.entries
        loaders.update(one.loader for one in boot_configurations(tree))
    assert loaders >= {"grub2", "extlinux", "grub-legacy", "none"}

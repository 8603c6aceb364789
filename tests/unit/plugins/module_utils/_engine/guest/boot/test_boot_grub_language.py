# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GRUB's language and its choice of the menu's line. What is expected here is what GRUB 2.06 itself did with the same text (as grub-emu)."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.boot.boot import boot_entries

MENU = """
menuentry 'First' --class x --id 'first' {
  linux /k1
}
submenu 'Adv > x' --id 'adv' {
  menuentry 'Sub0' --id 's0' {
    linux /k2
  }
  menuentry 'Sub1' --id=first {
    linux /k3
  }
  submenu 'Deep' {
    menuentry 'D0' { linux /k4
    }
    menuentry 'D1' --id '1' { linux /k5; }
  }
}
menuentry '2nd title' --id 'second' { linux /k6 ; }
menuentry '3' --id '7' { linux /k7 ; }
menuentry 'a>b' --id 'gt' { linux /k8 ; }
"""


@pytest.fixture
def options(guest_tree):
    """options(configuration, **files) gives the command line of the default entry, or of "linux" without a menu."""

    def options(configuration, **files):
        tree = guest_tree({"/boot/grub/grub.cfg": configuration, **{f"/boot/grub/{name}": text for name, text in files.items()}})
        return boot_entries(tree).default.options

    return options


@pytest.mark.parametrize(
    ("default", "title"),
    [
        (None, "First"),
        ("", "First"),
        ("0", "First"),
        ("1", "Sub0"),
        ("2", "2nd title"),
        ("3", "3"),
        ("9", "First"),
        ("first", "First"),
        ("adv", "Sub0"),
        ("adv>", "Sub0"),
        ("adv>s0", "Sub0"),
        ("adv>first", "Sub1"),
        ("1>1", "Sub1"),
        ("1>2", "D0"),
        ("1>2>1", "D1"),
        ("1>2>7", "D0"),
        ("1>Deep>D1", "D1"),
        ("1>9", "Sub0"),
        ("1>nothing", "Sub0"),
        ("Adv >> x>1", "Sub1"),
        ("Adv > x", "First"),
        ("second", "2nd title"),
        ("second>1", "2nd title"),
        ("2nd title", "2nd title"),
        ("7", "First"),
        ("a>>b", "a>b"),
        ("a>b", "First"),
        ("nothing", "First"),
        ("nothing>1", "First"),
        ("Sub1", "First"),
        ("-1", "First"),
        ("0x2", "2nd title"),
        ("02", "2nd title"),
        ("1 ", "Sub0"),
    ],
)
def test_the_line_that_default_names(guest_tree, default, title):
    setting = "" if default is None else f"set default='{default}'\n"
    found = boot_entries(guest_tree({"/boot/grub/grub.cfg": setting + MENU}))
    assert found.default.title == title
    assert len(found.entries) == 8


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("set a='b  c'\nlinux /k $a \"$a\" '$a'", 'b c "b  c" $a'),
        ("set a=''\nlinux /k $a x$a \"$a\" y", "x  y"),
        ("set a=' b '\nlinux /k x${a}y [$a]", "xby [b]"),
        ("set a='b c'\nlinux /k x${a}y$a", "xb cyb c"),
        ('set a=1\nlinux /k "a\\"b\\$c \\z" \\$a \\\\ x\\ y', '"a\\"b$c \\\\z" $a \\\\ "x y"'),
        ("linux /k 'it'\\''s' a#b # c", "it\\'s a#b"),
        ("linux /k a \\\n  b\\\nc", "a bc"),
        ("a=x\nset b=$a$a\nlinux /k $b ${b}c", "xx xxc"),
        ("linux /k a; linux /k b", "b"),
        ("if true; then\nlinux /k a\nelse linux /k b; fi", "a"),
        ('if [ x$nothing = xy ]; then linux /k a\nelif [ -z "$nothing" ]\nthen linux /k b; else linux /k c; fi', "b"),
        ("if [ 0 = 1 -o  = 1 ]; then linux /k a; else linux /k b; fi", "b"),
        ("if ! [ -n x ]; then linux /k a; else linux /k b; fi", "b"),
        ("if [ 10 -gt 9 -a -3 -lt 2 ]; then linux /k a; else linux /k b; fi", "a"),
        ("if [ ! a = b ]; then linux /k a; else linux /k b; fi", "a"),
        ('if [ "(" = ")" ]; then linux /k a; else linux /k b; fi', "b"),
        ("if [ -f /boot/grub/grub.cfg -a -d /boot -a ! -e /nowhere ]; then linux /k a; else linux /k b; fi", "a"),
        ("if [ -s /boot/grub/empty ]; then linux /k a; else linux /k b; fi", "b"),
        ("if [ -f $prefix/grub.cfg ]; then linux /k a; fi", "a"),
        ("function f {\n linux /k $1 \"$2\" $#\n}\nf x 'y z' w", 'x "y z" 3'),
        ("function f {\n if [ $1 = a ]; then return 1; fi\n linux /k late\n}\nlinux /k early\nf a", "early"),
        ("false\nif [ $? = 0 ]; then linux /k a; else linux /k b; fi", "b"),
        ("source $prefix/other.cfg\nlinux /k $other", "from-other"),
        ("set other=x\nunset other\nlinux /k [$other]", "[]"),
        ("if test -e /boot/grub/empty; then linux /k a; fi", "a"),
    ],
)
def test_commands(options, program, tmp_path, script, expected):
    (tmp_path / "grub.cfg").write_text(script)
    subprocess.run([program("grub-script-check"), str(tmp_path / "grub.cfg")], check=True)
    assert options(script, **{"other.cfg": "set other=from-other\n", "empty": b""}) == expected


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("[ ]", True),
        ("test", True),
        ("[ a =", True),
        ("[ = ]", True),
        ("[ ! ]", True),
        ("[ -z ]", True),
        ("[ a -o ]", True),
        ("[ a b ]", True),
        ("[ '' b ]", False),
        ("[ a '' ]", False),
        ("[ '' -o '' ]", False),
        ("[ 0 = 1 -o = 1 ]", False),
        ("[ a = b -o c = c -a d = e ]", False),
        ("[ ! a = a ]", False),
        ("[ ! ! a ]", True),
        ("[ ( a = b ) -o c ]", True),
        ("[ a = a -a ( b = c ) ]", False),
    ],
)
def test_odd_conditions(options, condition, holds):
    assert options(f"if {condition}; then linux /k yes; else linux /k no; fi") == ("yes" if holds else "no")


def test_variables_of_an_entry_stay_there(options):
    configuration = "set a=1\nset default=1\nmenuentry x {\n set a=2\n linux /k $a\n}\nmenuentry y {\n linux /k $a\n}\nset a=3\n"
    assert options(configuration) == "3"


@pytest.mark.parametrize(
    "mistake",
    ["if true; then", "menuentry x {", "}", "fi", "linux 'x", 'linux "x', "function f", "if true; fi", "else", "while true; do", "if true; then x; done"],
)
def test_what_comes_before_a_mistake_counts(guest_tree, program, tmp_path, mistake):
    configuration = f"menuentry one {{\n linux /k a\n}}\n{mistake}\n"
    (tmp_path / "grub.cfg").write_text(configuration)
    assert subprocess.run([program("grub-script-check"), str(tmp_path / "grub.cfg")], check=False, stderr=subprocess.DEVNULL).returncode == 1
    found = boot_entries(guest_tree({"/boot/grub/grub.cfg": configuration}))
    assert found.default.options == "a"
    assert "was not read to its end" in found.warnings[0]


@pytest.mark.parametrize(
    "bomb",
    [
        "set a=xxxxxxxxxx\n" + "set a=$a$a\n" * 60,
        "set a=xxxxxxxxxx\n" + 'set a="$a $a"\n' * 60,
        "function f {\n f\n}\nf",
        "function f {\n g; g\n}\nfunction g {\n f; f\n}\nf",
        "".join(f"function f{n} {{\n{f'f{n - 1}; ' * 10}}}\n" for n in range(1, 15)) + "f14",
        "source $prefix/grub.cfg",
        "configfile $prefix/grub.cfg",
        "menuentry x { true; }\n" * 2000,
        "submenu x {\n source $prefix/grub.cfg\n}\nset default=0",
        "if true; then\n" * 500 + "fi\n" * 500,
        "".join(f"if [ -f /{n} ]; then true; fi\n" for n in range(20_000)),
    ],
    ids=range(11),
)
def test_what_does_not_come_to_an_end(guest_tree, bomb):
    found = boot_entries(guest_tree({"/boot/grub/grub.cfg": bomb, "/boot/vmlinuz-1": b""}))
    assert found.default.kernel == "/boot/vmlinuz-1"
    assert found.warnings

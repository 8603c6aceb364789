# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every example of the documentation runs, twice, and the second time it changes nothing.

Each page is run in a folder of its own, whose srv stands for /srv and has what world.py makes. Modules of other collections are stood in
for by ones that check their arguments by the documentation of the real ones (stand_ins.py).
"""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))
import pages  # noqa: E402
import stand_ins  # noqa: E402
import world  # noqa: E402

COLLECTIONS = pages.ROOT / ".cache/collections"
PAGES = pages.pages()

NOT_RUN = {
    ("plugins/modules/image_convert.py", "Fill an LVM volume"): "there is no volume group",
    ("plugins/modules/image_fetch.py", "Fetch from a server with a certificate of the company"): "there is no such server",
    ("docs/docsite/rst/scenario_awx.rst", "Apply the lists"): "infra.aap_configuration is in no package index",
    ("docs/docsite/rst/guide_publish.rst", "Publish with an application credential"): "there is no such host, and no cloud that asks who it is",
}
"""(page, name of the task or play): why it is not run"""

NOT_TOUCHED = {"/dev/vg0/disk", "/etc/ssl/company.pem", "/etc/ssl/certs/cloud.pem"}
"""paths outside of /srv that stand in an example and are not written to"""

PRELUDES = {
    "src: /srv/images/appliance.qcow2": {"name": "vmimage.prep.prepare_image", "src": "/srv/incoming/appliance.ova", "dest": "/srv/images/appliance.qcow2"},
    "prepare_image_result": {"name": "vmimage.prep.prepare_image", "src": "/srv/incoming/appliance.ova", "dest": "/srv/images/appliance.qcow2"},
    "build_ami_result": {"name": "vmimage.prep.build_ami", "src": "/srv/incoming/appliance.ova", "dest": "/srv/images"},
    "import_ovf_result": {"name": "vmimage.prep.import_ovf", "src": "/srv/incoming/appliance.ova", "dest": "/srv/images"},
}
"""what some examples go on with, and which role makes it"""

SETTINGS = """\
[defaults]
callback_result_format = yaml
localhost_warning = false
nocows = true
[connection]
pipelining = true
[inventory]
inventory_unparsed_warning = false
"""
SECOND = "--- the second run ---"
SERVERS = r"https://(?:cloud\.debian\.org|images\.example\.org|mirror\.example\.com)(?=/)"
"""those of which the examples fetch"""
COMMANDS = ("ansible-playbook", "ansible-inventory", "molecule")


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """A folder with what all pages need: srv, and the collections that stand in for others."""
    folder = tmp_path_factory.mktemp("base")
    world.build(folder / "srv")
    roles = [path.read_text(encoding="utf-8") for path in (pages.ROOT / "roles").rglob("*.yml")]
    texts = [block.text for page in PAGES for block in page.blocks if block.language.startswith("yaml")]
    stand_ins.build(folder / "collections", {name for text in roles + texts for name in re.findall(stand_ins.NAMES, text)})
    return folder


@pytest.fixture(scope="session")
def server(base):
    """The address of a server that has base/web, whatever the path before the name is."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def translate_path(self, path):
            return str(base / "web" / path.rpartition("/")[2])

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


@pytest.fixture
def place(base, tmp_path):
    """A folder for one page. Files are replaced and never changed, so all pages can have the same."""
    shutil.copytree(base / "srv", tmp_path / "srv", copy_function=os.link)
    (tmp_path / "ansible.cfg").write_text(SETTINGS, encoding="utf-8")
    (tmp_path / "hosts.yml").write_text("converters:\n  hosts:\n    node1:\n    node2:\n", encoding="utf-8")
    (tmp_path / "fleet.csv").write_text(f"src\n{tmp_path}/srv/incoming/web.ova\n{tmp_path}/srv/incoming/legacy.vmdk\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run_and_change_nothing_the_second_time(page, base, place, server):
    plays, printed, inventories, commands = [], [], [], []
    for block in page.blocks:
        kind, _unused, argument = block.mark.partition(" ")
        text = _at_home(block.text, place, server)
        where = f"{page.name}:{block.line}"
        if kind == "file":
            (place / argument).parent.mkdir(parents=True, exist_ok=True)
            (place / argument).write_text(text, encoding="utf-8")
        elif kind == "output":
            printed.append((where, block.text))
        elif kind == "run":
            commands += [line[2:] for line in text.replace("\\\n", " ").splitlines() if line.startswith("$ ")]
        if not block.language.startswith("yaml") or kind == "file":
            continue
        strays = re.findall(r"(?<![\w.}])/(?:etc|var|home|root|tmp|opt|usr|mnt|dev/(?!vd))[\w/.-]*", block.text)
        assert [path for path in strays if path not in NOT_TOUCHED] == [], f"{where}: only paths below /srv can be run elsewhere"
        content = yaml.safe_load(text)
        if isinstance(content, list):
            plays += _plays(page, content, argument if kind == "fails" else None, where)
        elif set(content) & {"plugin", "workers"}:
            inventories.append({"plugin": "vmimage.prep.images", "images": [f"{place}/srv/incoming/web.ova"], **content})
        else:
            pytest.fail(f"{where} is neither tasks, nor plays, nor an inventory: how is it to be run?", pytrace=False)
    said = ""
    if plays:
        said += _play_twice(_preludes(page, place) + plays, base, place)
    for content in inventories:
        _list_hosts(content, base, place)
    for command in commands:
        assert shlex.split(command)[0] in COMMANDS, command
        said += _run(shlex.split(command), base, place)
    missing = [f"{where} was not printed: {part}" for where, text in printed for part in _missing(text, said.replace(f"{place}/srv", "/srv"))]
    assert not missing, "\n".join([*missing, said])


def test_exceptions_are_still_needed():
    names = {(page.name, name) for page in PAGES for block in page.blocks for name in re.findall(r"- name: (.*)", block.text)}
    assert set(NOT_RUN) <= names


def _at_home(text, place, server):
    """An example with the paths of this place, and with the size and the checksums that its files have."""
    text = text.replace("/srv/", f"{place}/srv/").replace("virtual_size: 10G", "virtual_size: 16M")
    text = re.sub(SERVERS, server, text)

    def right(match):
        return f"{match[1]}sha256:{hashlib.sha256(Path(match[2]).read_bytes()).hexdigest()}"

    return re.sub(r"(src: (\S+)\n(?:(?!src:).)*?)sha256:[0-9a-f]{64}", right, text, flags=re.DOTALL)


def _plays(page, content, failure, where):
    """The plays of a block, which may be tasks only."""
    plays = content if any({"hosts", "ansible.builtin.import_playbook", "import_playbook"} & set(entry) for entry in content) else [_play(content, where)]
    plays = [play for play in plays if (page.name, play["name"]) not in NOT_RUN]
    for play in plays:
        tasks = [task for task in play.get("tasks", []) if (page.name, task.get("name")) not in NOT_RUN]
        if failure:
            met = {"ansible.builtin.assert": {"that": f"{failure!r} in (ansible_failed_result.msg | string)", "fail_msg": "it fails with other words"}}
            tasks = [{"block": [*tasks, {"name": "Mark", "ansible.builtin.fail": {"msg": f"{where} should have failed"}}], "rescue": [met]}]
        if "tasks" in play:
            play["tasks"] = tasks
    return plays


def _play(tasks, where):
    return {"name": where, "hosts": "localhost", "gather_facts": False, "tasks": tasks}


def _preludes(page, place):
    """Plays that make what the page uses without making it."""
    text = "".join(block.text for block in page.blocks if block.language.startswith("yaml"))
    plays = []
    for used, role in PRELUDES.items():
        if used in text and not re.search(rf"{role['name']}$|dest: {role['dest']}$", text, flags=re.MULTILINE):
            prefix = role["name"].rpartition(".")[2]
            variables = {f"{prefix}_{name}": value.replace("/srv", f"{place}/srv") for name, value in role.items() if name != "name"}
            plays.append(_play([{"ansible.builtin.include_role": {"name": role["name"]}, "vars": variables}], "before"))
    return plays


def _play_twice(plays, base, place):
    """Run plays two times in one go, and return what is printed."""
    for name, before in (("first", []), ("second", [{"name": SECOND, "hosts": "localhost", "gather_facts": False, "tasks": []}])):
        (place / f"{name}.yml").write_text(yaml.safe_dump(before + plays, sort_keys=False, allow_unicode=True, width=1000), encoding="utf-8")
    said = _run(["ansible-playbook", "first.yml", "second.yml"], base, place)
    second = said.partition(f"PLAY [{SECOND}]")[2]
    assert second
    changed = re.findall(r"^TASK \[(?:(?!^TASK).)*?^changed: .*$", second, flags=re.MULTILINE | re.DOTALL)
    assert not changed, "changed again:\n" + "\n".join(changed)
    return said


def _list_hosts(content, base, place):
    """An inventory has hosts."""
    (place / "list.images.yml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    listed = json.loads(_run(["ansible-inventory", "-i", "hosts.yml", "-i", "list.images.yml", "--list"], base, place, strict=True))
    assert listed["images"]["hosts"]


def _run(command, base, place, strict=False):
    """Run a command in the place of a page, with no settings of this machine, and return what it prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "VMIMAGE_"))}
    environment.update(
        ANSIBLE_CONFIG=str(place / "ansible.cfg"),
        ANSIBLE_COLLECTIONS_PATH=f"{base / 'collections'}:{COLLECTIONS}",
        ANSIBLE_INVENTORY_UNPARSED_FAILED=str(strict),
        STAND_IN_STATE=str(place / "cloud.json"),
        HOME=str(place),
        NO_COLOR="1",
        COLUMNS="80",
    )
    done = subprocess.run(command, cwd=place, env=environment, check=False, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, f"{shlex.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _missing(text, said):
    """The parts of some output, cut at lines of dots, that were not printed in this order. Where lines are broken depends on the width of paths."""
    said, missing, at = _words(said), [], 0
    for part in re.split(r"^\s*\.\.\.$", text, flags=re.MULTILINE):
        found = said.find(_words(part), at)
        at = max(at, found)
        if found < 0:
            missing.append(part)
    return missing


def _words(text):
    return " ".join(re.sub(r"\*{3,}", "", text).split())

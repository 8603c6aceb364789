# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images as hosts. Playbooks run on them in tests/integration/targets/inventory_images."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import yaml
from ansible import constants
from ansible.errors import AnsibleParserError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.doc_fragments.constructed import ModuleDocFragment
from ansible.template import Templar
from ansible.vars.manager import VariableManager
from ansible_collections.vmimage.prep.plugins.inventory import images

HERE = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}", "vmimage_worker": "localhost"}


@pytest.fixture
def fleet(tmp_path):
    """fleet(config) gives the inventory that a file with these options makes; `hosts` is another source before it."""
    options = {**yaml.safe_load(images.DOCUMENTATION)["options"], **yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]}
    constants.config.initialize_plugin_configuration_definitions("inventory", images.InventoryModule.NAME, options)

    def parse(config, hosts="", name="fleet.images.yml"):
        sources = []
        if hosts:
            sources.append(str(tmp_path / "hosts.yml"))
            (tmp_path / "hosts.yml").write_text(hosts, encoding="utf-8")
        path = tmp_path / name
        path.write_text(config if isinstance(config, str) else json.dumps({"plugin": "vmimage.prep.images", **config}), encoding="utf-8")
        loader = DataLoader()
        manager = InventoryManager(loader, sources=sources)
        plugin = images.InventoryModule()
        plugin._load_name = plugin.ansible_name = images.InventoryModule.NAME
        plugin._redirected_names = [images.InventoryModule.NAME]
        assert plugin.verify_file(str(path))
        plugin.parse(manager._inventory, loader, str(path))
        manager._inventory.reconcile_inventory()
        return manager

    return parse


def variables(manager, name):
    """The host's own, without what Ansible adds."""
    return {key: value for key, value in manager.hosts[name].vars.items() if not key.startswith("inventory_")}


def names(manager, group="images"):
    return [host.name for host in manager.groups[group].get_hosts()]


def refusal(fleet, config, hosts=""):
    with pytest.raises(AnsibleParserError) as refused:
        fleet(config, hosts)
    return refused.value.message


@pytest.mark.parametrize("name", ["images.yml", "images.yaml", "web.images.yml"])
def test_the_file_is_known_by_its_name(fleet, name):
    assert names(fleet({"images": ["/in/web.ova"]}, name=name)) == ["web"]


@pytest.mark.parametrize("name", ["hosts.yml", "images.json", "images.yml.bak"])
def test_other_files_are_not_taken(tmp_path, name):
    (tmp_path / name).touch()
    assert not images.InventoryModule().verify_file(str(tmp_path / name))


def test_this_machine_does_the_work_if_nothing_else_is_said(fleet):
    made = fleet({"images": ["/in/web.ova", {"src": "/in/db.vmdk", "name": "erp", "dest": "/out/erp.raw", "prepare_image_profile": "ceph", "size": 5}]})
    assert variables(made, "web") == {"prepare_image_src": "/in/web.ova"}
    assert variables(made, "erp") == {"prepare_image_src": "/in/db.vmdk", "prepare_image_dest": "/out/erp.raw", "prepare_image_profile": "ceph", "size": 5}
    assert made.groups["images"].vars == HERE


def test_the_variables_of_the_group_have_the_last_word_on_this_machine(fleet):
    made = fleet({"images": ["/in/web.ova"], "vars": {"ansible_python_interpreter": "/opt/python", "extra": 1}})
    assert made.groups["images"].vars == {**HERE, "ansible_python_interpreter": "/opt/python", "extra": 1}


def test_an_expression_may_name_the_files(fleet):
    made = fleet({"images": [{"src": f"/{name}.ova", "dest": "/out/{{ inventory_hostname }}.raw"} for name in "ab"]})
    assert [evaluated(made, name)["prepare_image_dest"] for name in "ab"] == ["/out/a.raw", "/out/b.raw"]


@pytest.mark.parametrize(
    ("src", "name"),
    [
        ("/in/debian-12.5-amd64.qcow2", "debian-12.5-amd64"),
        ("/in/disk.raw.xz", "disk"),
        ("/in/x-1.2.tar.gz", "x-1.2"),
        ("/in/x.zst", "x"),
        ("/in/plain", "plain"),
        ("/in/My Server (old)!.ova", "My-Server-old"),
        ("/in/a,b:c&d[1].vhd", "a-b-c-d-1"),
        ("/in/größe.vdi", "gr-e"),
        ("/in/.ova", "ova"),
        ("/in/日本.ova", "image"),
        ("/in/all.ova", "all-2"),
        ("/in/localhost.ova", "localhost-2"),
        ("/in/images.ova", "images-2"),
        ("/in/folder/", "folder"),
    ],
)
def test_a_host_is_named_by_the_file(fleet, src, name):
    assert names(fleet({"images": [src]})) == [name]


def test_a_name_that_is_taken_gets_a_number(fleet):
    listed = ["/a/web.ova", "/b/web.ova", {"src": "/c/x.ova", "name": "web-2"}, "/d/web.vhd", "/e/n1.ova", "/f/nodes.ova"]
    made = fleet({"images": listed}, hosts="nodes: {hosts: {n1: }}")
    assert {name: made.hosts[name].vars["prepare_image_src"] for name in names(made)} == {
        "web": "/a/web.ova",
        "web-2": "/c/x.ova",
        "web-3": "/b/web.ova",
        "web-4": "/d/web.vhd",
        "n1-2": "/e/n1.ova",
        "nodes-2": "/f/nodes.ova",
    }
    longer = fleet({"images": [*listed, "/g/web.iso"]}, hosts="nodes: {hosts: {n1: }}")
    assert set(names(longer)) - set(names(made)) == {"web-5"}


def test_a_table_is_a_manifest(fleet, tmp_path):
    table = '\ufeffsrc, name,dest,prepare_image_profile\r\n/in/web.ova,,,\r\n"/in/a,b.vmdk", erp ,/out/erp.raw,ceph\r\n\r\n{{ 1 + 1 }},two,,\r\n'
    (tmp_path / "fleet.csv").write_text(table, encoding="utf-8")
    made = fleet({"manifest": "fleet.csv"})
    assert names(made) == ["erp", "two", "web"]
    assert variables(made, "web") == {"prepare_image_src": "/in/web.ova"}
    assert variables(made, "erp") == {"prepare_image_src": "/in/a,b.vmdk", "prepare_image_dest": "/out/erp.raw", "prepare_image_profile": "ceph"}
    assert evaluated(made, "two")["prepare_image_src"] == "{{ 1 + 1 }}"


@pytest.mark.parametrize("name", ["fleet.json", "fleet.yml"])
def test_a_list_is_a_manifest(fleet, tmp_path, name):
    (tmp_path / name).write_text('["/in/a.ova", {"src": "/in/b.ova", "extra": "{{ 1 + 1 }}"}]', encoding="utf-8")
    made = fleet({"manifest": name, "images": [{"src": "/in/c.ova", "extra": "{{ 1 + 1 }}"}]})
    assert names(made) == ["a", "b", "c"]
    assert evaluated(made, "b")["extra"] == "{{ 1 + 1 }}"
    assert evaluated(made, "c")["extra"] == 2


def test_files_are_found(fleet, tmp_path):
    for name in ("in/b.ova", "in/a.ova", "in/{{ 1 + 1 }}.ova", "in/notes.txt", "in/folder.ova/x", "in/more/deep/c.ova"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    listed = {"src": str(tmp_path / "in/a.ova"), "prepare_image_profile": "ceph"}
    made = fleet({"patterns": ["in/*.ova", f"{tmp_path}/in/b*", "in/**/c.*", "none/*"], "images": [listed]})
    assert names(made) == ["1-1", "a", "b", "c"]
    assert variables(made, "a") == {"prepare_image_src": listed["src"], "prepare_image_profile": "ceph"}
    assert evaluated(made, "1-1")["prepare_image_src"] == str(tmp_path / "in/{{ 1 + 1 }}.ova")


FOUR = [{"name": f"node{number}"} for number in range(1, 5)]
TWENTY = [f"/in/vm{number:02}.ova" for number in range(20)]


def workers_of(manager, names):
    return {name: manager.hosts[name].vars["vmimage_worker"] for name in names}


def test_workers_are_taken_in_turn(fleet):
    made = fleet({"images": TWENTY[::-1], "workers": FOUR})
    assert names(made) == [f"vm{number:02}" for number in range(20)]
    assert list(workers_of(made, names(made)).values()) == ["node1", "node2", "node3", "node4"] * 5
    assert variables(made, "vm05") == {"prepare_image_src": "/in/vm05.ova", "vmimage_worker": "node2", "ansible_host": "node2"}
    assert made.groups["images"].vars == {}
    for slices in (2, 3, 4):
        for number in range(slices):  # as AWX cuts them
            counts = Counter(workers_of(made, sorted(names(made))[number::slices]).values())
            assert max(counts.values()) - min(counts.values()) <= 1


def test_workers_stay_where_the_names_decide(fleet):
    before = workers_of(fleet({"images": TWENTY, "workers": FOUR, "spread": "stable"}), [f"vm{number:02}" for number in range(20)])
    assert set(before.values()) == {"node1", "node2", "node3", "node4"}
    more = fleet({"images": ["/in/aaa.ova", *TWENTY], "workers": FOUR[::-1], "spread": "stable"})
    assert workers_of(more, before) == before
    fifth = workers_of(fleet({"images": TWENTY, "workers": [*FOUR, {"name": "node5"}], "spread": "stable"}), before)
    moved = {name for name in before if before[name] != fifth[name]}
    assert 0 < len(moved) < 10
    assert {fifth[name] for name in moved} == {"node5"}


def test_a_worker_may_be_described(fleet):
    worker = {"name": "first", "ansible_host": "192.0.2.1", "ansible_user": "prep", "scratch": "/ssd"}
    image = {"src": "/in/web.ova", "ansible_user": "other"}
    made = fleet({"images": [image], "workers": [worker], "vars": {"scratch": "/tmp", "extra": "{{ inventory_hostname }}"}})
    assert variables(made, "web") == {
        "prepare_image_src": "/in/web.ova",
        "vmimage_worker": "first",
        "ansible_host": "192.0.2.1",
        "ansible_user": "other",
        "scratch": "/ssd",
    }
    assert evaluated(made, "web")["extra"] == "web"
    assert names(made, "all") == ["web"]


HOSTS = """
all:
  vars: {ansible_port: 22, ansible_user: anybody}
  children:
    converters:
      hosts:
        n1: {ansible_host: "{{ inventory_hostname }}.example.com", own: 1}
        n2: {ansible_port: 2222, ansible_password: "{{ kept_elsewhere }}"}
      vars: {ansible_user: prep}
    others: {hosts: {n3: }}
"""


def test_workers_are_hosts_of_the_inventory(fleet, tmp_path):
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/converters.yml").write_text("{ansible_become: true, other: 1}")
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars/n3.yml").write_text("{ansible_connection: local}")
    made = fleet({"images": TWENTY[:4], "workers": ["n3", "converters", "localhost"]}, hosts=HOSTS)
    usual = {"ansible_user": "anybody", "ansible_port": 22}
    reached = [{key: value for key, value in variables(made, f"vm0{number}").items() if key != "prepare_image_src"} for number in range(4)]
    assert reached == [
        {**usual, "vmimage_worker": "n3", "ansible_host": "n3", "ansible_connection": "local"},
        {"vmimage_worker": "n1", "ansible_host": "n1.example.com", "ansible_user": "prep", "ansible_port": 22, "ansible_become": True},
        {
            "vmimage_worker": "n2",
            "ansible_host": "n2",
            "ansible_user": "prep",
            "ansible_port": 2222,
            "ansible_become": True,
            "ansible_password": "{{ kept_elsewhere }}",
        },
        HERE,
    ]
    assert names(made, "converters") == ["n1", "n2"]
    assert variables(made, "n1") == {"ansible_host": "{{ inventory_hostname }}.example.com", "own": 1}


def test_groups_are_constructed(fleet):
    constructed = {
        "compose": {"import_ovf_src": "prepare_image_src"},
        "groups": {"appliances": "prepare_image_src is search('ova$')", "big": "import_ovf_src == '/in/db.vmdk'"},
        "keyed_groups": [{"key": "vmimage_worker", "prefix": "worker"}],
        "strict": True,
    }
    made = fleet({"images": ["/in/web.ova", "/in/db.vmdk"], "workers": FOUR, "group": "fleet", **constructed})
    assert {name: names(made, name) for name in made.groups} == {
        "all": ["db", "web"],
        "ungrouped": [],
        "fleet": ["db", "web"],
        "appliances": ["web"],
        "big": ["db"],
        "worker_node1": ["db"],
        "worker_node2": ["web"],
    }
    assert "prepare_image_srx" in refusal(fleet, {"images": ["/in/web.ova"], "compose": {"x": "prepare_image_srx"}, "strict": True})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"image": []}, "there is no option image"),
        ({"images": [5]}, "images, entry 1: an image is a path or a dictionary, not 5"),
        ({"images": ["/a", {"name": "x"}]}, "images, entry 2: src is missing"),
        ({"images": [""]}, "images, entry 1: src has to be a text, not ''"),
        ({"images": [{"src": ["/a"]}]}, "images, entry 1: src has to be a text, not ['/a']"),
        ({"images": [{"src": "/a", "name": "a:b"}]}, "images, entry 1: the name 'a:b' may only have letters, digits, hyphens, dots and underscores"),
        ({"images": [{"src": "/a", "name": "all"}]}, "images, entry 1: there is a host or a group all already"),
        ({"images": [{"src": "/a", "name": "x"}] * 2}, "images, entry 2: there is a host or a group x already"),
        ({"images": [{"src": "/a", "no-name": 1}]}, "images, entry 1: 'no-name' is no name of a variable"),
        ({"images": [{"src": f"/{name}", "dest": f"/out/{name}/../x"} for name in "ab"]}, "images, entry 2: /out/x is what images, entry 1 writes already"),
        ({"vars": {"a b": 1}}, "vars: 'a b' is no name of a variable"),
        ({"workers": ["n9"]}, "the inventory has no host and no group n9 yet. Name the source that has it before this one, or give an address as {name: n9}"),
        ({"workers": [5]}, "workers, entry 1: a worker is a name or a dictionary, not 5"),
        ({"workers": [{"ansible_host": "x"}]}, "workers, entry 1: name is missing"),
        ({"workers": ["empty"]}, "workers: there is no host in these groups"),
        ({"workers": [{"name": "x", "a b": 1}]}, "workers, entry 1: 'a b' is no name of a variable"),
        ({"manifest": "none.csv"}, "none.csv cannot be read: [Errno 2] No such file"),
        ({"manifest": "none.yml"}, "none.yml cannot be read: [Errno 2] No such file"),
        ({"manifest": "letter.yml"}, "letter.yml: a manifest is a list of images"),
        ({"manifest": "broken.yml"}, "YAML parsing failed"),
        ({"manifest": "latin.csv"}, "latin.csv cannot be read: 'utf-8' codec"),
        ({"manifest": "quote.csv"}, "quote.csv cannot be read: unexpected end of data"),
        ({"manifest": "long.csv"}, "long.csv, line 3: there are more fields than in the first line"),
        ({"manifest": "nosrc.csv"}, "nosrc.csv, entry 1: src is missing"),
        ({"manifest": "python.csv"}, "python.csv, entry 1: a manifest must not set ansible_python_interpreter"),
    ],
)
def test_what_is_wrong_is_said(fleet, tmp_path, config, message):
    (tmp_path / "letter.yml").write_text("Dear sirs")
    (tmp_path / "broken.yml").write_text("[")
    (tmp_path / "latin.csv").write_bytes(b"src\n/in/gr\xf6\xdfe.ova\n")
    (tmp_path / "quote.csv").write_text('src\n"/in/x.ova\n')
    (tmp_path / "long.csv").write_text("src,name\n/in/x.ova,x\n/in/y.ova,y,z\n")
    (tmp_path / "nosrc.csv").write_text("source\n/in/x.ova\n")
    (tmp_path / "python.csv").write_text("src,ansible_python_interpreter\n/in/x.ova,/in/evil\n")
    said = refusal(fleet, config, hosts="empty: {hosts: {}}")
    assert message in said
    assert str(tmp_path) in said


def test_a_manifest_of_any_size_is_not_read(fleet, tmp_path):
    with open(tmp_path / "long.csv", "wb") as file:
        file.truncate(1 << 40)
    assert "a manifest may have 16777216 bytes" in refusal(fleet, {"manifest": "long.csv"})


def test_the_examples_are_right(fleet, tmp_path):
    (tmp_path / "fleet.csv").write_text("src\n/in/a.ova\n/in/b.vmdk\n")
    examples = images.EXAMPLES.split("\n---\n")
    assert len(examples) == 3
    made = [fleet(example, hosts="converters: {hosts: {n1: , n2: }}") for example in examples]
    assert [names(one) for one in made] == [["database", "legacy-erp", "web"], [], ["a", "b"]]
    assert evaluated(made[0], "web")["prepare_image_dest"] == "/srv/images/web.qcow2"
    assert evaluated(made[0], "legacy-erp")["prepare_image_dest"] == "/srv/images/legacy-erp.raw"
    assert names(made[2], "appliances") == ["a"]


def evaluated(manager, name):
    """The host's variables as a task sees them."""
    loader = DataLoader()
    found = VariableManager(loader=loader, inventory=manager).get_vars(host=manager.hosts[name], include_hostvars=False)
    templar = Templar(loader=loader, variables=found)
    return {key: templar.template(found[key]) for key in found if key in ("prepare_image_src", "prepare_image_dest", "extra")}

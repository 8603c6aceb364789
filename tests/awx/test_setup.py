# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What extensions/awx/controller.yml describes is what the role awx_setup makes, with the real modules of awx.awx, in a stand-in of AWX."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.vmimage.prep.plugins.module_utils._engine.profiles import PROFILES

sys.path.insert(0, str(Path(__file__).parent))
from conftest import ROOT, SETTINGS  # noqa: E402
from controller import TOKEN, Controller, Refused, check_survey, serve  # noqa: E402

PROJECT = ROOT / "extensions/awx/project"
KINDS = {
    "controller_execution_environments": "execution_environments",
    "controller_projects": "projects",
    "controller_inventories": "inventories",
    "controller_hosts": "hosts",
    "controller_inventory_sources": "inventory_sources",
    "controller_templates": "job_templates",
    "controller_workflows": "workflow_job_templates",
}


@pytest.fixture
def awx():
    """A stand-in with an organization, and a credential for OpenStack."""
    awx = Controller({path.name for path in PROJECT.glob("*.yml")})
    awx.add("credentials", {"name": SETTINGS["awx_setup_credential"], "organization": 1})
    server = serve(awx)
    awx.url = f"http://127.0.0.1:{server.server_port}"
    yield awx
    server.shutdown()
    server.server_close()


def apply(awx, *options):
    """Run the playbook as a user does, and return its line of the recap and the requests that were to change something."""
    before = len(awx.requests)
    command = ["ansible-playbook", "vmimage.prep.awx_setup", "-e", json.dumps(SETTINGS), *options]
    environment = {**os.environ, "CONTROLLER_HOST": awx.url, "CONTROLLER_OAUTH_TOKEN": TOKEN}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout.rstrip().rpartition("\n")[2], awx.requests[before:]


def made(awx, kind, item, name):
    """What AWX has under a name that the lists use, in their words."""
    everything = {number: one for table in awx.tables.values() for number, one in table.items()}
    if name == "organization" and kind == "inventory_sources":
        return made(awx, "inventories", everything[item["inventory"]], name)
    if name == "survey_spec":
        return item["survey"]
    if name in item["associated"]:
        return [everything[number].get("identifier", everything[number].get("name")) for number in item["associated"][name]]
    if name in ("extra_vars", "variables"):
        return json.loads(item[name])
    if name in ("organization", "project", "inventory", "execution_environment", "source_project", "unified_job_template"):
        return everything[item[name]]["name"]
    if name == "approval_node":
        approval = everything[item["unified_job_template"]]
        return {key: approval[key] for key in ("name", "description", "timeout")}
    return item[name]


def test_the_role_makes_what_the_lists_say_once(awx, controller_data):
    recap, requests = apply(awx, "--check")
    assert "changed=3 " in recap
    assert requests == []

    apply(awx)
    for variable, kind in KINDS.items():
        found = {item["name"]: item for item in awx.tables[kind].values()}
        assert sorted(found) == sorted(item["name"] for item in controller_data[variable])
        for wanted in controller_data[variable]:
            names = wanted.keys() - {"simplified_workflow_nodes"}
            assert {name: made(awx, kind, found[wanted["name"]], name) for name in names} == {name: wanted[name] for name in names}
    nodes = {item["identifier"]: item for item in awx.tables["workflow_job_template_nodes"].values()}
    (workflow,) = controller_data["controller_workflows"]
    assert sorted(nodes) == sorted(node["identifier"] for node in workflow["simplified_workflow_nodes"])
    for wanted in workflow["simplified_workflow_nodes"]:
        node = nodes[wanted["identifier"]]
        assert {name: made(awx, "workflow_job_template_nodes", node, name) for name in wanted} == wanted
        assert node["associated"]["success_nodes"] == [nodes[name]["id"] for name in wanted.get("success_nodes", [])]
        assert node["associated"]["failure_nodes"] == [nodes[name]["id"] for name in wanted.get("failure_nodes", [])]

    recap, requests = apply(awx)
    assert "changed=0 " in recap
    assert requests == []


def options_of(playbook):
    """The options of the roles that a playbook of the project runs."""
    options = {}
    for play in yaml.safe_load((PROJECT / playbook).read_text(encoding="utf-8")):
        if "import_playbook" not in play:
            continue
        (imported,) = yaml.safe_load((ROOT / f"playbooks/{play['import_playbook'].removeprefix('vmimage.prep.')}.yml").read_text(encoding="utf-8"))
        for task in imported["tasks"]:
            called = task.get("ansible.builtin.include_role")
            if called:
                path = ROOT / "roles" / called["name"].removeprefix("vmimage.prep.") / "meta/argument_specs.yml"
                options.update(yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"][called.get("tasks_from", "main")]["options"])
    return options


def test_surveys_ask_for_what_the_roles_take(controller_data):
    templates = {template["name"]: template for template in controller_data["controller_templates"]}
    asked = {}
    for template in templates.values():
        options = {"prepare_image_hosts": {}, **options_of(template["playbook"])}
        questions = {question["variable"]: question for question in template.get("survey_spec", {"spec": []})["spec"]}
        asked.update(questions)
        assert questions.keys() <= options.keys(), template["name"]
        for name, question in questions.items():
            assert set(question.get("choices", [])) <= set(options[name].get("choices", question.get("choices", [])))
            if options[name].get("required"):
                assert question["required"]
                assert "default" not in question
        if "survey_spec" in template:
            needed = {name for name, option in options.items() if option.get("required")}
            assert needed - {"publish_image_plan"} <= questions.keys()
    assert set(asked["prepare_image_profile"]["choices"]) <= set(PROFILES)
    (workflow,) = controller_data["controller_workflows"]
    # What a template asks is asked by the workflow, in the same words.
    assert {question["variable"]: question for question in workflow["survey_spec"]["spec"]} == asked


def test_references_within_the_lists_lead_somewhere(controller_data):
    names = {kind: [item["name"] for item in controller_data[variable]] for variable, kind in KINDS.items()}
    for template in controller_data["controller_templates"]:
        assert (PROJECT / template["playbook"]).is_file()
    for source in controller_data["controller_inventory_sources"]:
        assert (PROJECT / source["source_path"]).is_file()
    # The modules look these up by name alone.
    unified = [name for kind in ("projects", "inventory_sources", "job_templates", "workflow_job_templates") for name in names[kind]]
    assert len(set(unified)) == len(unified)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("job_templates", {"name": "x", "playbook": "inspect.yml", "verbose": 1}),
        ("job_templates", {"name": "x", "playbook": "inspect.yml", "forks": "1"}),
        ("job_templates", {"name": "x", "playbook": "inspect.yml", "project": 99}),
        ("job_templates", {"name": "x", "playbook": "missing.yml"}),
        ("organizations", {"name": "Default"}),
    ],
)
def test_the_stand_in_is_strict(awx, kind, values):
    with pytest.raises(Refused):
        awx.add(kind, values)


@pytest.mark.parametrize(
    "change",
    [{"type": "choice"}, {"required": "yes"}, {"default": "c"}, {"choices": None, "type": "integer", "default": "1"}, {"help": "?"}, {"min": "1"}],
)
def test_the_stand_in_knows_bad_surveys(change):
    question = {"question_name": "A?", "variable": "a", "type": "multiplechoice", "choices": ["a", "b"], "required": True, "default": "a"}
    check_survey({"name": "", "description": "", "spec": [question]})
    changed = {key: value for key, value in {**question, **change}.items() if value is not None}
    with pytest.raises(Refused):
        check_survey({"name": "", "description": "", "spec": [changed]})

# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for the API of AWX 24, on the loopback interface: what the modules of awx.awx ask for when they make things.

It is stricter than AWX. A field that AWX's serializer does not have, or that has another type, is refused, as is a reference that
leads nowhere, a playbook that the project does not have, a name that is taken, and a survey that AWX would refuse.
"""

from __future__ import annotations

import http.server
import json
import re
import threading
import urllib.parse

TOKEN = "only for this test"
REFERENCE = object()


def fields(references="", texts="", numbers="", flags="", **others):
    """What can be set of an object, with its defaults."""
    return {
        **dict.fromkeys(references.split(), REFERENCE),
        **dict.fromkeys(texts.split(), ""),
        **dict.fromkeys(numbers.split(), 0),
        **dict.fromkeys(flags.split(), False),
        **others,
    }


def prompts(names):
    return " ".join(f"ask_{name}_on_launch" for name in names.split())


FIELDS = {
    "organizations": fields(),
    "credentials": fields("organization"),
    "execution_environments": fields("organization credential", "image pull"),
    "projects": fields(
        "organization credential default_environment",
        "scm_type scm_url scm_branch scm_refspec",
        "timeout scm_update_cache_timeout",
        "scm_clean scm_delete_on_update scm_track_submodules scm_update_on_launch allow_override",
    ),
    "inventories": fields("organization", "kind variables", "", "prevent_instance_group_fallback", host_filter=None),
    "hosts": fields("inventory", "variables instance_id", enabled=True),
    "inventory_sources": fields(
        "inventory source_project credential execution_environment",
        "source source_path source_vars limit scm_branch enabled_var enabled_value host_filter",
        "timeout update_cache_timeout",
        "overwrite overwrite_vars update_on_launch",
        verbosity=1,
    ),
    "job_templates": fields(
        "organization project inventory execution_environment",
        "playbook job_type extra_vars limit scm_branch job_tags skip_tags start_at_task",
        "forks verbosity timeout",
        "survey_enabled allow_simultaneous become_enabled diff_mode use_fact_cache force_handlers prevent_instance_group_fallback "
        + prompts("variables limit inventory scm_branch labels tags skip_tags diff_mode job_type verbosity credential execution_environment")
        + " "
        + prompts("forks instance_groups job_slice_count timeout"),
        job_slice_count=1,
    ),
    "workflow_job_templates": fields(
        "organization inventory",
        "extra_vars limit scm_branch job_tags skip_tags",
        "",
        "survey_enabled allow_simultaneous " + prompts("variables limit inventory scm_branch labels tags skip_tags"),
    ),
    "workflow_job_template_nodes": fields(
        "workflow_job_template unified_job_template inventory",
        "identifier limit",
        "",
        "all_parents_must_converge",
        type="workflow_job_template_node",
        extra_data={},
    ),
    "workflow_approval_templates": fields("", "", "timeout"),
}
"""What can be set, with its default, beside the name and the description"""
WHERE = {"default_environment": "execution_environments", "source_project": "projects"}
UNIFIED = ("projects", "inventory_sources", "job_templates", "workflow_job_templates")
ASSOCIATIONS = {
    "job_templates": {"credentials": "credentials"},
    "workflow_job_template_nodes": dict.fromkeys(("success_nodes", "failure_nodes", "always_nodes"), "workflow_job_template_nodes"),
}
ANSWERS = {"text": str, "textarea": str, "password": str, "multiplechoice": str, "multiselect": str, "integer": int, "float": (int, float)}


class Refused(Exception):
    """With the fields that are wrong, as AWX answers."""


class Controller:
    """What AWX has. ``tables`` are its objects by kind and number; ``requests`` are those that changed something.

    :param playbooks: files of every project
    """

    def __init__(self, playbooks):
        self.playbooks = playbooks
        self.tables = {kind: {} for kind in FIELDS}
        self.requests = []
        self.lock = threading.Lock()
        self.add("organizations", {"name": "Default"})

    def add(self, kind, values):
        self.check(kind, values, None)
        number = 1 + sum(map(len, self.tables.values()))
        fields = {name: None if default is REFERENCE else default for name, default in FIELDS[kind].items()}
        item = {"description": "", **fields, **values, "id": number, "url": f"/api/v2/{kind}/{number}/", "related": {}, "summary_fields": {}}
        item.setdefault("type", kind.rstrip("s"))
        if kind == "projects":  # the first update starts by itself
            item.update(scm_revision="", summary_fields={"current_update": {"id": number}})
        if kind in ("job_templates", "workflow_job_templates"):
            item["related"]["survey_spec"] = f"{item['url']}survey_spec/"
            item["survey"] = {}
        item["associated"] = {name: [] for name in ASSOCIATIONS.get(kind, ())}
        self.tables[kind][number] = item
        return item

    def check(self, kind, values, number):
        """Whether AWX takes these values, for a new object or the one of this number."""
        wrong = {}
        named = kind != "workflow_job_template_nodes"
        for name, value in values.items():
            default = "" if name == "description" or (name == "name" and named) else FIELDS[kind].get(name, wrong)
            if default is wrong:
                wrong[name] = "is no field"
            elif default is REFERENCE:
                places = UNIFIED if name == "unified_job_template" else (WHERE.get(name, name.rstrip("y") + "ies" if name == "inventory" else f"{name}s"),)
                if value is not None and not any(value in self.tables[place] for place in places):
                    wrong[name] = f"{value!r} does not exist"
            elif default is not None and value is not None and type(value) is not type(default):
                wrong[name] = f"{value!r} is no {type(default).__name__}"
        present = {**self.tables[kind].get(number, {}), **values}
        if named and not present.get("name"):
            wrong["name"] = "is required"
        scope = {"hosts": "inventory", "inventory_sources": "inventory"}.get(kind, "organization")
        if named and kind != "workflow_approval_templates":
            twins = [item for item in self.tables[kind].values() if item["name"] == present.get("name") and item.get(scope) == present.get(scope)]
            if any(item["id"] != number for item in twins):
                wrong["name"] = "is taken"
        if kind == "job_templates" and present.get("playbook") not in self.playbooks:
            wrong["playbook"] = "Playbook not found for project."
        if wrong:
            raise Refused(wrong)

    def find(self, kind, query):
        """Objects that all conditions hold for, or one of those that begin with or__."""
        items = [item for name in (UNIFIED if kind == "unified_job_templates" else (kind,)) for item in self.tables[name].values()]
        either = {name[4:]: value for name, value in query.items() if name.startswith("or__")}
        every = {name: value for name, value in query.items() if not name.startswith("or__")}
        for name in (*either, *every):
            if any(name not in item for item in items):
                raise Refused({"detail": f"{kind} has no field {name}"})
        found = [item for item in items if all(str(item[name]) == value for name, value in every.items())]
        return [item for item in found if not either or any(str(item[name]) == value for name, value in either.items())]

    def answer(self, method, path, query, body):
        """The status and the content of the answer to a request."""
        parts = path.removeprefix("/api/v2/").strip("/").split("/")
        kind, number = parts[0], int(parts[1]) if len(parts) > 1 else None
        if kind == "project_updates":
            return 200, {"status": "successful"}
        if number is None:
            if method == "POST":
                return 201, self.show(self.add(kind, body))
            return 200, self.listing(self.find(kind, query))
        item = self.tables[kind][number]
        if len(parts) == 2:
            if method == "PATCH":
                self.check(kind, body, number)
                item.update(body)
            return 200, self.show(item)
        if parts[2] == "survey_spec":
            if method == "POST":
                check_survey(body)
                item["survey"] = body
                return 200, {}
            return 200, item["survey"]
        if parts[2] == "create_approval_template" and method == "POST":
            made = self.add("workflow_approval_templates", body)
            item["unified_job_template"] = made["id"]
            item["related"]["unified_job_template"] = made["url"]
            return 201, self.show(made)
        others = self.tables[ASSOCIATIONS[kind][parts[2]]]
        associated = item["associated"][parts[2]]
        if method == "POST":
            if body["id"] not in others or (parts[2].endswith("_nodes") and others[body["id"]]["workflow_job_template"] != item["workflow_job_template"]):
                raise Refused({"id": "does not exist"})
            (associated.remove if body.get("disassociate") else associated.append)(body["id"])
            return 204, None
        return 200, self.listing([others[number] for number in associated])

    def listing(self, items):
        return {"count": len(items), "next": None, "results": list(map(self.show, items))}

    @staticmethod
    def show(item):
        return {name: value for name, value in item.items() if name not in ("survey", "associated")}


def check_survey(spec):
    """As JobTemplateSurveySpec of AWX does, and more: no keys that it does not know."""
    if set(spec) != {"name", "description", "spec"} or not spec["spec"]:
        raise Refused({"error": f"not the keys of a survey: {sorted(spec)}"})
    seen = set()
    for question in spec["spec"]:
        wrong = set(question) - {"question_name", "question_description", "variable", "type", "required", "default", "min", "max", "choices"}
        wrong |= {name for name in ("question_name", "variable", "type") if not isinstance(question.get(name), str)}
        wrong |= {name for name in ("min", "max") if not isinstance(question.get(name, 0), int)}
        if not isinstance(question.get("required"), bool):
            wrong.add("required")
        if question["variable"] in seen or not re.fullmatch("[a-z_]+", question["variable"]):
            wrong.add("variable")
        seen.add(question["variable"])
        default, kind = question.get("default", ""), question["type"]
        if kind not in ANSWERS or (default != "" and not isinstance(default, ANSWERS[kind])):
            wrong.add("type")
        if (kind in ("multiplechoice", "multiselect")) != ("choices" in question) or (default != "" and default not in question.get("choices", [default])):
            wrong.add("choices")
        if not wrong and isinstance(default, str) and "default" in question and not question.get("min", 0) <= len(default) <= question.get("max", 1024):
            wrong.add("default")  # AWX ignores a default that breaks these rules
        if wrong:
            raise Refused({"error": f"in the question {question}: {sorted(wrong)}"})


def serve(controller):
    """A server of it, which the caller has to shut down."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self):
            address = urllib.parse.urlparse(self.path)
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
            with controller.lock:
                try:
                    if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                        status, content = 401, {}
                    else:
                        status, content = controller.answer(self.command, address.path, dict(urllib.parse.parse_qsl(address.query)), body)
                except Refused as error:
                    status, content = 400, error.args[0]
                if self.command != "GET":
                    controller.requests.append((self.command, address.path, body, status))
            data = b"" if content is None else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("X-API-Product-Name", "AWX")
            self.send_header("X-API-Product-Version", "24.6.1")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_one

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server

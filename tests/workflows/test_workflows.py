"""The workflows call make targets and scripts that exist, and pin the actions that they use.

Run it with tests/workflows/run: without PyYAML the import below fails, and so does the test.
"""

import os
import re
import shlex
import subprocess
import unittest
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
WORKFLOWS = REPOSITORY / ".github" / "workflows"
MAKEFILE = REPOSITORY / "Makefile"
NAMES = ["ci", "nightly", "release"]
# Options of make that take the next word as their value.
MAKE_VALUES = {"-C", "-f", "-j", "--directory", "--file", "--jobs"}


def load(name):
    text = (WORKFLOWS / f"{name}.yml").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    # YAML 1.1 reads the key `on` as true.
    workflow["on"] = workflow.pop(True)
    return workflow


def steps(workflow):
    for job in workflow["jobs"].values():
        yield from job["steps"]


def scripts(workflow):
    return [step["run"] for step in steps(workflow) if "run" in step]


def commands(script):
    """Each simple command of a shell script, as a list of words."""
    script = script.replace("\\\n", " ")
    for line in script.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        command = []
        for word in lexer:
            if set(word) <= set("();<>|&"):
                yield command
                command = []
            else:
                command.append(word)
        yield command


def make_targets(script):
    """The targets of each call of make, which may follow `sudo env NAME=VALUE` and the like."""
    for command in commands(script):
        if "make" not in command:
            continue
        words = iter(command[command.index("make") + 1 :])
        for word in words:
            if word in MAKE_VALUES:
                next(words, None)
            elif not word.startswith("-") and "=" not in word:
                yield word


def own_scripts(script):
    """Programs of this repository that a script calls by their path."""
    for command in commands(script):
        if command and re.fullmatch(r"[a-z]+(/[a-z-]+)+", command[0]):
            yield command[0]


def defined_targets():
    text = MAKEFILE.read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z][a-z-]*):(?!=)", text, flags=re.MULTILINE))


class Reading(unittest.TestCase):
    def test_make_targets_of_a_script(self):
        script = (
            'cd here && make crds manifests\nsudo env "PATH=$PATH" make -j 2 release V=1 \\\n  sbom; echo "make tea"\n'
        )
        self.assertEqual(list(make_targets(script)), ["crds", "manifests", "release", "sbom"])

    def test_own_scripts_of_a_script(self):
        self.assertEqual(list(own_scripts('setup/check-release "$TAG" >notes\ngit diff')), ["setup/check-release"])

    def test_targets_of_the_makefile(self):
        self.assertIn("unit", defined_targets())
        self.assertNotIn("SHELL", defined_targets())


class Workflows(unittest.TestCase):
    def test_every_workflow_is_known(self):
        self.assertEqual(sorted(path.stem for path in WORKFLOWS.iterdir()), NAMES)

    def test_make_targets_exist(self):
        targets = defined_targets()
        for name in NAMES:
            called = [target for script in scripts(load(name)) for target in make_targets(script)]
            self.assertTrue(called, f"{name} calls no make target")
            for target in called:
                with self.subTest(workflow=name, target=target):
                    self.assertIn(target, targets)

    def test_own_scripts_exist(self):
        for name in NAMES:
            for script in scripts(load(name)):
                for path in own_scripts(script):
                    with self.subTest(workflow=name, script=path):
                        self.assertTrue(os.access(REPOSITORY / path, os.X_OK))

    def test_scripts_are_valid_bash(self):
        for name in NAMES:
            for script in scripts(load(name)):
                with self.subTest(workflow=name, script=script):
                    result = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
                    self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_scripts_take_no_text_from_expressions(self):
        # A title or branch name inside ${{ }} would become part of the script.
        for name in NAMES:
            for script in scripts(load(name)):
                with self.subTest(workflow=name, script=script):
                    self.assertNotIn("${{", script)

    def test_actions_are_pinned_to_a_full_version(self):
        for name in NAMES:
            for step in steps(load(name)):
                if "uses" in step:
                    with self.subTest(workflow=name, action=step["uses"]):
                        self.assertRegex(step["uses"], r"^[\w.-]+/[\w./-]+@v\d+\.\d+\.\d+$")

    def test_one_version_of_each_action(self):
        versions = {}
        for name in NAMES:
            for step in steps(load(name)):
                if "uses" in step:
                    action, version = step["uses"].split("@")
                    versions.setdefault(action, set()).add(version)
        self.assertEqual({action: found for action, found in versions.items() if len(found) > 1}, {})

    def test_rights_and_time_are_limited(self):
        for name in NAMES:
            workflow = load(name)
            with self.subTest(workflow=name):
                self.assertEqual(workflow["permissions"], {"contents": "read"})
                for job in workflow["jobs"].values():
                    self.assertIn("timeout-minutes", job)

    def test_jobs_wait_for_jobs_that_exist(self):
        for name in NAMES:
            jobs = load(name)["jobs"]
            for job in jobs.values():
                needs = job.get("needs", [])
                for other in [needs] if isinstance(needs, str) else needs:
                    self.assertIn(other, jobs)


class Coverage(unittest.TestCase):
    def targets(self, name):
        return {target for script in scripts(load(name)) for target in make_targets(script)}

    def test_pushes_and_pull_requests_run_the_fast_tests(self):
        workflow = load("ci")
        self.assertIn("main", workflow["on"]["push"]["branches"])
        self.assertIn("pull_request", workflow["on"])
        self.assertLessEqual({"lint", "unit", "contract", "deny"}, self.targets("ci"))

    def test_every_night_runs_all_tests(self):
        self.assertTrue(load("nightly")["on"]["schedule"])
        self.assertIn("nightly", self.targets("nightly"))

    def test_tags_publish_a_release(self):
        workflow = load("release")
        self.assertEqual(workflow["on"], {"push": {"tags": ["v*"]}})
        self.assertLessEqual({"release", "sbom", "crds", "manifests"}, self.targets("release"))
        built = {entry["architecture"] for entry in workflow["jobs"]["build"]["strategy"]["matrix"]["include"]}
        self.assertEqual(built, {"amd64", "arm64"})
        text = "\n".join(scripts(workflow))
        for published in ["cosign sign", "cosign attest", "helm push", "SHA256SUMS", "gh release create"]:
            self.assertIn(published, text)


class Templates(unittest.TestCase):
    def test_issue_forms_are_complete(self):
        for path in (REPOSITORY / ".github" / "ISSUE_TEMPLATE").iterdir():
            form = yaml.safe_load(path.read_text(encoding="utf-8"))
            if path.stem == "config":
                continue
            with self.subTest(form=path.name):
                self.assertLessEqual({"name", "description", "body"}, form.keys())
                ids = [field["id"] for field in form["body"] if field["type"] != "markdown"]
                self.assertEqual(len(ids), len(set(ids)))

    def test_code_owners_are_no_placeholders(self):
        lines = (REPOSITORY / ".github" / "CODEOWNERS").read_text(encoding="utf-8").splitlines()
        rules = [line.split() for line in lines if line and not line.startswith("#")]
        self.assertTrue(rules)
        for _pattern, *owners in rules:
            self.assertEqual(owners, ["@ompipe/maintainers"])


if __name__ == "__main__":
    unittest.main()

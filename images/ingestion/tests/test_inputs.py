# SPDX-License-Identifier: Apache-2.0
import json
import tempfile
import unittest

import inputs
from inputs import InputError


class Config(unittest.TestCase):
    def refusal(self, text):
        with self.assertRaises(InputError) as refused:
            inputs.config({"config": text} if text is not None else {})
        message = str(refused.exception)
        self.assertNotIn("\n", message)
        return message

    def test_missing_and_empty(self):
        for text in (None, "", " \n "):
            self.assertIn("`config` is missing or empty", self.refusal(text))

    def test_a_file_stands_in_for_the_variable(self):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write("a: 1\n")
            file.flush()
            self.assertEqual(inputs.config({"configFile": file.name, "config": "a: 2"}), {"a": 1})
            file.write("password: 'S3CRET\n")
            file.flush()
            with self.assertRaises(InputError) as refused:
                inputs.config({"configFile": file.name})
        self.assertIn(f"file {file.name} is not YAML", str(refused.exception))
        self.assertNotIn("S3CRET", str(refused.exception))

    def test_a_file_that_is_not_there_is_named(self):
        with self.assertRaisesRegex(InputError, "/no/such/file.*No such file"):
            inputs.config({"configFile": "/no/such/file"})

    def test_a_fault_is_placed_without_quoting_the_config(self):
        message = self.refusal("a: 1\npassword: 'S3CRET\n")
        self.assertIn("line 2, column ", message)
        self.assertNotIn("S3CRET", message)

    def test_unprintable_characters(self):
        self.assertIn("at position 4", self.refusal('a: "\x7f"'))

    def test_not_a_mapping(self):
        self.assertIn("a YAML list", self.refusal("[1]"))
        self.assertIn("a YAML str", self.refusal("just text"))

    def test_variables_are_not_expanded(self):
        self.assertEqual(inputs.config({"config": 'p: "$HOME ${PATH}"'}), {"p": "$HOME ${PATH}"})

    def test_json_and_double_quoted_yaml_are_the_same(self):
        value = {"ü": "日本 é", "n": 18446744073709551616, "f": 1e15, "yes": "no", "t": True, "z": None}
        as_yaml = '"ü": "日本 \\u00e9"\n"n": 18446744073709551616\n"f": 1.0e+15\n"yes": "no"\n"t": true\n"z": null\n'
        for text in (json.dumps(value), json.dumps(value, ensure_ascii=False), as_yaml):
            self.assertEqual(inputs.config({"config": text}), value)


class RunId(unittest.TestCase):
    def test_absent(self):
        self.assertIsNone(inputs.run_id({}))
        self.assertIsNone(inputs.run_id({"pipelineRunId": " "}))

    def test_canonical_form(self):
        text = "5F1C0B9E3D5F4D0E9A587D1F0E6F2C11"
        self.assertEqual(inputs.run_id({"pipelineRunId": text}), "5f1c0b9e-3d5f-4d0e-9a58-7d1f0e6f2c11")

    def test_not_a_uuid(self):
        with self.assertRaisesRegex(InputError, "'scheduled__2026'"):
            inputs.run_id({"pipelineRunId": "scheduled__2026"})


class Choice(unittest.TestCase):
    def test_missing_and_unknown_name_what_is_allowed(self):
        for env, said in (({}, "missing or empty"), ({"kind": "c"}, "'c', which is none of a, b")):
            with self.assertRaisesRegex(InputError, said):
                inputs.choice(env, "kind", {"a": 1, "b": 2})

"""Every key that a configuration may have, as data: `training/configs/schema.json`, a JSON Schema made from the code.

    dataclasses ──schema──▶ schema.json ──┬─▶ an editor that completes and checks TOML
                                          ├─▶ reference: the page for people
                                          └─▶ check: a mistake is found before torch, which takes seconds, is imported

In: the dataclasses of `training.config`, which a test compares with the file, and TOML. Out: the schema, tables, or one
sentence about a mistake. May import tables and errors; the parts of a configuration only to make the schema.
"""

from training.keys.checks import Setting, assign, check, check_file, find, read
from training.keys.json_schema import FILE, SHIPPED, schema, shipped, text
from training.keys.reference import reference

__all__ = [
    "FILE",
    "SHIPPED",
    "Setting",
    "assign",
    "check",
    "check_file",
    "find",
    "read",
    "reference",
    "schema",
    "shipped",
    "text",
]

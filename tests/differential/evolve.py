"""Owns generated reader schemas: a writer schema with changes of the kinds that the specification knows, and some it refuses."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

from differential.generate import SchemaMaker
from differential.model import PRIMITIVES

PROMOTIONS = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}
UNITS = ("millis", "micros", "nanos")


class Evolver:
    """Makes one reader schema. `wild`: how likely a change is that cannot be read."""

    def __init__(self, random: Random, wild: float = 0.03):
        self.random = random
        self.wild = wild
        self.count = 0
        self.renamed: dict[str, str] = {}

    def reader(self, writer: Any) -> Any:
        """A later version of `writer`."""
        return self.type(copy.deepcopy(writer), 0.35)

    def type(self, schema: Any, chance: float = 0.3, union: bool = True) -> Any:
        """The type, changed or not; what is inside it, too."""
        random = self.random
        if isinstance(schema, list):
            return self.union(schema)
        if random.random() < self.wild:
            return random.choice(PRIMITIVES)
        if isinstance(schema, dict):
            schema = self.inside(schema)
        if random.random() > chance:
            return self.mention(schema)
        if union and random.random() < 0.5:
            other = random.choice(("null", "null", "null", "boolean"))
            if schema in ("null", "boolean") or (isinstance(schema, dict) and schema["type"] in ("null", "boolean")):
                return schema
            return [other, self.mention(schema)] if random.random() < 0.5 else [self.mention(schema), other]
        return self.promoted(schema)

    def mention(self, schema: Any) -> Any:
        """A mention of a type follows its new name."""
        return self.renamed.get(schema, schema) if isinstance(schema, str) else schema

    def promoted(self, schema: Any) -> Any:
        """A wider type, or another view of the same one."""
        random = self.random
        if isinstance(schema, str):
            return random.choice(PROMOTIONS.get(schema, (self.mention(schema),)))
        if schema["type"] in PROMOTIONS:
            # Without its logical type, or a number in another one.
            plain = schema["type"]
            return random.choice((plain, plain, random.choice(PROMOTIONS[plain]) if plain in ("int", "long") else plain))
        return schema

    def inside(self, schema: dict[str, Any]) -> Any:
        """The parts of a type, changed."""
        random, kind = self.random, schema["type"]
        if kind == "array":
            schema["items"] = self.type(schema["items"])
        elif kind == "map":
            schema["values"] = self.type(schema["values"])
        elif kind == "enum":
            self.rename(schema)
            return self.symbols(schema)
        elif kind == "fixed":
            self.rename(schema)
        elif kind == "record":
            self.rename(schema)
            schema["fields"] = self.fields(schema["fields"])
        elif schema.get("logicalType") == "decimal" and random.random() < 0.2:
            schema["precision"] = schema.get("precision", 9) + 5 if isinstance(schema.get("precision"), int) else 9
        return schema

    def rename(self, schema: dict[str, Any]) -> None:
        """Now and then another name, the old one kept as an alias."""
        if self.random.random() > 0.15:
            return
        space = schema.get("namespace", "")
        name = schema["name"] if "." in schema["name"] or not space else f"{space}.{schema['name']}"
        new = f"{name}_renamed"
        self.renamed[name] = new
        schema["name"], schema["aliases"] = new, [name]

    def symbols(self, schema: dict[str, Any]) -> Any:
        """Symbols added, moved, taken away; a default for those that are gone."""
        random = self.random
        symbols = [symbol for symbol in schema["symbols"] if random.random() < 0.9] or ["NEW"]
        if random.random() < 0.5:
            symbols.insert(random.randrange(len(symbols) + 1), "ADDED")
        if random.random() < 0.3:
            random.shuffle(symbols)
        schema["symbols"] = symbols
        if random.random() < 0.5:
            schema["default"] = random.choice(symbols)
        return schema

    def union(self, branches: list[Any]) -> Any:
        """Branches changed, added, taken away; or what is left when there is but one beside null."""
        random = self.random
        made = [self.type(branch, 0.15, union=False) for branch in branches]
        words = [word(branch) for branch in made]
        made = [branch for place, branch in enumerate(made) if word(branch) not in words[:place]]
        if random.random() < 0.2:
            made = [branch for branch in made if random.random() < 0.8 or defines(branch)] or made
        if random.random() < 0.3:
            self.count += 1
            added = random.choice(("null", "double", "string", {"type": "enum", "name": f"Added{self.count}", "symbols": ["X"]}))
            if word(added) not in [word(branch) for branch in made]:
                made.insert(random.choice((0, len(made))), added)
        rest = [branch for branch in made if branch != "null"]
        return rest[0] if len(rest) == 1 and random.random() < 0.1 else made

    def fields(self, fields: list[Any]) -> list[Any]:
        """Fields dropped, moved, renamed with an alias, changed; new ones with a default."""
        random = self.random
        made: list[Any] = []
        for field in fields:
            if random.random() < 0.12 and not defines(field["type"]):
                continue
            field["type"] = self.type(field["type"])
            if random.random() < 0.15:
                field["aliases"], field["name"] = [field["name"]], f"{field['name']}_renamed"
                if random.random() < 0.2:
                    # The old name has a new life.
                    made.append({"name": field["aliases"][0], "type": "int", "default": 7})
            made.append(field)
        if random.random() < 0.2 and not any(defines(field["type"]) for field in made):
            random.shuffle(made)
        for _ in range(random.choice((0, 0, 1, 2))):
            self.count += 1
            added = {"name": f"added{self.count}", **self.addition()}
            if random.random() < self.wild:
                del added["default"]
            made.append(added)
        return made

    def addition(self) -> dict[str, Any]:
        """A type with a default."""
        record = {
            "type": "record",
            "name": f"Inner{self.count}",
            "fields": [{"name": "x", "type": "int", "default": 3}, {"name": "y", "type": ["null", "string"], "default": None}],
        }
        return self.random.choice(
            (
                {"type": "long", "default": -5},
                {"type": "double", "default": 2},
                {"type": "float", "default": "1.5"},
                {"type": "string", "default": "é漢\u0000"},
                {"type": "bytes", "default": "\u00ff\u0001"},
                {"type": ["null", "int"], "default": None},
                {"type": ["string", "null"], "default": "s"},
                {"type": ["null", "int"], "default": 4},
                {"type": ["null", "double"], "default": 1.25},
                {"type": "boolean", "default": True},
                {"type": {"type": "array", "items": ["null", "int"]}, "default": [1, None]},
                {"type": {"type": "map", "values": "long"}, "default": {"k": 1, "é": 2}},
                {"type": {"type": "enum", "name": f"Kind{self.count}", "symbols": ["A", "B"]}, "default": "B"},
                {"type": {"type": "fixed", "name": f"Raw{self.count}", "size": 2}, "default": "\u0000\u00ff"},
                {"type": {"type": "fixed", "name": f"Raw{self.count}", "size": 4}, "default": "\u00fe"},
                {"type": {"type": "int", "logicalType": "date"}, "default": 18000},
                {"type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, "default": "\u0001\u0000"},
                {"type": record, "default": {"y": "given"}},
                {"type": record, "default": {}},
                {"type": SchemaMaker(self.random).any(0), "default": None},
            )
        )


def word(branch: Any) -> str:
    """What may be but once in a union."""
    if isinstance(branch, str):
        return branch
    return f"{branch.get('namespace') or ''}.{branch['name']}" if "name" in branch else branch["type"]


def defines(schema: Any) -> bool:
    """Whether a named type is defined in it, which may be mentioned later."""
    if isinstance(schema, list):
        return any(defines(branch) for branch in schema)
    return isinstance(schema, dict) and ("name" in schema or defines(schema.get("items")) or defines(schema.get("values")))

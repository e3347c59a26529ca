"""Owns schemas made to be hard: wide, deep, of names that collide by case, by accents or after escaping, of odd enums and
unions, with text of every script wherever a schema has any. Valid all the same, but for the letters of names."""

from __future__ import annotations

from random import Random
from typing import Any

from differential.generate import SchemaMaker, full, key
from differential.model import PRIMITIVES

STEMS = (
    *("id", "é", "e\u0301", "größe", "straße", "STRASSE", "ı", "i", "İ", "ſ", "s", "ﬁ", "fi", "Σ", "σ", "ς", "ΑΣ", "ας", "K", "\u212a", "Ǆ", "ǅ", "ǆ"),
    *("имя", "名前", "a.b", "a_b", "a b", "a-b", "a%2Eb", "a%2eb", "a/b", "a\\b", "a\"b", "a'b", "a`b", "1st", "$x", "@ts", "#", "?", "*", "🦀", "\u200fab", "x" * 300),
    *("_offset", "_key", "_topic", "_empty", "_2", "id_2", "id_3", "value", "key", "key_value", "list", "element", "array", "null", "select", "order", "months"),
)
TYPE_NAMES = ("T", "t", "Ť", "Тип", "型", "Int", "String", "Array", "Map", "T_2", "$T", "a-b", "A b")
SPACES = ("", "a.b", "a.B", "имя.прост", "com.x$Y", "名.前")
SYMBOLS = ("A", "a", "Ä", "ä", "null", "true", "0", "-1", "a b", "a,b", "'", "", " ", "名", "🦀", "\u202e", "y" * 500, "__HIVE_DEFAULT_PARTITION__")


class Adversary(SchemaMaker):
    """Makes one schema that is hard in one way or in all."""

    def schema(self) -> Any:
        made = self.random.choice((self.wide, self.deep, self.deep, self.odd, self.odd, self.odd))()
        return self.described(made)

    def wide(self) -> Any:
        """A thousand fields and more, some of them records of a hundred."""
        fields = [self.record_of(100, 0) if self.random.random() < 0.003 else self.any(1) for _ in range(self.random.choice((1_000, 1_500)))]
        return self.with_fields(fields)

    def deep(self) -> Any:
        """A chain of 26 records, each with a leaf or two beside the next, in whatever wraps a record."""
        random = self.random
        made: Any = random.choice(PRIMITIVES)
        lists = 0
        for _ in range(26):
            wrap = random.randrange(7)
            lists += wrap in (2, 3, 5)
            if wrap in (2, 3, 5) and lists > 9:
                # Each takes two levels of Parquet, and readers have limits.
                wrap = 1
            made = self.wrapped(made, wrap)
            # What is defined inside may be mentioned after it only.
            made = self.with_fields([made, self.any(0), self.any(1)])
        return made

    def wrapped(self, inside: Any, wrap: int) -> Any:
        """One of: itself, optional, a list, a map, one of several, an optional list of optional items, optional last."""
        if isinstance(inside, list):
            return inside
        null = [] if inside == "null" else ["null"]
        match wrap:
            case 0:
                return inside
            case 1:
                return [*null, inside]
            case 2:
                return {"type": "array", "items": inside}
            case 3:
                return {"type": "map", "values": [*null, inside]}
            case 4:
                return self.union_with(inside)
            case 5:
                return ["null", {"type": "array", "items": [*null, inside]}]
        return [inside, *null]

    def odd(self) -> Any:
        """A dozen fields of any type under the worst of names."""
        return self.record_of(self.random.randint(5, 25), 4)

    def record_of(self, count: int, depth: int) -> Any:
        return self.with_fields([self.any(depth) for _ in range(count)])

    def record(self, depth: int) -> Any:
        return self.record_of(self.random.choice((0, 1, 2, 4)), depth - 1)

    def with_fields(self, types: list[Any]) -> Any:
        """A record of these fields, their names alike but not the same."""
        made = self.named("record")
        names: dict[str, None] = {}
        while len(names) < len(types):
            names[self.name(len(types))] = None
        made["fields"] = [self.described({"name": name, "type": type}) for name, type in zip(names, types, strict=True)]
        self.defined.append(full(made))
        return made

    def name(self, among: int) -> str:
        random = self.random
        stem = random.choice(STEMS)
        stem = random.choice((stem, stem, stem.upper(), stem.lower(), stem.title(), stem + "_2", stem.upper() + "_3"))
        return stem if random.random() < 20 / among else f"{stem}{random.randrange(among)}"

    def union(self, depth: int) -> Any:
        return self.union_with(self.any(depth - 1, union=False))

    def union_with(self, first: Any) -> Any:
        """Up to a dozen branches, named types of like names among them."""
        random = self.random
        branches = {key(first): first}
        for _ in range(random.choice((0, 1, 1, 2, 5, 12))):
            known = list(self.defined)
            pick = random.random()
            branch = random.choice(PRIMITIVES) if pick < 0.5 else self.leaf_of_a_name() if pick < 0.75 else self.record(1)
            if key(branch) in branches:
                self.defined = known
            branches.setdefault(key(branch), branch)
        made = list(branches.values())
        if "null" in made and random.random() < 0.5:
            made.remove("null")
            made.insert(random.randrange(len(made) + 1), "null")
        return made

    def leaf_of_a_name(self) -> Any:
        if self.random.random() < 0.4:
            return super().leaf_of_a_name()
        made = self.named("enum")
        many = [f"S{number}" for number in range(self.random.choice((0, 0, 0, 3_000)))]
        made["symbols"] = self.random.sample(SYMBOLS, self.random.randint(1, len(SYMBOLS))) + many
        if self.random.random() < 0.5:
            made["default"] = self.random.choice(made["symbols"])
        self.defined.append(full(made))
        return self.described(made)

    def named(self, kind: str) -> dict[str, Any]:
        """Types of one name in several namespaces; the number keeps those of one namespace apart."""
        self.count += 1
        name, space = self.random.choice(TYPE_NAMES), self.random.choice(SPACES)
        space = ".".join(part for part in (space, f"n{self.count}") if part)
        if self.random.random() < 0.5:
            return {"type": kind, "name": f"{space}.{name}"}
        return {"type": kind, "name": name, "namespace": space}

    def described(self, made: Any) -> Any:
        """With attributes that mean nothing to a reader."""
        random = self.random
        if isinstance(made, dict) and random.random() < 0.2:
            made["doc"] = "".join(random.choice("aé漢🦀\"\\\n/*//\u202e\u0000") for _ in range(12))
            made["aliases"] = random.sample(("x", "Ä", "名", "a.b", ""), 2)
            made["connect.name"], made["größe"] = "имя", {"type": "record", "fields": [None, 1e300, "🦀"]}
        return made

"""Small faults put into a source text: what a test suite should notice."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS = {
    ast.Lt: [ast.LtE, ast.Gt], ast.LtE: [ast.Lt, ast.Gt], ast.Gt: [ast.GtE, ast.Lt], ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq], ast.NotEq: [ast.Eq], ast.In: [ast.NotIn], ast.NotIn: [ast.In],
    ast.Is: [ast.IsNot], ast.IsNot: [ast.Is],
}  # fmt: skip
ARITHMETIC = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.MatMult: ast.Mult,
}  # fmt: skip
SYMMETRIC = {"min", "max", "minimum", "maximum"}
ORDERING = {"reverse", "descending", "key", "kind", "maintain_order", "stable", "nulls_last", "axis"}


@dataclass(frozen=True)
class Mutant:
    file: str
    line: int
    last_line: int
    operator: str
    start: int  # bytes of the source text that are replaced
    end: int
    new: str

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.new.encode() + source[self.end :]

    def describe(self, source: bytes) -> str:
        return f"{self.file}:{self.line} {self.operator}: {source[self.start : self.end].decode()} -> {self.new}"


def mutants(file: str, source: bytes) -> list[Mutant]:
    """Return every mutant of a file, in the order of the text."""
    tree, offsets = ast.parse(source), [0]
    for line in source.splitlines(keepends=True):
        offsets.append(offsets[-1] + len(line))
    found = []
    for node in _bodies(tree):
        for operator, place, new in _changes(node):
            start = offsets[place.lineno - 1] + place.col_offset
            end = offsets[place.end_lineno - 1] + place.end_col_offset
            text = new if isinstance(new, str) else ast.unparse(new)
            text = f"({text})" if isinstance(place, ast.expr) and operator != "constant" else text
            found.append(Mutant(file, place.lineno, place.end_lineno, operator, start, end, text))
    return sorted(set(found), key=lambda one: (one.start, one.end, one.operator, one.new))


def _bodies(tree: ast.Module) -> Iterator[ast.AST]:
    """Walk what functions do: not what is done at import, annotations, defaults, messages of errors or f-strings."""
    stack: list[ast.AST] = [tree]
    while stack:
        for child in ast.iter_child_nodes(stack.pop()):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                for statement in child.body:
                    yield from _inside(statement)
            elif isinstance(child, ast.ClassDef):
                stack.append(child)


def _inside(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.JoinedStr | ast.Raise | ast.Assert):
        return
    yield node
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) and name != "decorator_list" else [value]:
            if isinstance(child, ast.AST) and name not in ("annotation", "returns"):
                yield from _inside(child)


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST, ast.AST | str]]:
    """Yield the operator, the node that is replaced and what replaces it."""
    match node:
        case ast.Compare(ops=ops):
            for i, op in enumerate(ops):
                for kind in COMPARISONS[type(op)]:
                    yield "comparison", node, _with(node, "ops", [*ops[:i], kind(), *ops[i + 1 :]])
        case ast.BinOp(op=op, left=left) if type(op) in ARITHMETIC:
            if not (isinstance(op, ast.Mod) and isinstance(left, ast.Constant | ast.JoinedStr)):
                yield "arithmetic", node, _with(node, "op", ARITHMETIC[type(op)]())
        case ast.AugAssign(op=op) if type(op) in ARITHMETIC:
            yield "arithmetic", node, _with(node, "op", ARITHMETIC[type(op)]())
        case ast.BoolOp(op=op, values=values):
            yield "boolean", node, _with(node, "op", ast.Or() if isinstance(op, ast.And) else ast.And())
            yield from (("boolean", node, _with(node, "values", [v for v in values if v is not one])) for one in values)
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert(), operand=operand):
            yield "unary", node, operand
        case ast.Constant(value=bool() as value):
            yield "constant", node, str(not value)
        case ast.Constant(value=int() as value):
            yield from (("constant", node, repr(value + step)) for step in (1, -1))
        case ast.Constant(value=float() as value):
            yield from (("constant", node, repr(new)) for new in (value * 2 or 1.0, value / 2 or -1.0))
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            yield "condition", test, ast.UnaryOp(ast.Not(), test)
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield "return", node, "return None"
        case ast.Expr(value=ast.Call() | ast.Await()):
            yield "removed call", node, "pass"
        case ast.Call(args=args, keywords=keywords):
            if len(args) == 2 and ast.unparse(node.func).rpartition(".")[2] not in SYMMETRIC:
                yield "swapped arguments", node, _with(node, "args", args[::-1])
            for one in keywords:
                if one.arg in ORDERING:
                    yield "removed key", node, _with(node, "keywords", [k for k in keywords if k is not one])


def _with(node: ast.AST, field: str, value: object) -> ast.AST:
    new = copy.copy(node)
    setattr(new, field, value)
    return new

"""TorchScript's code, read as syntax trees and followed step by step.

The language is a small part of Python: assignments, branches, loops, calls. Calls go to functions and methods that the
archive defines, and to operators in a table; nothing else can be named. Numbers and lists are computed on the way,
tensors may be `recording.Value`s, which end up in a graph.
"""

from __future__ import annotations

import ast
import copy
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from robaudit.inputs.programs.torchscript.archive import Script, dotted
from robaudit.inputs.programs.torchscript.objects import Instance, Record, UnreadError
from robaudit.inputs.programs.torchscript.operators import OPERATORS, is_a

#: Expressions and statements followed in one run, and calls inside calls.
STEPS = 3_000_000
DEPTH = 100
_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: OPERATORS["torch.add"], ast.Sub: OPERATORS["torch.sub"], ast.Eq: OPERATORS["torch.eq"],
    ast.NotEq: OPERATORS["torch.ne"], ast.Lt: OPERATORS["torch.lt"], ast.LtE: OPERATORS["torch.le"],
    ast.Gt: OPERATORS["torch.gt"], ast.GtE: OPERATORS["torch.ge"], ast.Is: operator.is_, ast.IsNot: operator.is_not,
}  # fmt: skip
_NAMES = {"inf": math.inf, "nan": math.nan}


@dataclass(frozen=True)
class _Function:
    """A function of the archive, or a method with its object."""

    definition: ast.FunctionDef
    owner: Instance | None = None


class _Finished(Exception):  # noqa: N818  no error
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


class Evaluator:
    """Follows a script's code."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.steps = STEPS
        self.depth = DEPTH
        self.copies: dict[tuple[int, str], Any] = {}

    def forward(self, x: Any) -> Any:
        """What the model answers to images.

        Raises:
            UnreadError: its code does what is not followed here.
            RobauditError: likewise, as the operators say it.

        """
        return self._call(self._member(self.script.root, "forward"), [x], {})

    def _call(self, function: Any, args: list[Any], named: dict[str, Any]) -> Any:
        if isinstance(function, tuple) and not named:
            return Record.of(function, args)
        if not isinstance(function, _Function):
            raise UnreadError("a call of what is not a function")
        if self.depth <= 0:
            raise UnreadError("calls inside calls without end")
        parameters = function.definition.args
        names = [parameter.arg for parameter in parameters.args]
        defaults = dict(zip(names[::-1], parameters.defaults[::-1], strict=False))
        given = [function.owner, *args] if function.owner is not None else args
        if len(given) > len(names) or set(named) - set(names[len(given) :]):
            raise UnreadError("a call with other arguments")
        scope = dict(zip(names, given, strict=False)) | named
        for name in names:
            if name not in scope:
                if name not in defaults:
                    raise UnreadError(f"a function that wants {name[:40]!r} too")
                scope[name] = self._value(defaults[name], {})
        self.depth -= 1
        try:
            self._block(function.definition.body, scope)
        except _Finished as finished:
            return finished.value
        finally:
            self.depth += 1
        return None

    def _block(self, statements: list[ast.stmt], scope: dict[str, Any]) -> None:
        for statement in statements:
            self._count()
            follow = _STATEMENTS.get(type(statement))
            if follow is None:
                raise UnreadError(f"a statement of the kind {type(statement).__name__}")
            follow(self, statement, scope)

    def _count(self) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise UnreadError("code that does not end")

    def _assign(self, statement: Any, scope: dict[str, Any]) -> None:
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        if len(targets) != 1 or statement.value is None:
            raise UnreadError("an assignment")
        self._bind(targets[0], self._value(statement.value, scope), scope)

    def _bind(self, target: ast.expr, value: Any, scope: dict[str, Any]) -> None:
        if isinstance(target, ast.Name):
            scope[target.id] = value
        elif isinstance(target, ast.Tuple):
            for part, item in zip(target.elts, list(value), strict=True):
                self._bind(part, item, scope)
        else:
            raise UnreadError("an assignment to an attribute")

    def _if(self, statement: Any, scope: dict[str, Any]) -> None:
        chosen = bool(self._value(statement.test, scope))
        self._block(statement.body if chosen else statement.orelse, scope)

    def _for(self, statement: Any, scope: dict[str, Any]) -> None:
        for item in self._value(statement.iter, scope):
            self._count()
            self._bind(statement.target, item, scope)
            self._block(statement.body, scope)

    def _while(self, statement: Any, scope: dict[str, Any]) -> None:
        while bool(self._value(statement.test, scope)):
            self._count()
            self._block(statement.body, scope)

    def _return(self, statement: Any, scope: dict[str, Any]) -> None:
        raise _Finished(None if statement.value is None else self._value(statement.value, scope))

    def _value(self, node: ast.expr, scope: dict[str, Any]) -> Any:
        self._count()
        evaluate = _EXPRESSIONS.get(type(node))
        if evaluate is None:
            raise UnreadError(f"an expression of the kind {type(node).__name__}")
        return evaluate(self, node, scope)

    def _name(self, node: Any, scope: dict[str, Any]) -> Any:
        if node.id in scope:
            return scope[node.id]
        if node.id in _NAMES:
            return _NAMES[node.id]
        raise UnreadError(f"the name {node.id[:40]!r}")

    def _attribute(self, node: Any, scope: dict[str, Any]) -> Any:
        path = dotted(node)
        if path and path[0] == "CONSTANTS" and len(path) == 2 and path[1][1:].isdecimal():
            return self.script.constants[int(path[1][1:])]
        if path and path[0] == "__torch__":
            name = ".".join(path)
            if name in self.script.functions:
                return _Function(self.script.functions[name])
            if name in self.script.records:
                return self.script.records[name]
            members = self.script.enums.get(".".join(path[:-1]), {})
            if path[-1] in members:
                return members[path[-1]]
        return self._member(self._value(node.value, scope), node.attr)

    def _member(self, owner: Any, name: str) -> Any:
        """An attribute of an object, a constant of its class, or a method; an item of a tuple by its name."""
        if isinstance(owner, Record) and name in owner.names:
            return owner[owner.names.index(name)]
        if not isinstance(owner, Instance):
            raise UnreadError(f"the attribute {name[:40]!r}")
        if name == "training":
            return False
        if name in owner.attributes:
            value = owner.attributes[name]
            if isinstance(value, (list, dict)):  # this run's own, so that nothing lasts
                return self.copies.setdefault((id(owner), name), copy.copy(value))
            return value
        kind = self.script.classes.get(owner.kind)
        if kind and name in kind.constants:
            return self._value(kind.constants[name], {})
        if kind is None or name not in kind.methods:
            raise UnreadError(f"the attribute {name[:40]!r}")
        return _Function(kind.methods[name], owner)

    def _called(self, node: Any, scope: dict[str, Any]) -> Any:
        path = dotted(node.func)
        name = ".".join(path or [])
        if name in ("annotate", "unchecked_cast"):  # a type, which says nothing here, and a value
            return self._value(node.args[1], scope)
        if name == "uninitialized":
            return None
        if name == "isinstance":
            return is_a(self._value(node.args[0], scope), node.args[1])
        args = [self._value(arg, scope) for arg in node.args]
        named = {item.arg: self._value(item.value, scope) for item in node.keywords if item.arg}
        if name == "getattr" and len(args) == 2 and isinstance(args[1], str):
            return self._member(args[0], args[1])
        if path and path[0] not in scope and path[0] != "__torch__":
            function = OPERATORS.get(name)
            if function is None or "out" in named:
                raise UnreadError(f"the function {name[:60]!r}")
            return function(*args, **named)
        return self._call(self._value(node.func, scope), args, named)

    def _subscript(self, node: Any, scope: dict[str, Any]) -> Any:
        owner, place = self._value(node.value, scope), self._value(node.slice, scope)
        if not isinstance(owner, (list, tuple, dict, str)):
            raise UnreadError("a place in what is not a list")
        return owner[place]

    def _compared(self, node: Any, scope: dict[str, Any]) -> Any:
        if len(node.ops) != 1:
            raise UnreadError("a chain of comparisons")
        return self._binary(node.ops[0], node.left, node.comparators[0], scope)

    def _combined(self, node: Any, scope: dict[str, Any]) -> Any:
        return self._binary(node.op, node.left, node.right, scope)

    def _binary(self, operation: ast.AST, left: ast.expr, right: ast.expr, scope: dict[str, Any]) -> Any:
        if type(operation) not in _BINARY:
            raise UnreadError("arithmetic of another kind")
        return _BINARY[type(operation)](self._value(left, scope), self._value(right, scope))

    def _unary(self, node: Any, scope: dict[str, Any]) -> Any:
        value = self._value(node.operand, scope)
        return not value if isinstance(node.op, ast.Not) else -value

    def _logical(self, node: Any, scope: dict[str, Any]) -> Any:
        value: Any = None
        for part in node.values:
            value = self._value(part, scope)
            if bool(value) == isinstance(node.op, ast.Or):
                break
        return value

    def _listed(self, node: Any, scope: dict[str, Any]) -> Any:
        values = [self._value(part, scope) for part in node.elts]
        return tuple(values) if isinstance(node, ast.Tuple) else values

    def _dict(self, node: Any, scope: dict[str, Any]) -> Any:
        keys = [self._value(key, scope) for key in node.keys]
        return dict(zip(keys, [self._value(value, scope) for value in node.values], strict=True))


_STATEMENTS: dict[type, Callable[[Evaluator, Any, dict[str, Any]], None]] = {
    ast.Assign: Evaluator._assign, ast.AnnAssign: Evaluator._assign, ast.If: Evaluator._if, ast.For: Evaluator._for,
    ast.While: Evaluator._while, ast.Return: Evaluator._return,
    ast.Expr: lambda self, item, scope: self._value(item.value, scope),
    ast.Pass: lambda *_: None,
}  # fmt: skip
_EXPRESSIONS: dict[type, Callable[[Evaluator, Any, dict[str, Any]], Any]] = {
    ast.Constant: lambda _, node, __: node.value, ast.Name: Evaluator._name, ast.Attribute: Evaluator._attribute,
    ast.Call: Evaluator._called, ast.Subscript: Evaluator._subscript, ast.Compare: Evaluator._compared,
    ast.BinOp: Evaluator._combined, ast.UnaryOp: Evaluator._unary, ast.BoolOp: Evaluator._logical,
    ast.IfExp: lambda e, node, scope: e._value(node.body if e._value(node.test, scope) else node.orelse, scope),
    ast.List: Evaluator._listed, ast.Tuple: Evaluator._listed, ast.Dict: Evaluator._dict,
}  # fmt: skip

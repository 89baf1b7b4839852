"""Parse events -> statements of the syntax tree."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, cast

from lark import Token

from . import syntax
from .expression_builder import Expressions, Items
from .source import Span
from .symbols import RESERVED


class Header:
    """The first line of a block, until its block is known."""

    def __init__(self, kind: str, items: tuple[Any, ...], span: Span) -> None:
        self.kind, self.items, self.span = kind, items, span


class Statements(Expressions):
    """Called by the parser, rule by rule, innermost first; `close` joins headers and blocks."""

    line: Span

    def start(self, items: Items) -> object:
        """A whole line."""
        return items[0]

    def use(self, items: Items) -> syntax.Use:
        """`use lstm, gru from gated`."""
        names = [
            syntax.Name(str(token), self._span(token))
            for token in items
            if isinstance(token, Token) and token.type in {"NAME", "UNSCORED"}
        ]
        return syntax.Use(tuple(names[:-1]), names[-1], self.line)

    def declaration(self, items: Items) -> syntax.Declaration | None:
        """`input x: T`, `state h: T = initial`, `output y: T at end unscored`."""
        role = str(items[0])
        names = tuple(item for item in items[1:] if isinstance(item, syntax.Name))
        kinds = [item.type if isinstance(item, Token) else "" for item in items]
        type_ = next(item for item in items if isinstance(item, syntax.Type))
        initial = items[-1] if "EQUAL" in kinds else None
        if initial is not None:
            names = tuple(n for n in names if n is not initial)
        for name in names:
            self._check_reserved(name)
        if "AT" in kinds and role != "output":
            self.report.error(
                "RNN109",
                f"only an output can be `at end`, not {_article(role)}",
                self.line,
                hint="`at end` asks for one output a sequence: `output y: real at end`",
            )
        if "UNSCORED" in kinds and role != "output":
            self.report.error(
                "RNN109",
                f"only an output can be `unscored`, not {_article(role)}",
                self.line,
                hint="`unscored` says that an output has no loss of its own: "
                "`output y: real[3] unscored`",
            )
        if initial is not None and role != "state":
            self.report.error(
                "RNN109",
                f"only a state has an initial value, not {_article(role)}",
                self._span(initial),
                hint=f"declare `{role} {names[0].span.text}: {type_.span.text}` and write "
                "equations on lines of their own",
            )
            initial = None
        return syntax.Declaration(
            cast(Any, role), names, type_, "AT" in kinds, "UNSCORED" in kinds, initial, self.line
        )

    def annotation(self, items: Items) -> object:
        """One thing said of a parameter."""
        return _Annotation(items[0])

    def parameter(self, items: Items) -> syntax.Parameter:
        """`param W: orthogonal`."""
        names = tuple(item for item in items if isinstance(item, syntax.Name))
        for name in names:
            self._check_reserved(name)
        annotations = tuple(item.value for item in items if isinstance(item, _Annotation))
        return syntax.Parameter(names, annotations, self.line)

    def law(self, items: Items) -> syntax.Law:
        """`law a ≈ b weight w`."""
        weight = items[5] if len(items) > 5 else None
        return syntax.Law(items[1], items[3], weight, self.line)

    def loss(self, items: Items) -> syntax.Loss:
        """`loss a weight w`."""
        return syntax.Loss(items[1], items[3] if len(items) > 3 else None, self.line)

    def equation(self, items: Items) -> syntax.Statement | None:
        """`target [: type] = value`, or the result of a body."""
        if len(items) == 1:
            return syntax.Result(items[0], self.line)
        type_ = items[2] if isinstance(items[1], Token) and items[1].type == "COLON" else None
        if not (isinstance(items[-2], Token) and items[-2].type == "EQUAL"):
            self._untold(items[0])
            return syntax.Broken(_all_names(items[0]), self.line)
        return syntax.Equation(items[0], type_, items[-1], self.line)

    def _untold(self, target: Any) -> None:
        """Report `name: type` without a value, which may be a declaration's misspelt keyword."""
        words = self.line.text.split(None, 1)
        if isinstance(target, syntax.Run) and isinstance(target.items[0], syntax.Name):
            near = get_close_matches(words[0].lower(), ("input", "state", "output", "param"), n=1)
            self.report.error(
                "RNN109",
                f"`{words[0]}` does not begin a declaration",
                target.items[0].span,
                hint=f"did you mean `{near[0]} {words[1]}`?"
                if near
                else "a declaration begins with `input`, `state` or `output`",
            )
            return
        self.report.error(
            "RNN109",
            f"`{target.span.text}` has a type but no value",
            self.line,
            hint=f"declare it as `state {self.line.text}`, or add `= …`",
        )

    def signature(self, items: Items) -> object:
        """What stands between `operator` and `=` or `:`."""
        return items[0]

    def operator_line(self, items: Items) -> syntax.Statement:
        """`operator x ⊕ h = …`, `operator ⊕₁, ⊕₂ = lstm`."""
        signatures = [item for item in items[1:-2] if not isinstance(item, Token)]
        value = items[-1]
        if all(isinstance(item, syntax.Symbol | syntax.Name) for item in signatures):
            return self._instance(signatures, value)
        if len(signatures) > 1:
            self.report.error(
                "RNN110",
                "several operators with operands are defined at once",
                signatures[1].span,
                hint="define one, and instantiate it: `operator ⊕₁, ⊕₂ = name`",
            )
        result = syntax.Result(value, value.span)
        return self._definition(signatures[0], (result,))

    def operator_block(self, items: Items) -> Header:
        """`operator x ⊕ h:`."""
        signatures = [item for item in items[1:-1] if not isinstance(item, Token)]
        return Header("operator", tuple(signatures), self.line)

    def model(self, items: Items) -> Header:
        """`model srnn(layers = 2):`."""
        return Header("model", (items[1],), self.line)

    def for_(self, items: Items) -> Header:
        """`for l in 1..layers:`."""
        variable = syntax.Name(str(items[1]), self._span(items[1]))
        self._check_reserved(variable)
        return Header("for", (variable, items[3], items[5]), self.line)

    def if_(self, items: Items) -> Header:
        """`if shortcut:`."""
        return Header("if", (items[1],), self.line)

    def else_(self, items: Items) -> Header:
        """`else:`."""
        return Header("else", (), self.line)

    def close(
        self, header: object, body: tuple[syntax.Statement, ...], before: list[syntax.Statement]
    ) -> syntax.Statement | None:
        """A header with the block below it; `before` holds what the block around it has so far."""
        if not isinstance(header, Header):
            if body and not isinstance(body[0], syntax.Broken):
                self.report.error(
                    "RNN104",
                    "this line is indented, but the line above it opens no block",
                    body[0].span,
                    hint="a block follows a line that ends in a colon: `model`, `operator`, "
                    "`for`, `if` or `else`",
                )
            return cast(syntax.Statement, header)
        if not body:
            self.report.error(
                "RNN104",
                f"the block of this `{header.kind}` is empty",
                header.span,
                "nothing is indented below it",
                hint="indent what belongs to it by four spaces",
            )
            body = (syntax.Broken(frozenset(), header.span),)
        match header.kind:
            case "for":
                variable, first, last = header.items
                return syntax.For(variable, first, last, body, header.span)
            case "if":
                return syntax.If(header.items[0], body, (), header.span)
            case "else":
                return self._else(header, body, before)
            case "operator":
                return self._definition(header.items[0], body)
            case _:
                return self._model(header, body)

    def _else(
        self, header: Header, body: tuple[syntax.Statement, ...], before: list[syntax.Statement]
    ) -> syntax.Statement | None:
        if before and isinstance(before[-1], syntax.If) and not before[-1].orelse:
            known = before[-1]
            before[-1] = syntax.If(known.condition, known.body, body, known.span)
            return None
        if before and isinstance(before[-1], syntax.Broken):
            return syntax.Broken(frozenset(), header.span)  # its `if` could not be read
        self.report.error(
            "RNN113",
            "this `else` has no `if` right above it",
            header.span,
            hint="`if` and its `else` are indented alike, with nothing between their blocks",
        )
        return syntax.Broken(frozenset(), header.span)

    def _model(self, header: Header, body: tuple[syntax.Statement, ...]) -> syntax.Statement:
        name, arguments = _call(header.items[0])
        if name is None or name.indices:
            self.report.error(
                "RNN109",
                "a model's header is a name and its parameters",
                header.items[0].span,
                hint="write `model srnn(layers = 2, hidden = 400):`",
            )
            return syntax.Broken(frozenset(), header.span)
        self._check_reserved(name)
        parameters = [p for p in map(self._static, arguments or ()) if p is not None]
        return syntax.Model(name.name, tuple(parameters), body, header.span)

    def _static(self, argument: syntax.Argument) -> syntax.StaticParameter | None:
        if argument.keyword is not None:
            self._check_reserved(argument.keyword)
            return syntax.StaticParameter(argument.keyword, argument.value, argument.span)
        if isinstance(argument.value, syntax.Name) and argument.type is None:
            self._check_reserved(argument.value)
            return syntax.StaticParameter(argument.value, None, argument.span)
        self.report.error(
            "RNN109",
            "a parameter is a name, with or without a default",
            argument.span,
            hint="write `layers = 2` or `hidden`",
        )
        return None

    def _instance(self, names: list[Any], value: Any) -> syntax.Statement:
        definition, arguments = _call(value)
        if definition is None:
            example = f"operator x {names[0].span.text} h = …"
            if isinstance(names[0], syntax.Name):
                example = f"operator {names[0].span.text}(x, h) = …"
            self.report.error(
                "RNN110",
                f"`{names[0].span.text}` has no operands",
                names[0].span,
                hint=f"write `{example}`, or the name of a definition right of the `=`",
            )
            return syntax.Broken(frozenset(n.name for n in names), self.line)
        for name in names:
            self._check_reserved(name)
        return syntax.Instance(tuple(names), definition, arguments or (), self.line)

    def _definition(self, signature: Any, body: tuple[syntax.Statement, ...]) -> syntax.Statement:
        parameters: list[syntax.StaticParameter] = []
        name: syntax.Symbol | syntax.Name
        match signature:
            case syntax.Infix(symbols, operands) if len(symbols) == 1:
                name, parts = symbols[0], operands
                found = [self._operand(part) for part in parts]
            case syntax.Prefix((syntax.Symbol() as symbol,), operand):
                name = symbol
                found = [self._operand(operand)]
            case syntax.Run((syntax.Name() as name, syntax.Parentheses(arguments))):
                found = []
                for argument in arguments:
                    if argument.keyword is not None:
                        parameters += [p for p in [self._static(argument)] if p]
                    else:
                        found.append(self._operand_of(argument))
            case _:
                self.report.error(
                    "RNN110",
                    "this is not the left side of a definition",
                    signature.span,
                    hint="write `operator x ⊕ h`, `operator ▷ h`, `operator x ⊕ (h, c)` or "
                    "`operator name(x, h)`",
                )
                return syntax.Broken(_names(signature), self.line)
        self._check_reserved(name)
        operands_ = tuple(operand for operand in found if operand is not None)
        if len(operands_) < len(found):
            return syntax.Broken(frozenset({name.name}), self.line)
        return syntax.Operator(name, operands_, tuple(parameters), body, signature.span)

    def _operand(self, item: Any) -> syntax.Operand | None:
        return self._operand_of(syntax.Argument(item, item.span))

    def _operand_of(self, argument: syntax.Argument) -> syntax.Operand | None:
        value = argument.value
        if isinstance(value, syntax.Name) and not value.indices:
            self._check_reserved(value)
            return syntax.Operand(argument.span, value, argument.type)
        if isinstance(value, syntax.Parentheses) and value.arguments and argument.type is None:
            parts = [self._operand_of(part) for part in value.arguments]
            found = tuple(part for part in parts if part is not None)
            if len(found) < len(parts):
                return None
            return found[0] if len(found) == 1 else syntax.Operand(value.span, parts=found)
        self.report.error(
            "RNN110",
            "an operand is a name, or names in parentheses",
            argument.span,
            hint="write `operator x ⊕ (h, c)`; what is done with them stands right of the `=`",
        )
        return None

    def _check_reserved(self, name: syntax.Name | syntax.Symbol) -> None:
        if name.name in RESERVED:
            self.mistakes.reserved(name.span, name.name)


class _Annotation:
    def __init__(self, value: Any) -> None:
        self.value = value
        self.span: Span = value.span


def _call(value: Any) -> tuple[syntax.Name | None, tuple[syntax.Argument, ...] | None]:
    """The name and the arguments of `name` or `name(…)`."""
    if isinstance(value, syntax.Name):
        return value, None
    if (
        isinstance(value, syntax.Run)
        and len(value.items) == 2
        and isinstance(value.items[0], syntax.Name)
        and isinstance(value.items[1], syntax.Parentheses)
    ):
        return value.items[0], value.items[1].arguments
    return None, None


def _article(role: str) -> str:
    return "a state" if role == "state" else f"an {role}"


def _all_names(value: Any) -> frozenset[str]:
    if isinstance(value, syntax.Run):
        return frozenset().union(*map(_names, value.items))
    return _names(value)


def _names(value: Any) -> frozenset[str]:
    return frozenset({value.name}) if isinstance(value, syntax.Name) else frozenset()

"""Build statements of the syntax tree from lark's parse events (a bottom-up transformer).

Methods named as the rules of rnn.lark are called by the parser, innermost first.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, cast

from lark import Token

from . import syntax
from .expression_builder import ExpressionBuilder, Items
from .source import Span
from .symbols import RESERVED_WORDS


class BlockHeader:
    """First line of a block, before the block below it is parsed."""

    def __init__(self, kind: str, items: tuple[Any, ...], span: Span) -> None:
        self.kind, self.items, self.span = kind, items, span


class StatementBuilder(ExpressionBuilder):
    """Lark transformer from the rules of a line to statements; `close_block` adds blocks."""

    line: Span

    def start(self, items: Items) -> object:
        """Unwrap a whole line."""
        return items[0]

    def use(self, items: Items) -> syntax.Use:
        """Build `use lstm, gru from gated`."""
        names = [
            syntax.Name(str(token), self._span_of(token))
            for token in items
            if isinstance(token, Token) and token.type in {"NAME", "UNSCORED"}
        ]
        return syntax.Use(tuple(names[:-1]), names[-1], self.line)

    def declaration(self, items: Items) -> syntax.Declaration | None:
        """Build `input x: T`, `state h: T = initial`, `output y: T at end unscored`."""
        role = str(items[0])
        names = tuple(item for item in items[1:] if isinstance(item, syntax.Name))
        token_types = [item.type if isinstance(item, Token) else "" for item in items]
        type_ = next(item for item in items if isinstance(item, syntax.Type))
        initial = items[-1] if "EQUAL" in token_types else None
        if initial is not None:
            names = tuple(n for n in names if n is not initial)
        for name in names:
            self._check_reserved(name)
        if "AT" in token_types and role != "output":
            self.report.error(
                "RNN109",
                f"only an output can be `at end`, not {_with_article(role)}",
                self.line,
                hint="`at end` asks for one output a sequence: `output y: real at end`",
            )
        if "UNSCORED" in token_types and role != "output":
            self.report.error(
                "RNN109",
                f"only an output can be `unscored`, not {_with_article(role)}",
                self.line,
                hint="`unscored` says that an output has no loss of its own: "
                "`output y: real[3] unscored`",
            )
        if initial is not None and role != "state":
            self.report.error(
                "RNN109",
                f"only a state has an initial value, not {_with_article(role)}",
                self._span_of(initial),
                hint=f"declare `{role} {names[0].span.text}: {type_.span.text}` and write "
                "equations on lines of their own",
            )
            initial = None
        return syntax.Declaration(
            cast(Any, role),
            names,
            type_,
            "AT" in token_types,
            "UNSCORED" in token_types,
            initial,
            self.line,
        )

    def annotation(self, items: Items) -> object:
        """Mark one annotation of a `param` line."""
        return _Annotation(items[0])

    def parameter(self, items: Items) -> syntax.Parameter:
        """Build `param W: orthogonal`."""
        names = tuple(item for item in items if isinstance(item, syntax.Name))
        for name in names:
            self._check_reserved(name)
        annotations = tuple(item.value for item in items if isinstance(item, _Annotation))
        return syntax.Parameter(names, annotations, self.line)

    def law(self, items: Items) -> syntax.Law:
        """Build `law a ≈ b weight w`."""
        weight = items[5] if len(items) > 5 else None
        return syntax.Law(items[1], items[3], weight, self.line)

    def loss(self, items: Items) -> syntax.Loss:
        """Build `loss a weight w`."""
        return syntax.Loss(items[1], items[3] if len(items) > 3 else None, self.line)

    def equation(self, items: Items) -> syntax.Statement | None:
        """Build `target [: type] = value`, or the result of an operator's body."""
        if len(items) == 1:
            return syntax.Result(items[0], self.line)
        type_ = items[2] if isinstance(items[1], Token) and items[1].type == "COLON" else None
        if not (isinstance(items[-2], Token) and items[-2].type == "EQUAL"):
            self._report_missing_value(items[0])
            return syntax.ErrorStatement(_juxtaposed_names(items[0]), self.line)
        return syntax.Equation(items[0], type_, items[-1], self.line)

    def _report_missing_value(self, target: Any) -> None:
        """Report `name: type` without a value, perhaps a declaration with a mistyped keyword."""
        words = self.line.text.split(None, 1)
        if isinstance(target, syntax.Run) and isinstance(target.items[0], syntax.Name):
            keywords = get_close_matches(
                words[0].lower(), ("input", "state", "output", "param"), n=1
            )
            self.report.error(
                "RNN109",
                f"`{words[0]}` does not begin a declaration",
                target.items[0].span,
                hint=f"did you mean `{keywords[0]} {words[1]}`?"
                if keywords
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
        """Unwrap the part between `operator` and `=` or `:`."""
        return items[0]

    def operator_line(self, items: Items) -> syntax.Statement:
        """Build `operator x ⊕ h = …` or `operator ⊕₁, ⊕₂ = lstm`."""
        signatures = [item for item in items[1:-2] if not isinstance(item, Token)]
        value = items[-1]
        if all(isinstance(item, syntax.Symbol | syntax.Name) for item in signatures):
            return self._build_instance(signatures, value)
        if len(signatures) > 1:
            self.report.error(
                "RNN110",
                "several operators with operands are defined at once",
                signatures[1].span,
                hint="define one, and instantiate it: `operator ⊕₁, ⊕₂ = name`",
            )
        result = syntax.Result(value, value.span)
        return self._build_definition(signatures[0], (result,))

    def operator_block(self, items: Items) -> BlockHeader:
        """Build the header `operator x ⊕ h:`."""
        signatures = [item for item in items[1:-1] if not isinstance(item, Token)]
        return BlockHeader("operator", tuple(signatures), self.line)

    def model(self, items: Items) -> BlockHeader:
        """Build the header `model srnn(layers = 2):`."""
        return BlockHeader("model", (items[1],), self.line)

    def for_(self, items: Items) -> BlockHeader:
        """Build the header `for l in 1..layers:`."""
        variable = syntax.Name(str(items[1]), self._span_of(items[1]))
        self._check_reserved(variable)
        return BlockHeader("for", (variable, items[3], items[5]), self.line)

    def if_(self, items: Items) -> BlockHeader:
        """Build the header `if shortcut:`."""
        return BlockHeader("if", (items[1],), self.line)

    def else_(self, items: Items) -> BlockHeader:
        """Build the header `else:`."""
        return BlockHeader("else", (), self.line)

    def close_block(
        self, header: object, body: tuple[syntax.Statement, ...], siblings: list[syntax.Statement]
    ) -> syntax.Statement | None:
        """Join a header with its block; `siblings` are the statements before it."""
        if not isinstance(header, BlockHeader):
            if body and not isinstance(body[0], syntax.ErrorStatement):
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
            body = (syntax.ErrorStatement(frozenset(), header.span),)
        match header.kind:
            case "for":
                variable, first, last = header.items
                return syntax.For(variable, first, last, body, header.span)
            case "if":
                return syntax.If(header.items[0], body, (), header.span)
            case "else":
                return self._attach_else(header, body, siblings)
            case "operator":
                return self._build_definition(header.items[0], body)
            case _:
                return self._build_model(header, body)

    def _attach_else(
        self,
        header: BlockHeader,
        body: tuple[syntax.Statement, ...],
        siblings: list[syntax.Statement],
    ) -> syntax.Statement | None:
        if siblings and isinstance(siblings[-1], syntax.If) and not siblings[-1].orelse:
            condition_block = siblings[-1]
            siblings[-1] = syntax.If(
                condition_block.condition, condition_block.body, body, condition_block.span
            )
            return None
        if siblings and isinstance(siblings[-1], syntax.ErrorStatement):
            return syntax.ErrorStatement(frozenset(), header.span)  # its `if` could not be read
        self.report.error(
            "RNN113",
            "this `else` has no `if` right above it",
            header.span,
            hint="`if` and its `else` are indented alike, with nothing between their blocks",
        )
        return syntax.ErrorStatement(frozenset(), header.span)

    def _build_model(
        self, header: BlockHeader, body: tuple[syntax.Statement, ...]
    ) -> syntax.Statement:
        name, arguments = _split_call(header.items[0])
        if name is None or name.indices:
            self.report.error(
                "RNN109",
                "a model's header is a name and its parameters",
                header.items[0].span,
                hint="write `model srnn(layers = 2, hidden = 400):`",
            )
            return syntax.ErrorStatement(frozenset(), header.span)
        self._check_reserved(name)
        parameters = [
            p for p in map(self._build_static_parameter, arguments or ()) if p is not None
        ]
        return syntax.Model(name.name, tuple(parameters), body, header.span)

    def _build_static_parameter(self, argument: syntax.Argument) -> syntax.StaticParameter | None:
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

    def _build_instance(self, names: list[Any], value: Any) -> syntax.Statement:
        definition, arguments = _split_call(value)
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
            return syntax.ErrorStatement(frozenset(n.name for n in names), self.line)
        for name in names:
            self._check_reserved(name)
        return syntax.Instance(tuple(names), definition, arguments or (), self.line)

    def _build_definition(
        self, signature: Any, body: tuple[syntax.Statement, ...]
    ) -> syntax.Statement:
        parameters: list[syntax.StaticParameter] = []
        name: syntax.Symbol | syntax.Name
        match signature:
            case syntax.Infix(symbols, sides) if len(symbols) == 1:
                name = symbols[0]
                operands = [self._build_operand(side) for side in sides]
            case syntax.Prefix((syntax.Symbol() as symbol,), operand):
                name = symbol
                operands = [self._build_operand(operand)]
            case syntax.Run((syntax.Name() as name, syntax.Parentheses(arguments))):
                operands = []
                for argument in arguments:
                    if argument.keyword is not None:
                        parameters += [p for p in [self._build_static_parameter(argument)] if p]
                    else:
                        operands.append(self._operand_from_argument(argument))
            case _:
                self.report.error(
                    "RNN110",
                    "this is not the left side of a definition",
                    signature.span,
                    hint="write `operator x ⊕ h`, `operator ▷ h`, `operator x ⊕ (h, c)` or "
                    "`operator name(x, h)`",
                )
                return syntax.ErrorStatement(_bare_names(signature), self.line)
        self._check_reserved(name)
        readable = tuple(operand for operand in operands if operand is not None)
        if len(readable) < len(operands):
            return syntax.ErrorStatement(frozenset({name.name}), self.line)
        return syntax.Operator(name, readable, tuple(parameters), body, signature.span)

    def _build_operand(self, item: Any) -> syntax.Operand | None:
        return self._operand_from_argument(syntax.Argument(item, item.span))

    def _operand_from_argument(self, argument: syntax.Argument) -> syntax.Operand | None:
        value = argument.value
        if isinstance(value, syntax.Name) and not value.indices:
            self._check_reserved(value)
            return syntax.Operand(argument.span, value, argument.type)
        if isinstance(value, syntax.Parentheses) and value.arguments and argument.type is None:
            parts = [self._operand_from_argument(part) for part in value.arguments]
            readable = tuple(part for part in parts if part is not None)
            if len(readable) < len(parts):
                return None
            return readable[0] if len(readable) == 1 else syntax.Operand(value.span, parts=readable)
        self.report.error(
            "RNN110",
            "an operand is a name, or names in parentheses",
            argument.span,
            hint="write `operator x ⊕ (h, c)`; what is done with them stands right of the `=`",
        )
        return None

    def _check_reserved(self, name: syntax.Name | syntax.Symbol) -> None:
        if name.name in RESERVED_WORDS:
            self.syntax_errors.report_reserved_word(name.span, name.name)


class _Annotation:
    def __init__(self, value: Any) -> None:
        self.value = value
        self.span: Span = value.span


def _split_call(value: Any) -> tuple[syntax.Name | None, tuple[syntax.Argument, ...] | None]:
    """Return name and arguments of `name` or `name(…)`; (None, None) for anything else."""
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


def _with_article(role: str) -> str:
    return "a state" if role == "state" else f"an {role}"


def _juxtaposed_names(value: Any) -> frozenset[str]:
    if isinstance(value, syntax.Run):
        return frozenset().union(*map(_bare_names, value.items))
    return _bare_names(value)


def _bare_names(value: Any) -> frozenset[str]:
    return frozenset({value.name}) if isinstance(value, syntax.Name) else frozenset()

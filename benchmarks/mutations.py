"""Small bugs for a module's source: cosmic-ray's operators, those that matter here, and some of our own.

cosmic-ray changes operators, numbers and conditions. What goes wrong in numeric code is as often a term, a keyword or a
``.clamp()`` that is left out, or two arguments that changed places: those are here.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any

import cosmic_ray.plugins
import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Example, Operator

Node = Any
Positions = Iterator[tuple[tuple[int, int], tuple[int, int]]]

_BINARY = "Add_Sub Sub_Add Mul_Div Div_Mul FloorDiv_Mul Mod_FloorDiv Pow_Mul RShift_LShift LShift_RShift BitOr_BitAnd"
_COMPARISONS = "Eq_NotEq NotEq_Eq Lt_LtE LtE_Lt Gt_GtE GtE_Gt Lt_GtE Gt_LtE Is_IsNot IsNot_Is"
_OTHERS = (
    "ReplaceUnaryOperator_Delete_USub ReplaceUnaryOperator_Delete_Invert ReplaceUnaryOperator_Delete_Not AddNot "
    "ReplaceTrueWithFalse ReplaceFalseWithTrue ReplaceAndWithOr ReplaceOrWithAnd ReplaceBreakWithContinue "
    "ReplaceContinueWithBreak NumberReplacer ZeroIterationForLoop"
)
CHOSEN = [
    *(f"ReplaceBinaryOperator_{name}" for name in (*_BINARY.split(), "BitAnd_BitOr", "BitXor_BitAnd")),
    *(f"ReplaceComparisonOperator_{name}" for name in _COMPARISONS.split()),
    *_OTHERS.split(),
]
"""Of cosmic-ray's hundreds, one or two replacements for each operator: the others are caught by the same tests."""

_MODULES = {"torch", "math", "np", "numpy", "F", "nn", "json", "struct", "hashlib", "zlib", "re", "itertools", "self"}
_CONVERSIONS = {"tolist", "numel", "encode", "digest", "hexdigest", "numpy", "tobytes", "items", "keys", "values"}
_WORDS = {"description", "title", "help"}
"""Keywords whose values people read, and nothing computes with."""
_CHECKS = {"strict"}
"""Keywords of assertions: ``zip(..., strict=True)``."""
_SKIPPED = {"raise_stmt", "assert_stmt", "decorator", "import_name", "import_from", "tfpdef"}
_PAIRS = ("min max", "amin amax", "minimum maximum", "clamp_min clamp_max", "any all", "floor ceil", "argmin argmax")
_ORDERLESS = {"min", "max", "minimum", "maximum", "isinstance", "equal", "array_equal"}
_OPPOSITE = {a: b for pair in _PAIRS for a, b in itertools.permutations(pair.split())}


def _span(node: Node) -> tuple[tuple[int, int], tuple[int, int]]:
    return node.start_pos, node.end_pos


def _text(code: str, like: Node) -> Node:
    """Code in a node's place, behind the same blanks."""
    first = like.get_first_leaf()
    return parso.python.tree.Name(first.prefix + code, like.start_pos)


class LeaveOutTerm(Operator):
    """A term of a sum or product that is missing."""

    KINDS = ("arith_expr", "term", "shift_expr", "and_expr", "expr", "xor_expr", "power", "and_test", "or_test")

    def mutation_positions(self, node: Node) -> Positions:
        """Each operand."""
        if node.type in self.KINDS and all(_is_operator(child) for child in node.children[1::2]):
            yield from [_span(operand) for operand in node.children[::2]]

    def mutate(self, node: Node, index: int) -> Node:
        """Without it and the operator before it, or behind it if it is the first."""
        drop = {0, 1} if index == 0 else {2 * index - 1, 2 * index}
        kept = [child.get_code() for place, child in enumerate(node.children) if place not in drop]
        return _text("(" + "".join(kept).strip() + ")", node)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """What it does."""
        return (Example("x = a + b", "x = (b)"), Example("x = a + b", "x = (a)", occurrence=1))


class LeaveOutMethod(Operator):
    """A method that is not called: ``x.clamp(0, 1)`` becomes ``x``. Conversions to another type are left alone."""

    def mutation_positions(self, node: Node) -> Positions:
        """Each call of a method whose object is no module."""
        yield from [_span(node.children[place]) for place in self._places(node)]

    def mutate(self, node: Node, index: int) -> Node:
        """Without name and call."""
        place = self._places(node)[index]
        del node.children[place : place + 2]
        return node

    @staticmethod
    def _places(node: Node) -> list[int]:
        if node.type not in ("atom_expr", "power"):
            return []
        first = getattr(node.children[0], "value", "")
        start = 2 if first in _MODULES or first[:1].isupper() else 1
        end = len(node.children) - (2 if node.parent.type == "simple_stmt" else 1)  # a whole statement is another's
        return [
            place
            for place in range(start, end)
            if _opens(node.children[place], ".")
            and _opens(node.children[place + 1], "(")
            and node.children[place].children[1].value not in _CONVERSIONS
        ]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """What it does."""
        return (Example("y = x.abs().sum(1)", "y = x.sum(1)"), Example("y = x.abs().sum()", "y = x.abs()", 1))


class SwapExtremes(Operator):
    """The opposite of a function: ``max`` for ``min``, ``all`` for ``any``."""

    def mutation_positions(self, node: Node) -> Positions:
        """Each such name."""
        if node.type == "name" and node.value in _OPPOSITE:
            yield _span(node)

    def mutate(self, node: Node, index: int) -> Node:
        """Its opposite."""
        del index
        node.value = _OPPOSITE[node.value]
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """What it does."""
        return (Example("y = max(a, b)", "y = min(a, b)"),)


class LeaveOutStatement(Operator):
    """A call whose result nobody takes, or ``x += 1``, that is missing."""

    def mutation_positions(self, node: Node) -> Positions:
        """Each such statement."""
        if node.type == "simple_stmt":
            one = node.children[0]
            call = one.type in ("atom_expr", "power") and _opens(one.children[-1], "(")
            changes = one.type == "expr_stmt" and one.children[1].type == "operator" and one.children[1].value != "="
            if call or changes:
                yield _span(one)

    def mutate(self, node: Node, index: int) -> Node:
        """``pass``."""
        del index
        node.children[0] = _text("pass", node.children[0])
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """What it does."""
        return (Example("x += 1\n", "pass\n"), Example("x.sort()\n", "pass\n"))


class LeaveOutKeyword(Operator):
    """A keyword of a call that is missing, so that its default counts."""

    def mutation_positions(self, node: Node) -> Positions:
        """Each keyword."""
        yield from [_span(node.children[place]) for place in self._places(node)]

    def mutate(self, node: Node, index: int) -> Node:
        """Without it, and without the comma before or behind it."""
        place = self._places(node)[index]
        if node.type == "trailer":
            del node.children[place]
        else:
            del node.children[max(place - 1, 0) : max(place + 1, 2)]
        return node

    @staticmethod
    def _places(node: Node) -> list[int]:
        if node.type != "arglist" and not _opens(node, "("):
            return []
        return [
            place
            for place, child in enumerate(node.children)
            if child.type == "argument"
            and len(child.children) == 3
            and _is(child.children[1], "=")
            and child.children[0].value not in _WORDS | _CHECKS
        ]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """What it does."""
        return (Example("f(a, k=1)", "f(a)"), Example("f(k=1)", "f()"))


class SwapArguments(Operator):
    """The first two arguments of a call that have changed places."""

    def mutation_positions(self, node: Node) -> Positions:
        """Each call with two arguments by position and no third."""
        if node.type == "arglist" and self._is_pair(node):
            yield _span(node)

    def mutate(self, node: Node, index: int) -> Node:
        """The other way round."""
        del index
        one, two = node.children[0], node.children[2]
        node.children[0], node.children[2] = _text(two.get_code().strip(), one), _text(one.get_code().strip(), two)
        return node

    @staticmethod
    def _is_pair(node: Node) -> bool:
        """Whether there are two positional arguments, of a function for which their order counts."""
        given = [child for child in node.children[::2] if child.type != "argument"]
        called = node.get_previous_leaf().get_previous_leaf()
        return len(given) == 2 and node.children[2] in given and getattr(called, "value", "") not in _ORDERLESS

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """What it does."""
        return (Example("f(a, b)", "f(b, a)"),)


class NegateFilter(Operator):
    """The opposite condition in a comprehension."""

    def mutation_positions(self, node: Node) -> Positions:
        """Each condition."""
        if node.type == "comp_if":
            yield _span(node.children[1])

    def mutate(self, node: Node, index: int) -> Node:
        """``not`` before it."""
        del index
        node.children[1] = _text(f"not ({node.children[1].get_code().strip()})", node.children[1])
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """What it does."""
        return (Example("[x for x in y if x]", "[x for x in y if not (x)]"),)


OWN: tuple[type[Operator], ...] = (
    LeaveOutTerm,
    LeaveOutMethod,
    SwapExtremes,
    LeaveOutStatement,
    LeaveOutKeyword,
    SwapArguments,
    NegateFilter,
)


@dataclass(frozen=True)
class Mutant:
    """A module with one small bug.

    Attributes:
        operator: what kind of bug.
        line: where, from 1.
        was: the lines that are different, as they were, blanks made one.
        becomes: the lines in their place.
        source: the whole source.
    """

    operator: str
    line: int
    was: str
    becomes: str
    source: str


def mutants(source: str) -> list[Mutant]:
    """All mutants of a source that are programs, each once, in the order of their lines.

    Annotations, decorators, imports, docstrings, assertions and the messages of errors are left alone.
    """
    operators = [cosmic_ray.plugins.get_operator(f"core/{name}")() for name in CHOSEN] + [made() for made in OWN]
    tree, found = get_ast(source), dict[str, Mutant]()
    for operator in operators:
        nodes = [(node, span[0]) for node in ast_nodes(tree) for span in operator.mutation_positions(node)]
        for occurrence, (node, start) in enumerate(nodes):
            if _is_skipped(node):
                continue
            mutated = mutate_code(source, operator, occurrence)
            if mutated is not None and "not not" not in mutated and _is_another_program(mutated, source):
                found.setdefault(mutated, _mutant(type(operator).__name__, start[0], source, mutated))
    return sorted(found.values(), key=lambda one: (one.line, one.operator, one.becomes))


def _mutant(operator: str, line: int, source: str, mutated: str) -> Mutant:
    lines = list(unified_diff(source.splitlines(), mutated.splitlines(), lineterm="", n=0))[2:]
    was, becomes = (" ".join(_code(one[1:]) for one in lines if one[0] == sign) for sign in "-+")
    return Mutant(operator, line, was, becomes, mutated)


def _code(line: str) -> str:
    """A line without comment and blanks around."""
    return " ".join(re.sub(r"\s+#.*", "", line).split()).replace("( -", "(-").replace("[ -", "[-")


def _is_another_program(mutated: str, source: str) -> bool:
    try:
        return ast.dump(ast.parse(mutated)) != ast.dump(ast.parse(source)) and bool(compile(mutated, "", "exec"))
    except (SyntaxError, ValueError):
        return False


def _is_skipped(node: Node) -> bool:
    inner = node
    while inner.parent is not None:
        outer = inner.parent
        annotation = outer.type == "annassign" and inner is outer.children[1]
        returned = outer.type == "funcdef" and any(inner is child for child in outer.children[3:-1])
        checked = outer.type == "argument" and getattr(outer.children[0], "value", "") in _CHECKS
        if annotation or returned or checked or outer.type in _SKIPPED:
            return True
        inner = outer
    return node.type in _SKIPPED


def _is(node: Node, value: str) -> bool:
    return getattr(node, "value", None) == value


def _is_operator(node: Node) -> bool:
    return node.type in ("operator", "keyword")


def _opens(node: Node, sign: str) -> bool:
    """Whether a node is a trailer that begins with a sign: ``.name`` or ``(...)``."""
    return node.type == "trailer" and _is(node.children[0], sign)

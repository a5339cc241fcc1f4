"""Conditions on a request, in Portkey's query language: parsed once, then asked of facts. Pure.

A query maps names to values, and all of its members must hold:
``{"params.max_tokens": {"$gt": 100}, "metadata.plan": "paid"}``. Facts are nested mappings, and a
dotted name goes as deep as it says. Patterns are matched by RE2 in time linear in the text, because
callers write them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple

MAX_PATTERN = 256  # characters
MAX_DEPTH = 8  # of $and and $or in each other

# What of a request can be asked about; see app/providers/routing/selection.py.
REQUEST_FACTS = frozenset(
    {"params.", "metadata.", "key.id", "key.tenant", "url.pathname", "stream"}
)
REQUEST_FACTS |= frozenset({"tokens.prompt", "tokens.total", "budget.remaining"})
ABSENT: Any = object()

Path = tuple[str | int, ...]
Facts = Mapping[str, Any]


class Mistake(ValueError):
    """What is wrong with a query, and where: ``path`` leads there from its beginning."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message


class Test(NamedTuple):
    """One operator on one name: ``name`` in its parts, ``holds`` of the value that it has."""

    name: tuple[str, ...]
    holds: Callable[[Any], bool]


class All(NamedTuple):
    """Holds where every one of its parts does."""

    parts: tuple[Query, ...]


class Any_(NamedTuple):  # noqa: N801 - typing has the other one
    """Holds where at least one of its parts does."""

    parts: tuple[Query, ...]


Query = Test | All | Any_


def parse_query(value: Any, roots: Collection[str], path: Path = (), depth: int = 0) -> Query:
    """A query as it was written in JSON or YAML.

    ``roots`` are the names that may be asked about; one that ends in a dot stands for everything
    below it. Raises Mistake.
    """
    if not isinstance(value, Mapping):
        raise Mistake(path, "expected an object of conditions")
    if depth > MAX_DEPTH:
        raise Mistake(path, f"$and and $or may stand in each other {MAX_DEPTH} deep")
    parts: list[Query] = []
    for name, wanted in value.items():
        place = (*path, name)
        if name in ("$and", "$or"):
            if not isinstance(wanted, Sequence) or isinstance(wanted, str) or not wanted:
                raise Mistake(place, "expected a list of conditions")
            inner = [
                parse_query(one, roots, (*place, index), depth + 1)
                for index, one in enumerate(wanted)
            ]
            parts.append(All(tuple(inner)) if name == "$and" else Any_(tuple(inner)))
        else:
            parts += _tests(_name(name, roots, place), wanted, place)
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def holds(query: Query, facts: Facts) -> bool:
    """Whether a query holds of these facts."""
    if isinstance(query, Test):
        return query.holds(find(facts, query.name))
    if isinstance(query, All):
        return all(holds(part, facts) for part in query.parts)
    return any(holds(part, facts) for part in query.parts)


def names_in(query: Query) -> frozenset[str]:
    """The dotted names that a query asks about."""
    if isinstance(query, Test):
        return frozenset({".".join(query.name)})
    return frozenset[str]().union(*map(names_in, query.parts))


def find(facts: Any, name: Sequence[str]) -> Any:
    """The value of a dotted name; ABSENT where there is none, or null.

    A member whose own name has dots in it is found too, before one that lies deeper.
    """
    value = facts
    for index, part in enumerate(name):
        if isinstance(value, Mapping):
            rest = ".".join(name[index:])
            if rest in value:
                value = value[rest]
                break
            value = value.get(part, ABSENT)
        elif isinstance(value, list) and part.isascii() and part.isdigit() and len(part) < 9:
            value = value[int(part)] if int(part) < len(value) else ABSENT
        else:
            return ABSENT
    return ABSENT if value is None else value


def _name(name: Any, roots: Collection[str], path: Path) -> tuple[str, ...]:
    text = str(name)
    if text.startswith("$"):
        raise Mistake(path, f"there is no operator {text!r} here; $and and $or take conditions")
    parts = tuple(text.split("."))
    below = len(parts) > 1 and f"{parts[0]}." in roots
    if "" in parts or not (below or text in roots):
        shown = ", ".join(f"{root}…" if root.endswith(".") else root for root in sorted(roots))
        raise Mistake(path, f"{text!r} is nothing that can be asked about; there are {shown}")
    return parts


def _tests(name: tuple[str, ...], wanted: Any, path: Path) -> list[Query]:
    if not isinstance(wanted, Mapping):
        return [Test(name, _equal(_scalar(wanted, path)))]
    if not wanted:
        raise Mistake(path, "expected a value or operators such as {$gt: 100}")
    tests: list[Query] = []
    for operator, operand in wanted.items():
        make = _OPERATORS.get(str(operator))
        if make is None:
            known = " ".join(_OPERATORS)
            raise Mistake(
                (*path, operator), f"there is no operator {operator!r}; there are {known}"
            )
        tests.append(Test(name, make(operand, (*path, operator))))
    return tests


def _scalar(value: Any, path: Path) -> Any:
    if isinstance(value, bool | int | float | str):
        return value
    raise Mistake(path, "expected a text, a number, true or false")


def _same(value: Any, wanted: Any) -> bool:
    """Equal, and of one type: "20" is not 20, and true is not 1."""
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    numbers = isinstance(value, int | float), isinstance(wanted, int | float)
    return numbers[0] == numbers[1] and bool(value == wanted)


def _equal(wanted: Any) -> Callable[[Any], bool]:
    return lambda value: value is not ABSENT and _same(value, wanted)


def _eq(operand: Any, path: Path) -> Callable[[Any], bool]:
    return _equal(_scalar(operand, path))


def _ne(operand: Any, path: Path) -> Callable[[Any], bool]:
    equal = _equal(_scalar(operand, path))
    return lambda value: not equal(value)


def _list(operand: Any, path: Path) -> list[Any]:
    if not isinstance(operand, Sequence) or isinstance(operand, str):
        raise Mistake(path, "expected a list of values")
    return [_scalar(one, (*path, index)) for index, one in enumerate(operand)]


def _in(operand: Any, path: Path) -> Callable[[Any], bool]:
    values = _list(operand, path)
    return lambda value: value is not ABSENT and any(_same(value, one) for one in values)


def _nin(operand: Any, path: Path) -> Callable[[Any], bool]:
    inside = _in(operand, path)
    return lambda value: not inside(value)


def _number(value: Any) -> float | None:
    """A number, or the number that a text writes; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if number == number else None  # noqa: PLR0124 - not a number is not itself


def _compared(compare: Callable[[float, float], bool]) -> Callable[..., Callable[[Any], bool]]:
    def make(operand: Any, path: Path) -> Callable[[Any], bool]:
        limit = _number(operand)
        if limit is None:
            raise Mistake(path, "expected a number")

        def test(value: Any) -> bool:
            number = _number(value)
            return number is not None and compare(number, limit)

        return test

    return make


def _regex(operand: Any, path: Path) -> Callable[[Any], bool]:
    if not isinstance(operand, str) or len(operand) > MAX_PATTERN:
        raise Mistake(path, f"expected a pattern of at most {MAX_PATTERN} characters")
    try:
        re2 = import_module("re2")
    except ImportError:
        extra = "$regex needs an extra: pip install 'headgate[patterns]'"
        raise Mistake(path, extra) from None
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        search = re2.compile(operand, options).search
    except re2.error as error:
        reason = error.args[0].decode() if error.args else "RE2 cannot read it"
        raise Mistake(path, f"is not a pattern that RE2 can read: {reason}") from None
    return lambda value: isinstance(value, str) and search(value) is not None


_OPERATORS: Mapping[str, Callable[[Any, Path], Callable[[Any], bool]]] = {
    "$eq": _eq,
    "$ne": _ne,
    "$gt": _compared(lambda value, limit: value > limit),
    "$gte": _compared(lambda value, limit: value >= limit),
    "$lt": _compared(lambda value, limit: value < limit),
    "$lte": _compared(lambda value, limit: value <= limit),
    "$in": _in,
    "$nin": _nin,
    "$regex": _regex,
}

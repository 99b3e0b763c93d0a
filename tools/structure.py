"""How the rooms of the package hang together: arrows, arrows against the flow, circles.

``python tools/structure.py`` prints the figures and ends with 1 if a module is in a circle, an
import climbs, or there are too many rooms. Imports inside functions count, and those for types.
The order of the rooms is that of the layers in pyproject.toml, which import-linter checks too.
"""

from __future__ import annotations

import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import grimp

PACKAGE = "pointadapt"
MOST_ROOMS = 22


def rooms_in_order(pyproject: Path) -> list[str]:
    """The rooms, from the one that all may import to the command line."""
    tool = tomllib.loads(pyproject.read_text(encoding="utf-8"))["tool"]["importlinter"]
    return [layer.split(".")[-1] for layer in reversed(tool["contracts"][0]["layers"])]


def arrows(graph: grimp.ImportGraph) -> dict[str, set[str]]:
    """Module -> the modules it imports."""
    return {m: graph.find_modules_directly_imported_by(m) for m in sorted(graph.modules)}


def room_of(module: str) -> str:
    """The room of a module; empty for the package itself."""
    return module.split(".")[1] if "." in module else ""


def circles(graph: Mapping[str, set[str]]) -> Iterator[list[str]]:
    """Groups of modules that import one another in a ring (Tarjan's strong components)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(node: str) -> Iterator[list[str]]:
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in number:
                yield from visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], number[other])
        if low[node] == number[node]:
            at = stack.index(node)
            ring, stack[at:] = sorted(stack[at:]), []
            if len(ring) > 1:
                yield ring

    for node in graph:
        if node not in number:
            yield from visit(node)


def measure(root: Path) -> tuple[dict[str, int], list[str]]:
    """The figures, and what is wrong, a line each."""
    order = rooms_in_order(root / "pyproject.toml")
    graph = arrows(grimp.build_graph(PACKAGE))
    between: dict[tuple[str, str], list[str]] = defaultdict(list)
    for module, others in graph.items():
        for other in others:
            pair = room_of(module), room_of(other)
            if all(pair) and pair[0] != pair[1]:
                between[pair].append(f"{module} imports {other}")
    rooms = sorted({room_of(m) for m in graph} - {"", "__main__"})
    wrong = [f"the room {room} has no place in the order" for room in rooms if room not in order]
    place = {room: k for k, room in enumerate(order)}
    climbs = [
        line for (a, b), lines in between.items() for line in lines
        if a in place and b in place and place[a] < place[b]
    ]  # fmt: skip
    rings = list(circles(graph))
    wrong += [f"against the flow: {line}" for line in climbs]
    wrong += [f"a circle of {len(ring)}: {', '.join(ring)}" for ring in rings]
    if len(rooms) > MOST_ROOMS:
        wrong.append(f"{len(rooms)} rooms are more than {MOST_ROOMS}")
    figures = {
        "modules": len(graph), "rooms": len(rooms), "arrows between rooms": len(between),
        "imports against the flow": len(climbs), "circles": len(rings),
    }  # fmt: skip
    return figures, wrong


def main() -> int:
    """Print the figures; 1 if something is wrong."""
    sys.setrecursionlimit(10_000)
    figures, wrong = measure(Path(__file__).parents[1])
    print("structure:", ", ".join(f"{value} {name}" for name, value in figures.items()))
    for line in wrong:
        print(f"  {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

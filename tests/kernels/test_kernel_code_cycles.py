"""How far apart two checks of a code are, against a plain search over sets."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qnoded.kernels.code_cycles import ANY_CHECK, walk

WIDTH = 6
Graph = list[list[tuple[int, int]]]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Graph, int]:
    rows, size = draw(st.integers(3, 6)), draw(st.integers(2, 24))
    graph: Graph = [[] for _ in range(rows)]
    for _ in range(draw(st.integers(1, 2 * rows))):
        row, other = draw(st.permutations(range(rows)))[:2]
        step = draw(st.integers(0, size - 1))
        if max(len(graph[row]), len(graph[other])) < WIDTH:
            graph[row].append((other, step))
            graph[other].append((row, size - step))
    return graph, size


def plain(graph: Graph, size: int, step: int, farthest: int, most_visited: int) -> tuple[list[int], int]:
    """Return what ``walk`` from check 0 of row 0 to row 1 should."""
    seen, front = {(0, 0)}, {(0, 0)}
    last = list(range(size))
    for walked in range(1, farthest + 1):
        reached = set()
        for here, check in front:
            ways = graph[here][:-1] if step != ANY_CHECK and walked == 1 else graph[here]
            reached |= {(there, (check + turn) % size) for there, turn in ways}
        front = reached - seen
        seen |= front
        left = [check for check in range(size) if (1, check) not in seen]
        if not left or (1, step) in seen:
            return last, walked
        last = left
        if not front or len(seen) > most_visited:
            break
    return last, farthest + 1


@given(graphs(), st.integers(ANY_CHECK, 23), st.integers(1, 8), st.integers(1, 200))
def test_walk_is_the_plain_one(made: tuple[Graph, int], step: int, farthest: int, most_visited: int) -> None:
    graph, size = made
    step = min(step, size - 1)
    if not graph[0]:
        step = ANY_CHECK
    neighbour, turn = np.zeros((2, len(graph), WIDTH), np.int64)
    for row, ways in enumerate(graph):
        for way, (there, turned) in enumerate(ways):
            neighbour[row, way], turn[row, way] = there, turned
    joined = np.array([len(ways) for ways in graph])
    last = np.empty(size, np.int64)
    count, walked = walk(
        neighbour.reshape(-1), turn.reshape(-1), joined, size, 0, 1, step, farthest, most_visited, last
    )
    assert (last[:count].tolist(), walked) == plain(graph, size, step, farthest, most_visited)

"""Masks in COCO's formats: polygons along the edges of pixels, and uncompressed run lengths.

Points are corners of pixels, (x, y) with x to the right and y downwards; (0, 0) is the upper left
corner of the image. Pixel (x, y) has the corners (x, y) and (x + 1, y + 1).
"""

from __future__ import annotations

import numpy as np

# The four sides of a pixel, clockwise: (row, column) offset of the neighbour on that side, (x, y)
# offset of the corner where the side starts, and its direction (dx, dy).
_SIDES = (
    ((-1, 0), (0, 0), (1, 0)),  # top
    ((0, 1), (1, 0), (0, 1)),  # right
    ((1, 0), (1, 1), (-1, 0)),  # bottom
    ((0, -1), (0, 1), (0, -1)),  # left
)
_Edge = tuple[int, int, int, int]  # start (x, y) and direction (dx, dy), one pixel long


def _find_edges(mask: np.ndarray) -> dict[_Edge, None]:
    """Pixel sides between the mask (H, W) and the rest; the mask is on their right-hand side.

    The edges are the keys of a dict, which serves as an ordered set.
    """
    padded = np.pad(mask, 1)
    edges: dict[_Edge, None] = {}
    for (row, column), (corner_x, corner_y), (dx, dy) in _SIDES:
        neighbour = np.roll(padded, (-row, -column), (0, 1))[1:-1, 1:-1]
        ys, xs = np.nonzero(mask & ~neighbour)
        for x, y in zip(xs.tolist(), ys.tolist(), strict=True):
            edges[x + corner_x, y + corner_y, dx, dy] = None
    return edges


def _follow(edge: _Edge, edges: dict[_Edge, None]) -> _Edge:
    """The edge that starts where ``edge`` ends and belongs to the same outline."""
    x, y, dx, dy = edge
    right, straight, left = (-dy, dx), (dx, dy), (dy, -dx)
    # Turn right first: where two pixels touch at a corner only, this stays with the same pixel.
    for turn in (right, straight, left):
        following = (x + dx, y + dy, *turn)
        if following in edges:
            return following
    raise AssertionError(f'the outline is not closed at {(x + dx, y + dy)}')


def trace_outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Trace every closed line around and inside a mask.

    Outer lines run clockwise, lines around holes counter-clockwise. Pixels that touch at a corner
    only are not connected.

    Args:
        mask: (H, W) bool.

    Returns:
        Corners (N, 2) of each line, x and y.
    """
    edges = _find_edges(mask)
    pending = dict(edges)
    outlines = []
    while pending:
        edge = next(iter(pending))
        corners = []
        while edge in pending:
            del pending[edge]
            following = _follow(edge, edges)
            if following[2:] != edge[2:]:  # the direction changes
                corners.append(following[:2])
            edge = following
        outlines.append(np.array(corners))
    return outlines


def _is_hole(outline: np.ndarray) -> bool:
    """Whether a line (N, 2) runs counter-clockwise: its signed area is negative."""
    x, y = outline.T
    next_x, next_y = np.roll(outline, -1, 0).T
    return bool((x * next_y - next_x * y).sum() < 0)


def _contains(outline: np.ndarray, x: int, y: int) -> bool:
    """Whether pixel (x, y) is inside: an odd number of vertical sides are to its left."""
    x0, y0 = outline.T
    x1, y1 = np.roll(outline, -1, 0).T
    is_left = (x0 == x1) & (x0 <= x)
    spans_row = (np.minimum(y0, y1) <= y) & (y < np.maximum(y0, y1))
    return bool((is_left & spans_row).sum() % 2 == 1)


def _join(outer: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """One line around both, through a slit of no width between their nearest corners."""
    distances = np.abs(outer[:, None] - hole).sum(-1)  # (corners of outer, corners of hole)
    nearest_outer, nearest_hole = np.unravel_index(distances.argmin(), distances.shape)
    outer = np.roll(outer, -nearest_outer, 0)
    hole = np.roll(hole, -nearest_hole, 0)
    return np.concatenate([outer, outer[:1], hole, hole[:1]])


def make_polygons(mask: np.ndarray) -> list[list[float]]:
    """Convert a mask to COCO's polygons: [x, y, x, y, ...] for each connected piece.

    They hold the mask exactly: pycocotools decodes them to the same pixels. A hole is reached
    through a slit.

    Args:
        mask: (H, W) bool.
    """
    outlines = trace_outlines(mask)
    outers = [outline for outline in outlines if not _is_hole(outline)]
    holes = [outline for outline in outlines if _is_hole(outline)]
    # Small pieces first, so that a hole goes to the innermost piece around it.
    outers.sort(key=lambda outline: np.ptp(outline, 0).prod())
    for hole in holes:
        # The corner that is first in reading order is the upper left of the hole's first pixel.
        x, y = hole[np.lexsort(hole.T)[0]]
        for index, outer in enumerate(outers):
            if _contains(outer, x, y):
                outers[index] = _join(outer, hole)
                break
    return [outer.astype(float).ravel().tolist() for outer in outers]


def make_run_lengths(mask: np.ndarray) -> dict:
    """Convert a mask to COCO's uncompressed run lengths, column by column, background first.

    Args:
        mask: (H, W) bool.
    """
    flat = np.concatenate([[False], mask.ravel('F')])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff([0, *changes, mask.size])
    return dict(counts=counts.tolist(), size=list(mask.shape))

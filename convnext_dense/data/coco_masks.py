"""Masks as COCO writes them: polygons along the edges of pixels, and uncompressed run lengths."""

from __future__ import annotations

import numpy as np

# Side of a pixel: from where the pixel's neighbour lies, the corner it starts at and its direction, clockwise.
_SIDES = (
    ((-1, 0), (0, 0), (1, 0)),
    ((0, 1), (1, 0), (0, 1)),
    ((1, 0), (1, 1), (-1, 0)),
    ((0, -1), (0, 1), (0, -1)),
)


def _edges(mask: np.ndarray) -> dict[tuple[int, int, int, int], None]:
    """Sides between the mask and the rest as (x, y, dx, dy), the mask on the right hand of the direction."""
    padded, edges = np.pad(mask, 1), {}
    for (row, column), (x, y), (dx, dy) in _SIDES:
        neighbour = np.roll(padded, (-row, -column), (0, 1))[1:-1, 1:-1]
        ys, xs = np.nonzero(mask & ~neighbour)
        edges.update(
            dict.fromkeys(zip((xs + x).tolist(), (ys + y).tolist(), [dx] * len(xs), [dy] * len(xs)))
        )
    return edges


def trace_rings(mask: np.ndarray) -> list[np.ndarray]:
    """Corners (N, 2), x and y, of every closed line around and inside a mask (H, W) bool; (0, 0) is the image's corner.

    Outer lines run clockwise, lines of holes counter-clockwise. Pixels that touch at a corner only are not connected.
    """
    edges = _edges(mask)
    pending, rings = dict(edges), []
    while pending:
        edge, ring = next(iter(pending)), []
        while edge in pending:
            del pending[edge]
            x, y, dx, dy = edge
            turns = ((-dy, dx), (dx, dy), (dy, -dx))  # right first: stay with the pixel
            edge = next(e for turn in turns if (e := (x + dx, y + dy, *turn)) in edges)
            if edge[2:] != (dx, dy):
                ring.append(edge[:2])
        rings.append(np.array(ring))
    return rings


def _is_hole(ring: np.ndarray) -> bool:
    (x, y), (next_x, next_y) = ring.T, np.roll(ring, -1, 0).T
    return (x * next_y - next_x * y).sum() < 0


def _contains(ring: np.ndarray, x: int, y: int) -> bool:
    """Whether the pixel (x, y) is inside: an odd number of the ring's upright sides stand to its left."""
    (x0, y0), (x1, y1) = ring.T, np.roll(ring, -1, 0).T
    return (
        (x0 == x1) & (x0 <= x) & (np.minimum(y0, y1) <= y) & (y < np.maximum(y0, y1))
    ).sum() % 2 == 1


def _cut_open(outer: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """One line around both, through a slit without width between their nearest corners."""
    distances = np.abs(outer[:, None] - hole).sum(-1)
    i, j = np.unravel_index(distances.argmin(), distances.shape)
    outer, hole = np.roll(outer, -i, 0), np.roll(hole, -j, 0)
    return np.concatenate([outer, outer[:1], hole, hole[:1]])


def make_polygons(mask: np.ndarray) -> list[list[float]]:
    """COCO's polygons, [x, y, x, y, ...] for each connected piece, of a mask (H, W) bool.

    They hold the mask exactly: pycocotools decodes them to the same pixels. A hole is reached through a slit.
    """
    rings = trace_rings(mask)
    outers = sorted(
        (ring for ring in rings if not _is_hole(ring)), key=lambda ring: np.ptp(ring, 0).prod()
    )
    for hole in filter(_is_hole, rings):
        x, y = hole[np.lexsort(hole.T)[0]]  # the hole's first pixel has its upper left corner here
        i = next(i for i, outer in enumerate(outers) if _contains(outer, x, y))
        outers[i] = _cut_open(outers[i], hole)
    return [outer.astype(float).ravel().tolist() for outer in outers]


def make_run_lengths(mask: np.ndarray) -> dict:
    """COCO's uncompressed run lengths of a mask (H, W) bool: column by column, first the length of the background."""
    flat = np.concatenate([[False], mask.ravel('F')])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    return dict(counts=np.diff([0, *changes, mask.size]).tolist(), size=list(mask.shape))

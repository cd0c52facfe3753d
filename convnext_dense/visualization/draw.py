"""Pictures of label maps and of objects: image, truth and prediction side by side, with the names of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GAP, _LINE, _WHITE, _BLACK = 6, 18, (255, 255, 255), (20, 20, 20)
_LEAST_SHARE = 0.002  # of the pixels: a class below it gets no line in the legend
_LEAST_WIDTH = (
    480  # pixels of a panel with objects: a smaller image is enlarged, so that names can be read
)


@dataclass(frozen=True)
class Objects:
    """What is found, or truly there, in an image of H x W pixels.

    Attributes:
        boxes: (N, 4) x1, y1, x2, y2 in pixels.
        labels: (N,) class indices.
        scores: (N,) 0-1, or None for the truth.
        masks: (N, H, W) bool, or None.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray | None = None
    masks: np.ndarray | None = None


def paint(labels: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Colours (H, W, 3) uint8 of labels (H, W); a label without a colour, such as 255 = ignored, is black."""
    table = np.zeros((256, 3), dtype=np.uint8)
    table[: len(palette)] = palette
    return table[labels.astype(np.uint8)]


def draw_segmentation(
    image: np.ndarray,
    prediction: np.ndarray,
    truth: np.ndarray | None,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
) -> Image.Image:
    """The image, the truth (where there is one) and the prediction side by side over a legend of the classes seen.

    Args:
        image: (H, W, 3) uint8 RGB.
        prediction, truth: (H, W) class indices; 255 in ``truth`` is ignored and drawn black.
        classes, palette: name and RGB colour 0-255 of each class.
    """
    panels = {'image': image}
    if truth is not None:
        panels['ground truth'] = paint(truth, palette)
    panels['prediction'] = paint(prediction, palette)
    height, width = image.shape[:2]
    canvas_width = len(panels) * (width + _GAP) - _GAP
    seen = _seen_classes(
        [labels for labels in (truth, prediction) if labels is not None], len(classes)
    )
    columns = max(canvas_width // 110, 1)
    canvas = Image.new(
        'RGB', (canvas_width, _LINE + height + _GAP + _LINE * -(-len(seen) // columns)), _WHITE
    )
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
    for i, (title, pixels) in enumerate(panels.items()):
        draw.text((i * (width + _GAP), 1), title, _BLACK, font)
        canvas.paste(Image.fromarray(pixels), (i * (width + _GAP), _LINE))
    for i, label in enumerate(seen):
        x, y = i % columns * (canvas_width // columns), _LINE + height + _GAP + i // columns * _LINE
        draw.rectangle((x, y + 2, x + 13, y + 15), tuple(palette[label]), _BLACK)
        draw.text((x + 18, y + 1), classes[label], _BLACK, font)
    return canvas


def _seen_classes(maps: Sequence[np.ndarray], num_classes: int) -> list[int]:
    counts = sum(np.bincount(labels.reshape(-1), minlength=256)[:num_classes] for labels in maps)
    total = sum(labels.size for labels in maps)
    return np.nonzero(counts >= max(_LEAST_SHARE * total, 1))[0].tolist()


def draw_detection(
    image: np.ndarray,
    prediction: Objects,
    truth: Objects | None,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
) -> Image.Image:
    """The image, the truth (where there is one) and the prediction side by side: masks, boxes, names and scores.

    Args:
        image: (H, W, 3) uint8 RGB.
        prediction, truth: drawn in their order, so the last is on top.
        classes, palette: name and RGB colour 0-255 of each class.
    """
    panels = {'image': None, 'ground truth': truth, 'prediction': prediction}
    if truth is None:
        del panels['ground truth']
    times = -(-_LEAST_WIDTH // image.shape[1])
    width, height = image.shape[1] * times, image.shape[0] * times
    canvas = Image.new('RGB', (len(panels) * (width + _GAP) - _GAP, _LINE + height), _WHITE)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
    for i, (title, objects) in enumerate(panels.items()):
        draw.text((i * (width + _GAP), 1), title, _BLACK, font)
        panel = Image.fromarray(image if objects is None else _blend_masks(image, objects, palette))
        panel = panel.resize((width, height), Image.Resampling.BICUBIC)
        if objects is not None:
            _draw_boxes(panel, objects, times, classes, palette)
        canvas.paste(panel, (i * (width + _GAP), _LINE))
    return canvas


def _blend_masks(
    image: np.ndarray, objects: Objects, palette: Sequence[Sequence[int]]
) -> np.ndarray:
    image = image.copy()
    for mask, label in zip(() if objects.masks is None else objects.masks, objects.labels):
        image[mask] = (0.45 * image[mask] + 0.55 * np.asarray(palette[label])).astype(np.uint8)
    return image


def _draw_boxes(
    panel: Image.Image,
    objects: Objects,
    times: int,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
) -> None:
    draw, font = ImageDraw.Draw(panel), ImageFont.load_default(12)
    for i, (box, label) in enumerate(zip(objects.boxes, objects.labels)):
        corners = (np.asarray(box) * times).round().tolist()
        draw.rectangle(corners, outline=tuple(palette[label]), width=2)
        name = (
            classes[label]
            if objects.scores is None
            else f'{classes[label]} {objects.scores[i]:.2f}'
        )
        x = min(
            max(corners[0], 0) + 3, panel.width - draw.textlength(name, font)
        )  # all of the name stays inside
        corner = (x, max(corners[1], 0) + 2)
        draw.rectangle(draw.textbbox(corner, name, font), _BLACK)
        draw.text(corner, name, _WHITE, font)

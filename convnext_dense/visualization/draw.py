"""Draws label maps and detected objects: image, ground truth and prediction side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Pixels.
_GAP = 6
_LINE_HEIGHT = 18
_FONT_SIZE = 12
_LEGEND_COLUMN_WIDTH = 110
_MIN_PANEL_WIDTH = 480  # smaller images with objects are enlarged, so that names can be read

_WHITE = (255, 255, 255)
_BLACK = (20, 20, 20)
_MASK_OPACITY = 0.55
_MIN_LEGEND_SHARE = 0.002  # a class with fewer of the pixels is not in the legend

Palette = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Objects:
    """The objects in an image of H x W pixels, predicted or true.

    Attributes:
        boxes: (N, 4) xyxy in pixels.
        labels: (N,) class indices.
        scores: (N,) in 0..1, or None for the ground truth.
        masks: (N, H, W) bool, or None.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray | None = None
    masks: np.ndarray | None = None


def paint(labels: np.ndarray, palette: Palette) -> np.ndarray:
    """Colour a label map.

    Args:
        labels: (H, W) class indices; those without a colour, such as 255 = ignored, become black.
        palette: RGB colour, 0-255, of each class.

    Returns:
        (H, W, 3) uint8.
    """
    table = np.zeros((256, 3), dtype=np.uint8)
    table[: len(palette)] = palette
    return table[labels.astype(np.uint8)]


def draw_segmentation(
    image: np.ndarray,
    prediction: np.ndarray,
    truth: np.ndarray | None,
    classes: Sequence[str],
    palette: Palette,
) -> Image.Image:
    """Draw image, ground truth and prediction side by side above a legend of the classes in them.

    Args:
        image: (H, W, 3) uint8 RGB.
        prediction: (H, W) class indices.
        truth: (H, W) class indices, 255 = ignored; None leaves this panel out.
        classes: name of each class.
        palette: RGB colour, 0-255, of each class.
    """
    panels = {'image': Image.fromarray(image)}
    label_maps = [prediction]
    if truth is not None:
        panels['ground truth'] = Image.fromarray(paint(truth, palette))
        label_maps.append(truth)
    panels['prediction'] = Image.fromarray(paint(prediction, palette))
    picture = _join(panels)
    shown = _find_classes(label_maps, len(classes))
    legend = _draw_legend(picture.width, shown, classes, palette)
    canvas = Image.new('RGB', (picture.width, picture.height + _GAP + legend.height), _WHITE)
    canvas.paste(picture, (0, 0))
    canvas.paste(legend, (0, picture.height + _GAP))
    return canvas


def draw_detection(
    image: np.ndarray,
    prediction: Objects,
    truth: Objects | None,
    classes: Sequence[str],
    palette: Palette,
) -> Image.Image:
    """Draw image, ground truth and prediction side by side, with masks, boxes, names and scores.

    Args:
        image: (H, W, 3) uint8 RGB.
        prediction: drawn in the given order, the last object on top.
        truth: likewise; None leaves this panel out.
        classes: name of each class.
        palette: RGB colour, 0-255, of each class.
    """
    scale = -(-_MIN_PANEL_WIDTH // image.shape[1])  # rounded up
    panels = {'image': _enlarge(image, scale)}
    if truth is not None:
        panels['ground truth'] = _draw_objects(image, truth, scale, classes, palette)
    panels['prediction'] = _draw_objects(image, prediction, scale, classes, palette)
    return _join(panels)


def _join(panels: dict[str, Image.Image]) -> Image.Image:
    """Panels of equal size side by side, each below its title."""
    width, height = panels['image'].size
    canvas_width = len(panels) * (width + _GAP) - _GAP
    canvas = Image.new('RGB', (canvas_width, _LINE_HEIGHT + height), _WHITE)
    draw = ImageDraw.Draw(canvas)
    x = 0
    for title, panel in panels.items():
        draw.text((x, 1), title, _BLACK, ImageFont.load_default(_FONT_SIZE))
        canvas.paste(panel, (x, _LINE_HEIGHT))
        x += width + _GAP
    return canvas


def _find_classes(label_maps: Sequence[np.ndarray], num_classes: int) -> list[int]:
    """Indices of the classes that have enough pixels for the legend."""
    labels = np.concatenate([label_map.reshape(-1) for label_map in label_maps])
    counts = np.bincount(labels, minlength=256)[:num_classes]
    min_count = max(_MIN_LEGEND_SHARE * labels.size, 1)
    return np.nonzero(counts >= min_count)[0].tolist()


def _draw_legend(
    width: int, shown: Sequence[int], classes: Sequence[str], palette: Palette
) -> Image.Image:
    columns = max(width // _LEGEND_COLUMN_WIDTH, 1)
    rows = -(-len(shown) // columns)  # rounded up
    legend = Image.new('RGB', (width, rows * _LINE_HEIGHT), _WHITE)
    draw = ImageDraw.Draw(legend)
    for i, label in enumerate(shown):
        x = i % columns * (width // columns)
        y = i // columns * _LINE_HEIGHT
        draw.rectangle((x, y + 2, x + 13, y + 15), tuple(palette[label]), _BLACK)
        draw.text((x + 18, y + 1), classes[label], _BLACK, ImageFont.load_default(_FONT_SIZE))
    return legend


def _enlarge(image: np.ndarray, scale: int) -> Image.Image:
    height, width = image.shape[:2]
    size = (width * scale, height * scale)
    return Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)


def _draw_objects(
    image: np.ndarray, objects: Objects, scale: int, classes: Sequence[str], palette: Palette
) -> Image.Image:
    panel = _enlarge(_blend_masks(image, objects, palette), scale)
    for i, label in enumerate(objects.labels):
        text = classes[label]
        if objects.scores is not None:
            text += f' {objects.scores[i]:.2f}'
        _draw_box(panel, objects.boxes[i] * scale, text, tuple(palette[label]))
    return panel


def _blend_masks(image: np.ndarray, objects: Objects, palette: Palette) -> np.ndarray:
    if objects.masks is None:
        return image
    image = image.copy()
    for mask, label in zip(objects.masks, objects.labels, strict=True):
        color = np.asarray(palette[label])
        blend = (1 - _MASK_OPACITY) * image[mask] + _MASK_OPACITY * color
        image[mask] = blend.round()
    return image


def _draw_box(panel: Image.Image, box: np.ndarray, text: str, color: tuple[int, ...]) -> None:
    """Outline a box (4,), xyxy in pixels of the panel, with its text in the upper left corner."""
    draw = ImageDraw.Draw(panel)
    font = ImageFont.load_default(_FONT_SIZE)
    x1, y1, x2, y2 = box.round().tolist()
    draw.rectangle((x1, y1, x2, y2), outline=color, width=2)
    # All of the text stays inside the panel.
    text_x = min(max(x1, 0) + 3, panel.width - draw.textlength(text, font))
    corner = (text_x, max(y1, 0) + 2)
    draw.rectangle(draw.textbbox(corner, text, font), _BLACK)
    draw.text(corner, text, _WHITE, font)

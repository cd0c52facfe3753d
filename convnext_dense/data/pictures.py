"""Pictures of label maps: image, truth and prediction side by side, with the names of the classes."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GAP, _LINE, _WHITE, _BLACK = 6, 18, (255, 255, 255), (20, 20, 20)
_LEAST_SHARE = .002  # of the pixels: a class below it gets no line in the legend


def paint(labels: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Colours (H, W, 3) uint8 of labels (H, W); a label without a colour, such as 255 = ignored, is black."""
    table = np.zeros((256, 3), dtype=np.uint8)
    table[:len(palette)] = palette
    return table[labels.astype(np.uint8)]


def draw_segmentation(image: np.ndarray, prediction: np.ndarray, truth: np.ndarray | None,
                      classes: Sequence[str], palette: Sequence[Sequence[int]]) -> Image.Image:
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
    seen = _seen_classes([labels for labels in (truth, prediction) if labels is not None], len(classes))
    columns = max(canvas_width // 110, 1)
    canvas = Image.new('RGB', (canvas_width, _LINE + height + _GAP + _LINE * -(-len(seen) // columns)), _WHITE)
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

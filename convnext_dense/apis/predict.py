"""Predictions of a trained segmentor or detector for image files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from PIL import Image

from convnext_dense.apis.checkpoints import require_fit
from convnext_dense.errors import ConfigError
from convnext_dense.visualization.draw import draw_detection, draw_segmentation
from convnext_dense.visualization.hooks import make_objects

# Objects with a lower score are not drawn.
_MIN_SCORE = 0.5
_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')

# (RGB image, classes and palette of the data set) -> picture
_Draw = Callable[[np.ndarray, dict], Image.Image]


def find_images(paths: Sequence[str]) -> list[Path]:
    """Return the image files in ``paths``: files as given, and the images directly in folders.

    Raises:
        ConfigError: a path does not exist, or a folder holds no image.
    """
    images: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found = sorted(file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES)
        elif path.exists():
            found = [path]
        else:
            found = []
        if not found:
            raise ConfigError(
                f'no image at {path}: expected an image file, or a folder of {", ".join(_SUFFIXES)}'
            )
        images.extend(found)
    return images


def draw_predictions(
    cfg: Config, checkpoint: str, images: Sequence[Path], out: Path, device: str | None = None
) -> Iterator[Path]:
    """Write ``out/<image>.png`` for each image: the image beside its prediction.

    Label maps get a legend; objects with a score of at least 0.5 get their names. If two folders
    hold images of the same name, the second picture gets a number.

    Yields:
        The path of each picture, once it is written.

    Raises:
        ConfigError: the checkpoint does not fit the model or does not name its classes, or a file
            is not an image.
    """
    device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    if cfg.get('default_scope') == 'mmdet':
        model, draw = _load_detector(cfg, device)
    else:
        model, draw = _load_segmentor(cfg, device)
    meta = _load_weights(model, checkpoint)
    out.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    for path in images:
        name = path.stem
        counts[name] += 1
        suffix = '' if counts[name] == 1 else f'_{counts[name]}'
        picture = out / f'{name}{suffix}.png'
        draw(_read_image(path), meta).save(picture)
        yield picture


def _load_weights(model: torch.nn.Module, checkpoint: str) -> dict:
    """Load the checkpoint into ``model``; return classes and palette of the data set."""
    require_fit(model, checkpoint)
    content = load_checkpoint(model, checkpoint, map_location='cpu')
    meta = content.get('meta', {}).get('dataset_meta')
    if not meta:
        raise ConfigError(
            f'{checkpoint} does not name its classes: expected meta.dataset_meta, '
            'which training writes'
        )
    return meta


def _read_image(path: Path) -> np.ndarray:
    """Return an RGB image: (H, W, 3), uint8."""
    try:
        return np.asarray(Image.open(path).convert('RGB'))
    except OSError as error:
        raise ConfigError(f'{path} cannot be read as an image ({error})') from error


def _to_bgr(image: np.ndarray) -> np.ndarray:
    """Reverse the channels: mmdet and mmseg expect images as mmcv reads them, in BGR."""
    return image[..., ::-1].copy()


def _load_segmentor(cfg: Config, device: str) -> tuple[torch.nn.Module, _Draw]:
    from mmseg.apis import inference_model, init_model

    model = init_model(cfg, None, device)

    def draw(image: np.ndarray, meta: dict) -> Image.Image:
        sample = inference_model(model, _to_bgr(image))
        labels = sample.pred_sem_seg.data.squeeze(0).cpu().numpy()  # (H, W)
        return draw_segmentation(image, labels, None, meta['classes'], meta['palette'])

    return model, draw


def _load_detector(cfg: Config, device: str) -> tuple[torch.nn.Module, _Draw]:
    from mmdet.apis import inference_detector
    from mmdet.registry import MODELS

    init_default_scope('mmdet')
    model = revert_sync_batchnorm(MODELS.build(cfg.model)).to(device).eval()
    model.cfg = cfg

    def draw(image: np.ndarray, meta: dict) -> Image.Image:
        found = inference_detector(model, _to_bgr(image)).pred_instances
        objects = make_objects(found[found.scores >= _MIN_SCORE])
        return draw_detection(image, objects, None, meta['classes'], meta['palette'])

    return model, draw

"""Predictions of a trained segmentor or detector for image files."""

from __future__ import annotations

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
from convnext_dense.apis.config import ConfigError
from convnext_dense.visualization.draw import draw_detection, draw_segmentation
from convnext_dense.visualization.hooks import make_objects

_SCORE = 0.5  # of an object: with a lower one it is not drawn
_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')


def find_images(paths: Sequence[str]) -> list[Path]:
    """The image files in ``paths``: files as they are, folders with every image directly inside, by name.

    Raises:
        ConfigError: a path does not exist, or a folder holds no image.
    """
    images = []
    for path in map(Path, paths):
        found = (
            sorted(p for p in path.iterdir() if p.suffix.lower() in _SUFFIXES)
            if path.is_dir()
            else [path]
        )
        if not found or not found[0].exists():
            raise ConfigError(
                f'no image at {path}: expected an image file, or a folder of {", ".join(_SUFFIXES)}'
            )
        images += found
    return images


def draw_predictions(
    cfg: Config, checkpoint: str, images: Sequence[Path], out: Path, device: str | None = None
) -> Iterator[Path]:
    """Write ``out/<image>.png``, image beside prediction, for each image; yields each path when written.

    Label maps get a legend, objects (those with a score of at least 0.5) their names. Images of one name in different
    folders are told apart by a number.

    Raises:
        ConfigError: the checkpoint does not fit the model, or a file is no image.
    """
    load = _load_detector if cfg.get('default_scope') == 'mmdet' else _load_segmentor
    model, draw = load(cfg, device or ('cuda' if torch.cuda.is_available() else 'cpu'))
    require_fit(model, checkpoint)
    meta = (
        load_checkpoint(model, checkpoint, map_location='cpu').get('meta', {}).get('dataset_meta')
    )
    if not meta:
        raise ConfigError(
            f'{checkpoint} does not name its classes: expected meta.dataset_meta, as training writes it'
        )
    out.mkdir(parents=True, exist_ok=True)
    written: dict[str, int] = {}
    for path in images:
        try:
            image = np.asarray(Image.open(path).convert('RGB'))
        except OSError as error:
            raise ConfigError(f'{path} cannot be read as an image ({error})') from error
        number = written[path.stem] = written.get(path.stem, 0) + 1
        picture = out / (f'{path.stem}.png' if number == 1 else f'{path.stem}_{number}.png')
        draw(image, meta).save(picture)
        yield picture


# (image RGB, the classes' names and colours) -> picture
_Draw = Callable[[np.ndarray, dict], Image.Image]


def _load_segmentor(cfg: Config, device: str) -> tuple[torch.nn.Module, _Draw]:
    from mmseg.apis import inference_model, init_model

    model = init_model(cfg, None, device)

    def draw(image: np.ndarray, meta: dict) -> Image.Image:
        sample = inference_model(model, image[..., ::-1].copy())  # BGR, as mmcv reads files
        prediction = sample.pred_sem_seg.data.squeeze(0).cpu().numpy()
        return draw_segmentation(image, prediction, None, meta['classes'], meta['palette'])

    return model, draw


def _load_detector(cfg: Config, device: str) -> tuple[torch.nn.Module, _Draw]:
    from mmdet.apis import inference_detector
    from mmdet.registry import MODELS

    init_default_scope('mmdet')
    model = revert_sync_batchnorm(MODELS.build(cfg.model)).to(device).eval()
    model.cfg = cfg

    def draw(image: np.ndarray, meta: dict) -> Image.Image:
        found = inference_detector(model, image[..., ::-1].copy()).pred_instances
        objects = make_objects(found[found.scores >= _SCORE])
        return draw_detection(image, objects, None, meta['classes'], meta['palette'])

    return model, draw

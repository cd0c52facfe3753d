"""Predictions of a trained segmentor for image files."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import load_checkpoint
from PIL import Image

from convnext_dense.apis.checkpoints import require_fit
from convnext_dense.apis.config import ConfigError
from convnext_dense.data.pictures import draw_segmentation

_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')


def find_images(paths: Sequence[str]) -> list[Path]:
    """The image files in ``paths``: files as they are, folders with every image directly inside, by name.

    Raises:
        ConfigError: a path does not exist, or a folder holds no image.
    """
    images = []
    for path in map(Path, paths):
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in _SUFFIXES) if path.is_dir() else [path]
        if not found or not found[0].exists():
            raise ConfigError(f'no image at {path}: expected an image file, or a folder of {", ".join(_SUFFIXES)}')
        images += found
    return images


def predict_segmentation(cfg: Config, checkpoint: str, images: Sequence[Path], out: Path,
                         device: str | None = None) -> Iterator[Path]:
    """Write ``out/<image>.png``, image beside prediction with a legend, for each image; yields each path when written.

    Images of one name in different folders are told apart by a number.

    Raises:
        ConfigError: the checkpoint does not fit the model, or a file is no image.
    """
    from mmseg.apis import inference_model, init_model
    model = init_model(cfg, None, device or ('cuda' if torch.cuda.is_available() else 'cpu'))
    require_fit(model, checkpoint)
    meta = load_checkpoint(model, checkpoint, map_location='cpu').get('meta', {}).get('dataset_meta')
    if not meta:
        raise ConfigError(f'{checkpoint} does not name its classes: expected meta.dataset_meta, as training writes it')
    out.mkdir(parents=True, exist_ok=True)
    written: dict[str, int] = {}
    for path in images:
        try:
            image = np.asarray(Image.open(path).convert('RGB'))
        except OSError as error:
            raise ConfigError(f'{path} cannot be read as an image ({error})') from error
        sample = inference_model(model, image[..., ::-1].copy())  # BGR, as mmcv reads files
        prediction = sample.pred_sem_seg.data.squeeze(0).cpu().numpy()
        number = written[path.stem] = written.get(path.stem, 0) + 1
        picture = out / (f'{path.stem}.png' if number == 1 else f'{path.stem}_{number}.png')
        draw_segmentation(image, prediction, None, meta['classes'], meta['palette']).save(picture)
        yield picture

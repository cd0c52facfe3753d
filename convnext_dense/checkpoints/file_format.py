"""What a file is, told from its bytes and never from its name; and whether all of it is there, unchanged."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from convnext_dense.checkpoints.errors import CheckpointError

_LEGACY = b'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'  # the magic number of torch.save before its zip format
_OTHER = {  # first bytes -> what it seems to be
    b'version https://git-lfs': 'a Git LFS pointer, not the file it points to (`git lfs pull` fetches that)',
    b'\x93NUMPY': 'a numpy array (.npy)',
    b'\x89HDF': 'an HDF5 file, as Keras and TensorFlow write',
    b'GGUF': 'a GGUF file',
    b'\x1f\x8b': 'compressed by gzip: unpack it first',
    b'BZh': 'compressed by bzip2: unpack it first',
    b'\xfd7zXZ': 'compressed by xz: unpack it first',
    b'(\xb5/\xfd': 'compressed by zstd: unpack it first',
    b'7z\xbc\xaf': 'a 7-Zip archive: unpack it first',
    b'Rar!': 'a RAR archive: unpack it first',
    b'\x89PNG': 'a PNG image',
    b'\xff\xd8\xff': 'a JPEG image',
}


def identify(path: Path) -> str:
    """'safetensors', 'torch' (zip), 'torch-legacy' or 'pickle' (one that torch.save did not write).

    An archive's checksums are compared with its bytes, which torch itself never does.

    Raises:
        CheckpointError: the file is none of these, or is cut off or damaged; the message says what it seems to be.
    """
    size = path.stat().st_size
    with path.open('rb') as file:
        head = file.read(4096)
    if not size:
        raise CheckpointError('it is empty')
    if head.startswith(b'PK'):
        _check_archive(path)
        return 'torch'
    if head[8:9] == b'{':
        _check_safetensors(path, size)
        return 'safetensors'
    if head.startswith(_LEGACY):
        return 'torch-legacy'
    if head[:1] == b'\x80' and head[1:2] in (b'\x02', b'\x03', b'\x04', b'\x05'):
        return 'pickle'
    raise CheckpointError(f'it seems to be {_guess(head)}')


def has_packed_members(path: Path) -> bool:
    """Some member of the archive is compressed, as after packing it anew: it cannot be mapped into memory."""
    with zipfile.ZipFile(path) as archive:
        return any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist())


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            _check_members([info.filename for info in infos])
            # torch.serialization.set_crc32_options(False) writes zeros for all
            damaged = archive.testzip() if any(info.CRC for info in infos) else None
    except (
        zipfile.BadZipFile,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
        OverflowError,
    ) as error:
        raise CheckpointError(f'it is cut off or damaged ({error})') from error
    except Exception as error:  # zlib's and struct's, for damaged members
        raise CheckpointError(f'it is damaged ({type(error).__name__}: {error})') from error
    if damaged:
        raise CheckpointError(f'it is damaged: {damaged} inside does not match its checksum')


def _check_members(names: list[str]) -> None:
    inside = [name.partition('/')[2] for name in names]
    if 'constants.pkl' in inside:
        raise CheckpointError(
            'it is a TorchScript archive, a program: save model.state_dict() instead'
        )
    if 'data.pkl' in inside:
        return
    if names and all(name.endswith('.npy') for name in names):
        raise CheckpointError('it is an archive of numpy arrays (.npz)')
    raise CheckpointError(
        f'it is a zip archive without weights, of {", ".join(names[:4]) or "no files"}'
    )


def _check_safetensors(path: Path, size: int) -> None:
    with path.open('rb') as file:
        length = int.from_bytes(file.read(8), 'little')
        if length > size - 8:
            raise CheckpointError(
                f'it is a .safetensors file that is cut off or damaged: its header would be '
                f'{length:,} bytes, the file has {size:,}'
            )
        try:
            header = json.loads(file.read(length))
            end = (
                8
                + length
                + max(
                    (
                        entry['data_offsets'][1]
                        for name, entry in header.items()
                        if name != '__metadata__'
                    ),
                    default=0,
                )
            )
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError('it is a .safetensors file with a damaged header') from error
    if end != size:
        raise CheckpointError(
            f'it is a .safetensors file that is cut off or damaged: {end:,} bytes expected, it has '
            f'{size:,}'
        )


def _guess(head: bytes) -> str:
    for start, what in _OTHER.items():
        if head.startswith(start):
            return what
    text = head.lstrip(b'\xef\xbb\xbf \t\r\n').lower()
    if text.startswith((b'<!doctype html', b'<html')) or (
        text.startswith((b'<?xml', b'<')) and b'<html' in text
    ):
        return (
            'a web page (HTML): the address leads to a login or an error page, not to the weights'
        )
    if head[257:262] == b'ustar':
        return 'a tar archive: unpack it first'
    if head[4:8] == b'TFL3':
        return 'a TensorFlow Lite model'
    if head[:1] == b'\x08' and (b'onnx' in head.lower() or b'pytorch' in head):
        return 'an ONNX model'
    if (
        b'saved_model_schema_version' in head
        or b'/.ATTRIBUTES/' in head
        or b'tensorflow' in head.lower()
    ):
        return 'a TensorFlow file'
    if not head.strip(b'\0'):
        return 'all zeros, as an interrupted copy leaves'
    if all(byte >= 32 or byte in b'\t\r\n' for byte in head):
        return f'text, beginning {head[:40].decode("utf-8", "replace")!r}'
    return f'no format known here, beginning {head[:8].hex(" ")}'

"""What a file is, by its bytes and never by its name; and whether it is complete and unchanged."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from convnext_dense.errors import CheckpointError

# The magic number of torch.save before its zip format.
_LEGACY = b'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'
_PICKLES = (b'\x80\x02', b'\x80\x03', b'\x80\x04', b'\x80\x05')
# First bytes -> what the file seems to be.
_OTHERS = {
    b'version https://git-lfs': (
        'a Git LFS pointer, not the file it points to (`git lfs pull` fetches that)'
    ),
    b'\x93NUMPY': 'a numpy array (.npy)',
    b'\x89HDF': 'an HDF5 file, as Keras and TensorFlow write',
    b'\x1f\x8b': 'compressed by gzip: unpack it first',
    b'BZh': 'compressed by bzip2: unpack it first',
    b'\xfd7zXZ': 'compressed by xz: unpack it first',
    b'(\xb5/\xfd': 'compressed by zstd: unpack it first',
    b'<': 'a web page: the address leads to a login or an error page, not to the weights',
}


def identify(path: Path) -> str:
    """Return 'safetensors', 'torch' (zip), 'torch-legacy' or 'pickle' (not written by torch.save).

    The checksums in an archive are compared with its bytes, which torch itself never does.

    Raises:
        CheckpointError: the file is none of these, or is cut off or damaged; the message says what
            it seems to be.
    """
    size = path.stat().st_size
    with path.open('rb') as file:
        head = file.read(4096)
    if size == 0:
        raise CheckpointError('it is empty')
    if head.startswith(b'PK'):
        _check_archive(path)
        return 'torch'
    if head[8:9] == b'{':
        _check_safetensors(path, size)
        return 'safetensors'
    if head.startswith(_LEGACY):
        return 'torch-legacy'
    if head.startswith(_PICKLES):
        return 'pickle'
    raise CheckpointError(f'it seems to be {_guess(head)}')


def has_packed_members(path: Path) -> bool:
    """Whether a member of the archive is compressed, so that it cannot be mapped into memory."""
    with zipfile.ZipFile(path) as archive:
        return any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist())


def _check_archive(path: Path) -> None:
    damaged = None
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_members([member.filename for member in members])
            # torch.serialization.set_crc32_options(False) writes zeros for all of them.
            if any(member.CRC for member in members):
                damaged = archive.testzip()
    except CheckpointError:
        raise
    except Exception as error:  # zipfile, zlib and struct raise many kinds for damaged archives
        raise CheckpointError(
            f'it is cut off or damaged ({type(error).__name__}: {error})'
        ) from error
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
                'it is a .safetensors file that is cut off or damaged: its header would be '
                f'{length:,} bytes, the file has {size:,}'
            )
        header = file.read(length)
    end = 8 + length
    try:
        for name, entry in json.loads(header).items():
            if name != '__metadata__':
                end = max(end, 8 + length + entry['data_offsets'][1])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError('it is a .safetensors file with a damaged header') from error
    if end != size:
        raise CheckpointError(
            f'it is a .safetensors file that is cut off or damaged: {end:,} bytes expected, it has '
            f'{size:,}'
        )


def _guess(head: bytes) -> str:
    text = head.removeprefix(b'\xef\xbb\xbf').lstrip()
    for start, what in _OTHERS.items():
        if text.startswith(start):
            return what
    if head[257:262] == b'ustar':
        return 'a tar archive: unpack it first'
    if head[:1] == b'\x08' and (b'onnx' in head.lower() or b'pytorch' in head):
        return 'an ONNX model'
    if not head.strip(b'\0'):
        return 'all zeros, as an interrupted copy leaves'
    if all(byte >= 32 or byte in b'\t\r\n' for byte in head):
        return f'text, beginning {head[:40].decode("utf-8", "replace")!r}'
    return f'no format known here, beginning {head[:8].hex(" ")}'

"""Where a checkpoint is looked for and what is kept of a download; the network is a fake."""

import json
import urllib.error

import pytest
import torch
from safetensors.torch import save_file

from convnext_dense.checkpoints import read_checkpoint
from convnext_dense.checkpoints.read import read_file
from convnext_dense.checkpoints.sources import locate
from convnext_dense.errors import CheckpointError, CheckpointNotFoundError


def save(path, value):
    """Weights with one number, by which the test knows the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.safetensors':
        save_file({'w': torch.tensor([float(value)])}, path)
    else:
        torch.save({'w': torch.tensor([float(value)])}, path)


def split(folder, suffix='.safetensors', parts=2):
    stem = 'model' if suffix == '.safetensors' else 'pytorch_model'
    names = [f'{stem}-{k:05}-of-{parts:05}{suffix}' for k in range(parts)]
    for k, name in enumerate(names):
        tensors = {f'w{k}': torch.tensor([float(k)])}
        save_file(tensors, folder / name) if suffix == '.safetensors' else torch.save(
            tensors, folder / name
        )
    index = folder / f'{stem}{suffix}.index.json'
    index.write_text(
        json.dumps(dict(metadata={}, weight_map={f'w{k}': name for k, name in enumerate(names)}))
    )
    return index


@pytest.fixture
def web(tmp_path, monkeypatch):
    """{address: bytes or an exception}; ``asked`` lists what was fetched."""

    class Web(dict):
        def __init__(self):
            super().__init__()
            self.asked = []

    pages = Web()

    def fetch(address, path):
        pages.asked.append(address)
        if isinstance(pages[address], Exception):
            raise pages[address]
        with open(path, 'wb') as file:
            file.write(pages[address])

    monkeypatch.setattr('torch.hub.download_url_to_file', fetch)
    monkeypatch.setattr('torch.hub.get_dir', lambda: str(tmp_path / 'hub'))
    return pages


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Folder of repositories; ``asked`` lists (repository, file, revision)."""
    from huggingface_hub import errors

    root = tmp_path / 'repositories'

    class Hub:
        asked, waited = [], 0

    Hub.root, Hub.asked, Hub.error = root, [], errors.EntryNotFoundError('404: no such file')

    def fetch(repo, name, *, revision=None, local_files_only=False):
        Hub.asked.append((repo, name, revision))
        Hub.waited += not local_files_only
        if ' ' in repo:
            raise errors.HFValidationError('Repo id must use alphanumeric chars')
        if not (root / repo).is_dir():
            raise OSError('401 Client Error.\nRepository Not Found')
        if not (root / repo / name).is_file():
            raise Hub.error
        return str(root / repo / name)

    monkeypatch.setattr('huggingface_hub.hf_hub_download', fetch)
    return Hub


def test_an_address_is_fetched_once(tmp_path, web):
    save(tmp_path / 'a.pth', 1)
    save(tmp_path / 'b.safetensors', 2)
    web['https://one.org/pytorch_model.bin'] = (tmp_path / 'a.pth').read_bytes()
    web['https://two.org/pytorch_model.bin?download=1'] = (tmp_path / 'b.safetensors').read_bytes()
    for _ in range(2):
        assert [read_checkpoint(address)['w'].item() for address in web] == [
            1,
            2,
        ]  # one name, two files
    assert web.asked == list(web)


@pytest.mark.parametrize('cut', [100, 600, None])
def test_a_broken_download_leaves_nothing(tmp_path, web, cut):
    save(tmp_path / 'a.pth', 1)
    whole = (tmp_path / 'a.pth').read_bytes()
    web['https://one.org/a.pth'] = whole[:cut] if cut else ConnectionResetError('reset by peer')
    with pytest.raises(
        CheckpointError,
        match='one.org/a.pth (gave no checkpoint.*cut off|cannot be fetched .*reset)',
    ):
        read_checkpoint('https://one.org/a.pth')
    assert not list((tmp_path / 'hub').rglob('*.*'))
    web['https://one.org/a.pth'] = whole
    assert read_checkpoint('https://one.org/a.pth')['w'] == 1


def test_a_login_page_is_not_kept(tmp_path, web):
    web['https://one.org/a.pth'] = b'<!doctype html><title>Log in'
    with pytest.raises(
        CheckpointError, match='a.pth gave no checkpoint: .*a web page.*Nothing was kept'
    ):
        read_checkpoint('https://one.org/a.pth')
    assert not list((tmp_path / 'hub').rglob('*.*'))
    web['https://one.org/b.pth'] = urllib.error.HTTPError(
        'https://one.org/b.pth', 404, 'Not Found', {}, None
    )
    with pytest.raises(CheckpointError, match='b.pth cannot be fetched .*404'):
        read_checkpoint('https://one.org/b.pth')


def test_hub_takes_safetensors_first(hub):
    for name, value in [('pytorch_model.bin', 1), ('model.safetensors', 2), ('other.pth', 3)]:
        save(hub.root / 'org/name' / name, value)
    assert read_checkpoint('hf-hub:org/name')['w'] == 2
    assert read_checkpoint('hf-hub:org/name@v1/other.pth')['w'] == 3
    assert hub.asked == [('org/name', 'model.safetensors', None), ('org/name', 'other.pth', 'v1')]
    (hub.root / 'org/name/model.safetensors').unlink()
    assert read_checkpoint('hf_hub:org/name')['w'] == 1


def test_hub_errors_are_one_line(hub):
    from huggingface_hub import errors

    (hub.root / 'org/empty').mkdir(parents=True)
    for source, words in [
        ('hf-hub:name', 'expected hf-hub:ORG/NAME'),
        ('hf-hub:', 'expected hf-hub:ORG/NAME'),
        ('hf-hub:a b/c', 'must use alphanumeric'),
        ('hf-hub:org/absent', '401 Client Error.'),
        ('hf-hub:org/empty', 'none of model.safe'),
    ]:
        with pytest.raises(CheckpointError, match=words) as caught:
            read_checkpoint(source)
        assert '\n' not in str(caught.value)
    hub.error = errors.LocalEntryNotFoundError(
        'cannot find the file on the Hub, and not in the cache'
    )
    hub.waited = 0
    with pytest.raises(CheckpointError, match='not in the cache'):
        read_checkpoint('hf-hub:org/empty')
    assert hub.waited == 1  # for a connection; once


def test_timm_names_lead_to_the_hub(hub, monkeypatch):
    save(hub.root / 'timm/convnext_tiny.fb_in1k/model.safetensors', 5)
    assert read_checkpoint('timm:convnext_tiny.fb_in1k')['w'] == 5
    with pytest.raises(
        CheckpointError, match=r"'timm:convnext_tiny.fb_in2k': timm has no such.*tiny.fb_in22k"
    ):
        read_checkpoint('timm:convnext_tiny.fb_in2k')
    with pytest.raises(
        CheckpointError, match='timm has no such weights. Names that it has: convnext'
    ):
        read_checkpoint('timm:conv_next')


def test_timm_weights_by_address_or_not_at_all(tmp_path, web, monkeypatch):
    import timm

    cfg = timm.models.get_pretrained_cfg('convnext_tiny.fb_in1k')
    cfg.hf_hub_id, cfg.url = None, 'https://one.org/a.pth'
    monkeypatch.setattr('timm.models.get_pretrained_cfg', lambda name, **_: cfg)
    save(tmp_path / 'a.pth', 1)
    web['https://one.org/a.pth'] = (tmp_path / 'a.pth').read_bytes()
    assert read_checkpoint('timm:convnext_tiny.fb_in1k')['w'] == 1
    cfg.url = ''
    with pytest.raises(CheckpointError, match='has no weights for it'):
        read_checkpoint('timm:convnext_tiny.fb_in1k')


def test_folders(tmp_path):
    folder = tmp_path / 'snapshot'
    save(folder / 'pytorch_model.bin', 1)
    assert read_checkpoint(folder)['w'] == 1
    save(folder / 'model.safetensors', 2)
    assert read_checkpoint(str(folder))['w'] == 2
    save(tmp_path / 'run' / 'iter_4.pth', 3)
    with pytest.raises(
        CheckpointError, match='run is a folder without model.safetensors.*it holds iter_4.pth'
    ):
        read_checkpoint(tmp_path / 'run')


@pytest.mark.parametrize('suffix', ['.safetensors', '.bin'])
def test_split_checkpoints(tmp_path, suffix, hub):
    index = split(tmp_path, suffix, 3)
    for source in (tmp_path, index):
        assert {name: value.item() for name, value in read_checkpoint(source).items()} == dict(
            w0=0, w1=1, w2=2
        )
    (hub.root / 'org').mkdir(parents=True)
    (hub.root / 'org/name').symlink_to(tmp_path)
    assert len(read_checkpoint('hf-hub:org/name')) == 3

    index.write_text(index.read_text().replace('"w1"', '"w9"'))
    with pytest.raises(CheckpointError, match='the parts lack 1 of the 3 weights.*w9'):
        read_file(tmp_path)
    next(tmp_path.glob(f'*00001-of*{suffix}')).unlink()
    with pytest.raises(
        CheckpointNotFoundError,
        match='index of 3 files, and of these .*00001-of-00003.* not beside it',
    ):
        read_file(tmp_path)


@pytest.mark.parametrize(
    'text',
    [
        '{}',
        '[]',
        'no json',
        '{"weight_map": {}}',
        '{"weight_map": {"w": "../outside.safetensors"}}',
        '{"weight_map": {"w": "/etc/passwd"}}',
        '{"weight_map": {"w": "model.safetensors.index.json"}}',
        '{"weight_map": {"w": 1}}',
        '[' * 100000,
    ],
    ids=range(9),
)
def test_an_index_reaches_no_other_folder(tmp_path, text):
    save(tmp_path / 'outside.safetensors', 1)
    (tmp_path / 'in').mkdir()
    (tmp_path / 'in' / 'model.safetensors.index.json').write_text(text)
    with pytest.raises(CheckpointError, match='index'):
        read_file(tmp_path / 'in')


def test_a_part_without_names_is_refused(tmp_path):
    torch.save([1], tmp_path / 'part.bin')
    (tmp_path / 'pytorch_model.bin.index.json').write_text('{"weight_map": {"w": "part.bin"}}')
    with pytest.raises(
        CheckpointError, match='each part of a split checkpoint must hold names and tensors'
    ):
        read_file(tmp_path)


def test_other_addresses_and_missing_files(tmp_path):
    save(tmp_path / 'a.pth', 1)
    for source in (f'file://{tmp_path}/a.pth', 's3://bucket/a.pth', 'open-mmlab://resnet50'):
        with pytest.raises(
            CheckpointError, match='addresses of the kind .*:// are not read. Give a path'
        ):
            locate(source)
    with pytest.raises(
        FileNotFoundError, match='absent.pth does not exist. Give the path of a file, an https'
    ):
        locate(tmp_path / 'absent.pth')

"""The metafiles name every config, and the page of recipes is what the command writes."""

from pathlib import Path

import pytest
import yaml

from convnext_dense.apis.recipes import format_page, format_scores, read_metafiles

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs'
MODELS = [model for metafile in read_metafiles(CONFIGS) for model in metafile['Models']]


def test_every_config_has_one_entry_and_every_entry_a_config():
    described = [model['Config'] for model in MODELS]
    assert sorted(described) == sorted(f'configs/{path.name}' for path in CONFIGS.glob('*.py'))


@pytest.mark.parametrize('path', sorted(CONFIGS.glob('metafile_*.yml')), ids=lambda path: path.stem)
def test_entries_follow_the_conventions(path):
    data = path.stem.removeprefix('metafile_')
    metafile = yaml.safe_load(path.read_text())
    collections = {collection['Name'] for collection in metafile['Collections']}
    for model in metafile['Models']:
        assert model['Config'] == f'configs/{model["Name"]}.py'
        assert model['Name'].endswith(f'_{data}')
        assert model['In Collection'] in collections
        assert ('Results' in model) + ('Expected' in model) <= 1
        assert model['Measured']


def test_model_index_imports_all_metafiles():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    paths = sorted(CONFIGS.glob('metafile_*.yml'))
    assert index['Import'] == [f'configs/{path.name}' for path in paths]


@pytest.mark.parametrize(
    'model, text',
    [
        (dict(Results=[dict(Metrics={'box AP': 46.2}), dict(Metrics={'mask AP': 41.0})]),
         'box AP 46.2, mask AP 41.0'),
        (dict(Expected='no published score'), 'no published score'),
        (dict(), '-'),
    ],
)  # fmt: skip
def test_scores_are_written_as_text(model, text):
    assert format_scores(model) == text


def test_the_page_is_what_the_command_writes():
    page = (ROOT / 'docs' / 'recipes.md').read_text()
    assert page == format_page(CONFIGS), 'run: convnext-dense recipes --write'

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'prepare_data.py'


def run(*args):
    done = subprocess.run(
        [sys.executable, str(TOOL), *map(str, args)], capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout, done.stderr


def test_sample_then_check(tmp_path):
    sample = ('sample', '--root', tmp_path / 's', '--train', 2, '--val', 1, '--seed', 3)
    root = tmp_path / 's' / 'ade' / 'ADEChallengeData2016'
    code, out, _ = run(*sample)
    assert (
        code == 0
        and f'Wrote 2 training and 1 validation scenes, seed 3, in {root}' in out
        and '--sample' in out
    )
    code, out, _ = run(*sample)
    assert code == 0 and 'Already there: 2 training' in out
    code, out, _ = run('ade20k', '--root', root, '--full')
    assert code == 0 and 'right: training: 2 images' in out and 'every image and label' in out
    (root / 'annotations' / 'validation' / 'ADE_val_00000001.png').write_bytes(b'')
    code, out, _ = run('ade20k', '--root', root)
    assert code == 1 and 'wrong:' in out and 'cannot be read' in out
    code, out, _ = run('ade20k', '--root', tmp_path / 's' / 'ade')
    assert code == 1 and f'the right folder seems to be {root}' in out


@pytest.mark.parametrize(
    'args, code, message',
    [
        (('sample', '--train', 0), 1, 'num_train=0'),
        (('ade20k',), 2, '--root'),
        ((), 2, 'ACTION'),
    ],
)
def test_wrong_arguments(tmp_path, args, code, message):
    if args[:1] == ('sample',):
        args = (*args, '--root', tmp_path)
    got, _, err = run(*args)
    assert got == code and message in err and 'Traceback' not in err


def test_foreign_data_is_not_overwritten(tmp_path):
    root = tmp_path / 'ade' / 'ADEChallengeData2016'
    root.mkdir(parents=True)
    (root / 'precious').write_text('mine')
    code, _, err = run('sample', '--root', tmp_path)
    assert (
        code == 1
        and 'left as it is' in err
        and [path.name for path in root.iterdir()] == ['precious']
    )


def test_coco_sample_then_check(tmp_path):
    config = tmp_path / 'my_sample.py'
    config.write_text("data_root = 'data/sample/coco'")
    code, out, _ = run(
        'sample', '--root', tmp_path / 's', '--train', 2, '--val', 1, '--config', config
    )
    root = tmp_path / 's' / 'coco'
    assert code == 0 and f'Wrote 2 training and 1 validation scenes, seed 0, in {root}.' in out
    assert [path.name for path in (tmp_path / 's').iterdir()] == [
        'coco'
    ]  # only what the config reads
    code, out, _ = run('coco', '--root', root, '--full')
    assert code == 0 and 'right: train2017: 2 images' in out and 'every image can be read' in out
    code, out, _ = run('coco', '--root', tmp_path / 's')
    assert code == 1 and 'wrong:' in out and f'the right folder seems to be {root}' in out
    code, _, err = run('sample', '--root', tmp_path / 's', '--config', 'absent.py')
    assert code == 1 and 'config absent.py does not exist' in err

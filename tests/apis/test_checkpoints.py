"""mmengine's training state passes torch's safe loader; the door is no wider than that."""
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub

from convnext_dense.apis import ConfigError, allow_training_checkpoints, require_fit


@pytest.fixture(autouse=True)
def allowed(monkeypatch):
    before = torch.serialization.get_safe_globals()
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '0')  # put back after the test
    allow_training_checkpoints()
    yield
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(before)


def test_message_hub_round_trip(tmp_path):
    hub = MessageHub('round trip')
    hub.update_scalar('train/loss', 1.5)
    hub.update_scalar('train/loss', np.float64(2.5), 3)
    hub.update_info('iter', 4)
    torch.save(dict(message_hub=hub.state_dict(), weights=OrderedDict(w=torch.ones(2))), tmp_path / 'c.pth')
    loaded = torch.load(tmp_path / 'c.pth', weights_only=True)
    buffer = loaded['message_hub']['log_scalars']['train/loss']
    assert isinstance(buffer, HistoryBuffer) and buffer.data[0].tolist() == [1.5, 2.5]
    assert buffer.statistics('mean', 2) == 1.0  # (1.5 + 2.5) over counts 1 + 3


class Opens:
    """Pickles as open(path, 'w'), which would leave a file."""
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, 'w')


def test_mmengines_loader_runs_no_code(tmp_path):
    from mmengine.runner import load_checkpoint
    torch.save(dict(state_dict={}, meta=Opens(str(tmp_path / 'marker'))), tmp_path / 'c.pth')
    with pytest.raises(pickle.UnpicklingError):
        load_checkpoint(torch.nn.Linear(1, 1), str(tmp_path / 'c.pth'), map_location='cpu')
    assert not (tmp_path / 'marker').exists()


class Reach:
    """Pickles as getattr(owner, name)."""
    def __init__(self, owner, name):
        self.owner, self.name = owner, name

    def __reduce__(self):
        return getattr, (self.owner, self.name)


@pytest.mark.parametrize('reach', [Reach(OrderedDict, '__init__'), Reach(HistoryBuffer, '__init__')])
def test_getattr_reaches_nothing_else(tmp_path, reach):
    torch.save(reach, tmp_path / 'c.pth')
    with pytest.raises((pickle.UnpicklingError, ValueError), match='no statistic of a log history'):
        torch.load(tmp_path / 'c.pth', weights_only=True)


@pytest.mark.parametrize(('weight', 'words'), [(torch.ones(3, 2), r'file \(3, 2\), model \(2, 3\)'), (None, 'missing')])
def test_weights_of_another_shape_or_missing_are_refused(tmp_path, weight, words):
    model = torch.nn.Linear(3, 2)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'right.pth')
    require_fit(model, str(tmp_path / 'right.pth'))
    wrong = {'bias': torch.ones(2)} | ({} if weight is None else {'weight': weight})
    torch.save(dict(state_dict=wrong), tmp_path / 'wrong.pth')
    with pytest.raises(ConfigError, match=f'wrong.pth does not fit.*1 of 2 weights.*weight: {words}'):
        require_fit(model, str(tmp_path / 'wrong.pth'))

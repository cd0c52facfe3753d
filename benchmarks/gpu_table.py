"""What the figures say: which kernels are worth it, which goals are met. Imports no torch."""

from __future__ import annotations

# (arch, inference or training step) -> times faster than the fastest peer, than timm eager channels_last
GOALS = {
    ('tiny', 'inference'): (1.65, 2.5),
    ('base', 'inference'): (1.55, 2.2),
    ('large', 'inference'): (1.4, 1.9),
    ('tiny', 'training step'): (1.45, 2.0),
    ('base', 'training step'): (1.4, 1.8),
    ('large', 'training step'): (1.3, 1.65),
}
SAVED_GOALS = {'ours': 0.5, 'ours low': 0.2}  # of what timm saves
ANCHOR = 'timm, channels_last'
WORTH = 1.03  # times faster: less is noise


def measured(entries: dict, key: str = 'ms') -> dict:
    """Those that have a figure."""
    return {
        name: entry
        for name, entry in entries.items()
        if isinstance(entry, dict) and entry.get(key) is not None
    }


def gains(stages: dict) -> dict[str, float]:
    """Stage -> how many times faster Triton's kernel is than the faster of torch's ways."""
    return {
        stage: min(ms for name, ms in entry['ms'].items() if name != 'triton')
        / entry['ms']['triton']
        for stage, entry in measured(stages).items()
    }


def worth_it(stages: dict) -> bool:
    """Right wherever it was measured, broken nowhere, and faster over all its stages together."""
    entries = measured(stages).values()
    if any('error' in entry and 'ms' not in entry for entry in stages.values()):
        return False
    ours = sum(entry['ms']['triton'] for entry in entries)
    theirs = sum(
        min(ms for name, ms in entry['ms'].items() if name != 'triton') for entry in entries
    )
    return all(entry['right'] for entry in entries) and theirs > WORTH * ours


def winners(report: dict) -> dict[str, str]:
    """``dispatch.MEASURED`` as these figures ask for it: worth it at every size and with every switch measured."""
    found: dict[str, list[tuple[bool, str]]] = {}
    for size, operations in report.get('operations', {}).items():
        for name, stages in operations.items():
            if all(entry.keys() == {'not run'} for entry in stages.values()):
                continue
            text = f'{size}: ' + ', '.join(f'{gain:.2f}' for gain in gains(stages).values())
            found.setdefault(name.split()[0], []).append(
                (worth_it(stages), text if ' ' not in name else '')
            )
    device = report.get('facts', {}).get('device', {}).get('name', 'unknown device')
    return {
        name: f'{device}, bf16; times faster by stage, {"; ".join(text for _, text in each if text)}'
        for name, each in found.items()
        if all(worth for worth, _ in each)
    }


def judge(case: str, entries: dict) -> dict:
    """One case against its goals: the fastest of ours over the fastest peer, and over timm eager channels_last."""
    arch, _, kind = case.split(' ', 2)
    timed = measured(entries)
    peers, ours = (
        {name: entry['ms'] for name, entry in timed.items() if name.startswith('ours') == own}
        for own in (False, True)
    )
    if not peers or not ours:
        return {'verdict': 'not measured'}
    best, peer = min(ours, key=ours.get), min(peers, key=peers.get)
    ratio, goal = peers[peer] / ours[best], GOALS.get((arch, kind), (None, None))
    anchor = peers[ANCHOR] / ours[best] if ANCHOR in peers else None
    return {
        'ours': best,
        'ms': ours[best],
        'peer': peer,
        'peer_ms': peers[peer],
        'ratio': round(ratio, 3),
        'goal': goal[0],
        'to_anchor': anchor and round(anchor, 3),
        'goal_to_anchor': goal[1],
        'compiled_peers': sum('compile' in name or 'autotune' in name for name in peers),
        'verdict': _verdict(ratio, goal[0]),
        'verdict_to_anchor': _verdict(anchor, goal[1]),
    }


def judge_memory(entries: dict) -> dict:
    """Ours over timm in what a block keeps and over the peer with the least peak; less is better."""
    peaks = measured(entries, 'peak_bytes')
    least = min(
        (entry['peak_bytes'] for name, entry in peaks.items() if not name.startswith('ours')),
        default=None,
    )
    blocks = {
        name: entry['block_bytes'] for name, entry in measured(entries, 'block_bytes').items()
    }
    judged = {}
    for name in blocks:
        if name.startswith('ours') and 'timm' in blocks and least:
            kept, goal = blocks[name] / blocks['timm'], SAVED_GOALS.get(name.split(',')[0])
            peak = peaks[name]['peak_bytes'] / least
            judged[name] = {
                'block': round(kept, 3),
                'goal': goal,
                'verdict': _verdict(goal, kept),
                'peak': round(peak, 3),
                'peak_verdict': _verdict(1.0, peak),
            }
    return judged


def _verdict(ratio: float | None, goal: float | None) -> str:
    return 'no goal' if ratio is None or goal is None else 'met' if ratio >= goal else 'missed'


def conclude(report: dict) -> None:
    """Adds ``goals``, ``memory goals`` and ``MEASURED`` to the report."""
    report['goals'] = {
        case: judge(case, entries) for case, entries in report.get('backbones', {}).items()
    }
    report['memory goals'] = {
        arch: judge_memory(entries) for arch, entries in report.get('memory', {}).items()
    }
    report['MEASURED'] = winners(report)

"""What the web page shows of a prediction, in words and as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from mmhrnet.hosts.host import Things

NAMED = 3  # shares and scores that the summary names


def summarize(found: Things) -> str:
    """What was found in a few words: ``3 persons, 1 star``, ``room 0.83`` or ``sky 45%``."""
    if not found:
        return 'nothing was found'
    if 'share' in found[0]:
        return ', '.join(f'{one["class"]} {one["share"]:.0%}' for one in found[:NAMED])
    if 'bbox' not in found[0]:
        return ', '.join(f'{one["class"]} {one["score"]:.2f}' for one in found[:NAMED])
    counts = Counter(str(one.get('class', 'person')) for one in found)
    return ', '.join(f'{count} {_plural(name, count)}' for name, count in counts.most_common())


def _plural(name: str, count: int) -> str:
    if count == 1 or name.endswith('s'):
        return name
    return name + ('es' if name.endswith(('ch', 'sh', 'x')) else 's')


def tabulate(found: Things) -> tuple[list[str], list[list[str]]]:
    """Headings, and a row for each thing that was found."""
    columns = [(key, *column) for key, column in COLUMNS.items() if found and key in found[0]]
    rows = [[write(one[key]) for key, _, write in columns] for one in found]
    return [heading for _, heading, _ in columns], rows


def _mean(scores: Any) -> str:
    return f'{sum(scores) / len(scores):.2f}'


def _box(sides: Any) -> str:
    return ', '.join(f'{side:.0f}' for side in sides)


COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {  # of the table, by key of what was found
    'class': ('class', str),
    'score': ('score', '{:.2f}'.format),
    'bbox_score': ('score', '{:.2f}'.format),
    'keypoint_scores': ('joint score', _mean),
    'share': ('share', '{:.1%}'.format),
    'bbox': ('box (xyxy)', _box),
}

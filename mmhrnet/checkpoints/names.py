"""How the published HRNets name their tensors, as rules that work in both directions.

Every name is translated to a common one: ``body.`` for the backbone, whose names are the same
everywhere, and a part for each kind of head::

    cls.increase.0.0.conv1  cls.down.0.conv  cls.down.0.bn  cls.final.conv  cls.fc   classification
    v2.conv  v2.bn                                     1x1 convolution over the concatenation
    seg  kpt                                           last convolution: classes, keypoints
    pyramid.reduce  pyramid.level.0                    HRNetV2p
    aux.conv  aux.seg  ocr.bottleneck.conv  ocr...     object context (OCR)

A rule is the name in a form and the common one. Where a form has two names for one layer, all but
one of the rules have a third entry: the part in whose presence that name is written, or
``READ_ONLY``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import cache

Rules = tuple[tuple[str, ...], ...]

READ_ONLY = '-'  # names that are recognised but not written

BODY = re.compile(r'(conv[12]|[a-z]+[12]|layer1|transition[123]|stage[234])\.')
BODY_NORM = re.compile(r'\b(?:bn|gn|ln|in)(?=[123]\.)')  # mmcv names a norm after its type

PLAIN_BODY: Rules = (('', 'body.'),)
PREFIXED_BODY: Rules = (('backbone.', 'body.'),)


def _rename(*rules: tuple[str, ...], before: str = '', common: str = '') -> Rules:
    return tuple((before + theirs, common + ours, *rest) for theirs, ours, *rest in rules)


CLASSIFIER = (
    ('increase_layers.{}.', 'cls.increase.{}.'),
    ('downsample_layers.{}.', 'cls.down.{}.'),
    ('final_layer.', 'cls.final.'),
)
CLASSIFIER_MODEL = (*((f'neck.0.{a}', b) for a, b in CLASSIFIER), ('head.fc.', 'cls.fc.'))
# mmpose's necks are not lists.
CLASSIFIER_NECK = tuple((f'neck.{a}', b, READ_ONLY) for a, b in CLASSIFIER)
PYRAMID = (
    ('neck.reduction_conv.conv.', 'pyramid.reduce.'),
    ('neck.fpn_convs.{}.conv.', 'pyramid.level.{}.'),
)
# Projections of object context: of pixels, of objects, of values, and back.
OCR_MMSEG = (
    *_rename(
        ('convs.0.conv.', 'conv.'),
        ('convs.0.bn.', 'bn.'),
        ('conv_seg.', 'seg.'),
        before='decode_head.0.',
        common='aux.',
    ),
    *_rename(
        ('bottleneck.', 'bottleneck.'),
        ('conv_seg.', 'seg.'),
        ('object_context_block.query_project.', 'pixel.'),
        ('object_context_block.key_project.', 'object.'),
        ('object_context_block.value_project.', 'value.'),
        ('object_context_block.out_project.', 'out.'),
        ('object_context_block.bottleneck.', 'mix.'),
        before='decode_head.1.',
        common='ocr.',
    ),
)
OCR_BLOCK = 'ocr_distri_head.object_context_block.'
UNIT = (('0.', 'conv.'), ('1.0.', 'bn.'))  # a convolution and its norm
TWO_UNITS = (('0.', '0.conv.'), ('1.0.', '0.bn.'), ('2.', '1.conv.'), ('3.0.', '1.bn.'))
OCR_OFFICIAL = (
    *_rename(('0.', 'conv.'), ('1.', 'bn.'), ('3.', 'seg.'), before='aux_head.', common='aux.'),
    ('cls_head.', 'ocr.seg.'),
    *_rename(
        *(('0.', 'conv.'), ('1.', 'bn.'), ('1.0.', 'bn.', READ_ONLY)),
        before='conv3x3_ocr.',
        common='ocr.bottleneck.',
    ),
    *_rename(*TWO_UNITS, before=f'{OCR_BLOCK}f_pixel.', common='ocr.pixel.'),
    *_rename(*TWO_UNITS, before=f'{OCR_BLOCK}f_object.', common='ocr.object.'),
    *_rename(*UNIT, before=f'{OCR_BLOCK}f_down.', common='ocr.value.'),
    *_rename(*UNIT, before=f'{OCR_BLOCK}f_up.', common='ocr.out.'),
    *_rename(*UNIT, before='ocr_distri_head.conv_bn_dropout.', common='ocr.mix.'),
)
IMAGENET = (
    ('incre_modules.{}.', 'cls.increase.{}.'),
    ('downsamp_modules.{}.0.', 'cls.down.{}.conv.'),
    ('downsamp_modules.{}.1.', 'cls.down.{}.bn.'),
    ('final_layer.0.', 'cls.final.conv.'),
    ('final_layer.1.', 'cls.final.bn.'),
    ('classifier.', 'cls.fc.'),
)
KEYPOINTS = (
    ('head.final_layer.', 'kpt.'),
    ('head.conv_layers.0.', 'v2.conv.'),
    ('head.conv_layers.1.', 'v2.bn.'),
)

FORMS: dict[str, Rules] = {
    'mmhrnet': (
        *PREFIXED_BODY,
        ('neck.conv.', 'v2.'),
        ('decode_head.conv_seg.', 'seg.'),
        ('head.final_layer.', 'kpt.'),
        *PYRAMID,
        *CLASSIFIER_MODEL,
        *CLASSIFIER_NECK,
        *OCR_MMSEG,
    ),
    'mmdet': (*PREFIXED_BODY, *PYRAMID),
    'mmseg': (
        *PREFIXED_BODY,
        ('decode_head.convs.0.', 'v2.'),
        ('decode_head.conv_seg.', 'seg.'),
        *OCR_MMSEG,
    ),
    'mmpose': (*PREFIXED_BODY, *KEYPOINTS),
    'mmpretrain': (*PREFIXED_BODY, *CLASSIFIER_MODEL),
    'mmpose 0.x': (
        *PREFIXED_BODY,
        ('keypoint_head.final_layer.0.', 'v2.conv.'),
        ('keypoint_head.final_layer.1.', 'v2.bn.'),
        ('keypoint_head.final_layer.3.', 'kpt.', 'v2'),
        ('keypoint_head.final_layer.', 'kpt.'),
    ),
    'official': (
        *PLAIN_BODY,
        *IMAGENET,
        *_rename(('0.', 'v2.conv.'), ('1.', 'v2.bn.'), ('3.', 'seg.'), before='last_layer.'),
        *_rename(
            ('0.', 'v2.conv.', 'kpt'), ('1.', 'v2.bn.', 'kpt'), ('3.', 'kpt.', 'v2'), before='head.'
        ),
        *OCR_OFFICIAL,
        ('final_layer.', 'kpt.'),
    ),
    'official detection': (
        *PREFIXED_BODY,
        ('neck.reduction_conv.0.', 'pyramid.reduce.'),
        ('neck.fpn_conv.{}.', 'pyramid.level.{}.'),
    ),
    'timm': (*PLAIN_BODY, *IMAGENET),
}


Pattern = tuple[re.Pattern[str], str, str]


@cache
def _patterns(form: str, inverse: bool) -> tuple[Pattern, ...]:
    """The rules, longest first, so that the most specific one applies."""
    rules = [(a, b, ''.join(beside)) for a, b, *beside in FORMS[form]]
    if inverse:
        rules = [(b, a, beside) for a, b, beside in rules if beside != READ_ONLY]
    rules.sort(key=lambda rule: (len(rule[0]), bool(rule[2])), reverse=True)
    return tuple(
        (re.compile(re.escape(a).replace(r'\{\}', r'(\d+)')), b.replace('{}', r'\1'), beside)
        for a, b, beside in rules
    )


def to_common(name: str, form: str) -> str | None:
    """The common name of a form's name, or None if the form has no such name."""
    for pattern, replacement, _ in _patterns(form, False):
        match = pattern.match(name)
        if match is None or (replacement == 'body.' and not BODY.match(name[match.end() :])):
            continue
        common = match.expand(replacement) + name[match.end() :]
        return BODY_NORM.sub('norm', common) if common.startswith('body.') else common
    return None


def from_common(name: str, form: str, parts: Collection[str] = (), norm: str = 'bn') -> str | None:
    """The form's name for a common name, or None if it has none.

    Args:
        name: Common name.
        form: One of ``FORMS``.
        parts: Parts of the network that it belongs to.
        norm: What the norms of its blocks are called.
    """
    for pattern, replacement, beside in _patterns(form, True):
        match = pattern.match(name)
        if match is not None and (not beside or beside in parts):
            theirs = match.expand(replacement) + name[match.end() :]
            return re.sub(r'\bnorm(?=[123]\.)', norm, theirs)
    return None


def part_of(common: str) -> str:
    """The part of a network that a tensor belongs to; the classifier's last layer is its own."""
    return 'cls.fc' if common.startswith('cls.fc') else common.split('.')[0]


def recognise(names: Iterable[str]) -> tuple[list[str], int]:
    """The forms that explain most names, and how many of the names are of a backbone."""
    names = list(names)
    scores = {form: sum(to_common(name, form) is not None for name in names) for form in FORMS}
    forms = [form for form, score in scores.items() if score == max(scores.values())]
    body = [name for name in names if (to_common(name, forms[0]) or '').startswith('body.')]
    return forms, len(body)

"""Speed and memory beside every other HRNet: same weights, same inputs, in one run."""

from mmhrnet.analysis.benchmark.cases import CASES
from mmhrnet.analysis.benchmark.contestants import INFERENCE, TRAINING
from mmhrnet.analysis.benchmark.run import benchmark

__all__ = ['CASES', 'INFERENCE', 'TRAINING', 'benchmark']

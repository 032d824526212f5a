"""Speed and memory beside every other HRNet: same weights, same inputs, in one run."""

from mmhrnet.benchmark.forms import INFERENCE, TRAINING
from mmhrnet.benchmark.networks import CASES
from mmhrnet.benchmark.run import benchmark
from mmhrnet.benchmark.whole import benchmark_whole

__all__ = ['CASES', 'INFERENCE', 'TRAINING', 'benchmark', 'benchmark_whole']

"""``mmhrnet zoo evaluate`` by its OpenMMLab name; ``--help`` shows its options."""

from mmhrnet.cli import run

if __name__ == '__main__':
    run('zoo evaluate', 'benchmark_zoo.py')

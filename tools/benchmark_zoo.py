"""``mmhrnet zoo`` by its OpenMMLab name; ``--help`` shows its options."""

from mmhrnet.cli import run

if __name__ == '__main__':
    run('zoo', 'benchmark_zoo.py')

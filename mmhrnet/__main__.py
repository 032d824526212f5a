"""``python -m mmhrnet``: the command ``mmhrnet`` if it is not on the PATH."""

from mmhrnet.cli import main

if __name__ == '__main__':
    main()

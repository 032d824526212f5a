"""``python -m mmhrnet``: the command ``mmhrnet`` where it is not on the path."""

from mmhrnet.cli import main

if __name__ == '__main__':
    main()

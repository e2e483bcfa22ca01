"""``python -m ordo COMMAND`` is ``ordo COMMAND``."""

import ordo.stop  # noqa: F401  first: Ctrl-C while the rest is imported

# isort: split
from ordo.commands import main

# Lightning would start the other processes of trainer=ddp by the name of this module.
__spec__ = None

if __name__ == "__main__":
    main()

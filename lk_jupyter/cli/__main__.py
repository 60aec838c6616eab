"""``python -m lk_jupyter.cli``: the command ``lk``."""

from lk_jupyter._python import leave_working_folder

if __name__ == "__main__":
    leave_working_folder()

    from lk_jupyter.cli import entry

    entry()

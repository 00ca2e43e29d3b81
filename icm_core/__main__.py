"""``python -m icm_core``: the program ``icm``, for launchers that start a module."""

from icm_core.cli import main

if __name__ == "__main__":
    main()

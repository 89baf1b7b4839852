"""`python -m rnnc` is the command `rnnc`."""

from rnnc.runtime.cli import main

if __name__ == "__main__":
    main()

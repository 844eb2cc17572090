#!/usr/bin/env python3
"""Measure aether: figures of one run on one machine, to be compared with each other rather than with other machines'.

`python scripts/bench.py --help` says what there is; the code is in `benchlib/`.
"""

from benchlib.commands import main

if __name__ == "__main__":
    main()

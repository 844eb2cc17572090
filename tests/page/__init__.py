"""The page in a real browser. This file makes a package, whose end is the end of its fixtures."""

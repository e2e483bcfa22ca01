"""Importing this module makes Ctrl-C and SIGTERM end the process at once, without a traceback.

Every entry point imports this module first, before what takes seconds to import. The library never
imports this module: in a notebook, or in a program of the user's own, Ctrl-C stays what it was.
"""

from ordo.leaving import leave_quietly

leave_quietly()

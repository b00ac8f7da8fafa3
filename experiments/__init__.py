"""Training scripts on Flax NNX that use the library as its users would."""

import signal
import sys

if sys.argv[0] == "-m":  # `python -m experiments.train` and the like are being imported
    # Ctrl-C while the libraries are imported, some seconds, ends the command without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

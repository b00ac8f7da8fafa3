"""Runs many command lines of experiments.train, each in a child of a process that has imported it.

Importing takes seconds, an error message none. Standard input is a JSON list of argument lists; the
output a list of ``[exit code, standard output and error]``.
"""

import json
import os
import sys
import tempfile

from experiments import cli, train
from experiments.parallel import multihost


def run(arguments):
    """Exit code and output of one command."""
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if not child:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            sys.argv = ["experiments/train.py", *arguments]
            os._exit(_exit_code())
        _, status = os.waitpid(child, 0)
        output.seek(0)
        return os.waitstatus_to_exitcode(status), output.read().decode()


def _exit_code():
    try:
        cli.run(train.main, before=multihost.connect)
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr, flush=True)
        return 1 if isinstance(error.code, str) else error.code or 0
    except BaseException as error:
        print(f"Traceback: {error!r}", file=sys.stderr, flush=True)
        return 2
    return 0


if __name__ == "__main__":
    print(json.dumps([run(arguments) for arguments in json.load(sys.stdin)]))

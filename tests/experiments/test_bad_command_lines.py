"""Command lines that cannot work end with one line that says why."""

import json
import subprocess
import sys

import pytest

# Arguments, and what the message must contain.
BAD = {
    # keys
    "--config.lr=1": "unknown config key lr; valid ones: augment, batch_size",
    "--config.epoch=3": "unknown config key epoch (did you mean 'epochs'?)",
    "--config.learning_rte=3": "did you mean 'learning_rate'",
    "--config.k=5": "k is an argument of methods",
    "--config.rho=0.1": "rho is an argument of methods",
    "--config.fast_optimizer=false": "fast_optimizer is an argument of methods",
    "--config.method.k=5": "unknown config key 'method.k'",
    "--config.=5": "unknown config key ''",
    "--nonsense=1": "Unknown command line flag 'nonsense'",
    "--wrkdir=runs": "Did you mean: workdir",
    "sam": "unexpected arguments: sam",
    # config files
    "--config=nowhere.py": "No such file or directory: 'nowhere.py'",
    "--config=tests": "tests",
    "--config=digit": "unknown config 'digit' (did you mean 'digits'?)",
    "--config=": "unknown config ''",
    "--config=base": "unknown config 'base'",
    "--config=digits:fast": "takes no recipe after a colon, got 'fast'",
    "--config=cifar:fast": "unknown recipe 'fast'; valid ones: aesam, lookbehind",
    "--config=cifar:": "unknown recipe ''",
    "--config=README.md": "README.md: SyntaxError",
    "--config=tests/golden/variants.json": "has no function get_config()",
    # methods
    "--config.method=adam": "unknown method 'adam' (did you mean 'asam'?)",
    "--config.method=lookbehindsam:k=5": "did you mean 'lookbehind_sam'",
    "--config.method=": "unknown method ''",
    "--config.method=SAM": "unknown method 'SAM'",
    "--config.method=sam:k=5": "sam has no argument k",
    "--config.method=sam:rho": "name:key=value",
    "--config.method=sam:rho=": "name:key=value",
    "--config.method=sam:rho=0": "rho must be",
    "--config.method=sam:rho=inf": "rho must be",
    "--config.method=sam:rho=1e-400": "rho must be",
    "--config.method=lookbehind_sam:k=0": "k must be",
    "--config.method=lookbehind_sam:k=1.5": "k must be an integer, got '1.5'",
    "--config.method=lookbehind_sam:alpha=none": "alpha must be",
    "--config.method=lookbehind_sam:alpha=0": "alpha must be",
    "--config.method=lookbehind_sam:alpha=1.1": "alpha must be",
    "--config.method=multistep_sam:average=maybe": "average must be true or false, got 'maybe'",
    "--config.method=esam:gamma=0": "gamma must be in (0, 1]",
    "--config.method=looksam:period=0": "period",
    # switch
    "--config.switch=((True,'sam'),)": "switch must be pairs",
    "--config.switch=((0,'sam'),)": "switch must be pairs",
    "--config.switch=((99,'sam'),)": "switch must be pairs",
    "--config.switch=((5,'sam:k=2'),)": "sam has no argument k",
    "--config.switch=((5,'adam'),)": "unknown method 'adam'",
    "--config.switch=((5,),)": "switch must be pairs",
    "--config.switch=((5,3),)": "switch must be pairs",
    "--config.switch=((5,'sam'),(3,'asam'))": "switch must be pairs",
    # numbers
    "--config.epochs=many": "invalid literal for int() with base 10: 'many'",
    "--config.epochs=1.5": "epochs",
    "--config.epochs=0": "epochs must be in [1, 1000000], got 0",
    "--config.epochs=-1": "epochs must be in [1, 1000000], got -1",
    "--config.epochs=99999999999": "epochs must be in [1, 1000000], got 99999999999",
    "--config.seed=-1": "seed must be an integer in [0, 2**32), got -1",
    "--config.seed=4294967296": "seed must be an integer in [0, 2**32)",
    "--config.seed=18446744073709551616": "seed must be an integer in [0, 2**32)",
    "--config.noise_seed=4294967296": "noise_seed must be an integer in [0, 2**32)",
    "--config.batch_size=0": "batch_size must be >= 1, got 0",
    "--config.batch_size=5000": "batch_size must be in [1, 1437], got 5000",
    "--config.eval_batch_size=0": "eval_batch_size must be >= 1, got 0",
    "--config.eval_every=0": "eval_every must be >= 1, got 0",
    "--config.microbatches=0": "microbatches must be >= 1, got 0",
    "--config.microbatches=3": "microbatches, got 128",
    "--config.learning_rate=0": "learning_rate must be > 0",
    "--config.learning_rate=nan": "learning_rate must be > 0",
    "--config.learning_rate=inf": "learning_rate must be > 0",
    "--config.momentum=1": "momentum must be in [0, 1)",
    "--config.weight_decay=-1": "weight_decay must be >= 0",
    "--config.label_noise=2": "label_noise must be in [0, 1]",
    "--config.label_smoothing=1": "label_smoothing must be in [0, 1)",
    "--config.validation=1": "validation must be in [0, 1)",
    "--config.train_examples=0": "train_examples must be >= 1",
    "--config.train_examples=2000": "train_examples must be in [1, 1437], got 2000",
    "--config.skip_nonfinite=-1": "skip_nonfinite must be >= 0",
    "--config.keep_every=0": "keep_every must be >= 1",
    "--config.workers=-1": "workers must be >= 0",
    # names
    "--config.optimizer=adma": "unknown optimizer 'adma' (did you mean 'adam'?)",
    "--config.schedule=linear": "unknown schedule 'linear'",
    "--config.dtype=float16": "dtype must be 'float32' or 'bfloat16', got 'float16'",
    "--config.task=translate": "unknown task 'translate'",
    "--config.model=resnet19": "unknown model 'resnet19' (did you mean 'resnet18'?)",
    "--config.model=": "unknown model ''",
    "--config.model=wrn15_1": "depth of a Wide ResNet",
    "--config.model=vit_s3": "image_size must be a multiple of the patch size 3",
    "--config.model=nowhere:make": "there is no module 'nowhere'",
    "--config.model=:": "model must be a name or module:function",
    "--config.dataset=digit": "unknown dataset 'digit' (did you mean 'digits'?)",
    "--config.dataset=math:laod": "has no function 'laod'",
    "--config.dataset=tests.support.own_model:load_nothing": "must return a Dataset",
    "--config.dataset=cifar10 --config.data_dir=nowhere": "tfds build cifar10",
    "--config.pretrained=nowhere.npz --config.model=vit_s4": "nowhere.npz",
    # processes
    "--process_count=2": "--process_count and --process_id need --coordinator=host:port",
    "--coordinator=here:1": "--coordinator=host:port needs --process_count and --process_id",
    "--process_count=two": "process_count",
}


@pytest.fixture(scope="module")
def answers(pytestconfig, tmp_path_factory):
    """Exit code and output of every command line."""
    workdir = tmp_path_factory.mktemp("runs")
    lines = [[*line.split(), f"--workdir={workdir / str(n)}"] for n, line in enumerate(BAD)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.forked_commands"],
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        cwd=pytestconfig.rootpath,
        check=True,
    )
    assert not list(workdir.iterdir())  # nothing is written for a run that cannot begin
    return dict(zip(BAD, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("line", BAD)
def test_a_bad_command_line_ends_with_one_line(answers, line):
    code, output = answers[line]
    assert code == 1, output
    assert BAD[line] in output
    assert "Traceback" not in output
    assert "dataset=cifar10" in line or len(output.splitlines()) == 1, output

import pathlib
import re

GUIDE = pathlib.Path(__file__).parents[2] / "docs" / "flatness.md"


def test_the_guides_program_runs_as_it_is_and_is_short(capsys):
    (program,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len([line for line in program.splitlines() if line.strip()]) < 30
    exec(compile(program, GUIDE, "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["SGD", "SAM"]

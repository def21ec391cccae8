"""How every command ends when it cannot go on: one line and an exit code, no traceback."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mindbyol.command import READER_GONE, one_line_errors

ROOT = Path(__file__).parents[2]
COMMANDS = ["train.py", "validate.py"] + [
    f"scripts/{name}.py"
    for name in ("preview", "embed", "export", "convert_checkpoint", "inspect_checkpoint", "make_mindrecord")
    + ("few_labels", "grid", "stl10_experiment", "plot", "map", "report", "compare", "make_stamps")
]
PACKAGES = ("mindspore", "mindcv", "numpy", "yaml", "PIL", "cv2", "sklearn", "tqdm", "matplotlib")


def start(*argv, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT, **options}
    return subprocess.run([sys.executable, *argv], **options)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flags", [[], ["--help"]])
def test_an_interpreter_without_the_packages(command, flags):
    run = start("-S", command, *flags)  # -S: without site-packages
    assert run.returncode == 1 and run.stdout == ""
    assert run.stderr.count("\n") == 1 and run.stderr.endswith("pip install -r requirements.txt\n")
    assert any(f"No module named '{package}'" in run.stderr for package in PACKAGES)


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_while_the_packages_are_imported(command, tmp_path):
    for package in PACKAGES:  # the first that is imported gets the signal
        (tmp_path / f"{package}.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nint()\n")
    run = start("-S", command, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert (run.returncode, run.stdout, run.stderr) == (130, "", "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_gone_and_a_closed_stdout(unbuffered):
    program = "from mindbyol.command import one_line_errors\nwith one_line_errors():\n    print('a' * 10)"
    environ = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    reader, writer = os.pipe()
    os.close(reader)
    run = start("-c", program, stdout=writer, env=environ)
    os.close(writer)
    assert (run.returncode, run.stderr) == (READER_GONE, "")
    run = start("-c", program, stdout=None, env=environ, preexec_fn=lambda: os.close(1))
    assert (run.returncode, run.stderr) == (0, "")
    with open("/dev/full", "w") as full:
        run = start("-c", program, stdout=full, env=environ)
    assert run.returncode == 1 and run.stderr.count("\n") == 1 and "No space left on device" in run.stderr


def test_training_into_a_pipe_that_nobody_reads_ends_quietly(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    log_a_line = ["--lr", "1", "--base_lr", "1"]  # a warning, the first line of many
    run = start("train.py", "--dataset", "digits", "--ckpt_save_dir", str(tmp_path), *log_a_line, stdout=writer)
    os.close(writer)
    assert (run.returncode, run.stderr) == (READER_GONE, "")


def test_errors_of_our_own_code_keep_their_traceback():
    with pytest.raises(ImportError), one_line_errors():
        import mindbyol.nowhere  # noqa: F401
    with pytest.raises(ValueError), one_line_errors(errors=(OSError,)):
        raise ValueError("a fault")


def test_control_characters_are_printed_as_escapes():
    with pytest.raises(SystemExit, match=r"^error: \\x1b\[31mred\\r \\udcff$"), one_line_errors():
        raise ValueError("\x1b[31mred\r \udcff")


@pytest.mark.parametrize(
    "name, flags",
    [
        ("preview", []),
        ("embed", ["--ckpt_path", "a", "--data_dir", "b", "-o", "c.npz"]),
        ("export", ["a", "--format", "mindcv"]),
        ("convert_checkpoint", ["a", "-o", "b.ckpt"]),
        ("inspect_checkpoint", ["a"]),
        ("make_mindrecord", ["--dataset", "digits", "--output_dir", "b"]),
        ("plot", ["a"]),
        ("report", ["a"]),
    ],
)
def test_a_flag_that_does_not_exist_is_one_line(name, flags, capsys):
    main = importlib.import_module(f"scripts.{name}").main
    with pytest.raises(SystemExit, match="^error: .*--nonsense[^\n]*$"):
        main([*flags, "--nonsense"])
    with pytest.raises(SystemExit, match="^error: --nonsense: is empty; was a variable not set?"):
        main([*flags, "--nonsense", ""])
    assert capsys.readouterr() == ("", "")


def test_a_device_that_is_not_there_and_a_split_that_is_a_path(tmp_path):
    embed, make_mindrecord = (importlib.import_module(f"scripts.{name}").main for name in ("embed", "make_mindrecord"))
    flags = ["--ckpt_path", "a", "--data_dir", str(tmp_path), "-o", "c.npz"]
    with pytest.raises(SystemExit, match="^error: device_target: this MindSpore has no GPU [^\n]*$"):
        embed([*flags, "--device_target", "GPU"])
    with pytest.raises(SystemExit, match="^error: --split: '../x' is a path"):
        make_mindrecord(["--dataset", "folder", "--data_dir", ".", "--output_dir", str(tmp_path), "--split", "../x"])

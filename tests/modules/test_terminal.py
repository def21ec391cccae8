"""A progress bar, and what libraries write past Python, on a terminal."""

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, sys, cv2, numpy as np
from tqdm import tqdm
from mindbyol.terminal import native_lines_above_bar

image = np.fromfile(sys.argv[1], np.uint8)
with native_lines_above_bar(), tqdm(total=3, ascii=True) as bar:
    for step in range(3):
        assert cv2.imdecode(image, cv2.IMREAD_COLOR) is not None
        os.write(2, b"step %d of 3\\n" % step)
        bar.update()
    os.write(2, b"the end of a line")
    print("traceback", file=sys.stderr)
    os.write(2, b" and no more\\n")
os.write(2, b"afterwards\\n")
"""


def seen(path):
    """What a terminal gets from the program, as the lines that stay there."""
    terminal, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, path], stderr=theirs, cwd=ROOT)
    os.close(theirs)
    output = b""
    try:
        while piece := os.read(terminal, 4096):
            output += piece
    except OSError:  # how Linux tells that nobody writes any more
        pass
    os.close(terminal)
    assert process.wait() == 0, output
    return [line.rpartition("\r")[2].strip() for line in output.decode().split("\r\n")]


def test_lines_of_libraries_stand_above_the_bar_each_kind_once(tmp_path):
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", icc_profile=b"no profile")
    (tmp_path / "a.png").write_bytes(file.getvalue())
    lines = seen(tmp_path / "a.png")
    (warning,) = [line for line in lines if "libpng" in line]
    assert warning.startswith("libpng warning: iCCP: ")
    assert [line for line in lines if "step " in line] == ["step 0 of 3"]
    assert "the end of a line and no more" in lines and "afterwards" in lines
    assert any(line.endswith("traceback") for line in lines)  # what Python writes goes there at once
    (bar,) = [line for line in lines if "3/3" in line]
    assert bar.startswith("100%|")


def test_without_a_terminal_nothing_changes(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    run = subprocess.run([sys.executable, "-c", PROGRAM, tmp_path / "a.png"], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0 and "step 0 of 3\n" in run.stderr and "step 2 of 3\n" in run.stderr

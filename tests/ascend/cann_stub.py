"""A stand-in for CANN, Ascend's driver and runtime, made from the names that the installed MindSpore asks for.

MindSpore's wheel for x86-64 carries its Ascend plugin, which cannot be loaded where CANN's libraries are missing. Under
MS_SIMULATION_LEVEL=1 it calls them, but needs little of what they do. So each function that it asks for becomes a few
lines of assembly that say "done", "nothing" or "an empty one of these".
"""

import platform
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

# Libraries of the wheel that ask for CANN.
_ASKING = (
    "plugin/libmindspore_ascend.so.2",
    "plugin/libmindspore_ops_ascend.so",
    "plugin/ascend/libmindspore_ascend_res_manager.so",
    "plugin/ascend/libmindspore_graph_ir.so",
    "plugin/ascend/libd_collective.so",
    "plugin/ascend/ms_kernels_symmetric_memory/shmem/shmem/lib/libshmem.so",
    "libmindspore_ge_backend.so",
)

# CANN's names: functions of C (aclrtMalloc, rtKernelLaunch, halHostRegister) and the C++ namespace `ge`.
_FUNCTION = re.compile(r"(?:acl[a-z]*|rt|hal|Hccl)[A-Z]\w*|_ZNK?2ge\w+")

# Bodies, in the order in which they are looked for: what the demangled name is like, and what is done then. Objects are
# 16 bytes wide (one shared_ptr) and empty where these are zero; `Operator` has a table of virtual functions before it.
# A function that returns an object gets the place for it as its first argument, and returns that.
_BODIES = (
    (r"ge::Operator::Operator\(", "empty_operator"),
    (r"ge::(Shape|TensorDesc|Tensor|AscendString|TensorType|Promote|Graph)::\1\(", "empty_object"),
    (r"::Get(TensorDesc|Shape|OriginShape|OutputDesc)\(", "empty_object"),
    (r"::GetDims\(", "empty_vector"),
    (r"::CreateOperator\(", "empty_vector"),
    (r"Operator::Get(Name|OpType)\(\) const", "empty_string"),
    (r"ge::Operator::(SetAttr|SetInput|AddControlInput)\(", "itself"),
    (r"AscendString::GetString\(", "no_text"),
    (r"::IsExistOp\(", "yes"),
    (r"::StatusFactory::Instance\(", "empty_map"),
    (r"^(acl\w*Create\w*|aclrtGetSocName)$", "handle"),
    (r"", "done"),
)

_ASSEMBLY = """
    .bss
room: .zero 4096
    .data
map: .quad 0, 0, 0, map + 8, map + 8, 0
    .text
done: xorl %eax, %eax
    ret
yes: movl $1, %eax
    ret
itself: movq %rdi, %rax
    ret
no_text:
handle: leaq room(%rip), %rax
    ret
empty_map: leaq map(%rip), %rax
    ret
empty_vector: movq $0, 16(%rdi)
empty_object: movq $0, (%rdi)
    movq $0, 8(%rdi)
    movq %rdi, %rax
    ret
empty_operator: movq $0, 8(%rdi)
    movq $0, 16(%rdi)
    ret
empty_string: movq _ZNSs4_Rep20_S_empty_rep_storageE@GOTPCREL(%rip), %rax
    addq $24, %rax
    movq %rax, (%rdi)
    movq %rdi, %rax
    ret
    .section .note.GNU-stack,"",@progbits
    .text
"""


def unavailable():
    """Why no stand-in can be built here; None where one can."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return f"the stand-in for CANN is for Linux on x86-64, and this is {platform.system()} on {platform.machine()}"
    absent = [tool for tool in ("g++", "nm", "readelf", "strings", "c++filt") if not shutil.which(tool)]
    if absent:
        return f"no {', '.join(absent)} here to build the stand-in for CANN with"
    if not _asking_libraries():
        return "this MindSpore comes without an Ascend plugin"
    return None


def build(folder):
    """Builds the stand-in.

    Args:
        folder (Path): Where; made if need be.

    Returns:
        dict[str, str]: Environment variables that let MindSpore find it.
    """
    libraries = _asking_libraries()
    # MindSpore takes a library for CANN's only if its path has `cann` in it.
    lib, python = folder / "cann" / "lib64", folder / "python"
    for made in (lib, folder / "cann" / "opp", python / "hccl"):
        made.mkdir(parents=True, exist_ok=True)

    undefined = _output("nm", "-D", "--undefined-only", *libraries)
    # Others are looked up by name at run time, kernels (aclnn...) excepted: none is launched.
    texts = set(_output("strings", "-n", "5", *libraries).split())
    names = {name.split("@")[0] for name in undefined.split() if _FUNCTION.fullmatch(name.split("@")[0])}
    names |= {text for text in texts if re.fullmatch(r"acl(?!nn)[a-z]*[A-Z]\w*", text)} | {"aclnnInit", "aclnnFinalize"}
    source = folder / "stub.s"
    readable = _output("c++filt", *(names := sorted(names))).splitlines()
    source.write_text(_ASSEMBLY + "".join(map(_alias, names, readable)))
    library = lib / "libascendcl.so"
    subprocess.run(["g++", "-shared", "-o", library, source], check=True)

    # The same library under each name that is linked or opened: the loader sees one file, and loads it once.
    needed = set(re.findall(r"NEEDED.*\[(.*)\]", _output("readelf", "-d", *libraries)))
    needed |= {Path(text).name for text in texts if re.fullmatch(r"/?(?:lib64/)?lib(?:acl_[a-z_]+|opapi)\.so", text)}
    present = {path.name for path in _package().rglob("*.so*")}
    for name in needed - present - {library.name}:
        if not _in_system(name):
            (lib / name).symlink_to(library.name)
    (python / "hccl" / "__init__.py").touch()
    (python / "hccl" / "sys_version.py").write_text('__sys_version__ = "9.0"\n')  # any will do
    cann = str(folder / "cann")
    return {
        "ASCEND_HOME_PATH": cann,
        "ASCEND_TOOLKIT_HOME": cann,
        "ASCEND_OPP_PATH": f"{cann}/opp",
        "LD_LIBRARY_PATH": str(lib),
        "PYTHONPATH": str(python),
    }


def _package():
    return Path(find_spec("mindspore").submodule_search_locations[0])  # without importing it


def _asking_libraries():
    paths = [_package() / "lib" / name for name in _ASKING]
    return [path for path in paths if path.exists()] if paths[0].exists() else []


def _output(*command):
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=True).stdout


def _in_system(name):
    return any(line.split()[0] == name for line in _output("ldconfig", "-p").splitlines()[1:] if line.strip())


def _alias(name, readable):
    body = next(body for pattern, body in _BODIES if re.search(pattern, readable))
    return f".globl {name}\n.type {name}, @function\n{name}: jmp {body}\n"

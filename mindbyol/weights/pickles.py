"""A pickle reader that runs nothing: it rebuilds tensors, containers and scalars, and refuses the rest by name.

`pickle.loads` calls whatever a file names. This reader interprets the opcodes itself (`pickletools` splits them), never
imports a name that it meets and never calls one: what a name means is looked up in the tables of `pickle_names`.

A few bytes can ask for much: a list that holds itself twice, thirty times over, or a dictionary copied a million
times. So no value is walked through, and the limits below end the reading. A ResNet-152 with its target and its
optimizer takes about 100,000 instructions.
"""

import pickletools
from typing import Callable, Optional

from mindbyol.weights.pickle_names import REBUILT, instance, keys, resolve
from mindbyol.weights.tensors import DType, NumpyArray, StoredTensor
from mindbyol.weights.untrusted import Global, Opaque, Refused, require, shown

MAX_INSTRUCTIONS = 2_000_000
MAX_COPIED_ITEMS = 2_000_000  # by calls that make a dictionary or a set of another
MAX_BYTES = 2**32  # of one pickle; dill keeps the weights themselves in it
_MAX_LINE = 2**28  # bytes; the oldest protocol writes values as lines
_MAX_MARKS = 1000  # open at one time: how deep the containers are nested
_MAX_MEMO = 2**32


class _Source:
    """The file of a pickle, of which no more than `MAX_BYTES` are read."""

    def __init__(self, file):
        self.file, self.used = file, 0

    def read(self, size):
        require(size <= MAX_BYTES - self.used, "more than {} bytes", MAX_BYTES)
        data = self.file.read(size)
        self.used += len(data)
        return data

    def readline(self):
        line = self.file.readline(min(_MAX_LINE, MAX_BYTES - self.used))
        self.used += len(line)
        return line


class _Machine:
    """The stack, the memo and one method for each group of opcodes."""

    def __init__(self, source: _Source, persistent_load: Optional[Callable]):
        self.source, self.persistent_load = source, persistent_load
        self.stack, self.marks, self.memo = [], [], {}
        self.copied_items = self.copied_bytes = 0

    def run(self):
        for count, (opcode, argument, _) in enumerate(pickletools.genops(self.source)):
            require(count < MAX_INSTRUCTIONS, "more than {} instructions", MAX_INSTRUCTIONS)
            if opcode.name == "STOP":
                return self.stack.pop()
            if opcode.name in _CONSTANTS:
                self.stack.append(_CONSTANTS[opcode.name]())
            elif opcode.name in _PUSHED:
                self.stack.append(argument)
            else:
                step = getattr(self, "op_" + opcode.name.lower(), None)
                require(step, "the pickle instruction {}", opcode.name)
                step(argument)

    def to_mark(self):
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def pop(self, count):
        require(len(self.stack) >= count, "a pickle that takes more than it has put")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def op_proto(self, _):
        pass

    op_frame = op_proto

    def op_mark(self, _):
        require(len(self.marks) < _MAX_MARKS, "containers more than {} levels deep", _MAX_MARKS)
        self.marks.append(len(self.stack))

    def op_pop(self, _):
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.stack.pop()

    def op_pop_mark(self, _):
        self.to_mark()

    def op_dup(self, _):
        self.stack.append(self.stack[-1])

    def op_put(self, key):
        require(key < _MAX_MEMO, "the memo {}", key)
        self.memo[key] = self.stack[-1]

    op_binput = op_long_binput = op_put

    def op_memoize(self, _):
        self.memo[len(self.memo)] = self.stack[-1]

    def op_get(self, key):
        self.stack.append(self.memo[key])

    op_binget = op_long_binget = op_get

    def op_tuple(self, _):
        self.stack.append(tuple(self.to_mark()))

    def op_tuple1(self, _):
        self.stack.append(tuple(self.pop(1)))

    def op_tuple2(self, _):
        self.stack.append(tuple(self.pop(2)))

    def op_tuple3(self, _):
        self.stack.append(tuple(self.pop(3)))

    def op_list(self, _):
        self.stack.append(self.to_mark())

    def op_dict(self, _):
        items = self.to_mark()
        self.stack.append(dict(zip(keys(items[::2]), items[1::2])))

    def op_frozenset(self, _):
        self.stack.append(frozenset(keys(self.to_mark())))

    def op_append(self, _):
        (item,) = self.pop(1)
        self.extend([item])

    def op_appends(self, _):
        self.extend(self.to_mark())

    op_additems = op_appends

    def extend(self, items):
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, set):
            target.update(keys(items))
        else:
            require(isinstance(target, Opaque), "items added to {}", target)

    def op_setitem(self, _):
        self.set_items(self.pop(2))

    def op_setitems(self, _):
        self.set_items(self.to_mark())

    def set_items(self, items):
        target = self.stack[-1]
        if isinstance(target, dict):
            target.update(zip(keys(items[::2]), items[1::2]))
        else:
            require(isinstance(target, Opaque), "entries set on {}", target)

    def op_global(self, argument):
        self.stack.append(resolve(*argument.split(" ", 1)))

    def op_stack_global(self, _):
        module, name = self.pop(2)
        require(isinstance(module, str) and isinstance(name, str), "a name that is no text")
        self.stack.append(resolve(module, name))

    def call(self, made_of, arguments):
        """Leaves the instance on the stack; what the functions of `REBUILT` may copy is counted before."""
        if isinstance(made_of, Global) and str(made_of) in REBUILT and isinstance(arguments, tuple):
            texts = [len(argument) for argument in arguments if isinstance(argument, (str, bytes, bytearray))]
            groups = [
                len(argument) for argument in arguments if isinstance(argument, (dict, list, tuple, set, frozenset))
            ]
            self.copied_bytes += sum(texts)
            self.copied_items += sum(groups)
            # What is copied once or twice is the rule, for Python 2 and protocol 2 write bytes as text.
            require(self.copied_bytes <= 4 * self.source.used, "the same bytes over and over")
            require(self.copied_items <= MAX_COPIED_ITEMS, "the same entries over and over")
        self.stack.append(instance(made_of, arguments))

    def op_reduce(self, _):
        self.call(*self.pop(2))

    op_newobj = op_reduce

    def op_newobj_ex(self, _):
        made_of, arguments, _keywords = self.pop(3)
        self.call(made_of, arguments)

    def op_inst(self, argument):
        self.call(resolve(*argument.split(" ", 1)), tuple(self.to_mark()))

    def op_obj(self, _):
        made_of, *arguments = self.to_mark()
        self.call(made_of, tuple(arguments))

    def op_build(self, _):
        (state,) = self.pop(1)
        target = self.stack[-1]
        if isinstance(target, (NumpyArray, DType)):
            target.set_state(state)
        else:  # attributes beside the entries, such as the _metadata of a state_dict, are not needed
            require(isinstance(target, (dict, Opaque, StoredTensor)), "a state set on {}", target)

    def op_binpersid(self, _):
        (identity,) = self.pop(1)
        self.op_persid(identity)

    def op_persid(self, identity):
        require(self.persistent_load, "a reference to data outside the pickle")
        self.stack.append(self.persistent_load(identity))


_CONSTANTS = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_PUSHED = set(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING BINBYTES "
    "SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8".split()
)


def read_pickle(file, what, persistent_load=None):
    """Reads one pickle from a binary file without importing or calling anything that it names.

    Args:
        file: Binary file object, standing at the start of the pickle; left just behind it.
        what (str): How messages call the file.
        persistent_load (Callable): Resolves references to data outside the pickle (PyTorch's storages).

    Returns:
        Plain containers and scalars; arrays are `StoredTensor`, objects of known training libraries are `Opaque`.

    Raises:
        Refused: The pickle names anything else, or holds more than the limits of this module; the message says what.
        MemoryError: It is larger than the memory.
        ValueError: The pickle is damaged.
    """
    try:
        return _Machine(_Source(file), persistent_load).run()
    except Refused as error:
        raise Refused(
            f"{what}: refused, because its pickle contains {error}. Only tensors, containers and scalars are read, and "
            "nothing is executed. If you trust the file, load it where it was written and save its state_dict alone."
        ) from None
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError) as error:
        raise ValueError(f"{what}: the pickle is damaged or truncated ({shown(error)})") from None

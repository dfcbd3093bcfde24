"""What Rust and C# declare of the library, against its header: names, types, sizes, places and values.

Texts are compared, translated type by type; and so is what compiled programs of the three languages print, because a
text says nothing of padding.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import legs

HEADER = legs.ROOT / "include" / "libferry.h"
RUST = legs.ROOT / "bindings" / "rust" / "src" / "sys.rs"
CSHARP = legs.ROOT / "bindings" / "csharp" / "Ferry.cs"
COMPILE_LIMIT_S = 60.0

Declared = dict[str, str]
"""Types by name, in their order."""
Printed = dict[str, list[int]]
"""Of a struct its size; of its field place and size; of a constant the value."""


@dataclass
class Declarations:
    """What a text declares, in types of one language.

    Attributes:
        structs: Of each its fields.
        functions: Of each its parameters, and after them what it returns.
        constants: Their names.
    """

    structs: dict[str, Declared] = field(default_factory=dict)
    functions: dict[str, Declared] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)


@dataclass
class CType:
    """A type of C.

    Attributes:
        base: Its name, without qualifiers.
        stars: For each pointer, from the inside out, whether what it points at is const.
        length: Of an array; else "".
    """

    base: str
    stars: list[bool]
    length: str = ""


# ---- The header ------------------------------------------------------------------------------------------------------


def c_declarators(text: str) -> dict[str, CType]:
    """Reads one declaration of C, which may be of several names: ``const void *a, *b``."""
    found = re.match(r"\s*((?:const\s+)?\w+)\s*(.*)", text, re.DOTALL)
    assert found, text
    base, rest = found.groups()
    declared = {}
    for declarator in rest.split(","):
        parts = re.fullmatch(r"\s*((?:\*\s*(?:const\b)?\s*)*)(\w*)\s*(?:\[(\w+)\])?\s*", declarator)
        assert parts, declarator
        pointers, name, length = parts.groups()
        is_const = "const" in base.split()
        stars = []
        for star in re.findall(r"\*\s*(?:const)?", pointers):
            stars.append(is_const)
            is_const = "const" in star
        declared[name] = CType(base.split()[-1], stars, length or "")
    return declared


def c_declarations(header: str, translate: Callable[[CType], str]) -> Declarations:
    """Reads the header, with its types in another language."""
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    errors = set(re.findall(r"\bX\((FERRY_\w+),", text))
    macros = set(re.findall(r"^#define (FERRY_[A-Z]\w*) +\S", text, re.MULTILINE)) - {"FERRY_API"}
    text = re.sub(r"^#.*?(?<!\\)$", "", text, flags=re.MULTILINE | re.DOTALL)
    enums = {
        name
        for body in re.findall(r"enum \w+ \{(.*?)\}", text, re.DOTALL)
        for name in re.findall(r"(FERRY_[A-Z]\w*) =", body)
    }
    found = Declarations(constants=errors | macros | enums)
    for name, body in re.findall(r"typedef struct (\w+) \{(.*?)\} \1;", text, re.DOTALL):
        members: dict[str, CType] = {}
        for line in body.split(";"):
            if line.strip():
                members |= c_declarators(line)
        found.structs[name] = {member: translate(of) for member, of in members.items()}
    for returned, name, parameters in re.findall(r"FERRY_API ([^;(]*?)(ferry_\w+)\((.*?)\);", text, re.DOTALL):
        declared: dict[str, CType] = {}
        for parameter in parameters.split(","):
            if parameter.strip() != "void":
                declared |= c_declarators(parameter)
        declared |= {"return": c_declarators(returned)[""]}
        found.functions[name] = {parameter: translate(of) for parameter, of in declared.items()}
    return found


# ---- Rust ------------------------------------------------------------------------------------------------------------

RUST_TYPES = {
    "char": "c_char", "double": "f64", "int": "c_int", "void": "c_void", "int32_t": "i32", "int64_t": "i64",
    "uint8_t": "u8", "uint32_t": "u32", "uint64_t": "u64",
}  # fmt: skip


def rust_type(of: CType) -> str:
    text = RUST_TYPES.get(of.base, of.base)
    if not of.stars and of.base == "void":
        return "()"
    for is_const in of.stars:
        text = f"*{'const' if is_const else 'mut'} {text}"
    return f"[{text}; {of.length}]" if of.length else text


def rust_declarations(source: str) -> Declarations:
    def named(text: str) -> Declared:
        return {
            name: " ".join(of.split()) for name, of in re.findall(r"(?:pub )?(\w+): ([^,\[]+|\[[^\]]*\])(?:,|$)", text)
        }

    found = Declarations(constants=set(re.findall(r"^pub const (\w+):", source, re.MULTILINE)))
    for name, body in re.findall(
        r"^#\[repr\(C\)\]\n(?:#[^\n]*\n)?pub struct (\w+) \{\n(.*?)^\}", source, re.MULTILINE | re.DOTALL
    ):
        if "_opaque" not in body:
            found.structs[name] = named(body)
    for name, parameters, returned in re.findall(r"pub fn (\w+)\((.*?)\)(?: -> ([^;]+))?;", source, re.DOTALL):
        found.functions[name] = named(parameters) | {"return": returned or "()"}
    return found


def rust_program(source: str) -> str:
    declared = rust_declarations(source)
    lines = [f"    size!({struct});" for struct in declared.structs]
    lines += [f"    field!({struct}, {name});" for struct, members in declared.structs.items() for name in members]
    lines += [f"    constant!({name});" for name in declared.constants]
    return "\n".join([f'#[path = "{RUST}"]', "#[allow(dead_code)]", RUST_MACROS, "fn main() {", *lines, "}", ""])


RUST_MACROS = """mod sys;
use std::{mem::{size_of, MaybeUninit}, ptr::addr_of};

fn size_at<T>(_: *const T) -> usize {
    size_of::<T>()
}

macro_rules! size {
    ($of:ident) => { println!("{} {}", stringify!($of), size_of::<sys::$of>()) };
}
macro_rules! constant {
    ($of:ident) => { println!("{} {}", stringify!($of), sys::$of as i64) };
}
macro_rules! field {
    ($of:ident, $field:ident) => {{
        let value = MaybeUninit::<sys::$of>::zeroed();
        let at = unsafe { addr_of!((*value.as_ptr()).$field) };
        let offset = at as usize - value.as_ptr() as usize;
        println!("{}.{} {} {}", stringify!($of), stringify!($field), offset, size_at(at));
    }};
}
"""

# ---- C# --------------------------------------------------------------------------------------------------------------

CSHARP_TYPES = {
    "char": "byte", "double": "double", "int": "int", "void": "void", "int32_t": "int", "int64_t": "long",
    "uint8_t": "byte", "uint32_t": "uint", "uint64_t": "ulong", "ferry_log": "IntPtr",
}  # fmt: skip


def csharp_type(of: CType) -> str:
    text = CSHARP_TYPES.get(of.base, of.base) + "*" * len(of.stars)
    return f"fixed {text}[{of.length}]" if of.length else text


def csharp_declarations(source: str) -> Declarations:
    native = source.split("static unsafe class Native")[1]
    found = Declarations()
    for names in re.findall(r"public const \w+ (.*?);", native, re.DOTALL):
        found.constants |= set(re.findall(r"(FERRY_\w+) =", names))
    for name, body in re.findall(r"public struct (\w+)\s+\{\n(.*?)\n        \}", native, re.DOTALL):
        members = re.findall(r"public ((?:fixed )?[\w*]+) (\w+)(\[\w+\])?;", body)
        found.structs[name] = {member: of + length for of, member, length in members}
    for returned, name, parameters in re.findall(r"public static extern ([\w*]+) (\w+)\((.*?)\);", native, re.DOTALL):
        declared = re.findall(r"([\w*]+) @?(\w+)(?:,|$)", parameters)
        found.functions[name] = {parameter: of for of, parameter in declared} | {"return": returned}
    return found


# ---- What compilers make of it ---------------------------------------------------------------------------------------


def printed(*commands: list[str | Path]) -> Printed:
    """What the last of some commands prints."""
    for command in commands:
        done = subprocess.run(command, timeout=COMPILE_LIMIT_S, capture_output=True, text=True)
        assert done.returncode == 0, f"{command} failed:\n{done.stdout}{done.stderr}"
    return {name: [int(number) for number in numbers] for name, *numbers in map(str.split, done.stdout.splitlines())}


def printed_by_c(header: str, folder: Path) -> Printed:
    [cc] = legs.need("cc")
    declared = c_declarations(header, rust_type)
    lines = ["#include <stdio.h>", '#include "libferry.h"', "int main(void) {"]
    for struct, members in declared.structs.items():
        lines.append(f'    printf("{struct} %zu\\n", sizeof({struct}));')
        for name in members:
            place = f"offsetof({struct}, {name}), sizeof((({struct} *)0)->{name})"
            lines.append(f'    printf("{struct}.{name} %zu %zu\\n", {place});')
    lines += [f'    printf("{name} %lld\\n", (long long){name});' for name in declared.constants]
    (folder / "libferry.h").write_text(header)
    (folder / "layout.c").write_text("\n".join([*lines, "}", ""]))
    return printed([cc, "-std=c99", "-o", folder / "layout", folder / "layout.c"], [folder / "layout"])


def printed_by_rust(folder: Path) -> Printed:
    [rustc] = legs.need("rustc")
    (folder / "layout.rs").write_text(rust_program(RUST.read_text()))
    program = folder / "layout_rs"
    return printed([rustc, "--edition", "2021", "-D", "warnings", "-o", program, folder / "layout.rs"], [program])


def printed_by_csharp(folder: Path) -> Printed:
    mcs, mono = legs.need("mcs", "mono")
    program = folder / "layout.exe"
    layout = Path(__file__).parent / "csharp" / "Layout.cs"
    return printed(
        [mcs, "-unsafe", "-langversion:7", "-warnaserror", f"-out:{program}", CSHARP, layout], [mono, program]
    )


LANGUAGES = pytest.mark.parametrize(
    ("source", "translate", "read"),
    [(RUST, rust_type, rust_declarations), (CSHARP, csharp_type, csharp_declarations)],
    ids=["rust", "csharp"],
)
COMPILERS = pytest.mark.parametrize("ask", [printed_by_rust, printed_by_csharp], ids=["rust", "csharp"])


def test_the_header_is_read_whole() -> None:
    header = HEADER.read_text()
    found = c_declarations(header, rust_type)
    assert len(found.functions) == len(re.findall(r"^FERRY_API ", header, re.MULTILINE))
    assert len(found.structs) == len(re.findall(r"^typedef struct \w+ \{", header, re.MULTILINE))
    assert found.structs["ferry_turn"]["present"] == "*const *mut u8"
    assert found.structs["ferry_field"]["high_each"] == "*const c_void"
    assert found.functions["ferry_strerror"] == {"err": "c_int", "return": "*const c_char"}
    assert {"FERRY_EINVAL", "FERRY_BOX", "FERRY_MAX_BLOB", "FERRY_F64", "FERRY_FOREVER"} <= found.constants


@LANGUAGES
def test_types_and_signatures_are_those_of_the_header(
    source: Path, translate: Callable[[CType], str], read: Callable[[str], Declarations]
) -> None:
    expected, found = c_declarations(HEADER.read_text(), translate), read(source.read_text())
    for name, members in expected.structs.items():
        assert list(found.structs.get(name, {}).items()) == list(members.items()), name
    for name, parameters in expected.functions.items():
        assert list(found.functions.get(name, {}).items()) == list(parameters.items()), name
    assert found.structs.keys() == expected.structs.keys()
    assert found.functions.keys() == expected.functions.keys()
    assert found.constants == expected.constants


@COMPILERS
def test_sizes_places_and_values_are_those_of_the_header(ask: Callable[[Path], Printed], tmp_path: Path) -> None:
    expected = printed_by_c(HEADER.read_text(), tmp_path)
    assert ask(tmp_path) == expected
    assert len(expected) > 140


@LANGUAGES
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    int32_t index;", "    int32_t index;\n    uint32_t added;"),
        ("    uint32_t capacity;\n", "    int32_t capacity;\n"),
        ("FERRY_F64 = 12", "FERRY_F64 = 12, FERRY_F128 = 13"),
        ("int ferry_agent_send(ferry_agent *agent)", "int ferry_agent_send(ferry_agent *agent, int hurry)"),
        ("FERRY_API void ferry_release", "FERRY_API int ferry_added(void);\nFERRY_API void ferry_release"),
        ("#define FERRY_MAX_NDIM 8", "#define FERRY_MAX_NDIM 8\n#define FERRY_MAX_ADDED 9"),
    ],
)
def test_a_change_of_the_header_is_noticed(
    source: Path, translate: Callable[[CType], str], read: Callable[[str], Declarations], old: str, new: str
) -> None:
    header = HEADER.read_text()
    assert header.count(old) == 1
    assert read(source.read_text()) != c_declarations(header.replace(old, new), translate)


def test_another_size_or_value_is_noticed(tmp_path: Path) -> None:
    header = HEADER.read_text()
    expected = printed_by_c(header, tmp_path)
    for old, new in (("    int32_t index;", "    int64_t index;"), ("FERRY_F64 = 12", "FERRY_F64 = 13")):
        assert header.count(old) == 1
        assert printed_by_c(header.replace(old, new), tmp_path) != expected

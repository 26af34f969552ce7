"""Writes the schema that nobody tuned for: every word of `scripts/tests/wild/words.txt` as the name of
everything that can have a name, and every shape that a message can have.

It has some 38,000 lines, so it is written when `test_wild.py` runs.
"""

import itertools
import pathlib
import re

WILD = pathlib.Path(__file__).parent / "wild"
SCALARS = [
    *("double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64"),
    *("fixed32", "fixed64", "sfixed32", "sfixed64", "bool", "string", "bytes"),
]
KEYS = [name for name in SCALARS if name not in ("double", "float", "bytes")]
# Comments that a printer has to carry into a comment, a docstring or a string of each language.
COMMENTS = [
    "closes */ a comment, and opens /* one",
    'three """ of them, and \'\'\' of those; one at the end "',
    "back\\slashes \\n \\u0041 \\x \\N{DASH} \\\\",
    "</script><script>alert(1)</script> <!-- & &amp;",
    "right to left \u202e\u05d0\u05d1\u05d2 and back \u202c \u200f",
    "a line separator \u2028 and a paragraph separator \u2029 inside",
    "a tab\tinside, and\ttwo",
    "emoji \U0001f3ae\U0001f468\u200d\U0001f469\u200d\U0001f467 and Z\u0324\u0308algo",
    "{{ jinja }} {% if %} {# x #} ${template} `backquote` {0} %s %(x)s",
    "```\n let x = 1;\n ```\n     indented code\n [link]: <a> [`Self`] #[doc]",
    "# heading, // slashes, /// three, //! inner, -- Lua, ; Lisp, @param x, @deprecated, {@link X}",
    "a backslash at the end \\",
    "nul is not allowed, but \u0001, \u0007, \u001b[31m, \u007f, \u0085 and \ufeff are",
    "",
    "*",
    "/",
]
# Google's types that a field may have, each in the file that declares it.
KNOWN = {
    "any": ["Any"],
    "api": ["Api", "Method", "Mixin"],
    "duration": ["Duration"],
    "empty": ["Empty"],
    "field_mask": ["FieldMask"],
    "source_context": ["SourceContext"],
    "struct": ["Struct", "Value", "ListValue"],
    "timestamp": ["Timestamp"],
    "type": ["Type", "Field", "Enum", "EnumValue", "Option"],
    "wrappers": [
        *("DoubleValue", "FloatValue", "Int64Value", "UInt64Value", "Int32Value", "UInt32Value"),
        *("BoolValue", "StringValue", "BytesValue"),
    ],
}


# `tagwire check` refuses these, as a test sees. Nothing would be left of the first in Rust. The types of a
# service `From` would have the name `FromServer`, which is the enum of its package; the methods of enums
# `Get...` would be those of maps of enums beside them.
REFUSED = ["_"]
REFUSED_SERVICES = ["From"]
REFUSED_ENUMS = ["GetName", "GetHashCode"]

# No fields: in JavaScript every object has these.
REFUSED_FIELDS = ["hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString"]
# Fields that hide what the JSON of Python's library calls: printed and compiled, and not taken round.
HIDING = [
    *("ByteSize", "Clear", "ClearField", "CopyFrom", "DESCRIPTOR", "Extensions", "FromString", "HasField"),
    *("ListFields", "MergeFrom", "ParseFromString", "SerializeToString", "UnknownFields", "WhichOneof"),
]


def words() -> list[str]:
    """All words, each once, those alone that are identifiers of the Protocol Buffers language."""
    lines = (WILD / "words.txt").read_text().splitlines()
    found = (word for line in lines if re.match(r"[a-z]+: ", line) for word in line.split()[1:])
    names = (word for word in dict.fromkeys(found) if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", word))
    return [name for name in names if name not in REFUSED]


def fold(word: str) -> str:
    """The same for all names that a language may write the same, whatever it does with capitals and bars."""
    return word.replace("_", "").lower() or word


def layers() -> list[list[str]]:
    """The words, none beside another that folds to the same: `Self` is in the second layer."""
    by_fold: dict[str, list[str]] = {}
    for word in words():
        by_fold.setdefault(fold(word), []).append(word)
    return [
        [same[depth] for same in by_fold.values() if len(same) > depth]
        for depth in range(max(map(len, by_fold.values())))
    ]


class Schema:
    """The files in the making."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        # Those that the stack keeps for itself are left out.
        self.tags = itertools.chain([2], range(4, 240), range(256, 65280))
        self.comments = itertools.cycle(COMMENTS)

    def rules(self, *more: str) -> str:
        rules = ", ".join([f"tag: {next(self.tags)}", "from: BOTH", *more])
        return f"  option (.tagwire.v1.rules) = {{ {rules} }};"

    def comment(self, indent: str = "") -> str:
        return "\n".join(f"{indent}//{line and ' '}{line}" for line in next(self.comments).split("\n"))

    def file(self, name: str, package: str, *parts: str, imports: tuple[str, ...] = ()) -> None:
        lines = "".join(f"import {quoted(one)};\n" for one in imports)
        head = f'syntax = "proto3";\n\npackage {package};\n\n{lines}import "tagwire/v1/options.proto";\n\n'
        self.files[name] = head + "\n\n".join(parts) + "\n"


def quoted(name: str) -> str:
    """`public a.proto` is a public import."""
    public, _, path = name.rpartition(" ")
    return f'public "{path}"' if public else f'"{path}"'


def messages(schema: Schema, number: int, layer: list[str]) -> None:
    """A message for each word, with a field of the same name and type, and a message and an enum within."""
    package = f"wild.messages{number}"
    parts = []
    # In rings of twenty: rustc looks through all types that hold each other, and gives up at a depth of 128.
    rings = [layer[at : at + 20] for at in range(0, len(layer), 20)]
    nexts = [word for ring in rings for word in ring[1:] + ring[:1]]
    for word, other in zip(layer, nexts, strict=True):
        own = "zz_self" if word in HIDING + REFUSED_FIELDS else word
        parts.append(
            f"{schema.comment()}\nmessage {word} {{\n{schema.rules()}\n"
            f"{schema.comment('  ')}\n  .{package}.{word} {own} = 1;\n"
            f"  repeated .{package}.{other} zz_next = 2;\n  int32 zz_number = 3;\n}}"
        )
    schema.file(f"wild/messages{number}.proto", package, *parts)


def fields(schema: Schema, number: int, layer: list[str]) -> None:
    """Fields of every kind, oneofs and their members, named by each word."""
    package = f"wild.fields{number}"
    hiding = "\n".join(f"  int32 {word} = {at};" for at, word in enumerate(layer, 1) if word in HIDING)
    everything = [word for word in layer if word not in HIDING]
    layer = [word for word in everything if word not in REFUSED_FIELDS]
    kinds = [
        *SCALARS,
        *(f"optional {name}" for name in SCALARS),
        *(f"repeated {name}" for name in SCALARS),
        *(f"map<{name}, .{package}.Small>" for name in KEYS),
        *(f"map<string, {name}>" for name in SCALARS),
        *(f".{package}.Small", f"optional .{package}.Small", f"repeated .{package}.Small"),
    ]
    enums = [
        f".{package}.Kind",
        f"optional .{package}.Kind",
        f"repeated .{package}.Kind",
        f"map<int32, .{package}.Kind>",
    ]

    def message(name: str, types: list[str], without: list[str] | None = None) -> str:
        named = [word for word in layer if word not in (without or [])]
        # The entries of a map `_1` would be a message `1Entry`, which is refused.
        typed = [
            (word, "bytes" if word[1:2].isdigit() and "map" in kind else kind)
            for word, kind in zip(named, itertools.cycle(types))
        ]
        lines = [
            f"{schema.comment('  ')}\n  {kind} {word} = {at};" for at, (word, kind) in enumerate(typed, 1)
        ]
        return f"message {name} {{\n{schema.rules()}\n" + "\n".join(lines) + "\n}"

    held = "\n".join(
        f"{schema.comment('  ')}\n  oneof {word} {{\n    int32 zz_number_{at} = {2 * at + 1};\n"
        f"    .{package}.Small zz_small_{at} = {2 * at + 2};\n  }}"
        for at, word in enumerate(layer)
    )
    members = "\n".join(
        f"    {kind} {word} = {at};"
        for at, (word, kind) in enumerate(
            zip(everything, itertools.cycle([*SCALARS, enums[0], kinds[-3]])), 1
        )
    )
    schema.file(
        f"wild/fields{number}.proto",
        package,
        "message Small {\n  int32 x = 1;\n}",
        f"message Hiding {{\n{hiding}\n}}",
        "enum Kind {\n  KIND_UNSPECIFIED = 0;\n  KIND_ONE = 1;\n  KIND_BELOW = -1;\n}",
        message("Mixed", kinds),
        *(message(f"Turned{turn}", kinds[turn:] + kinds[:turn]) for turn in (17, 43)),
        message("Enums", enums, REFUSED_ENUMS),
        f"message Oneofs {{\n{schema.rules()}\n{held}\n}}",
        f"message Members {{\n{schema.rules()}\n  oneof zz_one {{\n{members}\n  }}\n}}",
    )


def inner(schema: Schema, number: int, layer: list[str]) -> None:
    """A message within a message, and an enum within another, named by each word."""
    package = f"wild.inner{number}"
    within = "\n".join(f"  message {word} {{\n    int32 x = 1;\n  }}" for word in layer)
    uses = "\n".join(f"  .{package}.Messages.{word} zz{at} = {at};" for at, word in enumerate(layer, 1))
    enums = "\n".join(
        f"  enum {word} {{\n    ZZ_ZERO_{at} = 0;\n    ZZ_ONE_{at} = 1;\n  }}"
        for at, word in enumerate(layer)
    )
    of_enums = "\n".join(f"  .{package}.Enums.{word} zz{at} = {at};" for at, word in enumerate(layer, 1))
    schema.file(
        f"wild/inner{number}.proto",
        package,
        f"message Messages {{\n{schema.rules()}\n{within}\n{uses}\n}}",
        f"message Enums {{\n{schema.rules()}\n{enums}\n{of_enums}\n}}",
    )


def enums(schema: Schema, number: int, layer: list[str]) -> None:
    """An enum for each word, and one with all the words as values, two of them for each number."""
    package = f"wild.enums{number}"
    kinds = "\n\n".join(
        f"{schema.comment()}\nenum {word} {{\n  ZZ_NONE_{at} = 0;\n{schema.comment('  ')}\n"
        f"  ZZ_SOME_{at} = 1;\n}}"
        for at, word in enumerate(layer)
    )
    uses = "\n".join(f"  .{package}.{word} zz{at} = {at};" for at, word in enumerate(layer, 1))
    # The language of .proto files itself cannot have these at the beginning of a value.
    names = [word for word in layer if word not in ("option", "reserved")]
    half = (len(names) + 1) // 2
    values = "\n".join(f"    {word} = {at};" for at, word in enumerate(names))
    aliases = "\n".join(
        f"    {word} = {at % half - half // 2};" for at, word in enumerate([*names[half:], *names[:half]])
    )
    schema.file(
        f"wild/enums{number}.proto",
        package,
        kinds,
        f"message ZzKinds {{\n{schema.rules()}\n{uses}\n}}",
        f"message ZzValues {{\n{schema.rules()}\n  enum ZzOf {{\n{values}\n  }}\n"
        f"  .{package}.ZzValues.ZzOf zz_kind = 1;\n"
        f"  repeated .{package}.ZzValues.ZzOf zz_kinds = 2;\n"
        f"  map<int32, .{package}.ZzValues.ZzOf> by_number = 3;\n}}",
        f"message ZzAliases {{\n{schema.rules()}\n  enum ZzOf {{\n    option allow_alias = true;\n"
        f"    ZZ_ZERO = 0;\n"
        f"{aliases}\n  }}\n  .{package}.ZzAliases.ZzOf zz_kind = 1;\n"
        f"  optional .{package}.ZzAliases.ZzOf zz_perhaps = 2;\n}}",
    )


def services(schema: Schema, number: int, layer: list[str]) -> None:
    """A service for each word, and one with a method for each."""
    package = f"wild.services{number}"
    layer = [word for word in layer if word.title() not in REFUSED_SERVICES]
    asks = "\n\n".join(f"message RequestNumber{at} {{\n{schema.rules()}\n}}" for at in range(2 * len(layer)))
    kinds = "\n\n".join(
        f"{schema.comment()}\nservice {word} {{\n{schema.comment('  ')}\n"
        f"  rpc {other}(.{package}.RequestNumber{at}) returns (.{package}.Reply);\n}}"
        for at, (word, other) in enumerate(zip(layer, layer[1:] + layer[:1], strict=True))
    )
    methods = "\n".join(
        f"  rpc {word}(.{package}.RequestNumber{at}) returns (.{package}.Reply);"
        for at, word in enumerate(layer, len(layer))
    )
    of_room = "  option (.tagwire.v1.service) = { at: ROOM };\n" if number % 2 else ""
    schema.file(
        f"wild/services{number}.proto",
        package,
        "message Reply {\n  int32 number = 1;\n}",
        asks.replace("from: BOTH", "from: CLIENT"),
        kinds,
        f"service AllOfThem {{\n{of_room}{methods}\n}}",
    )


def packages(schema: Schema) -> None:
    """Packages named by words, six parts deep, each with a message that holds the one of the next."""
    layer = layers()[0]
    named = [layer[at : at + 6] for at in range(0, len(layer), 6)]
    for at, parts in enumerate(named):
        package = ".".join(["wild", "packages", *parts])
        # No cycle of imports, and no deeper than rustc looks.
        rest = named[at + 1 : at + 2] if at % 20 < 19 else []
        path = "/".join(["wild/packages", *parts]) + ".proto"
        held = [f"  .{'.'.join(['wild', 'packages', *other])}.Here other = 2;" for other in rest]
        imports = tuple("/".join(["wild/packages", *other]) + ".proto" for other in rest)
        body = "\n".join([schema.rules(), "  string name = 1;", *held])
        schema.file(path, package, f"message Here {{\n{body}\n}}", imports=imports)


def shapes(schema: Schema) -> None:
    """What a message can be made of, whatever its names are."""
    package = "wild.shapes"

    def numbered(lines: list[str], first: int = 1) -> str:
        return "\n".join(f"  {line} = {at};" for at, line in enumerate(lines, first))

    def message(name: str, body: str) -> str:
        return f"{schema.comment()}\nmessage {name} {{\n{schema.rules()}\n{body}\n}}"

    maps = [
        f"map<{key}, {value}> {key}_{value.lower().rpartition('.')[2]}"
        for key in KEYS
        for value in [*SCALARS, ".wild.shapes.Colour", ".wild.shapes.Point"]
    ]
    edges = [1, 2, 15, 16, 127, 128, 2047, 2048, 18999, 20000, 262143, 262144, 33554431, 33554432, 536870911]
    known = [f".google.protobuf.{name}" for names in KNOWN.values() for name in names]
    depth = 30  # the language has 32 at most
    deep = "".join(f"{'  ' * n}message D{n} {{\n{'  ' * (n + 1)}int32 x = 1;\n" for n in range(depth))
    deep += f"{'  ' * depth}D0 again = 2;\n" + "".join(
        f"{'  ' * n}}}\n{'  ' * n}D{n} d = {3 if n else 2};\n" for n in reversed(range(depth))
    )
    names = "String Object Option Result Vec Box Promise Map Array Error Some Ok Err Number List Dict Date"
    std = "\n\n".join(
        message(
            name,
            "  string string = 1;\n  optional bytes bytes = 2;\n"
            "  repeated .wild.standard.String strings = 3;\n"
            "  map<string, .wild.standard.Box> boxes = 4;\n  oneof result {\n"
            "    .wild.standard.Option some = 5;\n"
            "    .wild.standard.Result ok = 6;\n    bool none = 7;\n  }",
        )
        for name in names.split()
    )
    service = (
        "service Standard {\n  rpc Ask(.wild.standard.Promise) returns (.wild.standard.Promise);\n"
        "  rpc Tell(.wild.standard.Result) returns (.wild.standard.Option);\n}"
    )
    schema.file("wild/standard.proto", "wild.standard", std, service)
    schema.file(
        "wild/shapes.proto",
        package,
        "// A colour.\nenum Colour {\n  option allow_alias = true;\n  COLOUR_BLACK = 0;\n  COLOUR_DARK = 0;\n"
        "  COLOUR_LOWEST = -2147483648;\n  COLOUR_BELOW = -1;\n  COLOUR_HIGHEST = 2147483647;\n"
        "  COLOUR_TOP = 2147483647;\n}",
        "message Point {\n  double x = 1;\n  sint32 y = 2;\n}",
        message("Plain", numbered([f"{name} a_{name}" for name in SCALARS])),
        message(
            "Perhaps",
            numbered(
                [*(f"optional {name} a_{name}" for name in SCALARS), "optional .wild.shapes.Colour colour"]
            ),
        ),
        message("Lists", numbered([f"repeated {name} a_{name}" for name in SCALARS])),
        message(
            "Unpacked",
            "\n".join(
                f"  repeated {name} a_{name} = {at} [packed = false];"
                for at, name in enumerate(SCALARS, 1)
                if name not in ("string", "bytes")
            ),
        ),
        message("Maps", numbered(maps)),
        message(
            "Choice",
            "  oneof first {\n"
            + "\n".join(f"    {name} a_{name} = {at};" for at, name in enumerate(SCALARS, 1))
            + "\n    .wild.shapes.Point point = 30;\n    .wild.shapes.Colour colour = 31;\n"
            "    .wild.shapes.Choice choice = 32;\n"
            "    .google.protobuf.Empty nothing = 33;\n    .google.protobuf.NullValue null = 34;\n  }\n"
            "  int32 between = 50;\n  oneof second {\n    string only = 51;\n  }",
        ),
        message("Edges", "\n".join(f"  uint32 n{number} = {number};" for number in reversed(edges))),
        message("Known", numbered([f"{kind} one_{at}" for at, kind in enumerate(known)])),
        message("KnownLists", numbered([f"repeated {kind} many_{at}" for at, kind in enumerate(known)])),
        message("KnownMaps", numbered([f"map<string, {kind}> of_{at}" for at, kind in enumerate(known)])),
        message(
            "KnownChoice",
            "  oneof some {\n"
            + "\n".join(f"    {kind} o{at} = {at + 1};" for at, kind in enumerate(known))
            + "\n  }",
        ),
        message(
            "Tree",
            "  .wild.shapes.Tree left = 1;\n  .wild.shapes.Tree right = 2;\n"
            "  repeated .wild.shapes.Tree children = 3;\n"
            "  map<string, .wild.shapes.Tree> named = 4;\n  .wild.shapes.Leaf leaf = 5;\n  bytes value = 6;",
        ),
        message("Leaf", "  .wild.shapes.Tree tree = 1;\n  .wild.shapes.Leaf leaf = 2;"),
        message("Deep", "\n".join(f"  {line}" for line in deep.splitlines())),
        message(
            "CaseOfNames",
            numbered(
                [
                    "int32 HTTPServer",
                    "int32 x1y",
                    "int32 x_2y",
                    "int32 ALL_CAPS",
                    "int32 camelCase",
                    "int32 _leading",
                    "int32 trailing_",
                    "int32 two__bars",
                    "int32 a",
                    "int32 B",
                    "int32 c3po",
                    "int32 R2D2",
                    "int32 snake_case",
                    "int32 PascalCase",
                    "int32 x_",
                    "int32 m4_a1",
                    "int32 iPhone",
                    "int32 _under_Score",
                    "int32 get_a",
                    "int32 set_a",
                    "int32 has_a",
                    "int32 clear_a",
                    "int32 a_count",
                    "int32 a_list",
                    "int32 a_map",
                    "int32 a_field_number",
                ]
            )
            + "\n  enum Colours {\n    COLOURS_NONE = 0;\n    COLOURS_1 = 1;\n    COLOURS_RED_2 = 2;\n  }\n"
            "  .wild.shapes.CaseOfNames.Colours colours = 30;"
            "\n  enum bare {\n    none = 0;\n    Red = 1;\n    GREEN = 2;\n    bareBlue = 3;\n  }\n"
            "  .wild.shapes.CaseOfNames.bare kind = 31;",
        ),
        message("Empty", ""),
        imports=tuple(f"google/protobuf/{name}.proto" for name in KNOWN),
    )
    # A diamond, whose lower half is imported publicly.
    base = "message Base {\n  int32 x = 1;\n\n  enum Kind {\n    KIND_A = 0;\n    KIND_B = 1;\n  }\n}"
    schema.file("wild/diamond/base.proto", "wild.diamond.base", base)
    for side in ("left", "right"):
        text = message(
            side.title(), "  .wild.diamond.base.Base base = 1;\n  .wild.diamond.base.Base.Kind kind = 2;"
        )
        schema.file(
            f"wild/diamond/{side}.proto",
            f"wild.diamond.{side}",
            text,
            imports=("public wild/diamond/base.proto",),
        )
    top = (
        "  .wild.diamond.left.Left left = 1;\n  .wild.diamond.right.Right right = 2;\n"
        "  map<string, .wild.diamond.base.Base> bases = 3;\n"
        "  repeated .wild.diamond.base.Base.Kind kinds = 4;"
    )
    schema.file(
        "wild/diamond/top.proto",
        "wild.diamond",
        message("Top", top),
        imports=("wild/diamond/left.proto", "public wild/diamond/right.proto"),
    )
    # Reached by a public import of a public import alone.
    schema.file(
        "wild/diamond/far.proto",
        "wild.diamond.far",
        message("Far", "  .wild.diamond.right.Right right = 2;"),
        imports=("wild/diamond/top.proto",),
    )


def files() -> dict[str, str]:
    """The text of each file by its path."""
    schema = Schema()
    shapes(schema)
    for number, layer in enumerate(layers()):
        for part in (messages, fields, inner, enums, services):
            part(schema, number, layer)
    packages(schema)
    return schema.files


def write(folder: pathlib.Path) -> int:
    """Writes the files below this folder; gives their number."""
    written = files()
    for name, text in written.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return len(written)

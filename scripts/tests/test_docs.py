"""What `tagwire docs` writes, read by others: examples by protobuf and protovalidate, the rest by parsers."""

import html.parser
import json
import pathlib
import re
import subprocess

import nasty
import protovalidate
import pytest
import valid
from google.protobuf import json_format
from markdown_it import MarkdownIt

EVIL = """\
syntax = "proto3";
package evil.v1;
import "tagwire/v1/options.proto";
import "buf/validate/validate.proto";

// {comment}
message Evil {{
  option (tagwire.v1.rules) = {{ tag: 2, from: CLIENT }};
  // {comment}
  string text = 1 [(buf.validate.field).string.in = "{value}"];
}}
// {comment}
enum Way {{
  // {comment}
  WAY_NONE = 0;
}}
"""

COMMENTS = [
    "<script>alert(1)</script>",
    "</td></tr></table></article><img src=x onerror=alert(1)>",
    "one `tick`, two ``ticks``, ``` a fence",
    "a|b || c \\| d",
    "ends */ a comment --> of three kinds ]]>",
    "# heading",
    "- list",
    "+ list",
    "1. list",
    "1) list",
    "> quote",
    "--- rule",
    "===",
    "*bold* _em_ __more__ ~~gone~~",
    "[a](javascript:alert(1)) ![b](c) [d]: e <https://example.org>",
    "&amp; &lt; &#60; {{ x }} {% y %} ${z} $a$",
    "back\\\\slash \\\\* \\\\` \\\\",
    "left\u202eright \"quoted\" 'single'",
    "    indented",
    "| a | b |",
    ": colon",
    "~~~ fence",
]


class Text(html.parser.HTMLParser):
    """The text of a page, and whether its elements are closed as they were opened."""

    VOID = frozenset({"meta", "link", "input", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not any(name.startswith("on") for name, _ in attrs), attrs
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" not in self.open and "style" not in self.open:
            self.texts.append(data)


def parsed(page: str) -> Text:
    reader = Text()
    reader.feed(page)
    reader.close()
    assert not reader.open
    return reader


def words(text: str) -> str:
    return " ".join(text.split())


def written(tagwire: pathlib.Path, schema: pathlib.Path, out: pathlib.Path) -> dict[str, str]:
    subprocess.run([tagwire, "docs", "--schema", schema, "--out", out], cwd=out.parent, check=True)
    return {name: (out / name).read_text() for name in ("reference.md", "index.html", "llms.txt")}


@pytest.mark.parametrize("comment", COMMENTS)
def test_no_text_is_markup(tagwire: pathlib.Path, tmp_path: pathlib.Path, comment: str) -> None:
    schema = tmp_path / "proto"
    schema.mkdir()
    value = json.dumps(comment)[1:-1]
    (schema / "evil.proto").write_text(EVIL.format(comment=comment, value=value))
    files = written(tagwire, schema, tmp_path / "out")

    page = parsed(files["index.html"])
    text = words("".join(page.texts))
    # Of the message, the field, the enum and its value.
    assert text.count(words(comment)) >= 4, text
    assert page.tags <= {
        *(
            "html",
            "head",
            "meta",
            "link",
            "title",
            "style",
            "body",
            "nav",
            "input",
            "p",
            "a",
            "ul",
            "li",
            "span",
        ),
        *(
            "main",
            "h1",
            "h2",
            "h3",
            "div",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "article",
            "dl",
            "dt",
        ),
        *("dd", "pre", "code", "footer", "script", "br"),
    }
    assert files["index.html"].count("<script") == 1

    rendered = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(files["reference.md"])
    markdown = parsed(re.sub(r"<!--.*?-->", "", rendered, flags=re.DOTALL))
    text = words("".join(markdown.texts))
    assert text.count(words(comment)) >= 4, text
    # Only what we write ourselves: no rule, no quotation, no picture, no emphasis.
    assert markdown.tags <= {
        *("h1", "h2", "h3", "h4", "p", "a", "ul", "li", "code", "pre"),
        *("table", "thead", "tbody", "tr", "th", "td", "br"),
    }
    assert all(link.startswith("#") for link in re.findall(r'href="([^"]*)"', rendered))

    lines = [line for line in files["llms.txt"].splitlines() if words(comment) in line]
    assert len(lines) >= 4
    assert not any(line.startswith(("#", ">")) and line.strip() != words(comment) for line in lines)


def examples(markdown: str) -> list[tuple[str, str]]:
    entries = re.split(r'^#### <a id="([^"]+)"></a>', markdown, flags=re.MULTILINE)[1:]
    found = zip(entries[::2], entries[1::2], strict=True)
    return [
        (name, block[1])
        for name, entry in found
        if (block := re.search(r"```json\n(.*?)\n```", entry, re.DOTALL))
    ]


@pytest.mark.parametrize(
    ("schema", "count"), [(valid.SCHEMA, 16), (nasty.SCHEMA, 29)], ids=["valid", "nasty"]
)
def test_examples_pass_the_constraints(
    root: pathlib.Path, tagwire: pathlib.Path, tmp_path: pathlib.Path, schema: object, count: int
) -> None:
    markdown = written(tagwire, root / f"codegen/tests/golden/{schema.name}", tmp_path / "out")[
        "reference.md"
    ]
    judged = 0
    for name, example in examples(markdown):
        # Python's json_format falls over its field DESCRIPTOR; codegen/tests/docs.rs reads it.
        if name == "nasty.v1.Keywords":
            continue
        message = schema.message(name)()
        json_format.Parse(example, message)
        protovalidate.validate(message)
        assert json.loads(json_format.MessageToJson(message)) == json.loads(example), name
        judged += 1
    assert judged == count

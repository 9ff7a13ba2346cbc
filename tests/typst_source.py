"""Prose, mathematics and code in a typst source: enough of the grammar to tell them apart, character by character.

Content blocks inside code, such as captions and the branches of an `#if`, are prose again. Nothing is evaluated.
"""

import re

PROSE, MATH, CODE, STRING, RAW, COMMENT, REFERENCE = "prose", "math", "code", "string", "raw", "comment", "reference"

_IDENTIFIER = re.compile(r"[A-Za-z_][\w-]*")
_NUMBER = re.compile(r"\d[\w.]*%?")
_LABEL = re.compile(r"<[A-Za-z][\w.:-]*>")
_REFERENCE = re.compile(r"@[A-Za-z][\w:-]*(?:\.[\w:-]+)*")
_ADDRESS = re.compile(r"https?://[^\s\])]+")
_STATEMENTS = {"let", "set", "show", "import", "include", "return", "break", "continue"}


class Source:
    """A typst source with the mode of every character.

    Parameters
    ----------
    text : str
        A whole file.

    Raises
    ------
    ValueError
        If a bracket, a quotation or a formula is not closed.

    """

    def __init__(self, text: str):
        self.text = text
        self.modes = [PROSE] * len(text)
        self._markup(0, closed=False)

    def line(self, place: int) -> int:
        """Return the number of the line of a character, from 1."""
        return self.text.count("\n", 0, place) + 1

    def only(self, mode: str) -> str:
        """Return the text with every character of another mode blanked out; lines stay where they are."""
        return "".join(
            one if found == mode or one == "\n" else "\0" for one, found in zip(self.text, self.modes, strict=True)
        )

    # Each of these reads from a place on and returns the place behind what it has read.

    def _fill(self, start: int, end: int, mode: str) -> int:
        self.modes[start:end] = [mode] * (end - start)
        return end

    def _until(self, start: int, what: str, mode: str) -> int:
        end = self.text.find(what, start + 1)
        if end < 0:
            raise ValueError(f"line {self.line(start)}: {self.text[start]!r} is not closed")
        return self._fill(start, end + len(what), mode)

    def _comment(self, at: int) -> int | None:
        if self.text.startswith("//", at):
            end = self.text.find("\n", at)
            return self._fill(at, len(self.text) if end < 0 else end, COMMENT)
        if self.text.startswith("/*", at):
            return self._until(at, "*/", COMMENT)
        return None

    def _raw(self, at: int) -> int:
        fence = re.match("`+", self.text[at:])[0]
        if len(fence) == 2:
            return self._fill(at, at + 2, RAW)
        end = self.text.find(fence, at + len(fence))
        if end < 0:
            raise ValueError(f"line {self.line(at)}: raw text is not closed")
        return self._fill(at, end + len(fence), RAW)

    def _string(self, at: int) -> int:
        found = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL).match(self.text, at)
        if not found:
            raise ValueError(f"line {self.line(at)}: a string is not closed")
        return self._fill(at, found.end(), STRING)

    def _markup(self, at: int, *, closed: bool) -> int:
        text = self.text
        while at < len(text):
            one = text[at]
            skipped = self._comment(at)
            if skipped is not None:
                at = skipped
            elif one == "\\":
                at += 2
            elif one == "`":
                at = self._raw(at)
            elif one == "$":
                at = self._math(at)
            elif one == "#":
                at = self._embedded(at)
            elif found := _LABEL.match(text, at):
                at = self._fill(at, found.end(), REFERENCE)
            elif found := _REFERENCE.match(text, at):
                at = self._fill(at, found.end(), REFERENCE)
                # What is cited of a source: a page, an equation.
                if text.startswith("[", at):
                    at = self._fill(at, self._bracket(at), REFERENCE)
            elif one == "[":
                at = self._bracket(at)
            elif found := _ADDRESS.match(text, at):
                at = self._fill(at, found.end(), REFERENCE)
            elif one == "]":
                if not closed:
                    raise ValueError(f"line {self.line(at)}: a bracket is not open")
                return at
            else:
                at += 1
        if closed:
            raise ValueError("the source ends inside brackets")
        return at

    def _bracket(self, at: int) -> int:
        return self._markup(at + 1, closed=True) + 1

    def _content(self, at: int) -> int:
        end = self._bracket(at)
        self.modes[at] = self.modes[end - 1] = CODE
        return end

    def _math(self, at: int) -> int:
        text = self.text
        self.modes[at] = MATH
        start, at = at, at + 1
        while at < len(text):
            skipped = self._comment(at)
            if skipped is not None:
                at = skipped
            elif text[at] == "$":
                return self._fill(at, at + 1, MATH)
            elif text[at] == "#":
                at = self._embedded(at)
            elif text[at] == '"':
                at = self._string(at)
            elif text[at] == "\\":
                at = self._fill(at, at + 2, MATH)
            else:
                at = self._fill(at, at + 1, MATH)
        raise ValueError(f"line {self.line(start)}: a formula is not closed")

    def _embedded(self, at: int) -> int:
        at = self._fill(at, at + 1, CODE)
        found = _IDENTIFIER.match(self.text, at)
        if found and found[0] in _STATEMENTS:
            return self._code(self._fill(at, found.end(), CODE), line=True)
        return self._expression(at)

    def _expression(self, at: int) -> int:
        """Read one expression as it may stand behind a hash."""
        text = self.text
        found = _IDENTIFIER.match(text, at)
        if found and found[0] in ("if", "while", "for"):
            return self._branches(at, found[0])
        if found and found[0] == "context":
            return self._expression(self._blank(self._fill(at, found.end(), CODE)))
        if found:
            at = self._fill(at, found.end(), CODE)
        elif text.startswith(("(", "{"), at):
            at = self._group(at)
        elif text.startswith("[", at):
            at = self._content(at)
        elif text.startswith('"', at):
            at = self._string(at)
        elif text.startswith("$", at):
            return self._math(at)
        elif found := _NUMBER.match(text, at):
            return self._fill(at, found.end(), CODE)
        while at < len(text):
            if text[at] == "(":
                at = self._group(at)
            elif text[at] == "[":
                at = self._content(at)
            elif text[at] == "." and (found := _IDENTIFIER.match(text, at + 1)):
                at = self._fill(at, found.end(), CODE)
            else:
                break
        return self._fill(at, at + 1, CODE) if text.startswith(";", at) else at

    def _branches(self, at: int, keyword: str) -> int:
        while True:
            at = self._code(self._fill(at, at + len(keyword), CODE), body=True)
            at = self._content(at) if self.text[at] == "[" else self._group(at)
            after = re.compile(r"\s*else\b\s*").match(self.text, at)
            if keyword != "if" or not after:
                return at
            at = self._fill(at, after.end(), CODE)
            if not self.text.startswith("if", at):
                return self._content(at) if self.text[at] == "[" else self._group(at)

    def _blank(self, at: int) -> int:
        return self._fill(at, re.compile(r"\s*").match(self.text, at).end(), CODE)

    def _group(self, at: int) -> int:
        end = self._code(self._fill(at, at + 1, CODE))
        return self._fill(end, end + 1, CODE)

    def _code(self, at: int, *, line: bool = False, body: bool = False) -> int:
        """Read code up to a closing bracket, and if so asked up to the end of the line or to a block."""
        text = self.text
        while at < len(text):
            one = text[at]
            skipped = self._comment(at)
            if skipped is not None:
                at = skipped
            elif one in ")}]" or (line and one in "\n;") or (body and one in "[{"):
                return at
            elif one in "({":
                at = self._group(at)
            elif one == "[":
                at = self._content(at)
            elif one == "$":
                at = self._math(at)
            elif one == '"':
                at = self._string(at)
            elif one == "`":
                at = self._raw(at)
            else:
                at = self._fill(at, at + 1, CODE)
        if not line:
            raise ValueError("the source ends inside brackets")
        return at

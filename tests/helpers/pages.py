"""Reads a page of HTML: its elements, the texts, and the cells of its tables."""

import base64
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """The page's elements as (tag, attributes), its visible text, and its tables by caption.

    A table is a dictionary from the label of a column to the list of the numbers or texts that it is sorted by.
    """

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.text, self.tables = [], [], "", {}
        self._cell, self._labels, self._caption, self._rows = None, [], "", []
        self.feed(text)
        self.close()
        assert not self.open  # every element was closed

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self._labels, self._caption, self._rows = [], "", []
        if tag == "tr" and "tbody" in self.open:
            self._rows.append([])
        if tag in ("td", "th") and "tbody" in self.open:
            self._rows[-1].append(dict(attributes)["data-value"])
        if tag == "th" and "thead" in self.open:
            self._labels.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "table":
            columns = zip(*self._rows, strict=True)
            self.tables[self._caption] = dict(zip(self._labels, map(list, columns), strict=True))

    def handle_data(self, data):
        if not self.open or self.open[-1] in ("script", "style"):
            return
        self.text += data
        if "thead" in self.open and self._labels:
            self._labels[-1] += data
        if "caption" in self.open:
            self._caption += data

    def of(self, tag):
        """The attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    def content(self, file):
        """The bytes of a file that the page offers for download."""
        (href,) = [link["href"] for link in self.of("a") if link.get("download") == file]
        return base64.b64decode(href.partition("base64,")[2])

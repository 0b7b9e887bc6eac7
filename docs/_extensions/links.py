"""Links from the pages to the rest of the project, which on a code host are files and here are pages."""

import re

# What a link of a page means on the site; of what has no page, such as a folder, the sentence keeps its words.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/": "benchmarks.md",
    "examples/": "gallery/index.rst",
    "saved_models/": "saved_models.md",
    "docs/": "",
}
LINK = re.compile(
    r"\]\((?:\.\./)*(README\.md|CHANGELOG\.md|CONTRIBUTING\.md|(?:benchmarks|examples|saved_models|docs)/[\w./-]*)"
)
BACK = re.compile(r"^\[Back to the README\]\(\.\./README\.md\)\n", re.MULTILINE)


def to_pages(text):
    """Returns a page's Markdown with its links to files of the project as links to pages."""

    def page(match):
        target = match[1]
        script = re.fullmatch(r"examples/(\w+)\.py", target)
        if script:
            return f"](gallery/{script[1]}.rst"
        if target.startswith("docs/"):
            return f"]({target.removeprefix('docs/')}"
        return f"]({PAGES.get(target) or PAGES.get(target.removesuffix('README.md')) or '../' + target}"

    return LINK.sub(page, BACK.sub("", text))


def setup(app):
    def read(app, name, text):
        if app.env.doc2path(name).suffix == ".md":
            text[0] = to_pages(text[0])

    def included(app, path, parent, text):
        text[0] = to_pages(text[0])

    app.connect("source-read", read)
    app.connect("include-read", included)
    return {"parallel_read_safe": True}

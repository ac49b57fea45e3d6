"""Hooks of the documentation site: pages made from the code, and links that lead out of docs/.

Some pages of the site lie elsewhere in the repository (CONTRIBUTING.md, the READMEs beside kernels, records of
benchmarks), and some are written by the code itself (the command line, chips, the Python API). Neither is copied into
docs/, so that neither can be out of date.
"""

from __future__ import annotations

import posixpath
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))
import generated  # noqa: E402  # a neighbour, not a package: mkdocs loads this file by its path

#: Pages of the site that are files elsewhere in the repository.
ELSEWHERE = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s]+)(#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are not in docs/."""
    for source, uri in _outside().items():
        text = (ROOT / source).read_text(encoding="utf-8")
        if not source.endswith(".md"):  # a record: shown as it is
            text = f"# {posixpath.basename(source)}\n```{posixpath.splitext(source)[1][1:]}\n{text}\n```\n"
        files.append(File.generated(config, uri, content=text))
    for uri, write in generated.PAGES.items():
        files.append(File.generated(config, uri, content=write()))
    return files


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Turns links to files of the repository into links to their pages, or into plain text where there is none."""
    uri = page.file.src_uri
    origin = {site: source for source, site in _outside().items()}.get(uri, f"docs/{uri}")

    def resolved(match: re.Match[str]) -> str:
        words, link, anchor = match[1], match[2], match[3] or ""
        if re.match(r"[a-z]+:", link):
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(origin), link))
        site = _outside().get(target) or (target.removeprefix("docs/") if target.startswith("docs/") else None)
        if site is None or not files.get_file_from_path(site):
            if not (ROOT / target).exists():
                return match[0]  # mkdocs names it and the build fails
            return f"{words} (`{target}`)"
        return f"[{words}]({posixpath.relpath(site, posixpath.dirname(uri) or '.')}{anchor})"

    return LINK.sub(resolved, markdown)


@cache
def _outside() -> dict[str, str]:
    """Returns the files outside docs/ that are pages, and where in the site."""
    found = dict(ELSEWHERE)
    for readme in sorted(ROOT.glob("kernels/*/README.md")):
        found[f"kernels/{readme.parent.name}/README.md"] = f"reference/kernels/{readme.parent.name}.md"
    for readme in sorted(ROOT.glob("neurokit/models/*/README.md")):
        name = readme.parent.name
        found[f"neurokit/models/{name}/README.md"] = f"reference/models/{name}.md"
    for record in sorted(ROOT.glob("benchmarks/results/*.md")):
        found[f"benchmarks/results/{record.name}"] = f"records/{record.name}"
    return found

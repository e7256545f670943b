"""Citations: the BibTeX that a user owes, from the identifiers that data sets, programs and weights carry."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

OURSELVES = "cloudchamber"


def bibtex(identifiers: Iterable[str]) -> str:
    """BibTeX entries for identifiers such as "arXiv:2203.11601" or "doi:10.5281/...", each once, in their order.

    An identifier that is not in citations.bib gives a @misc entry that holds the identifier and nothing made up.

    >>> print(bibtex(["https://arxiv.org/abs/1111.6097v2"]).splitlines()[0])
    @article{Cacciari:2011ma,
    >>> print(bibtex(["arXiv:9999.00001"]))
    @misc{arXiv_9999.00001,
        eprint = "9999.00001",
        archivePrefix = "arXiv"
    }
    """
    keys = dict.fromkeys(canonical(i) for i in identifiers if i.strip())
    return "\n\n".join(entries().get(key.lower()) or _unknown(key) for key in keys)


@cache
def entries() -> dict[str, str]:
    """The entries of citations.bib by their identifier in lower case: arXiv number, else DOI; ours has neither."""
    found = {}
    for entry in Path(__file__).with_suffix(".bib").read_text().strip().split("\n\n"):
        fields = dict(re.findall(r'^    (\w+) = "(.*?)",?$', entry, re.MULTILINE))
        key = f"arXiv:{fields['eprint']}" if "eprint" in fields else f"doi:{fields['doi']}" if "doi" in fields else OURSELVES
        found[key.lower()] = entry
    return found


def canonical(identifier: str) -> str:
    """The one spelling of an identifier: "arXiv:NUMBER" without version, "doi:NAME", or the text as it is.

    >>> canonical("https://doi.org/10.5281/zenodo.3164691"), canonical("2203.11601v1")
    ('doi:10.5281/zenodo.3164691', 'arXiv:2203.11601')
    """
    text = identifier.strip()
    arxiv = re.fullmatch(
        r"(?:arxiv:\s*|https?://arxiv\.org/(?:abs|pdf)/)?(\d{4}\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/\d{7})(?:v\d+)?(?:\.pdf)?",
        text,
        re.IGNORECASE,
    )
    if arxiv:
        return f"arXiv:{arxiv[1]}"
    doi = re.fullmatch(r"(?:doi:\s*|https?://(?:dx\.)?doi\.org/)?(10\.\d{4,9}/\S+)", text, re.IGNORECASE)
    return f"doi:{doi[1]}" if doi else text


def _unknown(key: str) -> str:
    kind, _, name = key.partition(":")
    fields = {
        "arXiv": {"eprint": name, "archivePrefix": "arXiv"},
        "doi": {"doi": name},
    }.get(kind, {"howpublished": key})
    label = re.sub(r"[^\w.:/-]+", "_", key).replace(":", "_").replace("/", "_").strip("_")[:60]
    lines = ",\n".join(f'    {field} = "{value.replace(chr(34), chr(39))}"' for field, value in fields.items())
    return f"@misc{{{label},\n{lines}\n}}"

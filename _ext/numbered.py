"""What a notebook shows in JupyterLab and in the book alike: numbers, links to terms, solutions folded with their code.

`:enumerator: 1.1` is the option by which JupyterLab's MyST numbers a theorem, an exercise or an equation. Sphinx counts
for itself; here it accepts the option, and the build fails where the two numbers differ. A term is linked as a place in
a file, `[load](glossary.md#term-load)`, which JupyterLab can open.
"""

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.addnodes import pending_xref
from sphinx.directives.patches import MathDirective
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx_exercise.directive import ExerciseDirective
from sphinx_exercise.nodes import solution_node
from sphinx_proof.directive import ElementDirective

log = logging.getLogger(__name__)


def accept_enumerator(directive):
    directive.option_spec = {**directive.option_spec, "enumerator": directives.unchanged_required}
    run = directive.run

    def run_and_note(self):
        if "enumerator" in self.options:
            noted = self.env.__dict__.setdefault("enumerators", {}).setdefault(self.env.docname, {})
            label = self.options.get("label", "")
            noted[f"equation-{label}" if self.name == "math" else label] = self.options["enumerator"]
        elif "nonumber" not in self.options and (self.name != "math" or "label" in self.options):
            log.warning("%s without :enumerator:", self.name, location=self.get_location(), type="numbered")
        return run(self)

    directive.run = run_and_note


def check(app, env):
    for docname, noted in getattr(env, "enumerators", {}).items():
        printed = {
            label: ".".join(map(str, number))
            for kinds in env.toc_fignumbers.get(docname, {}).values()
            for label, number in kinds.items()
        }
        for label, wanted in noted.items():
            if printed.get(label) != wanted:
                log.warning(
                    "%r is printed as %s, not %s", label, printed.get(label), wanted, location=docname, type="numbered"
                )


def name_terms(app, doctree):
    """Let a Markdown link find a term of the glossary, as it finds a section."""
    slugs = app.env.metadata[app.env.docname].setdefault("myst_slugs", {})
    for term in doctree.findall(nodes.term):
        slugs |= {place: (term.line, place, term.astext()) for place in term["ids"]}


def forget(app, env, docname):
    getattr(env, "enumerators", {}).pop(docname, None)


def merge(app, env, docnames, other):
    theirs = getattr(other, "enumerators", {})
    env.__dict__.setdefault("enumerators", {}).update({d: theirs[d] for d in docnames if d in theirs})


class FoldSolutionCells(SphinxTransform):
    """Move the code cells tagged `solution` into the folded solution that they follow."""

    default_priority = 400

    def apply(self):
        for solution in list(self.document.findall(solution_node)):
            parent = solution.parent
            after = parent.index(solution) + 1
            while after < len(parent) and "tag_solution" in parent[after].get("classes", []):
                cell = parent.pop(after)
                solution += cell


class NumberFigureReferences(SphinxTransform):
    """Let {numref}`Figure <name>` print the number: JupyterLab shows the word, the book adds to it."""

    default_priority = 400

    def apply(self):
        for reference in self.document.findall(pending_xref):
            if reference.get("reftype") == "numref" and reference.astext() == "Figure":
                reference["refexplicit"] = True
                inner = reference[0]
                inner.children = []
                inner += nodes.Text("Figure %s")


def setup(app):
    accept_enumerator(ElementDirective)
    accept_enumerator(ExerciseDirective)
    accept_enumerator(MathDirective)
    app.add_transform(FoldSolutionCells)
    app.add_transform(NumberFigureReferences)
    app.connect("doctree-read", name_terms)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.connect("env-check-consistency", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 2}

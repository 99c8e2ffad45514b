"""The API reference documents a `Formula` as the function it is, with its equation, its units and its ranges."""

import sympy as sp
from sphinx.ext.autodoc import FunctionDocumenter

from web3scale.formula import Formula


class FormulaDocumenter(FunctionDocumenter):
    """`automodule :members:` drops instances without a word; this documenter claims them."""

    objtype = "formula"
    directivetype = "function"
    priority = FunctionDocumenter.priority + 20  # above DataDocumenter and FunctionDocumenter

    @classmethod
    def can_document_member(cls, member, membername, isattr, parent):
        return isinstance(member, Formula)

    def add_content(self, more_content):
        super().add_content(more_content)
        found, source = self.object, self.get_sourcename()
        units = ", ".join(
            f":math:`{sp.latex(symbol)}` = *{name}* in {found.quantities[name]} [{found.quantities[name].unit}]"
            for name, symbol in found.symbols.items()
        )
        result = found.quantities["return"].unit
        lines = [".. math::", "", f"   {found.latex}", "", f"where {units}. Unit of the result: {result}."]
        for line in ["", *lines, ""]:
            self.add_line(line, source)


def setup(app):
    app.setup_extension("sphinx.ext.autodoc")
    app.add_autodocumenter(FormulaDocumenter)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Builds a notebook from cells; kept outside the project."""
import json
CELLS=[]
def md(i,t): CELLS.append({"cell_type":"markdown","id":i,"metadata":{},"source":t.strip("\n").splitlines(keepends=True)})
def code(i,t,tags=None,fig=None,cap=None,alt=None,hide=False):
    m={}
    if hide or fig: m["jupyter"]={"source_hidden":True}
    if fig:
        m["mystnb"]={"figure":{"caption":cap,"name":fig}}
        if alt: m["mystnb"]["image"]={"alt":alt}
    tags=list(tags or [])
    if hide or fig: tags.append("hide-input")
    if tags: m["tags"]=tags
    CELLS.append({"cell_type":"code","execution_count":None,"id":i,"metadata":m,"outputs":[],"source":t.strip("\n").splitlines(keepends=True)})
def exercise(n,level,title,text,answer,src,ch=4):
    k=f"ex-{ch}-{n}"
    md(f"e{ch}x{n:02d}a",f"```{{exercise}} {level}: {title}\n:label: {k}\n:enumerator: {ch}.{n}\n\n{text.strip()}\n```\n\n% <h6>Solution</h6>")
    CELLS[-1]["metadata"]={"jp-MarkdownHeadingCollapsed":True}
    md(f"e{ch}x{n:02d}b",f"```{{solution}} {k}\n:class: dropdown\n\n{answer.strip()}\n```")
    code(f"e{ch}x{n:02d}c",src)
    CELLS[-1]["metadata"]={"collapsed":True,"jupyter":{"outputs_hidden":True,"source_hidden":True},"tags":["solution"]}
def write(path,like="/work/main/chapters/03_2_sharding.ipynb"):
    nb=json.load(open(like)); out={"cells":CELLS,"metadata":nb["metadata"],"nbformat":nb["nbformat"],"nbformat_minor":nb["nbformat_minor"]}
    # keep outputs of unchanged cells is left to execute.py
    open(path,"w").write(json.dumps(out,indent=1,ensure_ascii=False)+"\n")

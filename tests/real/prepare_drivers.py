def prepare(out): pass

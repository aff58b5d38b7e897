// Vega-Lite, and the interpreter that needs no eval: what charts are drawn with.
export { parse, View, Warn } from "vega";
export { expressionInterpreter } from "vega-interpreter";
export { compile } from "vega-lite";

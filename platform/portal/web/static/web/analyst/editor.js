// The editor of a program: highlighting, completion, errors underlined. It lives in a shadow root, where its style
// sheets are adopted ones, which the page's policy allows.
import {
  EditorState, EditorView, HighlightStyle, StreamLanguage, acceptCompletion, autocompletion, closeBrackets,
  closeBracketsKeymap, completionKeymap, defaultKeymap, drawSelection, highlightActiveLine, history, historyKeymap,
  keymap, lineNumbers, lintGutter, lintKeymap, setDiagnostics, syntaxHighlighting, tags,
} from "../../vendor/editor.js";

const KEYWORDS = ["where", "by", "and", "or", "not", "in", "is", "missing", "primary", "epsilon", "align"];
const WORD = /[\p{L}_][\p{L}\p{N}_]*/u;

const COLOURS = HighlightStyle.define([
  { tag: tags.keyword, color: "var(--accent)", fontWeight: "600" },
  { tag: tags.function(tags.name), color: "var(--good)", fontWeight: "600" },
  { tag: tags.string, color: "var(--warm)" },
  { tag: tags.number, color: "var(--wait)" },
  { tag: tags.comment, color: "var(--quiet)", fontStyle: "italic" },
]);

const LOOK = EditorView.theme({
  "&": { color: "var(--ink)", backgroundColor: "transparent", fontSize: "15px" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: 'ui-monospace, Menlo, Consolas, monospace', minHeight: "10rem" },
  ".cm-content": { caretColor: "var(--ink)", padding: "8px 0" },
  ".cm-cursor": { borderLeftColor: "var(--ink)" },
  ".cm-gutters": { backgroundColor: "transparent", color: "var(--quiet)", border: "none" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "rgb(127 140 150 / .1)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground":
    { backgroundColor: "rgb(80 150 200 / .35)" },
  ".cm-tooltip": { backgroundColor: "var(--card)", color: "var(--ink)", border: "1px solid var(--line)" },
  ".cm-tooltip-autocomplete > ul > li[aria-selected]": { backgroundColor: "var(--accent-soft)", color: "var(--ink)" },
  ".cm-completionDetail": { color: "var(--quiet)", fontStyle: "normal" },
  ".cm-lintRange-error": { backgroundImage: "none", textDecoration: "underline wavy var(--bad)", textUnderlineOffset: "3px" },
  ".cm-diagnostic-error": { borderLeftColor: "var(--bad)" },
  ".cm-diagnosticAction": { backgroundColor: "var(--accent)", color: "var(--on-accent)" },
});

function language(statistics) {
  const known = new Set(statistics);
  return StreamLanguage.define({
    token(stream) {
      if (stream.eatSpace()) return null;
      if (stream.match(/#.*/)) return "comment";
      if (stream.match(/"(?:[^"]|"")*"?/) || stream.match(/'(?:[^']|'')*'?/)) return "string";
      if (stream.match(/-?\d+(?:\.\d+)?/)) return "number";
      const word = stream.match(WORD);
      if (!word) { stream.next(); return null; }
      if (KEYWORDS.includes(word[0].toLowerCase())) return "keyword";
      return known.has(word[0].toLowerCase()) && stream.match(/\s*\(/, false) ? "function" : "variableName";
    },
    tokenTable: { function: tags.function(tags.name) },
    languageData: { commentTokens: { line: "#" } },
  });
}

/** `vocabulary()` gives { statistics: [{name, words, takes}], fields: [{name, title, kind, levels}] } as of now. */
function completion(vocabulary) {
  return (context) => {
    const word = context.matchBefore(/["']?[\p{L}\p{N}_ ]*$/u);
    const bare = context.matchBefore(/[\p{L}_][\p{L}\p{N}_]*/u);
    const line = context.state.doc.lineAt(context.pos);
    const before = line.text.slice(0, context.pos - line.from);
    const inside = (before.match(/\(/g) ?? []).length > (before.match(/\)/g) ?? []).length;
    if (!bare && !context.explicit && !/[(,"']\s*$/.test(before)) return null;
    const { statistics, fields } = vocabulary();
    const quoted = /["'][^"']*$/.exec(before);
    const from = quoted ? line.from + quoted.index + 1 : bare ? bare.from : context.pos;
    const written = (text) => (quoted || /^[A-Za-z_]\w*$/.test(text) ? text : `"${text.replaceAll('"', '""')}"`);
    const columns = fields.map((field) => ({
      label: field.name, apply: written(field.name), type: "variable", detail: field.title, boost: 2,
    }));
    const levels = fields.flatMap((field) => field.levels.map((level) => ({
      label: level, apply: written(level), type: "constant", detail: `level of ${field.name}`, boost: 1,
    })));
    const asked = statistics.map((one) => ({
      label: one.name, apply: `${one.name}(`, type: "function", detail: one.words, info: one.takes,
    }));
    const words = KEYWORDS.map((label) => ({ label, type: "keyword" }));
    const after = /\b(where|by|and|or|not)\s+[^()]*$/i.test(before);
    const options = inside || quoted ? [...columns, ...levels] : after ? [...columns, ...levels, ...words] : [...asked, ...words];
    return { from, options, validFor: /^[\p{L}\p{N}_ ]*$/u, filter: true, word };
  };
}

/** An editor in `place` with `text`. `changed(text)` is called at every change. */
export function editor(place, { text, label, vocabulary, changed, described }) {
  const root = place.attachShadow({ mode: "open" });
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: text,
      extensions: [
        lineNumbers(), history(), drawSelection(), highlightActiveLine(), closeBrackets(), lintGutter(),
        language(vocabulary().statistics.flatMap((one) => [one.name, ...one.aliases])), syntaxHighlighting(COLOURS), LOOK,
        autocompletion({ override: [completion(vocabulary)], icons: false, activateOnTypingDelay: 60 }),
        keymap.of([{ key: "Tab", run: acceptCompletion }, ...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap,
          ...completionKeymap, ...lintKeymap]),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ "aria-label": label, "aria-description": described, spellcheck: "false" }),
        EditorView.updateListener.of((update) => update.docChanged && changed(update.state.doc.toString())),
      ],
    }),
  });
  return {
    view,
    get text() { return view.state.doc.toString(); },
    set text(value) { view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: value } }); },
    /** Underline what is wrong at { line, column }, counted from 1, with texts to put in its place; null: nothing. */
    wrong(problem) {
      view.dispatch(setDiagnostics(view.state, problem?.where?.line ? [diagnostic(view, problem)] : []));
    },
  };
}

function diagnostic(view, { message, where, suggestions }) {
  const line = view.state.doc.line(Math.min(where.line, view.state.doc.lines));
  const from = Math.min(line.from + Math.max(0, (where.column ?? 1) - 1), line.to);
  const rest = view.state.sliceDoc(from, line.to);
  const length = (/^(?:"(?:[^"]|"")*"?|'(?:[^']|'')*'?|[\p{L}\p{N}_]+|.)/u.exec(rest) ?? [""])[0].length;
  const start = length ? from : Math.max(line.from, from - 1);
  const to = from + length;
  const actions = suggestions.slice(0, 3).map((text) => ({
    name: `Write ${text}`,
    apply(editing, a, b) {
      const plain = /^[A-Za-z_]\w*$/.test(text);
      const insert = plain || /^["']/.test(text) ? text : `"${text.replaceAll('"', '""')}"`;
      editing.dispatch({ changes: { from: a, to: b, insert } });
    },
  }));
  return { from: start, to, severity: "error", message, actions };
}

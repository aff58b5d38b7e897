// Draws the page's pictures from their specifications, in the colours of the page, and saves them as files.
import { compile, expressionInterpreter, parse, View, Warn } from "../../vendor/vega.js";

const { themes, charts } = JSON.parse(document.getElementById("pictures").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const printed = matchMedia("print");
const views = new Map();

// A part of a concatenation has no container to fill: it gets the width of the drawing.
function fitted(spec, width) {
  if (!spec.vconcat) return { ...spec, width };
  return { ...spec, vconcat: spec.vconcat.map((part) => ({ ...part, width: Math.max(160, width - 150) })) };
}

async function draw(id) {
  const place = document.querySelector(`#${id} .drawing`);
  const theme = themes[dark.matches && !printed.matches ? "dark" : "light"];
  const spec = { ...fitted(charts[id].spec, Math.max(240, place.clientWidth)), config: theme };
  const { spec: made } = compile(spec);
  views.get(id)?.finalize();
  const view = new View(parse(made, null, { ast: true }), {
    expr: expressionInterpreter, renderer: "svg", container: place, hover: true, logLevel: Warn,
  });
  views.set(id, view);
  await view.runAsync();
  // The words stand on the drawing itself.
  place.querySelector("svg")?.setAttribute("aria-hidden", "true");
}

function save(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

document.addEventListener("click", async (event) => {
  const kind = event.target.closest("[data-save]")?.dataset.save;
  if (!kind) return;
  const id = event.target.closest("figure").id;
  const view = views.get(id);
  if (kind === "svg") return save(`${id}.svg`, new Blob([await view.toSVG()], { type: "image/svg+xml" }));
  const canvas = await view.toCanvas(2);
  canvas.toBlob((blob) => save(`${id}.png`, blob), "image/png");
});

const all = () => Promise.all(Object.keys(charts).map((id) => draw(id)));
let timer;
addEventListener("resize", () => { clearTimeout(timer); timer = setTimeout(all, 200); });
dark.addEventListener("change", all);
addEventListener("beforeprint", all);
await all();
document.documentElement.dataset.drawn = Object.keys(charts).length;

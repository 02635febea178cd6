// Runs: their losses, their sheets by step, and their models, also of earlier steps. A run in training is looked at again and again.

import { ask, read } from "./api.js";
import { $, h, plural } from "./dom.js";
import { choose, desk } from "./form.js";

const EVERY = 5000; // ms between looks at a run in training
const WIDTH = 640, HEIGHT = 240, LEFT = 56, BOTTOM = 26; // of the chart
const SVG = "http://www.w3.org/2000/svg";
let details = null, timer = null, shownSheet = null, sheetUrl = null;

export function build() {
  $("watch").append(
    h("p", { id: "no-runs", hidden: true }),
    h("div", { id: "runs", hidden: true },
      h("label", {}, "Run ", h("select", { id: "run", onchange: look })),
      h("p", { id: "run-said", role: "status", class: "soft" }),
      h("div", { id: "chart", class: "scroll" }),
      h("div", { id: "sheets" },
        h("label", {}, h("span", { id: "sheet-name" }), h("input", { id: "sheet-step", type: "range", min: 0, oninput: drawSheet })),
        h("img", { id: "sheet", class: "large", alt: "" })),
      h("h2", { textContent: "Its model" }),
      h("div", { class: "row" },
        h("label", {}, "Checkpoint ", h("select", { id: "checkpoint" })),
        h("label", {}, "Weights ", h("input", { id: "weights", list: "lengths", placeholder: "average", title: "raw, or the length of an average, such as 0.07, where the run keeps snapshots" })),
        h("button", { type: "button", textContent: "Make pictures with it", onclick: make })),
      h("p", { id: "model-said", role: "alert" })));
}

/** The view is opened, or closed. */
export async function show(open) {
  clearTimeout(timer);
  if (!open) return;
  if (desk.runs === null) {
    $("no-runs").hidden = false;
    $("no-runs").textContent = "This server shows no runs. Started as mezzotint serve --runs runs, or by mezzotint ui, it does.";
    return;
  }
  try {
    desk.runs = await read("v1/runs");
  } catch (error) {
    $("no-runs").hidden = false;
    $("no-runs").textContent = error.message;
    timer = setTimeout(() => show(true), EVERY);
    return;
  }
  $("no-runs").hidden = desk.runs.length > 0;
  $("no-runs").textContent = "There is no run yet. Start one, and it is here: mezzotint train digits";
  $("runs").hidden = desk.runs.length === 0;
  const before = $("run").value;
  $("run").replaceChildren(...desk.runs.map(({ name }) => new Option(name, name)));
  if (desk.runs.some(({ name }) => name === before)) $("run").value = before;
  if (desk.runs.length) await look();
  else timer = setTimeout(() => show(true), EVERY);
}

async function look() {
  clearTimeout(timer);
  const name = $("run").value, other = details?.name !== name;
  try {
    details = await read(`v1/runs/${encodeURIComponent(name)}`);
  } catch (error) {
    $("run-said").textContent = error.message;
    timer = setTimeout(look, EVERY);
    return;
  }
  if ($("run").value !== name) return;
  const { step, until, metrics, sheets, checkpoints, seconds_ago: ago } = details;
  const newest = Math.max(step, ...Object.values(metrics).map((pairs) => pairs.at(-1)[0]));
  const last = (key, what) => (metrics[key] ? ` · ${what} ${metrics[key].at(-1)[1].toPrecision(4)}` : "");
  const goes = until === null || step < until;
  $("run-said").textContent = `Step ${newest.toLocaleString("en")}${until ? ` of ${until.toLocaleString("en")}` : ""}${last("loss", "loss")}${last("val_loss", "held out")} · last written ${since(ago)} ago`;
  drawChart(metrics);
  const slider = $("sheet-step"), atEnd = other || Number(slider.value) >= Number(slider.max);
  $("sheets").hidden = !sheets.length;
  slider.max = Math.max(sheets.length - 1, 0);
  if (atEnd) slider.value = slider.max;
  if (sheets.length) drawSheet();
  if (other) {
    $("checkpoint").replaceChildren(new Option("as it ended, or is now", ""), ...checkpoints.map((each) => new Option(`step ${each}`, each)));
    $("weights").value = "";
  }
  if (goes) timer = setTimeout(look, EVERY);
}

function since(seconds) {
  for (const [size, unit] of [[86400, "day"], [3600, "hour"], [60, "minute"]]) {
    if (seconds >= 2 * size) return plural(Math.round(seconds / size), unit);
  }
  return plural(Math.round(seconds), "second");
}

async function drawSheet() {
  const step = details.sheets[$("sheet-step").value], wanted = `${details.name}/${step}`;
  $("sheet-name").textContent = `Samples of the same seeds, after step ${step.toLocaleString("en")} `;
  if (wanted === shownSheet) return;
  shownSheet = wanted;
  const blob = await (await ask(`v1/runs/${encodeURIComponent(details.name)}/sheets/${step}`)).blob();
  if (wanted !== shownSheet) return;
  if (sheetUrl) URL.revokeObjectURL(sheetUrl);
  $("sheet").src = sheetUrl = URL.createObjectURL(blob);
  $("sheet").alt = `samples of ${details.name} after step ${step}`;
}

/** Places of values on an axis of a length; logarithmic where they span much. */
export function scale(values, length) {
  const finite = values.filter(Number.isFinite), low = Math.min(...finite), high = Math.max(...finite);
  const log = low > 0 && high / low > 4, f = log ? Math.log : (x) => x;
  const [a, b] = [f(low), f(high)];
  return (x) => (b > a ? ((f(x) - a) / (b - a)) * length : length / 2);
}

function drawChart({ loss = [], val_loss: held = [] }) {
  const s = (tag, attributes, text = "") => {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = text;
    return element;
  };
  const both = [...loss, ...held].filter(([, value]) => Number.isFinite(value));
  if (both.length < 2) {
    $("chart").replaceChildren("No losses yet.");
    return;
  }
  const steps = both.map(([step]) => step), values = both.map(([, value]) => value), end = Math.max(...steps);
  const x = (step) => LEFT + (step / end) * (WIDTH - LEFT - 8), up = scale(values, HEIGHT - BOTTOM - 14), y = (value) => HEIGHT - BOTTOM - up(value);
  const path = (pairs) => pairs.filter(([, value]) => Number.isFinite(value)).map(([step, value], i) => `${i ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const low = Math.min(...values), high = Math.max(...values);
  const svg = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `loss by step: ${high.toPrecision(3)} at most, ${low.toPrecision(3)} at least, up to step ${end}` });
  svg.append(
    s("path", { d: `M${LEFT} 8V${HEIGHT - BOTTOM}H${WIDTH - 8}`, class: "axis" }),
    ...[low, high].map((value) => s("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, value.toPrecision(3))),
    s("text", { x: WIDTH - 8, y: HEIGHT - 8, "text-anchor": "end" }, `step ${end.toLocaleString("en")}`),
    s("path", { d: path(loss), class: "loss" }), s("path", { d: path(held), class: "held" }),
    s("text", { x: WIDTH - 12, y: 18, "text-anchor": "end" }, held.length ? "line: loss; dashes: held out" : "loss"));
  $("chart").replaceChildren(svg);
}

async function make() {
  const step = $("checkpoint").value, weights = $("weights").value.trim();
  const name = `${details.name}${step || weights ? "@" : ""}${step}${weights ? `:${weights}` : ""}`;
  $("model-said").textContent = "";
  try {
    await choose(name);
    location.hash = "#make";
  } catch (error) {
    $("model-said").textContent = error.message;
  }
}

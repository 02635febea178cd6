// Runs: their losses, their sheets by step, and their models. A run in training is looked at again and again.

import { ask, read } from "./api.js";
import { $, plural, tell } from "./dom.js";
import { choose, desk, options } from "./form.js";

const EVERY = 5000; // ms between looks at a run in training
const WIDTH = 640, HEIGHT = 220, LEFT = 56, LOW = 190, TOP = 24; // of the chart
let details = null, timer = null, shown = null;

const count = (number) => number.toLocaleString("en");
const address = () => `v1/runs/${encodeURIComponent($("run").value)}`;

export function build() {
  $("run").onchange = () => look();
  $("sheet-step").oninput = () => sheet();
  $("make-of-run").onclick = make;
}

/** The view is opened, or closed. */
export async function show(open) {
  clearTimeout(timer);
  if (!open || !desk.model) return;
  let words = "This server shows no runs; mezzotint ui does, or serve --runs FOLDER.";
  try {
    if (desk.runs) desk.runs = await read("v1/runs");
    if (desk.runs) words = desk.runs.length ? "" : "There is no run yet. Start one, and it appears here: mezzotint train digits";
  } catch (error) {
    words = error.message;
  }
  $("no-runs").textContent = words;
  $("runs").hidden = words !== "";
  if (words) {
    if (desk.runs) timer = setTimeout(() => show(true), EVERY);
    return;
  }
  const before = $("run").value, names = desk.runs.map(({ name }) => name);
  $("run").replaceChildren(...options(desk.runs));
  $("run").value = names.includes(before) ? before : names[0];
  await look();
}

async function look() {
  clearTimeout(timer);
  const name = $("run").value, other = details?.name !== name;
  const found = await read(address()).catch((error) => tell($("run-said"), error.message));
  if ($("run").value !== name || $("watch").hidden) return;
  details = found ?? details;
  if (!found || details.until === null || details.step < details.until) timer = setTimeout(look, EVERY);
  if (!found) return;
  const { step, until, metrics, sheets, checkpoints, seconds_ago: ago } = details;
  const newest = Math.max(step, ...Object.values(metrics).map((pairs) => pairs.at(-1)[0]));
  const last = (key, what) => (metrics[key] ? ` · ${what} ${metrics[key].at(-1)[1].toPrecision(4)}` : "");
  const when = ago < 120 ? plural(Math.round(ago), "second") : ago < 7200 ? `${Math.round(ago / 60)} minutes` : `${Math.round(ago / 3600)} hours`;
  $("run-said").textContent = `Step ${count(newest)}${until ? ` of ${count(until)}` : ""}${last("loss", "loss")}${last("val_loss", "held out")} · last written ${when} ago`;
  chart(metrics.loss ?? [], metrics.val_loss ?? []);
  const slider = $("sheet-step"), end = Math.max(sheets.length - 1, 0), follows = other || slider.value === slider.max;
  slider.max = end;
  if (follows) slider.value = end;
  $("sheets").hidden = !sheets.length;
  if (sheets.length) await sheet();
  if (other) {
    $("checkpoint").replaceChildren(new Option("newest", ""), ...checkpoints.map((each) => new Option(`step ${each}`, each)));
    $("weights").value = "";
  }
}

async function sheet() {
  const step = details.sheets[$("sheet-step").value], path = `${address()}/sheets/${step}`;
  $("sheet-name").textContent = `Samples of the same seeds, after step ${count(step)}`;
  if (path === shown) return;
  shown = path;
  const blob = await (await ask(path)).blob();
  if (path !== shown) return;
  URL.revokeObjectURL($("sheet").src);
  $("sheet").src = URL.createObjectURL(blob);
}

/** A scale of values to 0..1; logarithmic where they span much. */
export function scale(values) {
  const low = Math.min(...values), high = Math.max(...values), f = low > 0 && high > 4 * low ? Math.log : (x) => x;
  return (x) => (high > low ? (f(x) - f(low)) / (f(high) - f(low)) : 0.5);
}

function chart(loss, held) {
  const both = [...loss, ...held], values = both.map(([, value]) => value);
  if (both.length < 2) {
    $("chart").textContent = "No losses yet.";
    return;
  }
  const end = Math.max(...both.map(([step]) => step)), low = Math.min(...values), high = Math.max(...values), up = scale(values);
  const x = (step) => LEFT + (step / end) * (WIDTH - LEFT), y = (value) => LOW - up(value) * (LOW - TOP);
  const path = (pairs) => `M${pairs.map(([step, value]) => `${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("L")}`;
  const text = (x, y, words) => `<text x="${x}" y="${y}" text-anchor="end">${words}</text>`;
  $("chart").innerHTML = // numbers alone
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="loss from ${high} down to ${low}, to step ${end}">` +
    `<path class="axis" d="M${LEFT} ${TOP}V${LOW}H${WIDTH}"/><path d="${path(loss)}"/>${held.length ? `<path class="held" d="${path(held)}"/>` : ""}` +
    [low, high].map((value) => text(LEFT - 6, y(value) + 4, value.toPrecision(3))).join("") +
    `${text(WIDTH, HEIGHT - 8, `step ${count(end)}`)}${text(WIDTH, 14, held.length ? "line: loss, dashes: held out" : "loss")}</svg>`;
}

function make() {
  const step = $("checkpoint").value, weights = $("weights").value.trim();
  $("model-said").textContent = "";
  choose(`${details.name}${step || weights ? `@${step}` : ""}${weights && `:${weights}`}`)
    .then(() => (location.hash = "#make"), (error) => tell($("model-said"), error.message, true));
}
